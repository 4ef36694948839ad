"""Alerts by SMTP. Who sends shows an API key in the address: `anything+<key>@…`. 250 is said when it is durable."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parseaddr
from fnmatch import fnmatch

from aiosmtpd.smtp import SMTP, Envelope, Session

from app.admission import is_loopback
from app.api.auth import admitted
from app.child import CannotStart
from app.domain.access import Principal, Scope
from app.domain.errors import Forbidden, Invalid, RateLimited, Refused, Unauthenticated, Unavailable
from app.listeners import bound
from app.runtime import Gateway
from app.service.intake import Door
from app.sources import SOURCES, email
from app.sources.base import Post

log = logging.getLogger(__name__)

AT_ONCE = 50
"""Conversations (chosen: as many mails, of 10 MiB at most, are in memory)."""
RECIPIENTS = 10
IDLE_SECS = 60.0
LINE_BYTES = 1_048_576
"""RFC 5321 allows 1,000 bytes a line; tools write all of a page into one."""
REPLIES: dict[type[Refused], str] = {
    Unavailable: "451 4.3.0", RateLimited: "451 4.7.0", Unauthenticated: "550 5.7.1", Forbidden: "550 5.7.1",
    Invalid: "554 5.6.0",
}  # fmt: skip


@dataclass
class Postbox:
    """What aiosmtpd asks at each step of a conversation."""

    gateway: Gateway

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, mail_options: list[str]
    ) -> str:
        senders = self.gateway.settings.intake.mail.senders
        if address in ("", "<>"):
            return "550 5.7.1 Bounces are no alerts"
        if senders and not any(fnmatch(address.lower(), pattern.lower()) for pattern in senders):
            return "550 5.7.1 This sender's mail isn't taken here"
        envelope.mail_from = address
        envelope.mail_options.extend(mail_options)
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, rcpt_options: list[str]
    ) -> str:
        if len(envelope.rcpt_tos) >= RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        try:
            await self._sender(session, address)
        except Refused as no:
            return _reply(no)
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(rcpt_options)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Durable, or what the sender's server does with 4xx and 5xx: tries again, or tells whoever sent it."""
        raw = envelope.original_content or b""
        try:
            mail = await asyncio.to_thread(email.parsed, raw)
            ours = parseaddr(self.gateway.settings.notifications.smtp.sender)[1].rpartition("@")[2]
            if why := email.refusal(mail, ours):
                return f"550 5.7.1 Not taken: {why}"
            known = await self.gateway.intake.known(email.thread(mail))
            headers = {email.ENVELOPE: email.clean(envelope.mail_from or "")} | ({email.KEY: known} if known else {})
            kept = raw if self.gateway.keys.open else _without_keys(raw, envelope.rcpt_tos)
            post = Post(kept, datetime.now(UTC), headers)
            for address in envelope.rcpt_tos:
                who, door = await self._sender(session, address)
                self.gateway.limits.spend(who, _peer(session))
                await self.gateway.intake.take(who, door, post)
        except Refused as no:
            return _reply(no)
        return "250 2.0.0 It is durable"

    async def handle_exception(self, error: Exception) -> str:
        log.error("a mail could not be taken", exc_info=error)
        return "451 4.3.0 Something went wrong here; it has been logged"

    async def _sender(self, session: Session, address: str) -> tuple[Principal, Door]:
        """Whose key an address shows, and what it writes to. Raises: Unauthenticated, Forbidden, and as `admitted`."""
        said, doors = self.gateway.settings.intake.mail, self.gateway.intake.doors
        domain = address.rpartition("@")[2]
        if said.domain is not None and domain.lower() != said.domain.lower():
            raise Forbidden("Nobody of that domain is here.")
        name, key = _shown(address)
        who = await admitted(self.gateway, key, _peer(session))
        if self.gateway.keys.open and not is_loopback(said.host):
            raise Unauthenticated("There is no API key yet.")
        who.may(Scope.SEND_ALERTS)
        door = doors.get(name)
        return who, door if door is not None and door.source is SOURCES["email"] else doors["email"]


def _shown(address: str) -> tuple[str, str]:
    """The name of a tool, and the key, in an address."""
    name, _, key = address.rpartition("@")[0].rpartition("+")
    return name, key


def _without_keys(raw: bytes, addresses: Sequence[str]) -> bytes:
    """A mail without the keys in the addresses it went to, which its headers repeat."""
    for address in addresses:
        raw = raw.replace(_shown(address)[1].encode(), b"[key]")
    return raw


def _peer(session: Session) -> str:
    return str(session.peer[0]) if isinstance(session.peer, tuple) else "unknown"


def _reply(no: Refused) -> str:
    """What a refusal is in SMTP; never with what was shown."""
    code = next((said for kind, said in REPLIES.items() if isinstance(no, kind)), "554 5.0.0")
    return f"{code} {' '.join(no.message.encode('ascii', 'replace').decode().split())[:400]}"


class Conversation(SMTP):
    """One connection; `others` are those under way."""

    line_length_limit = LINE_BYTES

    def __init__(self, postbox: Postbox, others: "set[Conversation]", tls: ssl.SSLContext | None) -> None:
        said = postbox.gateway.settings.intake.mail
        super().__init__(
            postbox, data_size_limit=said.max_bytes, enable_SMTPUTF8=True, hostname=said.domain or "localhost",
            ident="LLM Incident Manager", tls_context=tls, timeout=IDLE_SECS, loop=asyncio.get_running_loop(),
        )  # fmt: skip
        self.others = others

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        full = len(self.others) >= AT_ONCE and self not in self.others  # it is, when it begins once more with TLS
        if full and isinstance(transport, asyncio.Transport):
            transport.write(b"421 4.3.2 Too many connections; try again in a moment\r\n")
            transport.close()
            return
        self.others.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self in self.others:
            self.others.discard(self)
            super().connection_lost(error)


@asynccontextmanager
async def receiving(gateway: Gateway) -> AsyncIterator[int | None]:
    """Takes mail while it is open. Yields the port, or None where no mail is taken. Raises: CannotStart."""
    said = gateway.settings.intake.mail
    if said.port is None:
        yield None
        return
    logging.getLogger("mail.log").setLevel(logging.WARNING)  # below that it writes down addresses, with keys in them
    tls, open_now, postbox = _certificate(gateway), set[Conversation](), Postbox(gateway)
    listener = bound(said.host, said.port, "intake.mail.port")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Conversation(postbox, open_now, tls), sock=listener)
    port: int = listener.getsockname()[1]
    log.info("listening for mail on %s:%s", said.host, port)
    try:
        yield port
    finally:
        server.close()
        for one in [*open_now]:
            if one.transport is not None:
                one.transport.close()


def _certificate(gateway: Gateway) -> ssl.SSLContext | None:
    said = gateway.settings.intake.mail
    if said.tls_cert_path is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(said.tls_cert_path, said.tls_key_path)
    except OSError as wrong:  # ssl.SSLError is one
        raise CannotStart(f"intake.mail: {said.tls_cert_path} and its key are of no use: {wrong}") from wrong
    return context

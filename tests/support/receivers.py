"""Real receivers of pages on loopback: an HTTP server and an SMTP server that remember, and misbehave when told to."""

import asyncio
import contextlib
import email
import email.policy
import ssl
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Generic, TypeVar

import h11
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

T = TypeVar("T")


class Inbox(Generic[T]):
    """What came, in order."""

    def __init__(self) -> None:
        self.items: list[T] = []
        self._news = asyncio.Condition()

    async def take(self, item: T) -> None:
        async with self._news:
            self.items.append(item)
            self._news.notify_all()

    async def received(self, n: int = 1, within: float = 10) -> list[T]:
        """All that has come, once it is `n` or more. Raises: TimeoutError."""
        async with asyncio.timeout(within), self._news:
            await self._news.wait_for(lambda: len(self.items) >= n)
        return list(self.items)


@dataclass(frozen=True)
class Reply:
    """`hangs` says when no more comes: at once (no reply at all), or after the head; `endless` repeats the body."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    hangs: str = ""
    endless: bool = False


SILENCE = Reply(hangs="at once")


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"


class HttpReceiver(Inbox[Request]):
    """Answers 200, or first what `replies` says, in turn; `usually` changes what it answers after that.

    `poured` is how much of endless bodies the network has taken, in bytes.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self.replies: deque[Reply] = deque()
        self.usually = Reply()
        self.port = 0
        self.poured = 0
        self.tls = tls
        self._server: asyncio.Server | None = None
        self._conversations: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/page"

    def answer(self, request: Request) -> Reply:
        return self.usually

    async def comes_up(self) -> None:
        """On the port it had before, if it had one."""
        self._server = await asyncio.start_server(self._converse, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def goes_down(self) -> None:
        """Connections are refused from now on, and the open ones dropped."""
        if self._server is not None:
            self._server.close()
        for conversation in self._conversations:
            conversation.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._conversations.add(task)
        try:
            await self._answer_all(reader, writer)
        except (ConnectionError, asyncio.CancelledError, h11.RemoteProtocolError):
            pass  # either side has gone
        finally:
            self._conversations.discard(task)
            writer.close()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = h11.Connection(h11.SERVER)
        while (request := await self._request(wire, reader)) is not None:
            await self.take(request)
            reply = self.replies.popleft() if self.replies else self.answer(request)
            if reply.hangs == "at once":
                await reader.read()
            length = ("transfer-encoding", "chunked") if reply.endless else ("content-length", str(len(reply.body)))
            headers = [(name.encode(), value.encode("latin-1")) for name, value in (length, *reply.headers.items())]
            writer.write(wire.send(h11.Response(status_code=reply.status, headers=headers)) or b"")
            if reply.hangs:
                await reader.read()
            while reply.endless:
                writer.write(wire.send(h11.Data(reply.body)) or b"")
                await writer.drain()
                self.poured += len(reply.body)
            writer.write((wire.send(h11.Data(reply.body)) or b"") + (wire.send(h11.EndOfMessage()) or b""))
            await writer.drain()
            wire.start_next_cycle()

    async def _request(self, wire: h11.Connection, reader: asyncio.StreamReader) -> Request | None:
        head, body = None, b""
        while True:
            event = wire.next_event()
            if event is h11.NEED_DATA:
                wire.receive_data(await reader.read(65_536))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                headers = {name.decode(): value.decode() for name, value in head.headers}
                return Request(head.target.decode(), headers, body, head.method.decode())
            else:
                return None


@contextlib.asynccontextmanager
async def http_receiver(tls: ssl.SSLContext | None = None) -> AsyncIterator[HttpReceiver]:
    receiver = HttpReceiver(tls)
    await receiver.comes_up()
    try:
        yield receiver
    finally:
        await receiver.goes_down()


@dataclass(frozen=True)
class Mail:
    """`secured`: it came over TLS; `login`: who had logged in."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    secured: bool
    login: str | None


class MailReceiver(Inbox[Mail]):
    """Takes every mail, or first replies to RCPT and to the text what `replies` says.

    At a command in `hangs_at` it says nothing more, at CONNECT not even its name; `hangs` is set when it has come
    to that.
    """

    def __init__(self, logins: dict[str, str]) -> None:
        super().__init__()
        self.port = 0
        self.logins = logins
        self.replies: dict[str, deque[str]] = {"RCPT": deque(), "DATA": deque()}
        self.hangs_at: set[str] = set()
        self.hangs = asyncio.Event()

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, replies: list[str]
    ) -> list[str]:
        await self._reply("EHLO")
        session.host_name = hostname
        return replies

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await self._reply("RCPT")
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        reply = await self._reply("DATA")
        if reply.startswith("250"):
            message = email.message_from_bytes(envelope.original_content or b"", policy=email.policy.default)
            assert isinstance(message, EmailMessage)
            assert server.transport is not None
            secured = server.transport.get_extra_info("sslcontext") is not None
            login = session.auth_data.login.decode() if session.auth_data else None
            await self.take(Mail(str(envelope.mail_from), list(envelope.rcpt_tos), message, secured, login))
        return reply

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        await self._reply("QUIT")
        return "221 bye"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: LoginPassword
    ) -> AuthResult:
        good = self.logins.get(given.login.decode()) == given.password.decode()
        return AuthResult(success=good, handled=False, auth_data=given if good else None)

    async def _reply(self, command: str) -> str:
        if command in self.hangs_at:
            self.hangs.set()
            await asyncio.Event().wait()
        waiting = self.replies.get(command)
        return waiting.popleft() if waiting else "250 taken"


@contextlib.asynccontextmanager
async def mail_receiver(
    secured: str = "plain", tls: ssl.SSLContext | None = None, logins: dict[str, str] | None = None
) -> AsyncIterator[MailReceiver]:
    """`secured` is implicit, starttls or plain; with `logins`, nobody else may send."""
    receiver = MailReceiver(logins or {})
    loop = asyncio.get_running_loop()

    def conversation() -> asyncio.Protocol:
        if "CONNECT" in receiver.hangs_at:
            receiver.hangs.set()
            return asyncio.Protocol()
        return SMTP(
            receiver,
            hostname="localhost",
            loop=loop,
            tls_context=tls if secured == "starttls" else None,
            require_starttls=secured == "starttls",
            authenticator=receiver.authenticate,
            auth_required=bool(logins),
            auth_require_tls=False,
        )

    server = await loop.create_server(conversation, "127.0.0.1", 0, ssl=tls if secured == "implicit" else None)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


@dataclass(frozen=True)
class Certificate:
    """Of an authority of its own; who trusts the one at `path` trusts it. `context` is for servers that show it."""

    path: Path
    context: ssl.SSLContext

    @classmethod
    def made(cls, folder: Path, *names: str) -> "Certificate":
        """For 127.0.0.1, localhost and further names."""
        path = folder / "authority.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(path))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost", *names).configure_cert(context)
        return cls(path, context)

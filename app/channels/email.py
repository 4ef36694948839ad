"""E-mail over SMTP: implicit TLS, STARTTLS or plain."""

import asyncio
import contextlib
import hashlib
import re
from dataclasses import dataclass, field
from datetime import timedelta
from email.errors import MessageError
from email.headerregistry import Address as MailAddress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import localtime, parseaddr
from functools import partial
from html import escape
from typing import Self

import aiosmtplib
from pydantic import SecretStr

from app.channels.base import encodable, plain
from app.channels.words import context, facts, headline, listed
from app.config import Notifications
from app.domain.notification import Message, Receipt, Unasked, Undelivered
from app.domain.record import Record
from app.domain.vocabulary import MessageKind
from app.net.breakers import Call, Calling, Open, unbroken
from app.net.http import Http
from app.net.slots import Busy, Slots

SOON = timedelta(seconds=5)
BUSY = timedelta(seconds=1)
LATER = timedelta(seconds=10)
GOODBYE_SECS = 1.0
GOING_AWAY = 421
"""The server does not work at all, whatever it is asked (RFC 5321 §4.2.2)."""
LISTED = 200
"""Incidents of a storm that one mail names."""
REFERENCE = re.compile(r"<[^<>\s@]{1,200}@[^<>\s@]{1,200}>")
BUTTON = "background:#0a6b3d;color:#fff;padding:10px 20px;border-radius:6px;text-decoration:none"
UNSAYABLE = dict.fromkeys({*range(32), 127} - set(b"\t\n\r"), " ")
"""Control characters that a mail's text must not carry (RFC 5322 §4) or that a terminal would obey."""


@dataclass(frozen=True)
class Email:
    """`tls` is implicit, starttls or plain; `deadline_secs` bounds one message from connecting to the last reply."""

    host: str
    port: int
    sender: str
    tls: str = "starttls"
    username: str | None = None
    password: SecretStr | None = None
    deadline_secs: float = 10
    slots: Slots = field(default_factory=Slots)
    calling: Calling = unbroken

    class Address(Record):
        email: str

    @classmethod
    def configured(cls, said: Notifications, http: Http) -> Self:
        smtp = said.smtp
        host = smtp.host or "127.0.0.1"
        return cls(
            host, smtp.port, smtp.sender, smtp.tls, smtp.username, smtp.password, smtp.timeout_secs,
            calling=partial(http.calling, "smtp"),
        )  # fmt: skip

    async def send(self, message: Message, to: Address) -> Receipt:
        """`reference` is the Message-ID. Raises: Undelivered."""
        recipient = in_ascii(to.email)
        try:
            mail = letter(message, self.sender, recipient)
            with self.calling() as call:
                async with self.slots.of(self.host):
                    await self._hand_over(mail, recipient, call)
        except Open as resting:
            raise Unasked(str(resting), resting.retry_after) from resting
        except Busy as busy:
            raise Undelivered(str(busy), BUSY) from busy
        except aiosmtplib.SMTPException as refusal:
            raise undelivered(refusal) from refusal
        except (OSError, TimeoutError, ValueError, IndexError, MessageError) as failed:
            reason = plain(str(failed)) or f"no answer within {self.deadline_secs:g} s"
            raise Undelivered(f"{self.host}:{self.port}: {reason}", SOON) from failed
        return Receipt(reference=mail["Message-ID"])

    async def _hand_over(self, mail: EmailMessage, recipient: str, call: Call) -> None:
        """Returns once the server has said 250 to the text. What it does with the goodbye is of no matter."""
        server = aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            username=self.username,
            password=self.password.get_secret_value() if self.password else None,
            use_tls=self.tls == "implicit",
            start_tls=self.tls == "starttls",
            timeout=self.deadline_secs,
        )
        try:
            async with asyncio.timeout(self.deadline_secs):
                await server.connect()
                await server.send_message(mail, recipients=[recipient])
            with contextlib.suppress(aiosmtplib.SMTPException):
                await server.quit(timeout=GOODBYE_SECS)
        except (aiosmtplib.SMTPResponseException, aiosmtplib.SMTPRecipientsRefused) as no:
            if GOING_AWAY in codes(no):
                call.failed()
            raise
        finally:
            server.close()


def in_ascii(address: str) -> str:
    """The mail address with its domain as DNS has it. Raises: Undelivered when it is none that ASCII can say."""
    local, _, domain = address.rpartition("@")
    try:
        return MailAddress(addr_spec=f"{local}@{domain.encode('idna').decode()}").addr_spec
    except (ValueError, IndexError, MessageError) as wrong:
        raise Undelivered(f"{plain(address)!r} is no mail address that can be written to") from wrong


def undelivered(refusal: aiosmtplib.SMTPException) -> Undelivered:
    """A recipient or text refused for good stays refused; everything else may pass (RFC 5321 §4.2.1)."""
    if isinstance(refusal, aiosmtplib.SMTPRecipientsRefused) and refusal.recipients:
        return undelivered(refusal.recipients[0])
    if isinstance(refusal, aiosmtplib.SMTPRecipientRefused | aiosmtplib.SMTPDataError):
        return Undelivered(f"{refusal.code} {plain(refusal.message)}"[:300], None if refusal.code >= 500 else LATER)
    if isinstance(refusal, aiosmtplib.SMTPResponseException):
        return Undelivered(f"{refusal.code} {plain(refusal.message)}"[:300], LATER)
    return Undelivered(plain(str(refusal))[:300] or type(refusal).__name__, SOON)


def codes(no: aiosmtplib.SMTPResponseException | aiosmtplib.SMTPRecipientsRefused) -> set[int]:
    """The server's replies that said no."""
    return {one.code for one in no.recipients} if isinstance(no, aiosmtplib.SMTPRecipientsRefused) else {no.code}


def letter(message: Message, sender: str, recipient: str) -> EmailMessage:
    """The mail. The same key always gets the same Message-ID; notices answer the first mail about the incident."""
    mail = EmailMessage(policy=SMTP)
    name, address = parseaddr(sender)
    mail["From"] = MailAddress(name or "LLM Incident Manager", addr_spec=address)
    mail["To"] = MailAddress(addr_spec=recipient)
    mail["Subject"] = worded(headline(message))
    mail["Date"] = localtime()
    digest = hashlib.sha256(encodable(message.key).encode()).hexdigest()[:40]
    mail["Message-ID"] = f"<{digest}@{address.rpartition('@')[2]}>"
    if message.thread and REFERENCE.fullmatch(message.thread):
        mail["In-Reply-To"] = mail["References"] = message.thread
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Incident-Id"] = message.incident_id
    mail["X-Escalation-Level"] = str(message.level)
    mail["X-Target"] = worded(message.target)
    text = message.text if message.text is not None else body(message)
    mail.set_content(encodable(text).translate(UNSAYABLE))
    html = message.html if message.html is not None or message.text is not None else hypertext(message)
    if html is not None:
        mail.add_alternative(encodable(html).translate(UNSAYABLE), subtype="html")
    if (asked := message.invitation) is not None:  # as RFC 6047 has it, so that calendars offer to take it
        mail.add_alternative(asked.calendar, subtype="calendar", params={"method": asked.method})
    return mail


def worded(text: str) -> str:
    """Plain text that is no encoded word (RFC 2047): `email` would decode one, line breaks and headers included."""
    return plain(text).replace("=?", "= ?")


def body(message: Message) -> str:
    if message.bundled:
        return "\n".join([f"{1 + len(message.bundled)} incidents:", "", *listed(message, LISTED), ""])
    shown = [f"{name:<12}{value}" for name, value in facts(message).items()]
    if message.link:
        shown.append(f"{'Look':<12}{message.link}")
    said = [news(message), "", *shown, "", message.body]
    if around := context(message):
        said += ["", "Context", *(f"    {line}" for line in around)]
    if message.kind.page:
        said += ["", "Take it, and nobody else is paged:"]
        said += [f"    {message.acknowledge_url}"] if message.acknowledge_url else []
        said += [f"    llm-im ack {message.incident_id}"]
        said += [f"    POST {message.link}/acknowledge"] if message.link else []
    return "\n".join(said) + "\n"


def news(message: Message) -> str:
    """What has happened, in a sentence; for a page it is what the incident is called."""
    by = f" by {plain(message.by)}" if message.by else ""
    match message.kind:
        case MessageKind.ACKNOWLEDGED:
            return f"Acknowledged{by}: {message.title}"
        case MessageKind.RESOLVED:
            return f"Resolved{by}: {message.title}"
        case MessageKind.REMINDER:
            return f"Still acknowledged without progress; it will page again soon: {message.title}"
    return message.title


def hypertext(message: Message) -> str | None:
    """The same as HTML, with a button where there is a link to click; None where the text says it all."""
    if not message.acknowledge_url:
        return None
    cells = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts(message).items()
    )
    look = f'<p><a href="{escape(message.link)}">Look at the incident</a></p>' if message.link else ""
    return (
        f"<h2>{escape(plain(message.title))}</h2><table cellpadding=4>{cells}</table>"
        f"<pre style='white-space:pre-wrap'>{escape(message.body)}</pre>{_context(message)}"
        f"<p><a href=\"{escape(message.acknowledge_url)}\" style='{BUTTON}'>Acknowledge</a></p>{look}"
    )


def _context(message: Message) -> str:
    said = "".join(f"<li>{escape(line)}</li>" for line in context(message))
    return f"<h3>Context</h3><ul>{said}</ul>" if said else ""

"""Email (interim)."""

from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage

import aiosmtplib

from app.domain.notification import Message, Receipt, Undelivered
from app.domain.record import Record


@dataclass(frozen=True)
class Email:
    host: str
    port: int
    sender: str

    class Address(Record):
        email: str

    async def send(self, message: Message, to: Address) -> Receipt:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self.sender, to.email, f"[{message.severity}] {message.title}"
        mail.set_content(message.body)
        try:
            await aiosmtplib.send(mail, hostname=self.host, port=self.port, timeout=10, start_tls=False)
        except (aiosmtplib.SMTPException, OSError) as e:
            raise Undelivered(repr(e), timedelta(seconds=5)) from e
        return Receipt()

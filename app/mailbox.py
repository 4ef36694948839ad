"""The development mailbox: an SMTP server whose mails end as files, for a service that has no mail server yet."""

import asyncio
import contextlib
import email
import email.policy
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session


class Postman:
    """Files each mail as `<timestamp>-<n>.eml` and says whom it is for."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._say = say
        self._numbers = count(1)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{next(self._numbers)}"
        unfinished = self._folder / f"{name}.part"
        unfinished.write_bytes(content)
        unfinished.rename(self._folder / f"{name}.eml")
        subject = email.message_from_bytes(content, policy=email.policy.default)["Subject"]
        self._say(f"mail for {_plain(', '.join(envelope.rcpt_tos))}: {_plain(str(subject or '(no subject)'))}")
        return "250 OK"


@contextlib.asynccontextmanager
async def mailbox(folder: Path, port: int, say: Callable[[str], None]) -> AsyncIterator[None]:
    """Takes mail on 127.0.0.1:`port` as long as it is open. A mail is on file when the sender hears 250."""
    postman = Postman(folder, say)
    loop = asyncio.get_running_loop()

    def conversation() -> SMTP:
        return SMTP(postman, hostname="localhost", ident="mailbox", enable_SMTPUTF8=True, loop=loop)

    server = await loop.create_server(conversation, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()


def _plain(text: str) -> str:
    """Titles come from outside: nothing in them may steer the terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)

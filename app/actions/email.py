"""A mail about the incident. Source of the wire format: app/channels/email.py."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from app.actions.base import Done, Failed, Plain, Situation, Tools
from app.actions.telling import Subject, Text, message, told
from app.channels.base import Channel
from app.channels.email import in_ascii
from app.domain.notification import Undelivered
from app.domain.people import MailAddress
from app.domain.record import Record
from app.domain.vocabulary import ChannelName


@dataclass(frozen=True)
class EmailMessage(Plain):
    """Every try carries the same Message-ID; a server that doesn't look at it may deliver twice after a lost answer.

    `to`: one mail address. `text`: what it says, up to 3,000 characters. `subject`: none = the incident's headline.
    """

    channel: Channel
    link: Callable[[str], str | None]

    class Parameters(Record):
        to: MailAddress
        text: Text
        subject: Subject | None = None

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        channel = tools.channels.get(ChannelName.EMAIL)
        return cls(channel, tools.link) if channel else None

    async def check(self, asked: Parameters, at: Situation) -> str:
        try:
            return f"mail to {in_ascii(asked.to)}: {asked.text[:100]}"
        except Undelivered as never:
            raise Failed(str(never)) from never

    async def run(self, asked: Parameters, at: Situation) -> Done:
        said = message(at, self.link(at.incident.id), asked.text, asked.subject)
        receipt = await told(self.channel, said, self.channel.Address(email=asked.to))
        return Done(summary=f"mail to {asked.to} was taken", output={"message_id": receipt.reference})

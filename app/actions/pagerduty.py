"""An event of the incident for PagerDuty. Source of the wire format: app/channels/pagerduty.py (Events API v2)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

from app.actions.base import Done, Plain, Situation, Tools
from app.actions.telling import Subject, Text, message, told
from app.channels.base import Channel
from app.domain.record import Record
from app.domain.vocabulary import ChannelName, MessageKind

KINDS = {
    "trigger": MessageKind.CREATED,
    "acknowledge": MessageKind.ACKNOWLEDGED,
    "resolve": MessageKind.RESOLVED,
}


@dataclass(frozen=True)
class PagerDutyEvent(Plain):
    """The dedup_key is the incident's id, so that the second trigger goes to the alert that the first one opened.

    It pages the service behind notifications.pagerduty.integration_key. `event`: trigger, acknowledge or resolve.
    `text`: a trigger's description, none = the incident's own. `subject`: its summary, none = the incident's headline.
    """

    channel: Channel
    link: Callable[[str], str | None]

    class Parameters(Record):
        event: Literal["trigger", "acknowledge", "resolve"] = "trigger"
        text: Text | None = None
        subject: Subject | None = None

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        channel = tools.channels.get(ChannelName.PAGERDUTY)
        if channel is None or tools.settings.notifications.integration_key is None:
            return None
        return cls(channel, tools.link)

    async def check(self, asked: Parameters, at: Situation) -> str:
        return f"PagerDuty: {asked.event} under the dedup_key {at.incident.id}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        said = message(at, self.link(at.incident.id), asked.text, asked.subject, KINDS[asked.event])
        receipt = await told(self.channel, said, self.channel.Address())
        return Done(summary=f"PagerDuty took the {asked.event}", output={"dedup_key": receipt.reference})

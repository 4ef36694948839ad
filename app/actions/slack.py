"""A message about the incident in Slack, with its buttons. Source of the wire format: app/channels/slack.py."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, Self

from app.actions.base import Done, Failed, Plain, Situation, Tools
from app.actions.telling import Subject, Text, message, told
from app.channels.slack import PASSING, Complaint, Slack
from app.domain.notification import Undelivered
from app.domain.people import SlackId
from app.domain.record import Record
from app.domain.vocabulary import ChannelName
from app.net.http import Unanswered

SOON = timedelta(seconds=2)


@dataclass(frozen=True)
class SlackMessage(Plain):
    """Slack takes no keys: after a lost answer the second try posts the message again.

    `to`: a user's or channel's id or #name; empty = the incoming webhook of the settings. `text`: what it says, up to
    3,000 characters. `subject`: none = the incident's headline.
    """

    slack: Slack
    link: Callable[[str], str | None]

    class Parameters(Record):
        to: SlackId | Literal[""] = ""
        text: Text
        subject: Subject | None = None

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        slack = tools.channels.get(ChannelName.SLACK)
        return cls(slack, tools.link) if isinstance(slack, Slack) else None

    async def check(self, asked: Parameters, at: Situation) -> str:
        """Asks Slack whether the token is good; whether the conversation takes messages shows only when posting."""
        if not asked.to:
            if self.slack.webhook is None:
                raise Failed("notifications.slack.webhook_url is not set: name whom to write `to`")
            return f"Slack, by the incoming webhook: {asked.text[:100]}"
        if self.slack.token is None:
            raise Failed("notifications.slack.bot_token is not set: leave `to` empty for the incoming webhook")
        known = await called(self.slack, "auth.test", {})
        return f"Slack, {asked.to} as {known.get('user')}: {asked.text[:100]}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        said = message(at, self.link(at.incident.id), asked.text, asked.subject)
        receipt = await told(self.slack, said, self.slack.Address(to=asked.to))
        return Done(summary=f"posted to {asked.to or 'the incoming webhook'}", output={"reference": receipt.reference})


async def called(slack: Slack, method: str, body: dict[str, Any]) -> dict[str, Any]:
    """What Slack answers to a method that takes JSON. Raises: Failed, with Slack's own word for why at its end."""
    try:
        return await slack.call(method, body)
    except Complaint as no:
        raise complaint(method, no.error) from no
    except Undelivered as no:
        raise Failed(f"{method}: {no}", no.retry_after, doubtful=isinstance(no.__cause__, Unanswered)) from no


def complaint(method: str, error: str) -> "Refusal":
    return Refusal(method, error, SOON if error in PASSING else None)


class Refusal(Failed):
    """Slack said `ok: false`. `error` is its word for why."""

    def __init__(self, method: str, error: str, retry_after: timedelta | None) -> None:
        super().__init__(f"{method}: Slack says {error}", retry_after)
        self.error = error


def said(answer: Mapping[str, Any], *path: str) -> str:
    """A text in Slack's answer, "" where there is none."""
    found: Any = answer
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else ""

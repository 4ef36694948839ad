"""A signed JSON POST about the incident. Source of the wire format: app/channels/webhook.py (Standard Webhooks)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from app.actions.base import Done, Failed, Plain, Situation, Tools
from app.actions.telling import Text, message, told
from app.channels.base import Channel
from app.channels.webhook import payload
from app.domain.errors import Invalid
from app.domain.people import WebAddress
from app.domain.record import Record
from app.domain.vocabulary import ChannelName
from app.net.http import Http, check_url


@dataclass(frozen=True)
class WebhookMessage(Plain):
    """Every try carries the same Idempotency-Key and webhook-id, by which a receiver knows it has had the message.

    `url`: where it is posted to. `text`: what the playbook says, beside the incident; up to 3,000 characters.
    """

    http: Http
    channel: Channel
    link: Callable[[str], str | None]

    class Parameters(Record):
        url: WebAddress
        text: Text

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        channel = tools.channels.get(ChannelName.WEBHOOK)
        return cls(tools.http, channel, tools.link) if channel else None

    async def check(self, asked: Parameters, at: Situation) -> str:
        try:
            check_url(asked.url, self.http.networks)
        except Invalid as never:
            raise Failed(never.message) from never
        return f"POST to {asked.url}: {asked.text[:100]}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        said = message(at, self.link(at.incident.id), asked.text)
        said = said.model_copy(update={"payload": payload(said, at.now) | {"text": asked.text}})
        await told(self.channel, said, self.channel.Address(url=asked.url))
        return Done(summary=f"{asked.url} took the message", output={"webhook_id": said.notification_id})

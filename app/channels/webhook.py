"""A JSON POST to an address of the team's own, signed by Standard Webhooks.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import json
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self
from urllib.parse import quote

from pydantic import SecretStr
from standardwebhooks import Webhook as StandardWebhook

from app.channels.post import SOON, post
from app.config import Notifications
from app.domain.notification import Message, Receipt
from app.domain.record import Record
from app.net.http import Http

QUEUED = 202


@dataclass(frozen=True)
class Webhook:
    """`secrets`: none leaves messages unsigned; while rotating, both sign each message."""

    http: Http
    secrets: Sequence[SecretStr] = ()

    class Address(Record):
        url: str

    @classmethod
    def configured(cls, said: Notifications, http: Http) -> Self:
        return cls(http.by_address("webhook"), said.webhook.secrets)

    async def send(self, message: Message, to: Address) -> Receipt:
        """Raises: Undelivered."""
        now = datetime.now(UTC)
        content = json.dumps(message.payload or payload(message, now), default=str)
        headers = {
            "content-type": "application/json",
            "idempotency-key": header(message.key),
            "webhook-id": message.notification_id,
            "webhook-timestamp": str(int(now.timestamp())),
        }
        if self.secrets:
            headers["webhook-signature"] = " ".join(
                StandardWebhook(secret.get_secret_value()).sign(message.notification_id, now, content)
                for secret in self.secrets
            )
        answer = await post(self.http, to.url, content.encode(), headers, rate_limited=SOON)
        return Receipt(delivered=answer.status != QUEUED)


def payload(message: Message, at: datetime) -> dict[str, object]:
    """`type` is incident.page, or incident.acknowledged, .resolved, .reminder, .updated for notices.

    `by` is who caused what a notice tells; `bundled` the other incidents that this message stands for.
    """
    return {
        "type": f"incident.{'page' if message.kind.page else message.kind}",
        "timestamp": at.isoformat(),
        "incident_id": message.incident_id,
        "notification_id": message.notification_id,
        "level": message.level,
        "target": message.target,
        "by": message.by,
        "incident": message.incident,
        "link": message.link,
        "bundled": [other.model_dump() for other in message.bundled],
    }


def header(key: str) -> str:
    """The key as a header can say it: itself, unless a target's name goes beyond printable ASCII."""
    return quote(key, safe=string.punctuation, errors="replace")

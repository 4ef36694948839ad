"""A JSON POST to an address of the team's own, signed by Standard Webhooks.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import json
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Self
from urllib.parse import quote

from pydantic import SecretStr
from standardwebhooks import Webhook as StandardWebhook

from app.channels.base import plain
from app.config import Notifications
from app.domain.errors import Invalid
from app.domain.notification import Message, Receipt, Undelivered
from app.domain.record import Record
from app.net.http import Answer, Blocked, Http, Unanswered
from app.net.slots import Busy

SOON = timedelta(seconds=2)
BUSY = timedelta(seconds=1)
LATER = timedelta(seconds=30)
LONGEST = timedelta(hours=1)
QUEUED = 202
PASSING = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Webhook:
    """`secrets`: none leaves messages unsigned; while rotating, both sign each message."""

    http: Http
    secrets: Sequence[SecretStr] = ()

    class Address(Record):
        url: str

    @classmethod
    def configured(cls, said: Notifications, http: Http) -> Self:
        return cls(http, said.webhook.secrets)

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
        try:
            answer = await self.http.post(to.url, content.encode(), headers)
        except Busy as busy:
            raise Undelivered(str(busy), BUSY) from busy
        except Unanswered as nothing:
            raise Undelivered(plain(str(nothing)), SOON) from nothing
        except Blocked as blocked:
            raise Undelivered(plain(str(blocked)), LATER) from blocked
        except Invalid as never:
            raise Undelivered(plain(str(never))) from never
        if 200 <= answer.status < 300:
            return Receipt(delivered=answer.status != QUEUED)
        raise refused(answer, now)


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


def refused(answer: Answer, now: datetime) -> Undelivered:
    """What an answer other than 2xx means for the message."""
    text = plain(answer.text)[:200]
    if 300 <= answer.status < 400:
        return Undelivered(f"answered {answer.status}, a redirect, which is not followed: correct the address")
    said = f"answered {answer.status}{f': {text}' if text else ''}"
    if answer.status in PASSING or answer.status >= 500:
        return Undelivered(said, asked_delay(answer.headers.get("retry-after"), now) or SOON)
    return Undelivered(said)


def asked_delay(value: str | None, now: datetime) -> timedelta | None:
    """`Retry-After`, in seconds or as a date (RFC 9110 §10.2.3), bounded to an hour; None when absent or unreadable."""
    if value is None:
        return None
    try:
        secs = float(value) if value.isdecimal() else (parsedate_to_datetime(value) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return timedelta(seconds=min(max(secs, 1), LONGEST.total_seconds()))

"""Webhook (interim)."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx

from app.domain.notification import Message, Receipt, Undelivered
from app.domain.record import Record


@dataclass(frozen=True)
class Webhook:
    http: httpx.AsyncClient

    class Address(Record):
        url: str

    async def send(self, message: Message, to: Address) -> Receipt:
        body = json.dumps(
            {
                "incident_id": message.incident_id,
                "notification_id": message.notification_id,
                "level": message.level,
                "target": message.target,
                "incident": message.incident,
                "timestamp": datetime.now(UTC).isoformat(),
            }
        )
        try:
            sent = await self.http.post(
                to.url, content=body, headers={"Idempotency-Key": message.key, "content-type": "application/json"}
            )
        except httpx.HTTPError as e:
            raise Undelivered(repr(e), timedelta(seconds=2)) from e
        if sent.status_code >= 400:
            raise Undelivered(f"answered {sent.status_code}", timedelta(seconds=2))
        return Receipt()

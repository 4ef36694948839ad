"""Pages: decided once, claimed before each try, and what came of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from app.domain.notification import Delivery
from app.domain.representation import IncidentView, NotificationView
from app.domain.vocabulary import DeliveryStatus
from app.store.database import AWAY, Pool
from app.store.incidents import SHOWN, as_uuid, view

DECIDE = """
INSERT INTO deliveries (key, id, incident_id, cycle, rung, level, target, channel, address, status, created_at)
SELECT u.key, u.id, $1, $2, $3, $4, u.target, u.channel, u.address, 'pending', now()
FROM unnest($5::text[], $6::uuid[], $7::text[], $8::text[], $9::jsonb[]) AS u(key, id, target, channel, address)
ON CONFLICT (key) DO UPDATE SET status = 'pending' WHERE deliveries.status = 'cancelled'
"""

CLAIM = """
UPDATE deliveries d SET status = 'sending', attempts = attempts + 1
FROM incidents i
WHERE d.key = $1 AND i.id = d.incident_id AND d.status IN ('pending', 'sending')
  AND i.status IN ('NEW', 'ESCALATED') AND i.cycle = d.cycle
RETURNING d.*
"""

SENT = """
UPDATE deliveries SET status = 'sent', sent_at = coalesce(sent_at, now()), reference = $2, last_error = NULL
WHERE key = $1
"""

SHOWN_DELIVERIES = """
SELECT id, incident_id, key, level, channel, target, address, status, attempts, last_error, created_at, sent_at
FROM deliveries WHERE incident_id = $1 ORDER BY created_at, key
"""

RECORDING_SECS = 8.0
"""How long the record of a page that was taken waits for PostgreSQL (chosen: a restart takes two seconds; with a
channel's ten it stays within the activity's own time)."""


@dataclass(frozen=True)
class DeliveryStore:
    pool: Pool

    async def decide(self, deliveries: Sequence[Delivery]) -> None:
        """Writes down pages that will be sent. Deciding the same (by key) again changes nothing."""
        first = deliveries[0]
        rows = [(d.key, uuid7(), d.target, d.channel, d.address) for d in deliveries]
        await self.pool.execute(
            DECIDE, UUID(first.incident_id), first.cycle, first.rung, first.level, *zip(*rows, strict=True)
        )

    async def claim(self, key: str) -> tuple[Delivery, IncidentView] | None:
        """Counts one more try of a page, before it is sent. None when it is sent already or nobody needs it any more.

        Nobody does once the incident is taken or over, or has started another climb.
        """
        async with self.pool.acquire() as connection:
            claimed = await connection.fetchrow(CLAIM, key)
            if claimed is None:
                return None
            [incident] = await connection.fetch(f"SELECT {SHOWN} FROM incidents WHERE id = $1", claimed["incident_id"])
        return _delivery(claimed), view(incident)

    async def outstanding(self, incident_id: str) -> list[Delivery]:
        """The pages of an incident that were decided and not sent, given up or cancelled."""
        rows = await self.pool.fetch(
            "SELECT * FROM deliveries WHERE incident_id = $1 AND status IN ('pending', 'sending') ORDER BY created_at",
            as_uuid(incident_id),
        )
        return [_delivery(row) for row in rows]

    async def end(self, key: str) -> tuple[DeliveryStatus, str | None]:
        """Where a page stands, and why it failed if it did."""
        found = await self.pool.fetchrow("SELECT status, last_error FROM deliveries WHERE key = $1", key)
        return (DeliveryStatus(found["status"]), found["last_error"]) if found else (DeliveryStatus.CANCELLED, None)

    async def sent(self, key: str, reference: str | None) -> None:
        """Notes that a page was taken, and tries that for `RECORDING_SECS`: what is not noted is sent again."""
        async with asyncio.timeout(RECORDING_SECS):
            while True:
                try:
                    await self.pool.execute(SENT, key, reference)
                except AWAY:
                    await asyncio.sleep(0.2)
                else:
                    return

    async def not_sent(self, key: str, error: str, *, for_good: bool) -> None:
        """A try failed: it will be tried again, or (`for_good`) never."""
        status = "failed" if for_good else "pending"
        await self.pool.execute(
            "UPDATE deliveries SET status = CASE WHEN status = 'cancelled' THEN status ELSE $3 END, last_error = $2"
            " WHERE key = $1 AND status <> 'sent'",
            key, error[:1000], status,
        )  # fmt: skip

    async def of_incident(self, incident_id: str) -> list[NotificationView]:
        rows = await self.pool.fetch(SHOWN_DELIVERIES, as_uuid(incident_id))
        return [
            NotificationView.model_validate(
                dict(row.items())
                | {
                    "id": str(row["id"]),
                    "incident_id": str(row["incident_id"]),
                    "idempotency_key": row["key"],
                    "recipient": next(iter(row["address"].values()), ""),
                }
            )
            for row in rows
        ]


def _delivery(row: asyncpg.Record) -> Delivery:
    return Delivery.model_validate(dict(row.items()) | {"id": str(row["id"]), "incident_id": str(row["incident_id"])})

"""Messages as they are decided: written down before anything is sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg
from uuid_utils.compat import uuid7

from app.domain.errors import NotFound
from app.domain.notification import Delivery, Outgoing, destination
from app.store.database import Pool

DECIDE = """
WITH undone AS (
    DELETE FROM deliveries WHERE incident_id = $1 AND cycle = $2 AND rung = $3 AND kind IN ('created', 'escalated')
        AND status = 'pending' AND attempts = 0 AND key <> ALL($8::text[])
)
INSERT INTO deliveries (key, id, incident_id, cycle, rung, level, kind, wanted, template, target, channel, address,
    destination, due_at, status, created_at)
SELECT u.key, u.id, $1, $2, $3, $4, $5, $6, $7, u.target, u.channel, u.address, u.destination, u.due_at, 'pending',
    now()
FROM unnest($8::text[], $9::uuid[], $10::text[], $11::text[], $12::jsonb[], $13::text[], $14::timestamptz[])
    AS u(key, id, target, channel, address, destination, due_at)
ON CONFLICT (key) DO UPDATE SET status = 'pending' WHERE deliveries.status = 'cancelled'
"""
"""What a worker decided otherwise, before it died, was never sent and goes."""

INFORM = """
INSERT INTO deliveries (key, id, incident_id, cycle, rung, level, kind, wanted, by, target, channel, address,
    destination, status, created_at)
SELECT u.key, u.id, $1, u.cycle, u.rung, u.level, u.kind, u.wanted, $2, u.target, u.channel, page.address,
    page.destination, 'pending', now()
FROM unnest($3::text[], $4::uuid[], $5::int[], $6::int[], $7::int[], $8::text[], $9::text[], $10::text[], $11::text[])
    AS u(key, id, cycle, rung, level, kind, wanted, target, channel)
CROSS JOIN LATERAL (
    SELECT address, destination FROM deliveries d
    WHERE d.incident_id = $1 AND d.target = u.target AND d.channel = u.channel ORDER BY d.created_at DESC LIMIT 1
) page
ON CONFLICT (key) DO NOTHING
"""

AGAIN = """
INSERT INTO deliveries (key, id, incident_id, cycle, rung, level, kind, wanted, template, by, target, channel, address,
    destination, status, created_at)
SELECT key || '/again/' || $2, $3, incident_id, cycle, rung, level, kind, 'always', template, by, target, channel,
    address, destination, 'pending', now()
FROM deliveries WHERE key = $1
ON CONFLICT (key) DO UPDATE SET key = excluded.key
RETURNING *
"""


@dataclass(frozen=True)
class MessageStore:
    pool: Pool

    async def decide(self, pages: Sequence[Delivery]) -> None:
        """Writes down the pages of one rung. Deciding the same (by key) again changes nothing."""
        first = pages[0]
        rows = [
            (d.key, uuid7(), d.target, d.channel, d.address, destination(d.channel, d.address), d.due_at)
            for d in pages
        ]  # fmt: skip
        await self.pool.execute(
            DECIDE, UUID(first.incident_id), first.cycle, first.rung, first.level, first.kind, first.wanted,
            first.template, *zip(*rows, strict=True),
        )  # fmt: skip

    async def inform(self, incident_id: str, notices: Sequence[Outgoing], by: str | None) -> None:
        """Writes notices down, to the addresses of the newest message to the same target through the same channel."""
        rows = [(n.key, uuid7(), n.cycle, n.rung, n.level, n.kind, n.wanted, n.target, n.channel) for n in notices]
        await self.pool.execute(INFORM, UUID(incident_id), by, *zip(*rows, strict=True))

    async def redeliver(self, key: str, request: str) -> Delivery:
        """The message of a delivery written down once more, under a key of its own for each request.

        Raises: NotFound.
        """
        row = await self.pool.fetchrow(AGAIN, key, request, uuid7())
        if row is None:
            raise NotFound("notification", key)
        return delivery(row)

    async def insist(self, keys: Sequence[str]) -> list[str]:
        """Messages that were called off wait to be sent again; the keys of all of them that are there."""
        rows = await self.pool.fetch(
            "UPDATE deliveries SET status = CASE WHEN status = 'cancelled' THEN 'pending' ELSE status END"
            " WHERE key = ANY($1::text[]) RETURNING key",
            list(keys),
        )
        return [row["key"] for row in rows]

    async def by_key(self, keys: Sequence[str]) -> list[Delivery]:
        rows = await self.pool.fetch("SELECT * FROM deliveries WHERE key = ANY($1::text[])", list(keys))
        return [delivery(row) for row in rows]

    async def outstanding(self, incident_id: str) -> list[Delivery]:
        """The messages of an incident that were decided and not sent, given up or cancelled."""
        rows = await self.pool.fetch(
            "SELECT * FROM deliveries WHERE incident_id = $1 AND status IN ('pending', 'sending') ORDER BY created_at",
            UUID(incident_id),
        )
        return [delivery(row) for row in rows]


def delivery(row: asyncpg.Record) -> Delivery:
    return Delivery.model_validate(dict(row.items()) | {"id": str(row["id"]), "incident_id": str(row["incident_id"])})

"""Requests that wait for an edge agent which is away."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.integrations.edge_agent import Inference
from app.store.database import Pool

PUT = """
INSERT INTO edge_queue (key, priority, payload, created_at)
SELECT $1, $2, $3, $4
WHERE (SELECT count(*) FROM edge_queue) < $5
ON CONFLICT (key) DO NOTHING
"""
TAKE = """
UPDATE edge_queue SET attempts = attempts + 1, leased_until = $2
WHERE id IN (
    SELECT id FROM edge_queue WHERE leased_until IS NULL OR leased_until <= $1
    ORDER BY priority DESC, created_at, id LIMIT $3 FOR UPDATE SKIP LOCKED
)
RETURNING id, priority, created_at, payload
"""
FAILED = """
WITH gone AS (DELETE FROM edge_queue WHERE key = $1 AND attempts >= $3 RETURNING 1)
UPDATE edge_queue SET leased_until = $2::timestamptz + make_interval(secs => least(power(2, least(attempts, 10)), 600))
WHERE key = $1 AND attempts < $3 RETURNING 1
"""


@dataclass(frozen=True)
class EdgeQueue:
    pool: Pool

    async def put(self, one: Inference, most: int, at: datetime) -> bool:
        """Keeps it, once; False: `most` wait already."""
        payload = one.model_dump(mode="json")
        async with self.pool.transaction() as connection:
            # Two at once would both count what the other has not written yet.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('edge_queue'))")
            if await connection.fetchval("SELECT 1 FROM edge_queue WHERE key = $1", one.request_id):
                return True
            kept = await connection.execute(PUT, one.request_id, int(one.priority), payload, at, most)
        return kept != "INSERT 0 0"

    async def take(self, most: int, at: datetime, lease: timedelta) -> list[Inference]:
        """The most urgent ones, the oldest first, that nobody else is sending: ours until `at + lease`."""
        rows = await self.pool.fetch(TAKE, at, at + lease, most)
        rows.sort(key=lambda row: (-row["priority"], row["created_at"], row["id"]))
        return [Inference.model_validate(row["payload"]) for row in rows]

    async def done(self, request_id: str) -> None:
        """The agent has it."""
        await self.pool.execute("DELETE FROM edge_queue WHERE key = $1", request_id)

    async def failed(self, request_id: str, at: datetime, most: int) -> bool:
        """It is tried again 2, 4, 8 … s later, 10 min at most; False: it failed `most` times, and is gone."""
        return await self.pool.fetchval(FAILED, request_id, at, most) is not None

    async def hold(self, request_ids: Sequence[str], until: datetime) -> None:
        """They are still being sent: ours until then."""
        await self.pool.execute("UPDATE edge_queue SET leased_until = $2 WHERE key = ANY($1)", list(request_ids), until)

    async def give_back(self, request_ids: Sequence[str]) -> None:
        """They were not sent, or nobody knows: others may send them at once. It doesn't count as an attempt."""
        await self.pool.execute(
            "UPDATE edge_queue SET leased_until = NULL, attempts = attempts - 1 WHERE key = ANY($1)", list(request_ids)
        )

    async def waiting(self) -> list[str]:
        """The keys of all that wait, in the order they go out."""
        rows = await self.pool.fetch("SELECT key FROM edge_queue ORDER BY priority DESC, created_at, id")
        return [row["key"] for row in rows]

"""When heartbeats pinged, and since when somebody watches them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.heartbeat import Beats
from app.store.database import Pool

UNWATCHED = timedelta(minutes=2)
"""Nobody has watched for so long: watching begins anew (chosen: six runs of the watch)."""
AHEAD = timedelta(hours=1)
"""Whoever watched last had a clock that was wrong, if it was so far ahead (chosen)."""

PING = """
INSERT INTO beats (heartbeat, since, at) VALUES ($1, $2, $2)
ON CONFLICT (heartbeat) DO UPDATE SET at = greatest(beats.at, excluded.at)
"""
AWAIT = """
INSERT INTO beats (heartbeat, since) SELECT * FROM unnest($1::text[], $2::timestamptz[]) ON CONFLICT DO NOTHING
"""
OFF = "UPDATE beats SET since = $2 WHERE heartbeat = ANY($1::text[]) AND since < $2"
# Two facts in one: the last run of the watch, and when it began anew. A clock that was far ahead is not waited for.
WATCH = """
INSERT INTO facts (name, value) VALUES ('watched', $1::timestamptz || '|' || $1::timestamptz)
ON CONFLICT (name) DO UPDATE SET value = CASE
    WHEN split_part(facts.value, '|', 1)::timestamptz - $1 > $3 THEN excluded.value
    ELSE greatest($1, split_part(facts.value, '|', 1)::timestamptz) || '|' ||
        CASE WHEN $1 - split_part(facts.value, '|', 1)::timestamptz > $2 THEN $1
             ELSE split_part(facts.value, '|', 2)::timestamptz END END
RETURNING split_part(value, '|', 2)::timestamptz
"""
WATCHED = "SELECT split_part(value, '|', 2)::timestamptz FROM facts WHERE name = 'watched'"


@dataclass(frozen=True)
class HeartbeatStore:
    pool: Pool

    async def ping(self, heartbeat: str, at: datetime) -> None:
        await self.pool.execute(PING, heartbeat, at)

    async def beats(self, heartbeat: str) -> Beats | None:
        row = await self.pool.fetchrow("SELECT since, at FROM beats WHERE heartbeat = $1", heartbeat)
        return Beats(row["since"], row["at"]) if row is not None else None

    async def awaited(self, since: Mapping[str, datetime], off: Collection[str], now: datetime) -> dict[str, Beats]:
        """The pings of these heartbeats, and of no others any more; one that is new is waited for `since` then.

        Those that are `off` are waited for from `now` on at the earliest.
        """
        async with self.pool.transaction() as connection:
            await connection.execute("DELETE FROM beats WHERE heartbeat <> ALL($1::text[])", list(since))
            await connection.execute(AWAIT, list(since), list(since.values()))
            await connection.execute(OFF, list(off), now)
            rows = await connection.fetch("SELECT heartbeat, since, at FROM beats")
        return {row["heartbeat"]: Beats(row["since"], row["at"]) for row in rows}

    async def watched(self, now: datetime) -> datetime:
        """Notes that somebody watches now; since when somebody has without a longer break."""
        since: datetime = await self.pool.fetchval(WATCH, now, UNWATCHED, AHEAD)
        return since

    async def watched_since(self, now: datetime) -> datetime:
        """Since when somebody watches; `now` where nobody ever has."""
        since: datetime | None = await self.pool.fetchval(WATCHED)
        return since or now

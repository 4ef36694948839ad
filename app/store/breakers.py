"""Circuit breakers as all processes know them: a row each, with the transitions that were made and calls counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from app.domain.breaker import Standing
from app.net.breakers import Counts
from app.store.database import Pool

FORGOTTEN = timedelta(days=30)
"""A breaker that nobody has asked for so long is of nobody's interest (chosen), unless somebody keeps it open."""
KEPT = 10_000
"""Rows, beside those that somebody keeps open: hosts and addresses may be any number (chosen)."""
MOST = 900
"""Rows that are read: those that are not closed first, then those used last (chosen: a process keeps a thousand)."""

ALL = f"SELECT * FROM breakers ORDER BY state = 'closed', used_at DESC LIMIT {MOST}"
MADE = """
INSERT INTO breakers AS b (name, state, since, until, forced, openings, changed_by, reason, version, used_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9 + 1, now())
ON CONFLICT (name) DO UPDATE SET state = excluded.state, since = excluded.since, until = excluded.until,
    forced = excluded.forced, openings = excluded.openings, changed_by = excluded.changed_by,
    reason = excluded.reason, version = {version}, used_at = now()
{guard}
RETURNING *
"""
TURN = MADE.format(version="excluded.version", guard="WHERE b.version = $9")
SET = MADE.format(version="greatest(b.version, $9) + 1", guard="")
CLEARED = "UPDATE breakers SET requests = 0, failures = 0, rejected = 0, opened = 0 WHERE name = $1 RETURNING *"
COUNT = """
INSERT INTO breakers AS b (name, requests, failures, rejected, opened, used_at)
SELECT *, now() FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) AS u ORDER BY 1
ON CONFLICT (name) DO UPDATE SET requests = b.requests + excluded.requests, failures = b.failures + excluded.failures,
    rejected = b.rejected + excluded.rejected, opened = b.opened + excluded.opened, used_at = now()
"""
"""In the order of the names: two processes that count the same breakers never wait for each other in a circle."""
FORGET = """
DELETE FROM breakers WHERE NOT forced AND (used_at < now() - $1::interval
    OR name IN (SELECT name FROM breakers WHERE NOT forced ORDER BY used_at DESC, name OFFSET $2))
"""

Row = tuple[Standing, Counts]


@dataclass(frozen=True)
class BreakerStore:
    pool: Pool

    async def all(self) -> list[Row]:
        return [_row(row) for row in await self.pool.fetch(ALL)]

    async def turn(self, made: Standing) -> bool:
        """Writes a transition that was made from its version on. False: another process was first; look anew."""
        return await self.pool.fetchval(TURN, *_values(made)) is not None

    async def set(self, made: Standing, *, cleared: bool = False) -> Row:
        """Writes what somebody has said, whatever there is; `cleared`: what was counted is forgotten."""
        async with self.pool.transaction() as connection:
            [row] = await connection.fetch(SET, *_values(made))
            if cleared:
                [row] = await connection.fetch(CLEARED, made.name)
        return _row(row)

    async def count(self, counts: Mapping[str, Counts]) -> None:
        """Adds calls that one process has made. They are lost, not doubled, when it dies before this."""
        rows = [(name, c.requests, c.failures, c.rejected, c.opened) for name, c in sorted(counts.items())]
        await self.pool.execute(COUNT, *(list(column) for column in zip(*rows, strict=True)))

    async def forget(self, most: int = KEPT) -> None:
        """Removes those that nobody uses any more, and what is too many, those used longest ago first."""
        await self.pool.execute(FORGET, FORGOTTEN, most)


def _values(made: Standing) -> Sequence[str | int | bool | datetime | None]:
    return (
        made.name, made.state, made.since, made.until, made.forced, made.openings, made.by, made.reason, made.version,
    )  # fmt: skip


def _row(row: asyncpg.Record) -> Row:
    said = {name: row[name] for name in ("name", "state", "since", "until", "forced", "openings", "reason", "version")}
    counts = Counts(row["requests"], row["failures"], row["rejected"], row["opened"])
    return Standing.model_validate(said | {"by": row["changed_by"]}), counts

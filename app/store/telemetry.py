"""Telemetry, counted: one transaction per post, and what the windows of its series hold."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg

from app.domain.detection import DAY, HOUR, SLOT, Firing, Measured, Rules, Spend, look_back
from app.domain.telemetry import OLDEST, Detector, Series, Tally, made_to_fit
from app.domain.vocabulary import Severity
from app.store.database import CONTENDED, Connection, Pool

ATTEMPTS = 5
POSTS_KEPT = timedelta(hours=24)
SERIES_KEPT = timedelta(hours=24)
"""Without a sample. Nothing looks further back."""
SPARED = 4
"""One of so many places is no session's or user's (chosen): there are always more of those."""
CLEANED_AT_ONCE = 20_000
"""Rows of a table in one go (chosen: 10,000 series make 3,400 a run of the watch)."""

SEEN = "INSERT INTO telemetry_posts (delivery, at) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING delivery"
# Sorted, as everything that locks several: two posts about the same series can't wait for each other.
SERIES = """
INSERT INTO series (id, parent, detector, signal, source, subject, service, environment, labels, first_at, last_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[], $7::text[], $8::text[],
    $9::jsonb[], $10::timestamptz[], $11::timestamptz[])
ON CONFLICT (id) DO UPDATE SET labels = excluded.labels,
    first_at = least(series.first_at, excluded.first_at), last_at = greatest(series.last_at, excluded.last_at)
"""
BUCKETS = """
INSERT INTO buckets (series, minute, total, bad, amount)
SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::float8[])
ON CONFLICT (series, minute) DO UPDATE SET
    total = buckets.total + excluded.total, bad = buckets.bad + excluded.bad, amount = buckets.amount + excluded.amount
"""
# What comes at all is looked at from the last sample on, everything else from now on. All sessions of a key are added
# up once, however many of them are asked for.
MEASURED = """
WITH windows AS (
    SELECT s.*, e.severity, e.threshold, b.*, r.span, r.least_usd,
        greatest(least($2::timestamptz - r.span - s.first_at, r.before), interval '0') AS known,
        CASE WHEN s.detector = 'no_data' AND s.last_at < $2::timestamptz AND s.first_at <= u.ago - $9::interval THEN (
            SELECT count(DISTINCT floor(extract(epoch FROM u.ago - minute) / $7::float8)) FROM buckets
            WHERE series = s.id AND minute > u.ago - $9::interval AND minute <= u.ago + $9::interval) END AS day_slots,
        s.detector <> 'errors' OR EXISTS (SELECT FROM buckets WHERE series = s.id AND total > bad) AS good
    FROM series s
    JOIN unnest($3::text[], $4::interval[], $5::interval[], $6::float8[]) AS r(detector, span, before, least_usd)
        USING (detector)
    LEFT JOIN episodes e ON e.subject = s.id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN s.detector = 'no_data' THEN s.last_at ELSE $2::timestamptz END AS until,
            $2::timestamptz - $8::interval AS ago
    ) AS u
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(total) FILTER (WHERE inside), 0)::int8 AS total,
            coalesce(sum(bad) FILTER (WHERE inside), 0)::int8 AS bad,
            coalesce(sum(amount) FILTER (WHERE inside), 0) AS amount,
            coalesce(sum(bad) FILTER (WHERE NOT inside), 0)::int8 AS before_bad,
            coalesce(sum(amount) FILTER (WHERE NOT inside), 0) AS before_amount,
            coalesce(sum(bad) FILTER (WHERE a_day_ago AND NOT inside), 0)::int8 AS day_bad,
            coalesce(sum(amount) FILTER (WHERE a_day_ago AND NOT inside), 0) AS day_amount,
            count(DISTINCT floor(extract(epoch FROM u.until - minute) / $7::float8)) FILTER (WHERE inside) AS slots
        FROM (SELECT *, minute > u.until - r.span AS inside, minute <= u.ago + r.span AS a_day_ago FROM buckets
              WHERE series = s.id AND minute > u.until - r.span - r.before AND minute <= u.until) AS counted
    ) AS b
    WHERE s.id = ANY($1::text[]) AND (e.subject IS NULL OR (e.news IS NULL AND NOT e.over))
), siblings AS (
    SELECT one.parent, count(DISTINCT one.id) AS sessions, sum(k.amount) AS spent
    FROM (SELECT DISTINCT parent, span FROM windows WHERE parent IS NOT NULL AND amount >= least_usd) AS key
    JOIN series one USING (parent) JOIN buckets k ON k.series = one.id AND k.minute > $2::timestamptz - key.span
    GROUP BY one.parent
)
SELECT w.*, coalesce(sessions - 1, 0) AS others,
    CASE WHEN sessions > 1 THEN greatest(spent - w.amount, 0) / (sessions - 1) ELSE 0 END AS others_mean
FROM windows w LEFT JOIN siblings USING (parent) ORDER BY w.id
"""
SILENT = "SELECT id FROM series WHERE detector = 'no_data' AND last_at <= $1 AND last_at > $2 ORDER BY id"
OLD_BUCKETS = """
DELETE FROM buckets WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM buckets WHERE minute < $1 ORDER BY minute LIMIT $2 FOR UPDATE SKIP LOCKED))
"""
OLD_POSTS = """
DELETE FROM telemetry_posts WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM telemetry_posts WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED))
"""
OLD_SERIES = """
DELETE FROM series WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM series s WHERE last_at < $1 AND NOT EXISTS (SELECT FROM episodes WHERE subject = s.id)
    ORDER BY last_at LIMIT $2 FOR UPDATE SKIP LOCKED))
"""


class Counted(NamedTuple):
    """The ids of the series a post counts in, in order; how many had to give way; whether it was counted before."""

    series: list[str]
    gave_way: int
    repeat: bool


@dataclass(frozen=True)
class TelemetryStore:
    """`most`: series that are kept at the same time, before new ones give way."""

    pool: Pool
    most: int

    async def count(self, delivery: str, tally: Tally, at: datetime) -> Counted:
        """Counts a post that came `at` a moment, all of it or nothing; the same delivery again counts nothing."""
        for attempt in range(ATTEMPTS):
            try:
                async with self.pool.transaction() as connection:
                    return await self._count(connection, delivery, tally, at)
            except CONTENDED:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    async def _count(self, connection: Connection, delivery: str, tally: Tally, at: datetime) -> Counted:
        if await connection.fetchval(SEEN, delivery, at) is None:
            return Counted(sorted(tally.series), 0, repeat=True)
        known = await connection.fetch("SELECT id FROM series WHERE id = ANY($1::text[])", list(tally.series))
        gave_way = 0
        if len(known) < len(tally.series):
            room = self.most - await connection.fetchval("SELECT count(*) FROM series")
            tally, gave_way = made_to_fit(tally, {row["id"] for row in known}, room, self.most // SPARED)
        ids = sorted(tally.series)
        if ids:
            rows = [_row(tally, id_, at) for id_ in ids]
            await connection.execute(SERIES, *zip(*rows, strict=True))
            buckets = [
                (id_, minute, *tally.minutes[id_][minute]) for id_ in ids for minute in sorted(tally.minutes[id_])
            ]
            await connection.execute(BUCKETS, *zip(*buckets, strict=True))
        return Counted(ids, gave_way, repeat=False)

    async def measured(
        self, ids: Collection[str], rules: Rules, now: datetime
    ) -> list[tuple[Series, Measured, Firing | None]]:
        """What the windows of these series hold, and how they fire; without those of which something is untold yet."""
        if not ids:
            return []
        kinds = [
            (
                detector, timedelta(seconds=rule.window_secs), look_back(detector, rule),
                rule.least_usd if isinstance(rule, Spend) else 0.0,
            )
            for detector, rule in rules.items()
        ]  # fmt: skip
        slot = SLOT.total_seconds()
        rows = await self.pool.fetch(MEASURED, list(ids), now, *map(list, zip(*kinds, strict=True)), slot, DAY, HOUR)
        return [_measured(row) for row in rows]

    async def silent(self, since: datetime) -> list[str]:
        """The ids of what told whether anything comes, and hasn't `since` then; not of what is silent for a day."""
        return [row["id"] for row in await self.pool.fetch(SILENT, since, since - DAY)]

    async def clean_up(self, now: datetime) -> int:
        """Forgets what is too old to matter, as much as a run may; how many rows that were."""
        done = 0
        for sql, before in ((OLD_BUCKETS, OLDEST), (OLD_POSTS, POSTS_KEPT), (OLD_SERIES, SERIES_KEPT)):
            said = await self.pool.execute(sql, now - before, CLEANED_AT_ONCE)
            done += int(said.rpartition(" ")[2])
        return done


def _row(tally: Tally, id_: str, at: datetime) -> Sequence[object]:
    one = tally.series[id_]
    return (
        id_, one.parent, one.detector, one.signal, one.source, one.subject, one.service, one.environment,
        one.labels, min(tally.minutes[id_]), at,
    )  # fmt: skip


def _measured(row: asyncpg.Record) -> tuple[Series, Measured, Firing | None]:
    series = Series(
        detector=Detector(row["detector"]), signal=row["signal"], source=row["source"], subject=row["subject"],
        service=row["service"], environment=row["environment"], labels=row["labels"],
    )  # fmt: skip
    seen = Measured(**{name: row[name] for name in Measured._fields})
    firing = Firing(Severity(row["severity"]), row["threshold"]) if row["severity"] is not None else None
    return series, seen, firing

"""Messages as they are sent: claimed before each try, and what came of them."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg

from app.config import Bundling, RateLimit
from app.domain.errors import NotFound
from app.domain.notification import Bundled, Delayed, Delivery, Receipt, recipient
from app.domain.representation import IncidentView, NotificationView
from app.domain.sla import Targets
from app.domain.vocabulary import ChannelName, DeliveryStatus
from app.store.database import AWAY, Connection, Pool
from app.store.incidents import ALL_SHOWN, as_uuid, view
from app.store.messages import delivery

BUNDLED = (ChannelName.EMAIL, ChannelName.SMS, ChannelName.SLACK, ChannelName.TEAMS, ChannelName.APPRISE)
"""Channels that people read. What machines read (webhooks, PagerDuty) comes one by one."""
NOTICES_BUNDLED = (ChannelName.EMAIL, ChannelName.SMS, ChannelName.TEAMS, ChannelName.APPRISE)
STALE = timedelta(seconds=25)
"""Of a message of which nothing was heard for so long its worker is dead (a send takes 20 s at most)."""
SOON = timedelta(seconds=1)
HELD = ""
"""`bundle` of a message that waits for its storm to be over; then it is the key of the message that stands for it."""
RECORDING_SECS = 8.0
"""How long the record of a message that was taken waits for PostgreSQL (chosen: a restart takes two seconds; with a
channel's ten it stays within the activity's own time)."""

STANDS = """
(d.wanted = 'always' OR (i.cycle = d.cycle AND (
    (d.wanted = 'open' AND i.status NOT IN ('RESOLVED', 'CLOSED')) OR i.status IN ('NEW', 'ESCALATED'))))
"""
ASK = f"""
SELECT d.*, i.severity, d.kind IN ('created', 'escalated') AS page, now() AS now,
    d.bundle <> d.key AND d.bundle <> '' AS led
FROM deliveries d JOIN incidents i ON i.id = d.incident_id
WHERE d.key = $1 AND d.status IN ('pending', 'sending') AND {STANDS}
FOR UPDATE OF d
"""
ALONE = """
SELECT pg_advisory_xact_lock(hashtext(destination)) FROM deliveries WHERE key = $1 AND channel = ANY($2::text[])
"""
LED = """
SELECT greatest(now(), delayed_until) + $3::interval FROM deliveries
WHERE key = $1 AND greatest(claimed_at, delayed_until) > now() - $2::interval
    AND (status IN ('pending', 'sending') OR (status = 'cancelled' AND delayed_until IS NULL))
"""
"""One whose own incident was taken is sent to the end: what was tried and is not delayed is in somebody's hands."""
ORPHANED = """
UPDATE deliveries SET bundle = '', status = 'pending', delayed_until = NULL
WHERE key IN (
    SELECT key FROM deliveries
    WHERE destination = $1 AND bundle = $2 AND key <> $2 AND status IN ('pending', 'sending')
    FOR UPDATE SKIP LOCKED
)
"""
STORM = """
SELECT count(*) AS sent, min(d.claimed_at) AS since FROM deliveries d JOIN incidents i ON i.id = d.incident_id
WHERE d.destination = $1 AND d.claimed_at > now() - $2::interval AND d.key <> $3
    AND (d.bundle IS NULL OR d.bundle IN (d.key, '')) AND (i.severity <= $4 OR NOT $5)
"""
"""What makes a page wait is as urgent as it is: behind whatever else came it would be found too late."""
HOLD = "UPDATE deliveries SET bundle = '', delayed_until = $2 WHERE key = $1"
FELLOWS = f"""
SELECT d.key FROM deliveries d JOIN incidents i ON i.id = d.incident_id
WHERE d.destination = $1 AND d.key <> $2 AND d.status IN ('pending', 'sending') AND d.bundle = $3
    AND (($5 AND d.kind IN ('created', 'escalated') AND i.severity <> 'P0') OR (NOT $5 AND d.kind = $4)) AND {STANDS}
ORDER BY d.created_at LIMIT 500 FOR UPDATE OF d SKIP LOCKED
"""
BUCKET = """
INSERT INTO rates AS r (channel, full_at) VALUES ($1, clock_timestamp())
ON CONFLICT (channel) DO UPDATE SET full_at = greatest(r.full_at, clock_timestamp())
RETURNING full_at, clock_timestamp() AS now
"""
"""The generic cell rate algorithm (ITU-T I.371): a limit's whole state is when its bucket is full again."""
TAKE = "UPDATE rates SET full_at = full_at + $2 WHERE channel = $1"
AHEAD = f"""
SELECT count(DISTINCT CASE WHEN d.bundle = '' THEN d.destination ELSE d.key END)
FROM deliveries d JOIN incidents i ON i.id = d.incident_id
WHERE d.channel = $1 AND d.status IN ('pending', 'sending') AND d.slot_at > now() - $2::interval AND d.key <> $3
    AND (i.severity, d.slot_at, d.key) < ($4::text, coalesce($5::timestamptz, 'infinity'), $3)
    AND NOT ($7 AND d.destination = $6 AND d.bundle IS NOT DISTINCT FROM '') AND {STANDS}
"""
"""Who waits and goes before: the more severe, then whoever has waited longer. What is held together goes as one."""
WAIT = "UPDATE deliveries SET slot_at = $2, delayed_until = $2 WHERE key = $1"
CLAIM = """
UPDATE deliveries SET status = 'sending', attempts = attempts + 1, claimed_at = clock_timestamp(),
    delayed_until = NULL, slot_at = NULL, bundle = CASE WHEN $2 THEN $3 END
WHERE key = ANY($1::text[])
RETURNING *
"""
THREAD = """
SELECT reference FROM deliveries
WHERE incident_id = $1 AND destination = $2 AND status IN ('sent', 'delivered') AND bundle IS NULL
    AND reference IS NOT NULL AND key <> $3
ORDER BY sent_at LIMIT 1
"""
SENT = """
UPDATE deliveries SET status = CASE WHEN status = 'delivered' OR $3 THEN 'delivered' ELSE 'sent' END,
    sent_at = coalesce(sent_at, now()), delivered_at = coalesce(delivered_at, CASE WHEN $3 THEN now() END),
    reference = $2, last_error = $4, delayed_until = NULL
WHERE key = $5 OR (key = ANY($1::text[]) AND status IN ('sending', 'delivered'))
"""
NOT_SENT = """
UPDATE deliveries SET
    status = CASE WHEN status = 'cancelled' THEN status WHEN $3 AND key = $5 THEN 'failed' ELSE 'pending' END,
    last_error = $2, delayed_until = now() + $4::interval
WHERE key = ANY($1::text[]) AND status NOT IN ('sent', 'delivered', 'failed')
"""
UNTRIED = """
WITH untried AS (
    UPDATE deliveries SET attempts = attempts - 1, claimed_at = CASE WHEN attempts > 1 THEN claimed_at END
    WHERE key = ANY($1::text[]) AND attempts > 0 AND status NOT IN ('sent', 'delivered', 'failed')
)
SELECT channel FROM deliveries WHERE key = $2
"""
TOGETHER = """
SELECT d.id FROM deliveries d JOIN deliveries named ON d.destination = named.destination
WHERE named.id = $1 AND (d.id = named.id OR d.bundle = named.key) ORDER BY d.created_at
"""
RECEIPT = """
UPDATE deliveries SET status = $2, last_error = coalesce($3, last_error), sent_at = coalesce(sent_at, now()),
    delivered_at = CASE WHEN $2 = 'delivered' THEN now() ELSE delivered_at END
WHERE id = $1 AND status <> $2 AND (status IN ('sent', 'delivered') OR ($2 = 'delivered' AND status = 'sending'))
RETURNING incident_id, key
"""
"""A receipt may be faster than the answer it is about."""
SHOWN_DELIVERIES = """
SELECT id, incident_id, key, kind, level, channel, target, address, status, attempts, last_error, created_at, due_at,
    delayed_until, sent_at, delivered_at,
    (SELECT id FROM deliveries leader WHERE leader.key = d.bundle AND leader.key <> d.key) AS told_by
FROM deliveries d WHERE {where} ORDER BY created_at, key
"""
WAITING = """
SELECT channel, count(*) FROM deliveries
WHERE status IN ('pending', 'sending') AND (due_at IS NULL OR due_at <= now()) GROUP BY channel
"""


class Claimed(NamedTuple):
    """A message to be sent now. `thread`: the provider's id of the first one about this incident there.

    `keys` are its own and, in a bundle, those of the messages it stands for.
    """

    keys: tuple[str, ...]
    delivery: Delivery
    incident: IncidentView
    thread: str | None
    bundled: tuple[Bundled, ...]


@dataclass(frozen=True)
class DeliveryStore:
    """Rate limits and storms hold for all processes on the same database together."""

    pool: Pool
    rate_limits: Mapping[ChannelName, RateLimit] = field(default_factory=dict)
    bundling: Bundling = field(default_factory=Bundling)
    targets: Targets = field(default_factory=Targets)

    async def claim(self, key: str) -> Claimed | Delayed | None:
        """Counts one more try of a message, before it is sent. None when it is sent already or nobody needs it.

        In a storm a message stands for all that were held for the same receiver, and they share its fate.
        """
        async with self.pool.transaction() as connection:
            await self._alone(connection, key)
            asked = await connection.fetchrow(ASK, key)
            if asked is None:
                return None
            fellows = await self._storm(connection, asked)
            if isinstance(fellows, Delayed):
                return fellows
            delayed = await self._rate(connection, asked)
            if delayed is not None:
                return delayed
            keys = [key, *fellows]
            rows = {row["key"]: row for row in await connection.fetch(CLAIM, keys, bool(fellows), key)}
            thread = await connection.fetchval(THREAD, asked["incident_id"], asked["destination"], key)
            ids = [row["incident_id"] for row in rows.values()]
            found = await connection.fetch(f"SELECT {ALL_SHOWN} FROM incidents WHERE id = ANY($1::uuid[])", ids)
        incidents = {row["id"]: view(row, self.targets) for row in found}
        others = [incidents[rows[fellow]["incident_id"]] for fellow in fellows]
        bundled = tuple(Bundled(incident_id=o.id, title=o.title, severity=o.severity) for o in others)
        return Claimed(tuple(keys), delivery(rows[key]), incidents[asked["incident_id"]], thread, bundled)

    async def _alone(self, connection: Connection, key: str) -> None:
        """One at a time for what may be bundled, before any row is locked: the others must be free to be taken."""
        if self.bundling.enabled:
            await connection.execute(ALONE, key, [*BUNDLED])

    async def _storm(self, connection: Connection, asked: asyncpg.Record) -> list[str] | Delayed:
        """The messages that this one takes along, or how long it waits for that."""
        key, bundle, channel = asked["key"], asked["bundle"], asked["channel"]
        if asked["led"]:
            until = await connection.fetchval(LED, bundle, STALE, SOON)
            if until is not None:
                return _delayed(until, asked["now"], "another message tells of it")
            await connection.execute(ORPHANED, asked["destination"], bundle)
        kinds = BUNDLED if asked["page"] else NOTICES_BUNDLED
        if not self.bundling.enabled or channel not in kinds or asked["kind"] == "updated":
            return []
        if asked["page"] and asked["severity"] == "P0":
            return []
        window = timedelta(seconds=self.bundling.window_secs)
        storm = await connection.fetchrow(
            STORM, asked["destination"], window, key, asked["severity"], asked["page"]
        )  # fmt: skip
        if bundle is None and not asked["attempts"] and storm is not None and storm["sent"] >= self.bundling.after:
            until = storm["since"] + window
            await connection.execute(HOLD, key, until)
            return _delayed(until, asked["now"], "many at once")
        if bundle is None:
            return []
        if asked["delayed_until"] is not None and asked["delayed_until"] > asked["now"] and bundle == HELD:
            return _delayed(asked["delayed_until"], asked["now"], "many at once")
        # What is tried again is tried as it was: under the same key it must not say more than the first time.
        mine = key if bundle == key else HELD
        found = await connection.fetch(FELLOWS, asked["destination"], key, mine, asked["kind"], asked["page"])
        return [row["key"] for row in found]

    async def _rate(self, connection: Connection, asked: asyncpg.Record) -> Delayed | None:
        """Takes a token of the channel's bucket, or a place in the queue for one. P0 never queues, but counts."""
        key, channel, severity = asked["key"], asked["channel"], asked["severity"]
        limit = self.rate_limits.get(ChannelName(channel))
        if limit is None:
            return None
        every = timedelta(minutes=1 / limit.requests_per_minute)
        [bucket] = await connection.fetch(BUCKET, channel)
        ahead = await connection.fetchval(
            AHEAD, channel, STALE, key, severity, asked["slot_at"], asked["destination"], asked["bundle"] == HELD
        )
        slot = bucket["full_at"] + every * (ahead + 1 - limit.burst)
        if slot <= bucket["now"] or (asked["page"] and severity == "P0"):
            await connection.execute(TAKE, channel, every)
            return None
        await connection.execute(WAIT, key, slot)
        return _delayed(slot, bucket["now"], f"{channel} is at its rate limit")

    async def end(self, key: str) -> tuple[DeliveryStatus, str | None]:
        """Where a message stands, and why it failed if it did."""
        found = await self.pool.fetchrow("SELECT status, last_error FROM deliveries WHERE key = $1", key)
        return (DeliveryStatus(found["status"]), found["last_error"]) if found else (DeliveryStatus.CANCELLED, None)

    async def sent(self, keys: Sequence[str], receipt: Receipt, problem: str | None = None) -> None:
        """Notes that a message was taken, and tries that for `RECORDING_SECS`: what is not noted is sent again."""
        async with asyncio.timeout(RECORDING_SECS):
            while True:
                try:
                    await self.pool.execute(SENT, keys, receipt.reference, receipt.delivered, problem, keys[0])
                except (*AWAY, asyncpg.DeadlockDetectedError):
                    await asyncio.sleep(0.2)
                else:
                    return

    async def not_sent(
        self, keys: Sequence[str], error: str, again_after: timedelta | None, *, tried: bool = True
    ) -> None:
        """A try failed: it will be tried again after a while, or never; then another tells of those it stood for.

        Where nobody was asked, it was not `tried`: it doesn't count, neither as a try nor for the rate limit.
        """
        said = (NOT_SENT, keys, error[:1000], again_after is None, again_after, keys[0])
        if tried:
            await self.pool.execute(*said)
            return
        async with self.pool.transaction() as connection:
            await connection.execute(*said)
            channel = await connection.fetchval(UNTRIED, keys, keys[0])
            limit = self.rate_limits.get(ChannelName(channel)) if channel else None
            if limit is not None:
                await connection.execute(TAKE, channel, -timedelta(minutes=1 / limit.requests_per_minute))

    async def together(self, notification_id: str) -> list[str]:
        """The ids of the messages that share this one's fate, its own included: one, unless it stands for others."""
        return [str(row["id"]) for row in await self.pool.fetch(TOGETHER, as_uuid(notification_id))]

    @asynccontextmanager
    async def receipt(
        self, notification_id: str, status: DeliveryStatus, reason: str | None
    ) -> AsyncIterator[tuple[str, str] | None]:
        """What a provider says later, noted when this is left without an error; the incident's id and the key.

        None when it was known, or says nothing about a message that isn't sent.
        """
        async with self.pool.transaction() as connection:
            row = await connection.fetchrow(RECEIPT, as_uuid(notification_id), status, reason)
            yield (str(row["incident_id"]), row["key"]) if row else None

    async def waiting(self) -> dict[str, int]:
        """How many messages are due or in hand, by channel."""
        rows = await self.pool.fetch(WAITING)
        return {row["channel"]: row["count"] for row in rows}

    async def get(self, notification_id: str) -> NotificationView:
        """Raises: NotFound."""
        rows = await self.pool.fetch(SHOWN_DELIVERIES.format(where="id = $1"), as_uuid(notification_id))
        if not rows:
            raise NotFound("notification", notification_id)
        return delivery_views(rows)[0]

    async def of_incident(self, incident_id: str) -> list[NotificationView]:
        where = SHOWN_DELIVERIES.format(where="incident_id = $1")
        return delivery_views(await self.pool.fetch(where, as_uuid(incident_id)))


def _delayed(until: datetime, now: datetime, reason: str) -> Delayed:
    return Delayed(until=until, secs=max((until - now).total_seconds(), 0.05), reason=reason)


def delivery_views(rows: Sequence[asyncpg.Record]) -> list[NotificationView]:
    return [
        NotificationView.model_validate(
            dict(row.items())
            | {
                "id": str(row["id"]),
                "incident_id": str(row["incident_id"]),
                "told_by": str(row["told_by"]) if row["told_by"] else None,
                "idempotency_key": row["key"],
                "recipient": recipient(ChannelName(row["channel"]), row["address"]),
            }
        )
        for row in rows
    ]

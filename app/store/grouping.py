"""Joining groups and changing them: one change at a time, so that no incident is ever in two."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
from uuid_utils import uuid7

from app.domain.correlation import Rules, Score
from app.domain.errors import NotFound
from app.domain.grouping import Grouped, Joining, Place, coming_along, joining
from app.domain.taxonomy import OUTAGE, PROVIDER_LABELS
from app.store.database import Connection, Pool

LOOKED_THROUGH = 1000
"""Incidents nearest in time, before and after each, of which the candidates are chosen."""
CANDIDATES = 100
CROWDS = 50
EDGES_KEPT = 5
OUTAGES = 100
SYMPTOMS = 200
NOBODY = UUID(int=0)

SEEN = """
i.id::text, i.created_at AS at, i.source, i.incident_type AS type, i.environment, i.affected_services AS services,
i.title, left(i.description, 2000) AS description, i.tags
"""
IN_A_GROUP = f"""
SELECT {SEEN}, i.severity, c.incident_class, m.group_id::text, m.overflow, g.lead_id::text, g.size
FROM incidents i LEFT JOIN classifications c ON c.incident_id = i.id
LEFT JOIN incident_members m ON m.incident_id = i.id LEFT JOIN incident_groups g ON g.id = m.group_id
"""
HERE = f"{IN_A_GROUP} WHERE i.id = $1"
_CALLED = " || ".join(f"ARRAY[i.tags->>'{label}']" for label in PROVIDER_LABELS)
PROVIDER_IS = f"""
EXISTS (SELECT FROM unnest({_CALLED}) AS name WHERE regexp_replace(lower(name), '[^a-z0-9]', '', 'g') = ANY($2::text[]))
"""
# As urgent as whoever would be paged for it: its group's lead, where that is open.
OUT = f"""
SELECT i.id::text, i.created_at AS at, i.environment, i.tags, coalesce(l.severity, i.severity) AS severity
FROM incidents i LEFT JOIN incident_members m ON m.incident_id = i.id LEFT JOIN incident_groups g ON g.id = m.group_id
LEFT JOIN incidents l ON l.id = g.lead_id AND l.status NOT IN ('RESOLVED', 'CLOSED')
WHERE i.tags->>'class' = '{OUTAGE}' AND i.status NOT IN ('RESOLVED', 'CLOSED') AND i.id <> $1 AND {PROVIDER_IS}
ORDER BY i.created_at, i.id LIMIT {OUTAGES}
"""
SUFFERING = f"""
WITH near AS (
    (SELECT id FROM incidents WHERE status NOT IN ('RESOLVED', 'CLOSED')
     AND created_at <= $3 AND created_at >= $3 - $4::interval ORDER BY created_at DESC, id DESC LIMIT {LOOKED_THROUGH})
    UNION ALL
    (SELECT id FROM incidents WHERE status NOT IN ('RESOLVED', 'CLOSED')
     AND created_at > $3 AND created_at <= $3 + $4::interval ORDER BY created_at, id LIMIT {LOOKED_THROUGH})
)
{IN_A_GROUP} JOIN near n ON n.id = i.id WHERE i.id <> $1 AND {PROVIDER_IS} LIMIT {SYMPTOMS}
"""
LEADS = "UPDATE incident_groups SET lead_id = $2 WHERE id = $1 AND NOT manual"
# Of a full group only those count that others may join by; and time goes by since the group was last joined.
AROUND = f"""
WITH near AS (
    (SELECT id, created_at, affected_services FROM incidents WHERE status NOT IN ('RESOLVED', 'CLOSED')
     AND created_at <= $2 AND created_at >= $2 - $3::interval ORDER BY created_at DESC, id DESC LIMIT {LOOKED_THROUGH})
    UNION ALL
    (SELECT id, created_at, affected_services FROM incidents WHERE status NOT IN ('RESOLVED', 'CLOSED')
     AND created_at > $2 AND created_at <= $2 + $3::interval ORDER BY created_at, id LIMIT {LOOKED_THROUGH})
), crowds AS (
    SELECT g.id, g.updated_at FROM incident_groups g
    WHERE g.status <> 'resolved' AND g.updated_at >= $2 - $3::interval AND EXISTS (
        SELECT 1 FROM incident_members m JOIN incidents i ON i.id = m.incident_id
        WHERE m.group_id = g.id AND i.status NOT IN ('RESOLVED', 'CLOSED'))
    ORDER BY g.updated_at DESC LIMIT {CROWDS}
), known AS (
    SELECT n.id, n.affected_services, n.created_at AS until FROM near n
    WHERE NOT EXISTS (SELECT 1 FROM incident_members m WHERE m.incident_id = n.id)
    UNION ALL
    SELECT i.id, i.affected_services, greatest(i.created_at, c.updated_at)
    FROM crowds c JOIN incident_members m ON m.group_id = c.id AND NOT m.overflow
    JOIN incidents i ON i.id = m.incident_id
), chosen AS (
    SELECT id, until FROM known WHERE id <> $1
    ORDER BY affected_services && $4::text[] DESC, abs(extract(epoch FROM until - $2)) LIMIT {CANDIDATES}
)
SELECT {SEEN}, c.until FROM chosen c JOIN incidents i ON i.id = c.id
"""
PLACES = """
WITH them AS (
    SELECT m.incident_id, m.group_id, m.overflow, g.status FROM incident_members m
    JOIN incident_groups g ON g.id = m.group_id WHERE m.incident_id = ANY($1::uuid[])
)
SELECT incident_id::text, group_id::text, overflow, status FROM them
UNION
SELECT m.incident_id::text, m.group_id::text, m.overflow, 'active' FROM incident_members m
WHERE NOT m.overflow AND m.group_id IN (SELECT group_id FROM them WHERE status <> 'resolved')
"""
PARTED = "SELECT a::text, b::text FROM incident_edges WHERE score = 0 AND a = ANY($1::uuid[]) AND b = ANY($1::uuid[])"
FOUND = """
INSERT INTO incident_groups (id, status, lead_id, manual, reason, created_at, created_by, updated_at)
VALUES ($1, 'active', $2, $3, $4, $5, $6, $7)
"""
ENTER = """
INSERT INTO incident_members (incident_id, group_id, joined_at, overflow, score, reasons)
SELECT u.id, $1, $2, u.overflow, u.score, u.reasons
FROM jsonb_to_recordset($3::jsonb) AS u(id uuid, overflow bool, score float8, reasons jsonb)
ON CONFLICT (incident_id) DO UPDATE SET group_id = excluded.group_id, joined_at = excluded.joined_at,
    overflow = excluded.overflow, score = excluded.score, reasons = excluded.reasons
"""
LINK = """
INSERT INTO incident_edges (a, b, score, reasons, at)
SELECT least($1::uuid, u.id), greatest($1::uuid, u.id), u.score, u.reasons, $2
FROM jsonb_to_recordset($3::jsonb) AS u(id uuid, score float8, reasons jsonb) ON CONFLICT (a, b) DO NOTHING
"""
# The lead stays while it is open; then it is the most severe of those that are, the oldest of equals.
SETTLE = """
UPDATE incident_groups g SET
    size = (SELECT count(*) FROM incident_members m WHERE m.group_id = g.id),
    lead_id = coalesce(
        (SELECT i.id FROM incident_members m JOIN incidents i ON i.id = m.incident_id
         WHERE m.incident_id = g.lead_id AND m.group_id = g.id AND i.status NOT IN ('RESOLVED', 'CLOSED')),
        (SELECT i.id FROM incident_members m JOIN incidents i ON i.id = m.incident_id
         WHERE m.group_id = g.id AND i.status NOT IN ('RESOLVED', 'CLOSED')
         ORDER BY i.severity, i.created_at, i.id LIMIT 1),
        (SELECT i.id FROM incident_members m JOIN incidents i ON i.id = m.incident_id
         WHERE m.group_id = g.id ORDER BY i.id <> g.lead_id, i.severity, i.created_at, i.id LIMIT 1)),
    updated_at = greatest(g.updated_at, $2, (SELECT max(created_at) FROM incidents WHERE id = ANY($3::uuid[])))
WHERE g.id = $1 RETURNING lead_id, size
"""
MOVE = "UPDATE incident_members SET group_id = $1 WHERE group_id = ANY($2::uuid[]) RETURNING incident_id"
LOOK_AGAIN = """
INSERT INTO outbox (rank, incident_id)
SELECT substr(severity, 2)::smallint, id FROM incidents
WHERE id = ANY($1::uuid[]) AND status NOT IN ('RESOLVED', 'CLOSED')
"""


@dataclass(frozen=True)
class GroupStore:
    """`turn`: of one process only one joining waits for its turn in PostgreSQL, and so takes up a connection."""

    pool: Pool
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def incident(self, incident_id: str) -> asyncpg.Record:
        """An incident as correlation sees it, with its group and that group's lead. Raises: NotFound."""
        found = await self.pool.fetchrow(HERE, UUID(incident_id))
        if found is None:
            raise NotFound("incident", incident_id)
        return found

    async def around(
        self, incident_id: str, at: datetime, window: timedelta, services: Collection[str]
    ) -> list[asyncpg.Record]:
        """At most `CANDIDATES` of the incidents open around a moment, those that affect one of the services first."""
        return await self.pool.fetch(AROUND, UUID(incident_id), at, window, sorted(services))

    async def outages(self, incident_id: str, providers: Collection[str]) -> list[asyncpg.Record]:
        """The other outages that are open of a provider, by any of its spellings, the oldest first."""
        return await self.pool.fetch(OUT, UUID(incident_id), list(providers))

    async def suffering(
        self, incident_id: str, providers: Collection[str], at: datetime, window: timedelta
    ) -> list[asyncpg.Record]:
        """At most `SYMPTOMS` of the incidents open around a moment that name a provider, by any of its spellings."""
        return await self.pool.fetch(SUFFERING, UUID(incident_id), list(providers), at, window)

    async def come_along(
        self, incident_id: str, came_at: datetime, outages: Mapping[str, Score], at: datetime
    ) -> Grouped | None:
        """The group of an outage that explains an incident, which has come to it; None where it can't. Twice is once.

        `came_at` is when the outage came: its group is not joined anew, and so no closer to what is about to happen.
        """
        async with self.turn, changing(self.pool) as connection:
            places, parted = await _standing(connection, incident_id, outages)
            if incident_id not in places:
                return None
            ask = coming_along(incident_id, outages, places.values(), parted)
            return await _joined(connection, incident_id, came_at, ask, outages, at) if ask else None

    async def join(
        self, incident_id: str, came_at: datetime, scores: Mapping[str, Score], rules: Rules, at: datetime,
        *, leading: Collection[str] = (),
    ) -> Grouped | None:  # fmt: skip
        """The group an incident that came at a moment is in after it has joined those it belongs to. Twice is once.

        Whoever is led by another one from now on is told to look again; the incident itself is about to. It takes the
        lead of a group that is new or led by one of `leading`.
        """
        async with self.turn, changing(self.pool) as connection:
            places, parted = await _standing(connection, incident_id, scores)
            if incident_id not in places:
                return None
            known = {id_: score for id_, score in scores.items() if id_ in places}
            ask = joining(incident_id, known, places.values(), parted, rules)
            if ask is None:
                return None
            return await _joined(connection, incident_id, came_at, ask, scores, at, leading)


@asynccontextmanager
async def changing(pool: Pool) -> AsyncIterator[Connection]:
    """A transaction in which nobody else changes groups."""
    async with pool.transaction() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('incident_groups'))")
        yield connection


async def _standing(
    connection: Connection, incident_id: str, others: Collection[str]
) -> tuple[dict[str, Place], list[frozenset[str]]]:
    """Where the incident and the others stand, without those whose group is over, and who was taken apart."""
    ids = [UUID(id_) for id_ in (incident_id, *others)]
    rows = await connection.fetch(PLACES, ids)
    over = {row["incident_id"] for row in rows if row["status"] == "resolved"}
    places = {id_: Place(incident_id=id_) for id_ in (incident_id, *others) if id_ not in over}
    for row in rows:
        if row["incident_id"] not in over:
            places[row["incident_id"]] = Place.model_validate(dict(row.items()))
    parted = await connection.fetch(PARTED, [UUID(id_) for id_ in places])
    return places, [frozenset((row["a"], row["b"])) for row in parted]


async def _joined(
    connection: Connection, incident_id: str, came_at: datetime, ask: Joining, scores: Mapping[str, Score],
    at: datetime, leading: Collection[str] = (),
) -> Grouped:  # fmt: skip
    id_ = UUID(ask.group_id) if ask.group_id else UUID(str(uuid7()))
    before = await connection.fetchrow("SELECT lead_id, size FROM incident_groups WHERE id = $1", id_)
    if not ask.changes and before is not None:
        return Grouped(group_id=str(id_), lead_id=str(before["lead_id"]), size=before["size"])
    if before is None:
        await connection.execute(FOUND, id_, NOBODY, False, None, at, None, came_at)
    best = max(scores.values(), key=lambda score: score.value)
    entering = [(UUID(id_), id_ in ask.overflow, scores.get(id_, best)) for id_ in (*ask.joins, *ask.overflow)]
    await enter(connection, id_, entering, at)
    moved = await absorb(connection, id_, [UUID(other) for other in ask.absorbs])
    linked = sorted(((UUID(other), score) for other, score in scores.items()), key=lambda found: -found[1].value)
    await link(connection, UUID(incident_id), linked[:EDGES_KEPT], at)
    if leading and (before is None or str(before["lead_id"]) in leading):
        await connection.execute(LEADS, id_, UUID(incident_id))
    touched = ({other for other, _, _ in entering} | moved) - {UUID(incident_id)}
    lead, size = await settle(connection, id_, before["lead_id"] if before else None, touched, came_at)
    joined = before is not None and incident_id in (*ask.joins, *ask.overflow)
    return Grouped(group_id=str(id_), lead_id=str(lead), joined=joined, founded=before is None, size=size)


async def enter(
    connection: Connection, group_id: UUID, members: Sequence[tuple[UUID, bool, Score]], at: datetime
) -> None:
    """Puts incidents into a group: their ids, whether they only come along, and how strongly they belong."""
    rows = [_row(id_, score) | {"overflow": overflow} for id_, overflow, score in members]
    await connection.execute(ENTER, group_id, at, rows)


async def link(connection: Connection, one: UUID, others: Sequence[tuple[UUID, Score]], at: datetime) -> None:
    """Remembers why an incident belongs with others."""
    await connection.execute(LINK, one, at, [_row(id_, score) for id_, score in others])


def _row(id_: UUID, score: Score) -> dict[str, object]:
    return {"id": str(id_), "score": score.value, "reasons": [r.model_dump(mode="json") for r in score.reasons]}


async def absorb(connection: Connection, group_id: UUID, others: Sequence[UUID]) -> set[UUID]:
    """Everybody from the other groups moves to this one; who that was."""
    moved = await connection.fetch(MOVE, group_id, others) if others else []
    await connection.execute("DELETE FROM incident_groups WHERE id = ANY($1::uuid[])", list(others))
    return {row["incident_id"] for row in moved}


async def settle(
    connection: Connection, group_id: UUID, lead: UUID | None, touched: Collection[UUID], at: datetime
) -> tuple[UUID, int]:
    """A group's lead and size after a change `at` a moment. Everybody whose lead isn't `lead` any more looks again."""
    [row] = await connection.fetch(SETTLE, group_id, at, list(touched))
    again = set(touched)
    if lead is not None and row["lead_id"] != lead:
        members = await connection.fetch("SELECT incident_id FROM incident_members WHERE group_id = $1", group_id)
        again |= {member["incident_id"] for member in members}
    await connection.execute(LOOK_AGAIN, list(again))
    return row["lead_id"], row["size"]

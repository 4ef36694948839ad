"""Groups as people change them. Whoever is led by somebody else afterwards, or by nobody, is told to look again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
from uuid_utils import uuid7

from app.domain.correlation import Reason, Score, Strategy
from app.domain.errors import Conflict, Invalid, NotFound
from app.domain.vocabulary import Status
from app.store.correlations import group_uuid
from app.store.database import Connection, Pool
from app.store.grouping import FOUND, LOOK_AGAIN, NOBODY, absorb, changing, enter, settle
from app.store.incidents import as_uuid

SMALLEST = 2
GROUP = "SELECT lead_id, status FROM incident_groups WHERE id = $1"
STANDING = """
SELECT i.id, i.status, g.id AS group_id, g.status = 'resolved' AS over
FROM incidents i LEFT JOIN incident_members m ON m.incident_id = i.id LEFT JOIN incident_groups g ON g.id = m.group_id
WHERE i.id = ANY($1::uuid[])
"""
MEMBERS = "SELECT incident_id FROM incident_members WHERE group_id = $1"
LEAVE = "DELETE FROM incident_members WHERE group_id = $1 AND incident_id = ANY($2::uuid[])"
# What people say of two incidents stands, whatever was found.
SAY = """
INSERT INTO incident_edges (a, b, score, reasons, at)
SELECT least(x.id, y.id), greatest(x.id, y.id), $3, $4, $5
FROM unnest($1::uuid[]) AS x(id), unnest($2::uuid[]) AS y(id) WHERE x.id <> y.id
ON CONFLICT (a, b) DO UPDATE SET score = excluded.score, reasons = excluded.reasons, at = excluded.at
"""
PART_FOUND = """
UPDATE incident_edges SET score = 0, reasons = $3, at = $4
WHERE score > 0 AND ((a = ANY($1::uuid[]) AND b = ANY($2::uuid[])) OR (b = ANY($1::uuid[]) AND a = ANY($2::uuid[])))
"""


@dataclass(frozen=True)
class RegroupStore:
    pool: Pool

    async def gather(self, incident_ids: Sequence[str], by: str, reason: str, at: datetime) -> str:
        """Puts incidents into one group, that which one of them is in or a new one; its id.

        Raises: NotFound, Conflict when they are in several groups.
        """
        async with changing(self.pool) as connection:
            rows = await _found(connection, incident_ids)
            groups = {row["group_id"] for row in rows if row["group_id"] is not None and not row["over"]}
            if len(groups) > 1:
                raise Conflict(
                    f"These incidents are in {len(groups)} groups: merge those, or split some of them off first.",
                    {"groups": sorted(map(str, groups))},
                )
            [id_] = groups or {UUID(str(uuid7()))}
            coming = [row for row in rows if row["group_id"] != id_]
            before = await connection.fetchrow(GROUP, id_)
            if before is None:
                await connection.execute(FOUND, id_, NOBODY, True, reason, at, by, at)
            elif not coming:
                return str(id_)
            said = _said(1, f"grouped by {by}: {reason}" if reason else f"grouped by {by}")
            await enter(connection, id_, [(row["id"], False, said) for row in coming], at)
            for old in {row["group_id"] for row in coming if row["group_id"] is not None}:
                await _shrunk(connection, old, None, (), at)
            ids = [row["id"] for row in coming]
            lead, _ = await settle(connection, id_, before["lead_id"] if before else None, ids, at)
            await connection.execute(SAY, [lead], ids, said.value, _reasons(said), at)
            return str(id_)

    async def merge(self, group_id: str, others: Sequence[str], at: datetime) -> None:
        """The other groups go up in this one, which keeps its lead. Raises: NotFound, Conflict when one is over."""
        async with changing(self.pool) as connection:
            id_ = group_uuid(group_id)
            lead = await _lead(connection, group_id)
            for other in others:
                await _lead(connection, other)
            moved = await absorb(connection, id_, [group_uuid(other) for other in others])
            await settle(connection, id_, lead, moved, at)

    async def split(
        self, group_id: str, incident_ids: Sequence[str], *, together: bool, by: str, reason: str, at: datetime
    ) -> str | None:
        """Takes members out for good: into a group of their own, whose id is returned, or each by itself.

        Raises: NotFound, Conflict when the group is over, Invalid when one is no member.
        """
        async with changing(self.pool) as connection:
            id_, lead = group_uuid(group_id), await _lead(connection, group_id)
            members = {row["incident_id"] for row in await connection.fetch(MEMBERS, id_)}
            leaving = [as_uuid(incident_id) for incident_id in incident_ids]
            for n, one in enumerate(leaving):
                if one not in members:
                    raise Invalid.field(f"incident_ids[{n}]", f"{one} is not a member of the group {group_id}")
            await connection.execute(LEAVE, id_, leaving)
            said = _said(0, f"taken apart by {by}: {reason}" if reason else f"taken apart by {by}")
            staying = list(members.difference(leaving))
            await connection.execute(PART_FOUND, leaving, staying, _reasons(said), at)
            left = await _shrunk(connection, id_, lead, leaving, at)
            await connection.execute(SAY, [left] if left else staying[:1], leaving, said.value, _reasons(said), at)
            if not together:
                return None
            new = UUID(str(uuid7()))
            await connection.execute(FOUND, new, NOBODY, True, reason, at, by, at)
            joined = _said(1, f"split off together by {by}")
            await enter(connection, new, [(one, False, joined) for one in leaving], at)
            await settle(connection, new, None, (), at)
            return str(new)

    async def resolve(self, group_id: str, at: datetime) -> list[str]:
        """The group is over: nobody is led by anybody any more; its members. Twice is once. Raises: NotFound."""
        async with changing(self.pool) as connection:
            id_ = group_uuid(group_id)
            if await connection.fetchrow(GROUP, id_) is None:
                raise NotFound("group", group_id)
            await connection.execute(
                "UPDATE incident_groups SET status = 'resolved', resolved_at = coalesce(resolved_at, $2) WHERE id = $1",
                id_, at,
            )  # fmt: skip
            members = [row["incident_id"] for row in await connection.fetch(MEMBERS, id_)]
            await connection.execute(LOOK_AGAIN, members)
            return [str(member) for member in members]

    async def dissolve(self, group_id: str, by: str, at: datetime) -> None:
        """The group is gone, and what its members were found to have in common counts no more. Raises: NotFound."""
        async with changing(self.pool) as connection:
            id_ = group_uuid(group_id)
            if await connection.fetchrow(GROUP, id_) is None:
                raise NotFound("group", group_id)
            members = [row["incident_id"] for row in await connection.fetch(MEMBERS, id_)]
            await connection.execute(PART_FOUND, members, members, _reasons(_said(0, f"taken apart by {by}")), at)
            await _gone(connection, id_, ())

    async def follow(self, group_id: str, incident_id: str, at: datetime) -> None:
        """Another member leads the group. Raises: NotFound, Conflict (the group or the incident is over), Invalid."""
        async with changing(self.pool) as connection:
            id_, before = group_uuid(group_id), await _lead(connection, group_id)
            [row] = await _found(connection, [incident_id])
            if row["group_id"] != id_:
                raise Invalid.field("incident_id", f"must be a member of the group {group_id}")
            if not Status(row["status"]).open:
                raise Conflict(f"The incident {incident_id} is {row['status']}: nobody can be led by it.")
            await connection.execute("UPDATE incident_groups SET lead_id = $2 WHERE id = $1", id_, row["id"])
            if row["id"] != before:
                members = await connection.fetch(MEMBERS, id_)
                await connection.execute(LOOK_AGAIN, [member["incident_id"] for member in members])


async def _lead(connection: Connection, group_id: str) -> UUID:
    """Raises: NotFound, Conflict when the group is over."""
    row = await connection.fetchrow(GROUP, group_uuid(group_id))
    if row is None:
        raise NotFound("group", group_id)
    if row["status"] == "resolved":
        raise Conflict(f"The group {group_id} is resolved; what is over is not changed any more.")
    return UUID(str(row["lead_id"]))


async def _found(connection: Connection, incident_ids: Sequence[str]) -> list[asyncpg.Record]:
    """Where incidents stand, in their order. Raises: NotFound."""
    rows = {row["id"]: row for row in await connection.fetch(STANDING, [as_uuid(id_) for id_ in incident_ids])}
    for incident_id in incident_ids:
        if as_uuid(incident_id) not in rows:
            raise NotFound("incident", incident_id)
    return [rows[as_uuid(incident_id)] for incident_id in incident_ids]


async def _shrunk(
    connection: Connection, group_id: UUID, lead: UUID | None, left: Collection[UUID], at: datetime
) -> UUID | None:
    """A group that some have left: its lead, None when it has become too small to be one and is gone."""
    if len(await connection.fetch(f"{MEMBERS} LIMIT {SMALLEST}", group_id)) < SMALLEST:
        await _gone(connection, group_id, left)
        return None
    before = await connection.fetchval("SELECT updated_at FROM incident_groups WHERE id = $1", group_id)
    return (await settle(connection, group_id, lead, left, before or at))[0]


async def _gone(connection: Connection, group_id: UUID, left: Collection[UUID]) -> None:
    members = [row["incident_id"] for row in await connection.fetch(MEMBERS, group_id)]
    await connection.execute("DELETE FROM incident_members WHERE group_id = $1", group_id)
    await connection.execute("DELETE FROM incident_groups WHERE id = $1", group_id)
    await connection.execute(LOOK_AGAIN, [*members, *left])


def _said(value: float, said: str) -> Score:
    return Score(value=value, reasons=(Reason(strategy=Strategy.MANUAL, evidence=value, said=said),))


def _reasons(score: Score) -> list[dict[str, object]]:
    return [reason.model_dump(mode="json") for reason in score.reasons]

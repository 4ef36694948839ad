"""Groups as they are read: lists, members, the graph of who belongs with whom, and figures."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from app.domain.errors import NotFound
from app.domain.grouping import (
    STABLE_AFTER,
    CorrelationStats,
    EdgeView,
    GroupPage,
    GroupQuery,
    GroupStatus,
    GroupView,
    MemberView,
    standing,
)
from app.store.database import Pool
from app.store.incidents import as_uuid
from app.store.search import Clause

MEMBERS_SHOWN = 500

OPEN = """
EXISTS (SELECT 1 FROM incident_members m JOIN incidents i ON i.id = m.incident_id
        WHERE m.group_id = g.id AND i.status NOT IN ('RESOLVED', 'CLOSED'))
"""
STATUS = {
    GroupStatus.RESOLVED: f"(g.status = 'resolved' OR NOT {OPEN})",
    GroupStatus.STABLE: f"(g.status <> 'resolved' AND g.updated_at <= {{0}} AND {OPEN})",
    GroupStatus.ACTIVE: f"(g.status <> 'resolved' AND g.updated_at > {{0}} AND {OPEN})",
}
"""`standing` as conditions; {0} is the moment before which groups have become stable."""
SHOWN = """
g.id::text, g.status, g.lead_id::text, l.title, g.manual, g.reason, g.size, g.created_at, g.created_by, g.updated_at,
(SELECT count(*) FROM incident_members m JOIN incidents i ON i.id = m.incident_id
 WHERE m.group_id = g.id AND i.status NOT IN ('RESOLVED', 'CLOSED')) AS open_members,
(SELECT min(i.severity) FROM incident_members m JOIN incidents i ON i.id = m.incident_id
 WHERE m.group_id = g.id) AS severity,
(SELECT avg(m.score) FROM incident_members m WHERE m.group_id = g.id) AS correlation_score,
ARRAY(SELECT DISTINCT r->>'strategy' FROM incident_members m, jsonb_array_elements(m.reasons) AS r
      WHERE m.group_id = g.id AND NOT m.overflow ORDER BY 1) AS correlation_types,
CASE WHEN g.status = 'resolved' THEN g.resolved_at ELSE
    (SELECT max(coalesce(i.closed_at, i.resolved_at)) FROM incident_members m JOIN incidents i ON i.id = m.incident_id
     WHERE m.group_id = g.id) END AS over_at
"""
ONE = f"SELECT {SHOWN} FROM incident_groups g LEFT JOIN incidents l ON l.id = g.lead_id WHERE g.id = $1"
OF_INCIDENT = "SELECT group_id FROM incident_members WHERE incident_id = $1"
MEMBERS = """
SELECT i.id::text AS incident_id, i.title, i.severity, i.status, i.source, i.affected_services AS affected_resources,
       i.created_at, m.joined_at, m.overflow, m.score, m.reasons, i.id = g.lead_id AS lead
FROM incident_members m JOIN incidents i ON i.id = m.incident_id JOIN incident_groups g ON g.id = m.group_id
WHERE m.group_id = $1 ORDER BY lead DESC, m.overflow, i.created_at, i.id LIMIT $2
"""
WITHIN = """
SELECT e.a::text AS source, e.b::text AS target, e.score, e.reasons, e.at FROM incident_edges e
WHERE e.score > 0 AND e.a = ANY($1::uuid[]) AND e.b = ANY($1::uuid[]) ORDER BY e.a, e.b
"""
AT = """
SELECT a::text AS source, b::text AS target, score, reasons, at FROM incident_edges
WHERE a = $1 OR b = $1 ORDER BY score DESC, at
"""
STATS = f"""
SELECT count(*) AS groups,
    count(*) FILTER (WHERE status = 'resolved' OR NOT open) AS resolved,
    count(*) FILTER (WHERE status <> 'resolved' AND open AND updated_at <= $1) AS stable,
    count(*) FILTER (WHERE status <> 'resolved' AND open AND updated_at > $1) AS active,
    count(*) FILTER (WHERE manual) AS manual, coalesce(sum(size), 0) AS incidents,
    coalesce(max(size), 0) AS largest, coalesce(avg(size), 0)::float8 AS average_size
FROM (SELECT g.*, {OPEN} AS open FROM incident_groups g) AS g
"""


@dataclass(frozen=True)
class CorrelationStore:
    pool: Pool

    async def group(self, group_id: str, now: datetime) -> GroupView:
        """Raises: NotFound."""
        view = await self.found(group_id, now)
        if view is None:
            raise NotFound("group", group_id)
        return view

    async def found(self, group_id: str, now: datetime) -> GroupView | None:
        """None when there is no such group (any more). Raises: NotFound, of what is no id."""
        row = await self.pool.fetchrow(ONE, group_uuid(group_id))
        return group_view(row, now) if row is not None else None

    async def group_of(self, incident_id: str, now: datetime) -> GroupView | None:
        """The group an incident is in. Raises: NotFound, of the incident."""
        id_ = as_uuid(incident_id)
        if not await self.pool.fetchval("SELECT true FROM incidents WHERE id = $1", id_):
            raise NotFound("incident", incident_id)
        group_id = await self.pool.fetchval(OF_INCIDENT, id_)
        found = await self.pool.fetchrow(ONE, group_id) if group_id is not None else None
        return group_view(found, now) if found is not None else None

    async def page(self, query: GroupQuery, now: datetime) -> GroupPage:
        """One page of groups, the newest first."""
        where = Clause()
        if query.status is not None:
            needs = () if query.status is GroupStatus.RESOLVED else (now - STABLE_AFTER,)
            where.add(STATUS[query.status], *needs)
        if query.cursor is not None:
            where.add("g.id < {0}", query.cursor)
        sql = f"SELECT {SHOWN} FROM incident_groups g LEFT JOIN incidents l ON l.id = g.lead_id {where.sql}"
        rows = await self.pool.fetch(f"{sql} ORDER BY g.id DESC LIMIT {query.limit + 1}", *where.arguments)
        groups = [group_view(row, now) for row in rows[: query.limit]]
        return GroupPage(groups=groups, next_cursor=groups[-1].id if len(rows) > query.limit else None)

    async def members(self, group_id: str) -> list[MemberView]:
        """The lead first, then the oldest first, those that only came along last; the first `MEMBERS_SHOWN`."""
        rows = await self.pool.fetch(MEMBERS, UUID(group_id), MEMBERS_SHOWN)
        return [MemberView.model_validate(dict(row.items())) for row in rows]

    async def within(self, incident_ids: list[str]) -> list[EdgeView]:
        """Who of these belongs with whom."""
        return [_edge(row) for row in await self.pool.fetch(WITHIN, [UUID(id_) for id_ in incident_ids])]

    async def at(self, incident_id: str) -> list[EdgeView]:
        """Whom an incident was found to belong with, the strongest first; 0 where somebody took them apart."""
        return [_edge(row) for row in await self.pool.fetch(AT, UUID(incident_id))]

    async def stats(self, now: datetime) -> CorrelationStats:
        [row] = await self.pool.fetch(STATS, now - STABLE_AFTER)
        return CorrelationStats.model_validate(dict(row.items()))


def group_uuid(group_id: str) -> UUID:
    """Raises: NotFound, since what is no UUID names no group."""
    try:
        return UUID(group_id)
    except ValueError:
        raise NotFound("group", group_id) from None


def _edge(row: asyncpg.Record) -> EdgeView:
    return EdgeView.model_validate(dict(row.items()))


def group_view(row: asyncpg.Record, now: datetime) -> GroupView:
    status = standing(GroupStatus(row["status"]), row["open_members"], row["updated_at"], now)
    over_at = row["over_at"] if status is GroupStatus.RESOLVED else None
    return GroupView.model_validate(dict(row.items()) | {"status": status, "resolved_at": over_at})

"""What bears on whether an incident pages: its group's lead, those it may hide behind, and how often it came back."""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from app.domain.incident import Hold, HoldReason
from app.domain.matching import Condition, Subject, holds
from app.domain.suppression import InhibitionRule, Lead, Other
from app.store.database import Connection, Pool
from app.store.narrowing import Narrow, alike, either, every, narrowed
from app.store.search import Clause

SOURCES_AT_MOST = 1000
"""Open incidents, the oldest first, that one is compared with (chosen: what a look may cost)."""
PAGE = 2000
INCIDENT = """
SELECT i.id, i.fingerprint, i.severity, i.status, i.source, i.title, i.description, i.category, i.incident_type,
    i.environment, i.affected_services, i.tags, i.runbook_url, i.alert_count, i.flap_count, i.assigned_team,
    i.created_at, i.holds,
    c.incident_class
FROM incidents i LEFT JOIN classifications c ON c.incident_id = i.id
"""
OPEN = "i.status NOT IN ('RESOLVED', 'CLOSED')"
PAGES = 'NOT jsonb_path_exists(i.holds, \'$[*] ? (@.reason != "inhibition" && @.reason != "group")\')'
"""Held by nothing but another incident, which pages in its stead."""
LEAD = """
SELECT l.id, l.severity, l.holds, l.status NOT IN ('RESOLVED', 'CLOSED') AND (
    l.workflow_state IS NULL OR l.status IN ('ACKNOWLEDGED', 'IN_PROGRESS') OR (l.policy_id IS NOT NULL
        AND (l.level = 0 OR EXISTS (SELECT FROM deliveries d WHERE d.incident_id = l.id)))
) AS open
FROM incident_members m JOIN incident_groups g ON g.id = m.group_id JOIN incidents l ON l.id = g.lead_id
WHERE m.incident_id = $1 AND l.id <> $1 AND g.status <> 'resolved'
"""
"""One whose pages reach nobody, and that nobody has taken, is nothing to hide behind."""
LOOK_AGAIN = """
INSERT INTO outbox (rank, incident_id)
SELECT substr(severity, 2)::smallint, id FROM incidents
WHERE id = ANY($1::uuid[]) AND status NOT IN ('RESOLVED', 'CLOSED')
"""
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class HoldingStore:
    pool: Pool

    async def lead(self, incident_id: str) -> Lead | None:
        """The lead of the group an incident is a member of; None for a lead itself, and outside of groups."""
        row = await self.pool.fetchrow(LEAD, UUID(incident_id))
        if row is None:
            return None
        held = any(hold["reason"] != HoldReason.GROUP for hold in row["holds"])
        return Lead(id=str(row["id"]), severity=row["severity"], open=row["open"], held=held)

    async def reopened(self, incident_id: str, since: datetime) -> list[datetime]:
        """When an incident came back, in order."""
        rows = await self.pool.fetch(
            "SELECT at FROM timeline WHERE incident_id = $1 AND type = 'reopened' AND at >= $2 ORDER BY seq",
            UUID(incident_id), since,
        )  # fmt: skip
        return [row["at"] for row in rows]

    async def sources(self, rules: Collection[InhibitionRule], target: Other) -> list[Other]:
        """Open incidents that an incident could hide behind: the oldest of them."""
        about = target.subject
        sides = [(rule, rule.source) for rule in rules if holds(rule.target, about)]
        if not sides:
            return []
        where = _beside(target, sides)
        where.add(PAGES)
        sql = f"{INCIDENT} {where.sql} ORDER BY i.created_at, i.id LIMIT {SOURCES_AT_MOST}"
        return [_other(row, about.at) for row in await self.pool.fetch(sql, *where.arguments)]

    async def targets(self, rules: Collection[InhibitionRule], source: Other) -> list[Other]:
        """Open incidents that could hide behind an incident and don't."""
        about = source.subject
        sides = [(rule, rule.target) for rule in rules if holds(rule.source, about)]
        if not sides:
            return []
        where = _beside(source, sides)
        where.add("NOT i.holds @> {0}::jsonb", [{"by": source.id}])
        return [_other(row, about.at) async for row in self._found(where)]

    async def held(self, reason: HoldReason) -> dict[str, int]:
        """How many open incidents are held for a reason, by what holds them."""
        rows = await self.pool.fetch(
            "SELECT hold->>'by' AS by, count(*) AS n FROM incidents i, jsonb_array_elements(i.holds) AS hold"
            f" WHERE i.holds <> '[]'::jsonb AND {OPEN} AND hold->>'reason' = $1 GROUP BY 1",
            reason,
        )
        return {row["by"]: row["n"] for row in rows}

    async def look_again(self, ids: Iterable[str]) -> None:
        """Has the workflows of these incidents look again. Twice is once more than needed, and harmless."""
        if wanted := [UUID(id_) for id_ in ids]:
            await self.pool.execute(LOOK_AGAIN, wanted)

    async def matched(
        self, conditions: Collection[Condition], at: datetime, since: datetime | None = None
    ) -> list[UUID]:
        """The incidents open at a moment, and opened `since` another, that any of the conditions holds of."""
        if not conditions:
            return []
        where = Clause([OPEN])
        _add(where, either(map(narrowed, conditions)))
        if since is not None:
            where.add("i.created_at >= {0}", since)
        return [
            row["id"]
            async for row in self._found(where)
            if any(holds(condition, _subject(row, at)) for condition in conditions)
        ]

    async def _found(self, where: Clause) -> AsyncIterator[asyncpg.Record]:
        """All of them, some at a time, the oldest first."""
        after = len(where.arguments) + 1
        sql = (
            f"{INCIDENT} {where.sql} AND (i.created_at, i.id) > (${after}::timestamptz, ${after + 1}::uuid)"
            f" ORDER BY i.created_at, i.id LIMIT {PAGE}"
        )
        last: tuple[datetime, UUID] = (BEGINNING, UUID(int=0))
        while rows := await self.pool.fetch(sql, *where.arguments, *last):
            for row in rows:
                yield row
            if len(rows) < PAGE:
                return
            last = rows[-1]["created_at"], rows[-1]["id"]


async def look_again(connection: Connection, ids: Collection[UUID]) -> None:
    """Within a transaction."""
    if ids:
        await connection.execute(LOOK_AGAIN, list(ids))


def _beside(one: Other, sides: Sequence[tuple[InhibitionRule, Condition]]) -> Clause:
    """The open incidents beside one that are, as far as SQL can tell, on one of the sides of the rules."""
    where = Clause([OPEN])
    where.add("i.id <> {0}", UUID(one.id))
    _add(where, either(every([narrowed(side), alike(rule, one.subject)]) for rule, side in sides))
    return where


def _add(where: Clause, narrow: Narrow) -> None:
    if narrow.sql:
        where.add(narrow.sql, *narrow.arguments)


def _subject(row: asyncpg.Record, at: datetime) -> Subject:
    return Subject.model_validate(dict(row.items()) | {"at": at})


def _other(row: asyncpg.Record, at: datetime) -> Other:
    behind = frozenset(hold.by for hold in map(Hold.model_validate, row["holds"]))
    return Other(id=str(row["id"]), subject=_subject(row, at), opened_at=row["created_at"], behind=behind)

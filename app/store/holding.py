"""What bears on whether an incident pages: its group's lead, those it may hide behind, and how often it came back."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from app.domain.incident import Hold, HoldReason
from app.domain.matching import Condition, Subject, holds, values
from app.domain.suppression import InhibitionRule, Lead, Other, equal_field
from app.store.database import Connection, Pool
from app.store.search import Clause

OTHERS_AT_MOST = 1000
"""Open incidents, the newest first, that one is compared with (chosen: what a look may cost)."""
PAGE = 2000
INCIDENT = """
SELECT i.id, i.fingerprint, i.severity, i.status, i.source, i.title, i.description, i.category, i.incident_type,
    i.environment, i.affected_services, i.tags, i.runbook_url, i.alert_count, i.flap_count, i.assigned_team,
    i.created_at, i.holds,
    c.incident_class
FROM incidents i LEFT JOIN classifications c ON c.incident_id = i.id
"""
OPEN = "i.status NOT IN ('RESOLVED', 'CLOSED')"
LEAD = """
SELECT l.id, l.severity, l.status NOT IN ('RESOLVED', 'CLOSED') AS open, l.holds
FROM incident_members m JOIN incident_groups g ON g.id = m.group_id JOIN incidents l ON l.id = g.lead_id
WHERE m.incident_id = $1 AND l.id <> $1 AND g.status <> 'resolved'
"""
LOOK_AGAIN = """
INSERT INTO outbox (rank, incident_id)
SELECT substr(severity, 2)::smallint, id FROM incidents
WHERE id = ANY($1::uuid[]) AND status NOT IN ('RESOLVED', 'CLOSED')
"""
PLAIN = frozenset({"source", "severity", "environment", "category", "incident_type", "assigned_team"})
"""Fields that are columns of one value."""


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

    async def others(self, rules: Collection[InhibitionRule], incident: Other) -> list[Other]:
        """Open incidents that an incident could hide behind, or that could behind it: the newest of them."""
        where = Clause()
        where.add(OPEN)
        where.add("i.id <> {0}", UUID(incident.id))
        alike = [_alike(rule, incident.subject, where) for rule in rules]
        if all(alike):
            where.conditions.append(f"({' OR '.join(alike)})")
        sql = f"{INCIDENT} {where.sql} ORDER BY i.created_at DESC LIMIT {OTHERS_AT_MOST}"
        return [_other(row, incident.subject.at) for row in await self.pool.fetch(sql, *where.arguments)]

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

    async def matched(self, conditions: Collection[Condition], at: datetime) -> list[UUID]:
        """The open incidents that any of the conditions holds of."""
        found: list[UUID] = []
        after = UUID(int=0)
        while rows := await self.pool.fetch(f"{INCIDENT} WHERE {OPEN} AND i.id > $1 ORDER BY i.id LIMIT {PAGE}", after):
            after = rows[-1]["id"]
            for row in rows:
                subject = _subject(row, at)
                if any(holds(condition, subject) for condition in conditions):
                    found.append(row["id"])
        return found


async def look_again(connection: Connection, ids: Collection[UUID]) -> None:
    """Within a transaction."""
    if ids:
        await connection.execute(LOOK_AGAIN, list(ids))


def _alike(rule: InhibitionRule, subject: Subject, where: Clause) -> str:
    """What a rule asks of the other side's columns, as SQL over arguments added to `where`; empty when nothing."""
    tests = []
    for name in map(equal_field, rule.equal):
        tag = name.removeprefix("tags.")
        mine = next(iter(values(name, subject)), None)
        if tag == name and name not in PLAIN:
            continue
        where.arguments += [tag, mine] if tag != name else [mine]
        n = len(where.arguments)
        column = f"i.tags->>${n - 1}::text" if tag != name else f"nullif(i.{name}, '')"
        tests.append(f"{column} IS NOT DISTINCT FROM ${n}::text")
    return f"({' AND '.join(tests)})" if tests else ""


def _subject(row: asyncpg.Record, at: datetime) -> Subject:
    return Subject.model_validate(dict(row.items()) | {"at": at})


def _other(row: asyncpg.Record, at: datetime) -> Other:
    behind = frozenset(hold.by for hold in map(Hold.model_validate, row["holds"]))
    return Other(
        id=str(row["id"]), subject=_subject(row, at), opened_at=row["created_at"], silenced=_silenced(row),
        behind=behind,
    )  # fmt: skip


def _silenced(row: asyncpg.Record) -> bool:
    """Held by anything but another incident that it hides behind."""
    return any(hold["reason"] not in (HoldReason.INHIBITION, HoldReason.GROUP) for hold in row["holds"])

"""What routing leaves on an incident, who has how many, and the incidents of the last days as rules would see them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from app.domain.errors import NotFound
from app.store.database import Pool
from app.store.incidents import as_uuid

# A projection may not have shown yet whom a rule has just given an incident to.
LOADS = """
SELECT person, count(*) AS open FROM (
    SELECT coalesce(assigned_to, routing->'assignment'->>'user') AS person
    FROM incidents WHERE status NOT IN ('RESOLVED', 'CLOSED') AND id <> $2
) AS given WHERE person = ANY($1::text[]) GROUP BY person
"""

KEEP = """
UPDATE incidents SET tags = tags || $2::jsonb, routing = $3::jsonb
WHERE id = $1 AND (tags IS DISTINCT FROM tags || $2::jsonb OR routing - 'at' IS DISTINCT FROM $3::jsonb - 'at')
"""

# Without the labels that rules have added, and of the severity it was paged with at first.
RECENT = """
SELECT i.id, i.title, i.description, i.source, i.category, i.incident_type, i.environment, i.affected_services,
    (i.tags - ARRAY(SELECT jsonb_object_keys(coalesce(i.routing->'labels', '{}'))))
        || coalesce(i.routing->'replaced', '{}') AS tags, i.runbook_url, i.created_at,
    coalesce(i.resolved_at, i.closed_at) AS ended_at, i.policy_id, i.level, i.routing, c.incident_class,
    CASE WHEN c.applied THEN c.predicted ELSE i.reported_severity END AS severity,
    ARRAY(SELECT d.target FROM deliveries d WHERE d.incident_id = i.id AND d.kind IN ('created', 'escalated')
          AND d.status IN ('sent', 'delivered') AND (d.bundle IS NULL OR d.bundle IN (d.key, ''))) AS paged
FROM incidents i LEFT JOIN classifications c ON c.incident_id = i.id
WHERE i.created_at >= $1 AND (i.created_at, i.id) < ($2, $3) ORDER BY i.created_at DESC, i.id DESC LIMIT $4
"""
FIRST = UUID(int=2**128 - 1)


@dataclass(frozen=True)
class RoutingStore:
    pool: Pool

    async def of(self, incident_id: str) -> dict[str, object] | None:
        """What routing left on an incident; None when no rule has been asked. Raises: NotFound."""
        found = await self.pool.fetchrow("SELECT routing FROM incidents WHERE id = $1", as_uuid(incident_id))
        if found is None:
            raise NotFound("incident", incident_id)
        routing: dict[str, object] | None = found["routing"]
        return routing

    async def loads(self, people: Collection[str], besides: str) -> dict[str, int]:
        """How many open incidents each of these has, one of them not counted."""
        rows = await self.pool.fetch(LOADS, sorted(people), UUID(besides))
        return {row["person"]: row["open"] for row in rows}

    async def keep(self, incident_id: str, labels: Mapping[str, str], routing: Mapping[str, object]) -> bool:
        """Adds the labels and remembers the decision; whether it is a new one."""
        return await self.pool.execute(KEEP, UUID(incident_id), dict(labels), dict(routing)) == "UPDATE 1"

    async def recent(self, since: datetime, before: datetime, below: UUID, limit: int) -> list[asyncpg.Record]:
        """Incidents since a moment, the newest first, from (`before`, `below`) on, with the targets they paged."""
        return await self.pool.fetch(RECENT, since, before, below, limit)

"""What enrichers are asked about, and what they found."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.domain.enrichment import About
from app.domain.errors import NotFound
from app.domain.representation import Finding
from app.domain.taxonomy import stated
from app.store.database import Pool

ABOUT = """
SELECT i.title, i.description, i.source, i.category, i.incident_type, i.environment, i.affected_services AS services,
    i.tags, i.severity, i.assigned_team, i.created_at AS started_at, c.incident_class
FROM incidents i LEFT JOIN classifications c ON c.incident_id = i.id WHERE i.id = $1
"""
KEEP = """
INSERT INTO enrichments (incident_id, enricher, status, summary, data, source, at, took_ms, cached, error)
SELECT $1, u.* FROM unnest($2::text[], $3::text[], $4::text[], $5::jsonb[], $6::text[], $7::timestamptz[],
    $8::float8[], $9::bool[], $10::text[]) AS u
ON CONFLICT (incident_id, enricher) DO UPDATE SET status = excluded.status, summary = excluded.summary,
    data = excluded.data, source = excluded.source, at = excluded.at, took_ms = excluded.took_ms,
    cached = excluded.cached, error = excluded.error
WHERE enrichments.status <> 'found' OR excluded.status IN ('found', 'nothing')
"""
"""What was found before is worth more than that somebody was away later."""


@dataclass(frozen=True)
class EnrichmentStore:
    pool: Pool

    async def about(self, incident_id: str, at: datetime) -> About:
        """Raises: NotFound."""
        row = await self.pool.fetchrow(ABOUT, UUID(incident_id))
        if row is None:
            raise NotFound("incident", incident_id)
        known = row["incident_class"] or stated(row["tags"])
        return About.model_validate(dict(row.items()) | {"incident_id": incident_id, "at": at, "incident_class": known})

    async def keep(self, incident_id: str, findings: Sequence[Finding]) -> None:
        """Twice is once: the newest of an enricher stands, unless it failed where an earlier one found something."""
        if findings:
            rows = [
                (f.enricher, f.status, f.summary, f.data, f.source, f.at, f.took_ms, f.cached, f.error)
                for f in findings
            ]  # fmt: skip
            await self.pool.execute(KEEP, UUID(incident_id), *zip(*rows, strict=True))

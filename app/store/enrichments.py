"""What enrichers are asked about, and what they found."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.domain.enrichment import About
from app.domain.errors import NotFound
from app.domain.representation import Finding
from app.store.database import Pool

ABOUT = """
SELECT i.title, i.description, i.source, i.category, i.incident_type, i.environment, i.affected_services AS services,
    i.tags, i.severity, i.assigned_team, i.created_at AS started_at, c.incident_class
FROM incidents i LEFT JOIN classifications c ON c.incident_id = i.id WHERE i.id = $1
"""
KEEP = """
INSERT INTO enrichments (incident_id, enricher, status, summary, data, source, at, took_ms, cached, error)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
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
        return About.model_validate(dict(row.items()) | {"incident_id": incident_id, "at": at})

    async def keep(self, incident_id: str, finding: Finding) -> None:
        """Twice is once: the newest of an enricher stands, unless it failed where an earlier one found something."""
        await self.pool.execute(
            KEEP, UUID(incident_id), finding.enricher, finding.status, finding.summary, finding.data, finding.source,
            finding.at, finding.took_ms, finding.cached, finding.error,
        )  # fmt: skip

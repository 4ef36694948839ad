"""What was like this before, and what resolved it: PostgreSQL's full text finds, its trigrams tell near from nearest.

A resolved incident's words are kept as a vector beside it: ingest pays nothing, and a search reads no text twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.domain.record import Record
from app.store.database import Pool

REMEMBER = """
UPDATE incidents SET history = to_tsvector('english', left(concat_ws(' ', title, description, incident_type,
    array_to_string(affected_services, ' '), resolution->>'root_cause', resolution->>'resolution_notes'), 20000))
WHERE id = ANY($1::uuid[])
"""

ALIKE = """
WITH words AS (
    SELECT string_agg(quote_literal(lexeme), '|')::tsquery AS query
    FROM (SELECT lexeme FROM unnest(to_tsvector('english', $1)) LIMIT 100) AS asked
), ask AS (
    SELECT query, ts_rank(to_tsvector('english', $1), query, 1) AS own FROM words WHERE query IS NOT NULL
), younger AS MATERIALIZED (
    SELECT i.id FROM incidents i, ask
    WHERE i.history @@ query AND i.status IN ('RESOLVED', 'CLOSED') AND i.id <> $2 AND i.resolved_at >= $3
    ORDER BY i.resolved_at DESC LIMIT 3000
), near AS (
    SELECT i.id, i.title, i.description, i.resolution, i.resolved_by, i.created_at, i.resolved_at,
        least(1, ts_rank(i.history, query, 1) / nullif(own, 0)) AS rank
    FROM younger JOIN incidents i USING (id), ask ORDER BY rank DESC LIMIT 50
)
SELECT *, (rank + word_similarity(left($1, 80), title || ' ' || left(description, 4000))) / 2 AS score
FROM near ORDER BY score DESC, resolved_at DESC LIMIT $4
"""
"""Half how many of the words are there, weighed against all that were asked for (ts_rank by the length's logarithm),
half how near the beginning comes (pg_trgm). Chosen on 376 alerts and their runbooks: `tests/bench/history.py`."""


class Alike(Record):
    """A past incident that was resolved. `score` is 0 to 1, `took_secs` from its first alert until then."""

    incident_id: str
    title: str
    score: float
    resolved_at: datetime
    took_secs: float
    resolved_by: str | None
    root_cause: str | None
    resolution_notes: str | None


@dataclass(frozen=True)
class HistoryStore:
    pool: Pool

    async def alike(
        self, text: str, *, but: str, since: datetime, threshold: float = 0.0, limit: int = 5
    ) -> Sequence[Alike]:
        """Incidents resolved `since` then that read like a text (title first), the nearest first; not `but` itself."""
        rows = await self.pool.fetch(ALIKE, text[:20000], UUID(but), since, limit)
        return [
            Alike(
                incident_id=str(row["id"]), title=row["title"], score=round(row["score"], 3),
                resolved_at=row["resolved_at"], took_secs=(row["resolved_at"] - row["created_at"]).total_seconds(),
                resolved_by=row["resolved_by"], root_cause=(row["resolution"] or {}).get("root_cause"),
                resolution_notes=(row["resolution"] or {}).get("resolution_notes"),
            )
            for row in rows if row["score"] >= threshold
        ]  # fmt: skip

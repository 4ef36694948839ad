"""What was changed, to explain incidents by."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import NAMESPACE_OID, UUID, uuid5

import asyncpg
from uuid_utils import uuid7

from app.domain.alert import ChangeEvent
from app.domain.change import Change
from app.store.database import Pool

SHOWN = "id, source, summary, at, services, environment, author, details, links"
ADD = f"""
INSERT INTO changes ({SHOWN}, received_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO NOTHING
"""
BETWEEN = f"""
SELECT {SHOWN} FROM changes
WHERE at >= $1 AND at <= $2 AND EXISTS (SELECT 1 FROM unnest(services) AS name WHERE lower(name) = ANY($3::text[]))
    AND (environment IS NULL OR $4::text IS NULL OR environment = $4)
ORDER BY at DESC LIMIT 100
"""
LIST = f"""
SELECT {SHOWN} FROM changes
WHERE at >= $1 AND ($2::text IS NULL OR EXISTS (SELECT 1 FROM unnest(services) AS name WHERE lower(name) = $2))
ORDER BY at DESC, id LIMIT $3
"""


@dataclass(frozen=True)
class ChangeStore:
    pool: Pool

    async def record(self, change: ChangeEvent, received_at: datetime) -> Change:
        """Keeps a change; one that says when it was is the same when it is sent twice."""
        content = json.dumps(change.model_dump(mode="json"), sort_keys=True)
        id_ = uuid5(NAMESPACE_OID, content) if change.at else UUID(str(uuid7()))
        kept = Change.model_validate(change.model_dump() | {"id": str(id_), "at": change.at or received_at})
        await self.pool.execute(
            ADD, id_, kept.source, kept.summary, kept.at, kept.services, kept.environment, kept.author, kept.details,
            list(kept.links), received_at,
        )  # fmt: skip
        return kept

    async def between(
        self, since: datetime, until: datetime, names: Sequence[str], environment: str | None
    ) -> list[Change]:
        """Changes of services with these names (in lower case), the newest 100; not those of other environments."""
        return _changes(await self.pool.fetch(BETWEEN, since, until, names, environment))

    async def list(self, since: datetime, service: str | None, limit: int) -> "list[Change]":
        """The newest first."""
        return _changes(await self.pool.fetch(LIST, since, service.casefold() if service else None, limit))


def _changes(rows: Sequence[asyncpg.Record]) -> list[Change]:
    return [Change.model_validate(dict(row.items()) | {"id": str(row["id"])}) for row in rows]

"""What tools sent, encrypted: kept before it is read, tied to what it led to, and forgotten after a while."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
from uuid_utils import uuid7

from app.domain.errors import NotFound
from app.domain.evidence import EvidenceItem
from app.store.database import Pool

SHOWN = "id, tool, at, sha256, size, alert_ids, incident_ids"
KEEP = "INSERT INTO evidence (id, tool, at, sha256, size, ciphertext) VALUES ($1, $2, $3, $4, $5, $6)"
TIE = """
UPDATE evidence SET
    alert_ids = ARRAY(SELECT DISTINCT unnest(alert_ids || $2::uuid[])),
    incident_ids = ARRAY(SELECT DISTINCT unnest(incident_ids || $3::uuid[]))
WHERE id = $1
"""
OF_INCIDENT = f"SELECT {SHOWN} FROM evidence WHERE incident_ids @> ARRAY[$1::uuid] ORDER BY id DESC LIMIT 1000"
FORGET = """
DELETE FROM evidence WHERE id IN (SELECT id FROM evidence WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""


@dataclass(frozen=True)
class EvidenceStore:
    pool: Pool

    async def keep(self, tool: str, at: datetime, sha256: str, size: int, ciphertext: bytes) -> str:
        """Its id."""
        id_ = str(uuid7())
        await self.pool.execute(KEEP, id_, tool, at, sha256, size, ciphertext)
        return id_

    async def tie(self, id_: str, alert_ids: Collection[str], incident_ids: Collection[str]) -> None:
        """Says what it led to, beside what it has led to before. Twice is once."""
        await self.pool.execute(TIE, id_, list(alert_ids), list(incident_ids))

    async def get(self, id_: UUID) -> tuple[EvidenceItem, bytes]:
        """Evidence, and its ciphertext. Raises: NotFound."""
        found = await self.pool.fetchrow(f"SELECT {SHOWN}, ciphertext FROM evidence WHERE id = $1", id_)
        if found is None:
            raise NotFound("evidence", str(id_))
        return _item(found), found["ciphertext"]

    async def of_incident(self, incident_id: UUID) -> list[EvidenceItem]:
        """The newest first, 1,000 at most. Raises: NotFound."""
        found = await self.pool.fetch(OF_INCIDENT, incident_id)
        if not found and not await self.pool.fetchval("SELECT true FROM incidents WHERE id = $1", incident_id):
            raise NotFound("incident", str(incident_id))
        return [_item(row) for row in found]

    async def forget(self, before: datetime, limit: int = 1000) -> int:
        """Deletes what is older, no more than `limit` of it; how many there were."""
        return int((await self.pool.execute(FORGET, before, limit)).removeprefix("DELETE "))


def _item(row: asyncpg.Record) -> EvidenceItem:
    ids = {name: [str(one) for one in row[name]] for name in ("alert_ids", "incident_ids")}
    said = {name: row[name] for name in ("tool", "at", "sha256", "size")}
    return EvidenceItem.model_validate({"id": str(row["id"])} | said | ids)

"""Configuration as versioned documents: every version is kept, the newest counts."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from app.domain.errors import Conflict
from app.domain.requests import Document
from app.store.database import Pool
from app.store.holding import look_again

OF_KINDS = """
SELECT DISTINCT ON (kind, id) kind, id, version, body, updated_at, updated_by
FROM documents WHERE kind = ANY($1::text[]) ORDER BY kind, id, version DESC
"""
NEWEST = """
SELECT DISTINCT ON (kind, id) kind, id, version, body, updated_at, updated_by
FROM documents WHERE kind = $1 AND ($2::text IS NULL OR id = $2) ORDER BY kind, id, version DESC
"""
ADD = """
INSERT INTO documents (kind, id, version, body, updated_at, updated_by) VALUES ($1, $2, $3, $4, $5, $6)
"""


SOME = """
SELECT DISTINCT ON (kind, id) kind, id, version, body, updated_at, updated_by
FROM documents JOIN unnest($1::text[], $2::text[]) AS wanted(kind, id) USING (kind, id) ORDER BY kind, id, version DESC
"""


@dataclass(frozen=True)
class DocumentStore:
    pool: Pool

    async def all(self, kind: str) -> list[Document]:
        """The newest versions of those that exist, by id."""
        return [_document(row) for row in await self.pool.fetch(NEWEST, kind, None) if row["body"] is not None]

    async def of_kinds(self, kinds: Collection[str]) -> list[Document]:
        """The newest versions of those that exist, by kind and id."""
        rows = await self.pool.fetch(OF_KINDS, list(kinds))
        return [_document(row) for row in rows if row["body"] is not None]

    async def some(self, wanted: Mapping[str, Collection[str]]) -> list[Document]:
        """The newest versions of those of the wanted ids, by kind, that exist."""
        pairs = [(kind, id_) for kind, ids in wanted.items() for id_ in sorted(ids)]
        if not pairs:
            return []
        rows = await self.pool.fetch(SOME, *zip(*pairs, strict=True))
        return [_document(row) for row in rows if row["body"] is not None]

    async def get(self, kind: str, id_: str) -> Document | None:
        found = await self._newest(kind, id_)
        return _document(found) if found is not None and found["body"] is not None else None

    async def versions(self, kind: str, id_: str) -> list[Document]:
        """Every version that has a body, the oldest first."""
        rows = await self.pool.fetch(
            "SELECT kind, id, version, body, updated_at, updated_by FROM documents"
            " WHERE kind = $1 AND id = $2 AND body IS NOT NULL ORDER BY version",
            kind, id_,
        )  # fmt: skip
        return [_document(row) for row in rows]

    async def write(
        self,
        kind: str,
        id_: str,
        body: dict[str, object] | None,
        *,
        expected: int | None,
        by: str,
        at: datetime,
        touched: Collection[UUID] = (),
    ) -> int:
        """Adds a version (None deletes); its number. `expected` is the version it must follow, 0 for none yet.

        The workflows of the incidents that it touched are told to look again.

        Raises: Conflict when it follows another.
        """
        newest = await self._newest(kind, id_)
        exists = newest is not None and newest["body"] is not None
        current = newest["version"] if newest is not None else 0
        if expected is not None and expected != (current if exists else 0):
            raise _conflict(kind, id_, current if exists else 0)
        try:
            async with self.pool.transaction() as connection:
                await connection.execute(ADD, kind, id_, current + 1, body, at, by)
                await look_again(connection, touched)
        except asyncpg.UniqueViolationError as lost:
            raise _conflict(kind, id_, current + 1) from lost
        return current + 1

    async def _newest(self, kind: str, id_: str) -> asyncpg.Record | None:
        return await self.pool.fetchrow(NEWEST, kind, id_)


def _conflict(kind: str, id_: str, version: int) -> Conflict:
    now = f"is at version {version}" if version else "does not exist"
    return Conflict(f"{kind} {id_!r} {now}: read it again, then write.", {"kind": kind, "id": id_, "version": version})


def _document(row: asyncpg.Record) -> Document:
    return Document.model_validate(dict(row.items()))

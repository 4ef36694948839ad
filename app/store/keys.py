"""API keys: hashes only."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from uuid_utils.compat import uuid7

from app.domain.requests import KeyView
from app.domain.vocabulary import Role
from app.store.database import Pool

CHANGED = "api_keys_changed"


def hashed(token: str) -> str:
    """SHA-256 in hex. A key has 178 random bits, so nothing slower is needed."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


@dataclass(frozen=True)
class KeyStore:
    pool: Pool

    async def add(self, name: str, role: Role, token: str, at: datetime) -> None:
        async with self.pool.transaction() as connection:
            await connection.execute(
                "INSERT INTO api_keys (id, name, role, hash, created_at) VALUES ($1, $2, $3, $4, $5)",
                uuid7(), name, role, hashed(token), at,
            )  # fmt: skip
            await connection.execute(f"NOTIFY {CHANGED}")

    async def revoke(self, id_or_name: str, at: datetime) -> int:
        """Revokes the keys with this id or name; how many."""
        async with self.pool.transaction() as connection:
            revoked = await connection.fetch(
                "UPDATE api_keys SET revoked_at = $2 WHERE (id::text = $1 OR name = $1) AND revoked_at IS NULL"
                " RETURNING id",
                id_or_name, at,
            )  # fmt: skip
            await connection.execute(f"NOTIFY {CHANGED}")
        return len(revoked)

    async def all(self) -> dict[str, KeyView]:
        """Every key there ever was, revoked ones too, by the hash of its secret."""
        rows = await self.pool.fetch("SELECT * FROM api_keys ORDER BY created_at")
        return {row["hash"]: KeyView.model_validate(dict(row.items()) | {"id": str(row["id"])}) for row in rows}

"""What the installation knows about itself."""

import secrets
from dataclasses import dataclass

from app.store.database import Pool

KEEP = """
WITH made AS (INSERT INTO facts (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING RETURNING value)
SELECT value FROM made UNION ALL SELECT value FROM facts WHERE name = $1 LIMIT 1
"""


@dataclass(frozen=True)
class FactStore:
    pool: Pool

    async def secret(self, name: str) -> bytes:
        """32 random bytes, made by whoever asks first and the same for everybody from then on."""
        kept = None
        while kept is None:  # the one who asked first may not have committed yet
            kept = await self.pool.fetchval(KEEP, f"secret {name}", secrets.token_hex(32))
        return bytes.fromhex(kept)

"""API keys: who is at the door."""

import asyncio
import logging
import secrets
import string
from dataclasses import dataclass, field
from datetime import UTC, datetime

from app.domain.access import ANYBODY_ON_THIS_MACHINE, Principal
from app.domain.errors import InvalidToken, NotFound, Unauthenticated
from app.domain.requests import KeyView
from app.domain.vocabulary import ActorType, Role
from app.store.database import AWAY, answering
from app.store.keys import KeyStore, hashed

log = logging.getLogger(__name__)

ALPHABET = string.ascii_letters + string.digits
FRESH_SECS = 1.0
"""A revoked key opens no door after this long (chosen)."""


@dataclass
class Keys:
    """Every key ever made, kept in memory and read anew each `FRESH_SECS`, so that no request waits for it.

    `issuers`: there are issuers of tokens, so that the door is shut without any key.
    """

    store: KeyStore
    issuers: bool = False
    known: dict[str, KeyView] = field(default_factory=dict)
    asked: int = 0
    answered: int = 0

    @property
    def loaded(self) -> bool:
        return self.answered > 0

    @property
    def open(self) -> bool:
        """No key was ever made, and nobody issues tokens: whoever can reach the door may enter."""
        return self.loaded and not self.shut

    @property
    def shut(self) -> bool:
        """Whoever comes must say who they are."""
        return self.issuers or bool(self.known)

    async def principal(self, token: str | None) -> Principal:
        """Whose key it is. Raises: Unauthenticated; Unavailable while the keys could not be read yet."""
        if not self.loaded:
            async with answering():
                await self.load()
        if self.open:
            return ANYBODY_ON_THIS_MACHINE
        key = self.known.get(hashed(token)) if token else None
        if key is None or key.revoked_at is not None:
            if token:
                raise InvalidToken("This key is unknown or revoked.")
            jwt = " or a token (JWT)" if self.issuers else ""
            raise Unauthenticated(
                f"An API key{jwt} is needed, as X-API-Key or Authorization: Bearer (llm-im key create)."
            )
        kind = ActorType.INTEGRATION if key.role == Role.INGEST else ActorType.USER
        return Principal(name=key.name, role=Role(key.role), actor_type=kind, id=key.id)

    async def create(self, name: str, role: Role) -> str:
        """The new key's secret, 32 characters, which nobody can be shown again."""
        token = "im" + "".join(secrets.choice(ALPHABET) for _ in range(30))
        async with answering():
            await self.store.add(name, role, token, datetime.now(UTC))
            await self.load()
        return token

    async def revoke(self, id_or_name: str) -> int:
        """How many keys were revoked. Raises: NotFound."""
        async with answering():
            revoked = await self.store.revoke(id_or_name, datetime.now(UTC))
            await self.load()
        if not revoked:
            raise NotFound("key", id_or_name)
        return revoked

    async def list(self) -> "list[KeyView]":
        async with answering():
            await self.load()
        return [*self.known.values()]

    async def load(self) -> None:
        """Reads all keys. Of two readings at the same time the one that began later counts."""
        self.asked += 1
        turn = self.asked
        known = await self.store.all()
        if turn > self.answered:
            self.known, self.answered = known, turn

    async def keep_fresh(self) -> None:
        """Until cancelled. PostgreSQL away: the keys known so far go on opening the door."""
        while True:
            try:
                await self.load()
            except AWAY as away:
                log.debug("keys not read: %s", away)
            await asyncio.sleep(FRESH_SECS)

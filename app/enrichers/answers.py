"""What enrichers have answered, kept for a while: in memory, or in a Redis that all workers share."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from cashews import Cache
from pydantic import SecretStr, ValidationError

from app.domain.enrichment import SUMMARY_MAX, Found, Resting, cut

log = logging.getLogger(__name__)

REDIS_SECS = 0.2
"""How long Redis may take to answer (chosen: it is asked to save time)."""
AWAY_SECS = 30.0
"""How long a Redis that didn't is left alone."""
IN_MEMORY = 1000
LAST_SECS = 3600.0
"""How long an answer is better than none, while who gave it isn't asked (chosen)."""
Ask = Callable[[], Awaitable[Found]]


@dataclass
class Answers:
    """Whoever asks what is being asked already waits for that answer. Failures are not kept."""

    ttl_secs: float
    memory: Cache
    redis: Cache | None = None
    away_until: float = 0.0
    under_way: dict[str, asyncio.Task[Found]] = field(default_factory=dict)

    @classmethod
    def made(cls, ttl_secs: float, redis_url: SecretStr | None = None) -> Self:
        memory, redis = Cache("memory"), None
        memory.setup(f"mem://?size={IN_MEMORY}")
        if redis_url is not None:
            redis = Cache("redis")
            redis.setup(
                redis_url.get_secret_value(), suppress=False, pickle_type="json", socket_timeout=REDIS_SECS,
                socket_connect_timeout=REDIS_SECS, wait_for_connection_timeout=REDIS_SECS,
            )  # fmt: skip
        return cls(ttl_secs, memory, redis)

    async def close(self) -> None:
        for cache in (self.memory, self.redis):
            if cache is not None:
                await cache.close()

    async def get(self, name: str, key: str, ask: Ask) -> tuple[Found, bool]:
        """The answer of the enricher `name`, and whether it was known. Raises: what `ask` raises.

        While a circuit breaker is open, the last one that this process heard, and how old it is.
        """
        digest = f"llm-im:enrichment:{name}:{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()}"
        kept = await self._kept(digest)
        if kept is not None:
            return kept, True
        if digest not in self.under_way:
            asking = asyncio.create_task(self._asked(digest, ask))
            self.under_way[digest] = asking
            asking.add_done_callback(lambda done: (self.under_way.pop(digest), done.cancelled() or done.exception()))
        try:
            return await asyncio.shield(self.under_way[digest]), False
        except Resting:
            said = await self.memory.get(f"{digest}:last")
            last = Found.model_validate(said) if said is not None else None
            if last is None or not last.summary:
                raise
            return last.model_copy(update={"summary": _dated(last)}), True

    async def _asked(self, digest: str, ask: Ask) -> Found:
        found = await ask()
        said = found.model_dump(mode="json")
        await self._with(lambda cache: cache.set(digest, said, expire=self.ttl_secs))
        await self.memory.set(f"{digest}:last", said, expire=LAST_SECS)
        return found

    async def _kept(self, digest: str) -> Found | None:
        kept = await self._with(lambda cache: cache.get(digest))
        try:
            return Found.model_validate(kept) if kept is not None else None
        except ValidationError:  # another version's, or not ours
            return None

    async def _with(self, use: Callable[[Cache], Awaitable[Any]]) -> Any:
        """Redis, or memory while there is none."""
        if self.redis is not None and time.monotonic() >= self.away_until:
            try:
                async with asyncio.timeout(REDIS_SECS):
                    return await use(self.redis)
            except Exception as no:  # noqa: BLE001 — whatever is wrong with a cache, the answer is asked for anew
                self.away_until = time.monotonic() + AWAY_SECS
                log.warning("Redis does not answer (%s): answers are kept in memory meanwhile", type(no).__name__)
        return await use(self.memory)


def _dated(last: Found) -> str:
    when = f" (as of {last.at:%H:%M} UTC)"
    return f"{cut(last.summary, SUMMARY_MAX - len(when))}{when}"

"""How much each client may ask for: so many requests per minute of the clock."""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_network

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.admission import RateLimits
from app.domain.access import ANYBODY_ON_THIS_MACHINE, Allowance, Principal
from app.domain.errors import RateLimited
from app.domain.vocabulary import Role

log = logging.getLogger(__name__)

SHARE_SECS = 1.0
"""How often gateways tell each other what was spent: for so long several can overspend (chosen)."""
REDIS_SECS = 0.5
AWAY_SECS = 30.0
"""How long a Redis that didn't answer is left alone."""
WORTH_SHARING = 100  # a client is told of once it has spent a hundredth of its limit


@dataclass
class Limits:
    """Counted in this process, so that no request waits for it; through Redis, if there is one, gateways add up.

    A client's minute is the clock's: who spends all of it at the end of one can spend all of the next.
    """

    roles: Mapping[Role, int]
    anonymous: int
    failures: int
    redis: Redis | None = None
    now: Callable[[], float] = time.time
    minute: int = 0
    spent: Counter[str] = field(default_factory=Counter)
    limit_of: dict[str, int] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)
    elsewhere: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, said: RateLimits, redis: Redis | None = None) -> "Limits":
        roles = {role: getattr(said, f"{role}_per_minute") for role in Role}
        return cls(roles, said.anonymous_per_minute, said.failures_per_minute, redis)

    def spend(self, who: Principal | str, address: str = "") -> Allowance | None:
        """One request of a client, or of an address: where no key is needed, or this machine's anybody comes from it.

        None: there is no limit. Raises: RateLimited.
        """
        if isinstance(who, str) or who is ANYBODY_ON_THIS_MACHINE:
            came_from = who if isinstance(who, str) else address
            return self._take(f"from {network(came_from)}", self.anonymous, "This address")
        return self._take(
            f"{who.role} {who.id or who.name}", self.roles[who.role], f"A key or token of the role {who.role}"
        )

    def fail(self, address: str) -> None:
        """One wrong key from an address. Raises: RateLimited. Right keys are let in from there all the same:

        behind a proxy or NAT one client's mistake must not lock the others out, and nobody guesses 178 bits.
        """
        self._take(f"failed {network(address)}", self.failures, "This address, with keys that are wrong,")

    def _take(self, client: str, limit: int, named: str) -> Allowance | None:
        if not limit:
            return None
        now = self.now()
        minute = int(now // 60)
        if minute != self.minute:
            self.minute = minute
            for counts in (self.spent, self.limit_of, self.told, self.elsewhere):
                counts.clear()
        reset = math.ceil((minute + 1) * 60 - now)
        remaining = limit - self.spent[client] - self.elsewhere.get(client, 0)
        if remaining <= 0:
            raise RateLimited(f"{named} may send {limit:,} requests a minute; wait {reset} s.", limit, reset)
        self.spent[client] += 1
        self.limit_of[client] = limit
        return Allowance(limit, remaining - 1, reset)

    async def keep_sharing(self) -> None:
        """Until cancelled. Redis away: every gateway counts for itself."""
        while self.redis is not None:
            try:
                async with asyncio.timeout(REDIS_SECS):
                    await self.share(self.redis)
            except (RedisError, OSError, TimeoutError) as away:
                log.warning("Redis does not answer (%s): rate limits are counted here alone", type(away).__name__)
                await asyncio.sleep(AWAY_SECS)
            await asyncio.sleep(SHARE_SECS)

    async def share(self, redis: Redis) -> None:
        """Adds to Redis what was spent here since the last time, and hears what all gateways have spent together."""
        minute = self.minute
        now = {client: spent for client, spent in self.spent.items() if spent * WORTH_SHARING >= self.limit_of[client]}
        if not now:
            return
        pipeline = redis.pipeline(transaction=False)
        for client, spent in now.items():
            name = f"llm-im:limits:{minute}:{client}"
            pipeline.incrby(name, spent - self.told.get(client, 0))
            pipeline.expire(name, 120)
        totals = (await pipeline.execute())[::2]
        if minute == self.minute:
            self.told |= now
            self.elsewhere |= {client: total - now[client] for client, total in zip(now, totals, strict=True)}


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """What one client's address is counted as: itself, or its /64 in IPv6, of which one client has all."""
    try:
        return str(ip_network(f"{address}/64" if ":" in address else address, strict=False))
    except ValueError:
        return address

"""Circuit breakers of all processes together: what they tell each other, and what people make of them."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import StringConstraints

from app.breaking import DEFAULTS, normal
from app.domain.access import Principal, Scope
from app.domain.breaker import Breaker, State
from app.domain.errors import NotFound
from app.domain.record import Record
from app.net.breakers import Breakers, Counts, Known
from app.store.breakers import BreakerStore, Row
from app.store.database import AWAY, CONTENDED, answering
from app.telemetry import metrics

log = logging.getLogger(__name__)

FRESH_SECS = 1.0
"""What another process made of a breaker is known here after this long (chosen, as for API keys)."""
COUNTED_EVERY_SECS = 5.0
FORGOTTEN_EVERY_SECS = 3600.0


class Why(Record):
    """Why somebody opens, closes or resets a breaker, for whoever looks at it later."""

    reason: Annotated[str, StringConstraints(max_length=500, strip_whitespace=True)] | None = None


class BreakerView(Record):
    """`name` as it is asked for; `until`: from then on a probe may pass, null while closed or `forced`.

    `forced`: opened by hand, and stays so until it is closed by hand. `by` is whose hand, null = by itself. Counts are
    of all processes since the last reset, some seconds old; `error_rate` is in percent of the calls that were made.
    """

    name: str
    state: State
    forced: bool
    since: datetime | None
    until: datetime | None
    by: str | None
    reason: str | None
    openings_in_a_row: int
    total_requests: int
    failure_count: int
    rejected_count: int
    open_count: int
    error_rate: float


class BreakersView(Record):
    circuit_breakers: list[BreakerView]
    total: int


class BreakersHealth(Record):
    """`degraded` while any is open: the service works, but those are not asked. Half-open ones are, with care."""

    status: Literal["healthy", "degraded"]
    total: int
    closed: int
    open: int
    half_open: int
    not_closed: list[str]


@dataclass
class Breaking:
    """What people ask of the breakers, and, while `run` runs, one process' share in them."""

    breakers: Breakers
    store: BreakerStore
    counted_at: float = float("-inf")
    forgotten_at: float = float("-inf")

    async def list(self, who: Principal) -> BreakersView:
        """Every one that is set up or was ever used, as this process knows it. Raises: Forbidden."""
        who.may(Scope.READ)
        views = [self._view(name) for name in self._names()]
        return BreakersView(circuit_breakers=views, total=len(views))

    async def get(self, who: Principal, name: str) -> BreakerView:
        """Raises: Forbidden, NotFound."""
        who.may(Scope.READ)
        return self._view(self._named(name))

    async def health(self, who: Principal) -> BreakersHealth:
        """Raises: Forbidden."""
        who.may(Scope.READ)
        states = {name: self._view(name).state for name in self._names()}
        count = [*states.values()].count
        troubled = [name for name, state in states.items() if state is not State.CLOSED]
        return BreakersHealth(
            status="degraded" if count(State.OPEN) else "healthy", total=len(states), closed=count(State.CLOSED),
            open=count(State.OPEN), half_open=count(State.HALF_OPEN), not_closed=troubled,
        )  # fmt: skip

    async def open(self, who: Principal, name: str, why: Why) -> BreakerView:
        """Nobody is asked until it is closed by hand. Raises: Forbidden, NotFound, Unavailable."""
        return await self._by_hand(who, name, why, lambda one, now: one.forced_open(now))

    async def close(self, who: Principal, name: str, why: Why) -> BreakerView:
        """Everybody is asked again. Raises: Forbidden, NotFound, Unavailable."""
        return await self._by_hand(who, name, why, lambda one, now: one.closed(now))

    async def reset(self, who: Principal, name: str, why: Why) -> BreakerView:
        """As if it were new: closed, what it has counted forgotten. Raises: Forbidden, NotFound, Unavailable."""
        return await self._by_hand(who, name, why, lambda one, now: one.reset(now), cleared=True)

    async def reset_all(self, who: Principal, why: Why) -> BreakersView:
        """Raises: Forbidden, Unavailable."""
        who.may(Scope.ADMINISTER)
        for view in [self._view(name) for name in self._names()]:
            if view.state is not State.CLOSED or view.total_requests:
                await self.reset(who, view.name, why)
        return await self.list(who)

    async def _by_hand(
        self,
        who: Principal,
        name: str,
        why: Why,
        make: Callable[[Breaker, datetime], Breaker],
        *,
        cleared: bool = False,
    ) -> BreakerView:
        """Twice is once: what is so already is left as it is, with the name of who made it so."""
        who.may(Scope.ADMINISTER)
        known = self.breakers.of(self._named(name))
        async with answering(), self.breakers.sharing:
            await self._read()
            made = make(known.breaker, self.breakers.now())
            if made is not known.breaker:
                said = Known(known.name, made, known.version, by=who.name, reason=why.reason or None).standing()
                known.counts = Counts() if cleared else known.counts
                self._take(await self.store.set(said, cleared=cleared))
                metrics.breaker_turned(known.name, made.state, here=True)
                log.warning("circuit breaker %s is %s: by %s", known.name, made.state, who.name)
        return self._view(known.name)

    async def run(self) -> None:
        """Until cancelled. PostgreSQL away: this process goes on with what it knows."""
        away = False
        while True:
            try:
                async with self.breakers.sharing:
                    await self.share()
                away = False
            except (*AWAY, *CONTENDED) as gone:
                (log.debug if away else log.warning)("circuit breakers are not shared: %s", gone)
                away = True
            with suppress(TimeoutError):
                async with asyncio.timeout(FRESH_SECS):
                    await self.breakers.stirred.wait()
            if away:
                await asyncio.sleep(FRESH_SECS)

    async def share(self) -> None:
        """Tells the others what happened here, and hears what happened there. Raises: AWAY."""
        self.breakers.stirred.clear()
        for known in [known for known in self.breakers.known.values() if known.news]:
            said = known.standing()
            log.warning("circuit breaker %s is %s", known.name, known.breaker.state)
            if await self.store.turn(said) and known.version == said.version:
                known.version += 1
                known.news = known.standing().model_copy(update={"version": said.version}) != said
        await self._count()
        await self._read()

    async def _count(self) -> None:
        now = time.monotonic()
        if now - self.counted_at >= COUNTED_EVERY_SECS:
            self.counted_at = now
            told = {known.name: known for known in self.breakers.known.values() if known.counts != Counts()}
            if told:
                counts = {name: known.counts for name, known in told.items()}
                for known in told.values():
                    known.counts = Counts()
                await self.store.count(counts)
        if now - self.forgotten_at >= FORGOTTEN_EVERY_SECS:
            self.forgotten_at = now
            await self.store.forget()

    async def _read(self) -> None:
        for row in await self.store.all():
            self._take(row)

    def _take(self, row: Row) -> None:
        said, counts = row
        self.breakers.adopt(said)
        self.breakers.of(said.name).total = counts

    def _names(self) -> Sequence[str]:
        usual = {name for name in self.breakers.said if name != DEFAULTS}
        return sorted(usual | self.breakers.known.keys())

    def _named(self, name: str) -> str:
        """Raises: NotFound."""
        name = normal(name)
        if name not in self.breakers.known and (name not in self.breakers.said or name == DEFAULTS):
            raise NotFound("circuit breaker", name)
        return name

    def _view(self, name: str) -> BreakerView:
        known = self.breakers.of(name)
        one, told, own = known.breaker, known.total, known.counts
        requests, failures = told.requests + own.requests, told.failures + own.failures
        return BreakerView(
            name=name, state=one.state, forced=one.forced, since=one.since, until=one.until, by=known.by,
            reason=known.reason, openings_in_a_row=one.openings, total_requests=requests, failure_count=failures,
            rejected_count=told.rejected + own.rejected, open_count=told.opened + own.opened,
            error_rate=round(100 * failures / requests, 2) if requests else 0.0,
        )  # fmt: skip

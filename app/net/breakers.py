"""This process's circuit breakers, one per dependency. Nothing waits here: what they learn is shared elsewhere."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx

from app.breaking import DEFAULTS, configs, normal
from app.domain.breaker import Breaker, Config, Standing, State, Ticket, adopted
from app.telemetry import metrics

FAILURES = (OSError, httpx.HTTPError)
"""Nobody answered, or not in time."""
OURS = (httpx.LocalProtocolError, httpx.UnsupportedProtocol)
"""What was wrong with the question."""
GIVEN_UP_SECS = 2.0
"""Who is called off after so long has waited in vain (chosen: enrichers wait for three seconds). But for pages: those

are called off when somebody takes the incident, and have time until their deadline."""
MOST = 1000
"""Breakers kept, but for those that are set up, held by hand or under way. Those of hosts that are well go first."""
GO_TOGETHER = 100


class Open(Exception):
    """Nobody was asked, since they are known not to answer. `until` None: until somebody closes it by hand."""

    def __init__(self, name: str, until: datetime | None, retry_after: timedelta) -> None:
        when = f"until {until:%T} UTC" if until else "until somebody closes it"
        super().__init__(f"the circuit breaker {name} is open {when}")
        self.name = name
        self.until = until
        self.retry_after = retry_after


@dataclass
class Call:
    """One call under way."""

    bad: bool = False

    def failed(self) -> None:
        """They answered, but as those who aren't well do."""
        self.bad = True


Calling = Callable[[], AbstractContextManager[Call]]
"""Leave for one call. Entering raises: Open."""


def unbroken() -> AbstractContextManager[Call]:
    """Leave, always."""
    return nullcontext(Call())


@dataclass
class Counts:
    """Calls by what became of them, and how often the breaker opened."""

    requests: int = 0
    failures: int = 0
    rejected: int = 0
    opened: int = 0


@dataclass
class Known:
    """One breaker here. `version` is the last transition that all processes know of; `news`: there is one they don't.

    `counts` are those that PostgreSQL has not been told yet, `total` what it says, all processes taken together.
    """

    name: str
    breaker: Breaker
    version: int = 0
    news: bool = False
    by: str | None = None
    reason: str | None = None
    under_way: int = 0
    counts: Counts = field(default_factory=Counts)
    total: Counts = field(default_factory=Counts)

    def standing(self) -> Standing:
        now = self.breaker
        return Standing(
            name=self.name, state=now.state, since=now.since, until=now.until, forced=now.forced,
            openings=now.openings, by=self.by, reason=self.reason, version=self.version,
        )  # fmt: skip


def utc_now() -> datetime:
    return datetime.now(UTC)


class Breakers:
    """`said` is how each works, by name; a name like `webhook:example.com~1a2b3c4d` is looked up whole, then up

    to its tilde, then up to its colon.

    `stirred` is set when there is something to tell the other processes; whoever does so holds `sharing`.
    """

    def __init__(
        self, said: Mapping[str, Config] | None = None, *, now: Callable[[], datetime] = utc_now, enabled: bool = True
    ) -> None:
        self.said = configs() if said is None else said
        self.now = now
        self.enabled = enabled
        self.known: dict[str, Known] = {}
        self.stirred = asyncio.Event()
        self.sharing = asyncio.Lock()

    @contextmanager
    def call(self, name: str, at_latest: timedelta | None = None) -> Iterator[Call]:
        """Around one call. `at_latest` after it opened this caller, a page, may probe, whatever its recovery says.

        A call that ends without an error has succeeded, unless `failed` was said of it; one that ends with one of
        `FAILURES` has failed; of any other, and of one that was called off, nothing is learned.

        Raises: Open, and then nothing was done.
        """
        if not self.enabled:
            yield Call()
            return
        known = self.of(name)
        ticket = self._leave(known, at_latest)
        made, began = Call(), time.perf_counter()
        known.under_way += 1
        verdict: bool | None = None
        try:
            yield made
            verdict = not made.bad
        except OURS:
            raise
        except FAILURES:
            verdict = False
            raise
        except BaseException as other:
            in_vain = at_latest is None and time.perf_counter() - began > GIVEN_UP_SECS
            given_up = isinstance(other, asyncio.CancelledError) and in_vain
            verdict = False if made.bad or given_up else None
            raise
        finally:
            known.under_way -= 1
            self._heard(known, ticket, verdict, time.perf_counter() - began)

    def of(self, name: str) -> Known:
        """The breaker of that name, new where there was none."""
        name = normal(name)
        known = self.known.get(name)
        if known is None:
            self._make_room()
            known = self.known[name] = Known(name, Breaker(self.config(name)))
            metrics.breaker_turned(name, State.CLOSED, here=False)
        return known

    def config(self, name: str) -> Config:
        for found in (name, name.partition("~")[0], name.partition(":")[0], DEFAULTS):
            if found in self.said:
                return self.said[found]
        return Config()

    def adopt(self, said: Standing) -> None:
        """What another process has made of a breaker: it goes before what this one has made of it meanwhile."""
        known = self.of(said.name)
        if known.version != said.version:
            known.breaker, known.version, known.news = adopted(known.breaker, said), said.version, False
            known.by, known.reason = said.by, said.reason
            metrics.breaker_turned(known.name, said.state, here=False)

    def _leave(self, known: Known, at_latest: timedelta | None) -> Ticket:
        now, before = self.now(), known.breaker
        known.breaker, ticket = before.asked(now, at_latest)
        if ticket is not None:
            if known.breaker.state is not before.state:
                self._turned(known)
            return ticket
        known.counts.rejected += 1
        metrics.breaker_rejected(known.name)
        due = before.due(now, at_latest)
        until = None if before.forced else due
        raise Open(known.name, until, max(due - now, timedelta(milliseconds=50)))

    def _heard(self, known: Known, ticket: Ticket, verdict: bool | None, took: float) -> None:
        before, now = known.breaker, self.now()
        if verdict is None:
            known.breaker = before.cancelled(ticket)
            return
        known.breaker = before.succeeded(ticket, now) if verdict else before.failed(ticket, now)
        known.counts.requests += 1
        known.counts.failures += not verdict
        metrics.breaker_answered(known.name, verdict, took, known.breaker.recently)
        if known.breaker.state is not before.state:
            self._turned(known)

    def _turned(self, known: Known) -> None:
        known.news, known.by, known.reason = True, None, None
        known.counts.opened += known.breaker.state is State.OPEN
        metrics.breaker_turned(known.name, known.breaker.state, here=True)
        self.stirred.set()

    def _make_room(self) -> None:
        if len(self.known) < MOST:
            return
        idle = [
            known for name, known in self.known.items()
            if not known.under_way and not known.breaker.forced and name not in self.said
        ]  # fmt: skip
        well = [
            known for known in idle
            if known.breaker.state is State.CLOSED and not known.news and known.counts == Counts()
        ]  # fmt: skip
        for known in well or idle[:GO_TOGETHER]:
            metrics.breaker_turned(known.name, State.CLOSED, here=False)
            del self.known[known.name]

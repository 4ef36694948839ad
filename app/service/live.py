"""What happens, as it happens: one reader of PostgreSQL's feed per process, for any number of listeners."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from app.domain.access import Principal, Scope
from app.domain.errors import Invalid, RateLimited, Unavailable
from app.domain.playing import RunView
from app.domain.representation import EventView, LiveEvent
from app.store.database import AWAY, answering
from app.store.feed import FeedStore, News, Snapshot
from app.telemetry import metrics

log = logging.getLogger(__name__)

T = TypeVar("T")

POLL_SECS = 1.0
"""How often to look when nothing calls (a notification may get lost behind a connection pooler)."""
ALERTS_POLL_SECS = 0.2
"""Alerts announce nothing: taking one in is the hot path, and most of the time nobody listens."""
AGAIN_AFTER_SECS = 0.5
ALMOST_THERE = 100


class Lagging(RateLimited):
    """A listener that doesn't keep up is dropped, not waited for. It goes on from the last cursor it has."""

    def __init__(self, most: int) -> None:
        super().__init__(f"More than {most:,} events wait for this listener: it was dropped; go on from its cursor.")


Read = Callable[[Snapshot, Snapshot], AsyncIterator[list[News[T]]]]


def _nothing() -> None:
    """Nobody else has to know."""


class Backlog(Generic[T]):
    """What waits for one listener, `most` at most. `dropped` is called when it is more."""

    def __init__(self, most: int, dropped: Callable[[], None] = _nothing) -> None:
        self._most = most
        self._dropped = dropped
        self._waiting: deque[T] = deque()
        self._fresh = asyncio.Event()
        self._over: Exception | None = None

    def put(self, item: T) -> None:
        if self._over is not None:
            return
        self._waiting.append(item)
        self._fresh.set()
        if len(self._waiting) > self._most:
            self._waiting.clear()
            self.end(Lagging(self._most))
            self._dropped()

    def end(self, why: Exception) -> None:
        """Nothing comes any more; what waits is still heard."""
        self._over = self._over or why
        self._fresh.set()

    async def next(self) -> T:
        """Raises: Lagging; what it was ended with."""
        while not self._waiting:
            if self._over is not None:
                raise self._over
            self._fresh.clear()
            await self._fresh.wait()
        return self._waiting.popleft()


class Follower(Backlog[T]):
    """A listener from `since` on."""

    def __init__(self, since: Snapshot, most: int) -> None:
        super().__init__(most)
        self.since = since

    def tell(self, news: News[T]) -> None:
        if not self.since.sees(news.xid):
            self.put(news.value)


@dataclass
class Stream(Generic[T]):
    """One feed, read from where it was read last, for those who follow it."""

    read: Read[T]
    most_behind: int
    followers: set[Follower[T]] = field(default_factory=set)
    seen: Snapshot | None = None

    @contextmanager
    def followed(self, since: Snapshot) -> Iterator[Follower[T]]:
        follower: Follower[T] = Follower(since, self.most_behind)
        if not self.followers:
            self.seen = since
        self.followers.add(follower)
        metrics.LISTENERS.inc()
        metrics.LISTENERS_BEGUN.inc()
        try:
            yield follower
        finally:
            self.followers.discard(follower)
            metrics.LISTENERS.dec()

    async def advance(self, now: Snapshot) -> None:
        """Tells everybody what is new."""
        if not self.followers or self.seen is None:
            return
        if now.xmax < self.seen.xmax:
            log.warning("the database was put back to an earlier state: listeners go on from now")
            self.seen = now
        async for page in self.read(self.seen, now):
            for news in page:
                for follower in self.followers:
                    follower.tell(news)
        self.seen = now


@dataclass
class Runs:
    """Runs of playbooks that something became of, read together and once for all who follow them."""

    read: Callable[[Collection[str]], Awaitable[list[RunView]]]
    most_behind: int
    followers: set[Backlog[RunView]] = field(default_factory=set)
    fresh: set[str] = field(default_factory=set)

    @contextmanager
    def followed(self) -> Iterator[Backlog[RunView]]:
        follower: Backlog[RunView] = Backlog(self.most_behind)
        self.followers.add(follower)
        metrics.LISTENERS.inc()
        metrics.LISTENERS_BEGUN.inc()
        try:
            yield follower
        finally:
            self.followers.discard(follower)
            metrics.LISTENERS.dec()

    def tell(self, run_id: str) -> None:
        if self.followers:
            self.fresh.add(run_id)

    async def advance(self) -> None:
        """Tells everybody what is new."""
        ids, self.fresh = self.fresh, set()
        for run in await self.read(ids) if ids else ():
            for follower in self.followers:
                follower.put(run)

    def break_off(self) -> None:
        """What became of runs meanwhile nobody can say: who follows them has to look, and begin anew."""
        for follower in self.followers:
            follower.end(Unavailable("database", "PostgreSQL did not answer: look at the runs, and subscribe again."))


@dataclass
class Live:
    """Every gateway has one. An incident's events come in order, each once, however many gateways there are.

    `most_behind`: events that wait for one listener before it is dropped.
    """

    feed: FeedStore
    most_behind: int = 2_000
    incidents: Stream[LiveEvent] = field(init=False)
    incoming: Stream[EventView] = field(init=False)
    runs: Runs = field(init=False)
    fresh: asyncio.Event = field(default_factory=asyncio.Event)
    wanted: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.incidents, self.incoming = (
            Stream(self.feed.events, self.most_behind), Stream(self.feed.alerts, self.most_behind),
        )  # fmt: skip
        self.runs = Runs(self.feed.runs, self.most_behind)

    def follow(self, who: Principal, after: str | None = None) -> AsyncGenerator[LiveEvent, None]:
        """Everything decided about incidents from now on, or from the cursor `after` on: first what was missed.

        Around a cursor an event may come twice; (incident_id, seq) names it.

        Raises: Forbidden, Invalid (the cursor), Unavailable; Lagging when the listener doesn't keep up.
        """
        who.may(Scope.READ)
        return self._following(self.incidents, Snapshot.parse(after, "after") if after is not None else None)

    def alerts(self, who: Principal) -> AsyncGenerator[EventView, None]:
        """Every alert that is accepted from now on. Raises: Forbidden, Unavailable; Lagging."""
        who.may(Scope.READ)
        return self._following(self.incoming, None)

    def playbooks(self, who: Principal) -> AsyncGenerator[RunView, None]:
        """Every run of a playbook that something becomes of, as it is then. Raises: Forbidden, Unavailable; Lagging."""
        who.may(Scope.READ)
        return self._playing()

    async def _playing(self) -> AsyncGenerator[RunView, None]:
        with self.runs.followed() as follower:
            self.wanted.set()
            while True:
                yield await follower.next()

    async def cursor(self, who: Principal) -> str:
        """Where the feed is now. Raises: Forbidden, Unavailable."""
        who.may(Scope.READ)
        return str(await self._now())

    async def _following(self, stream: Stream[T], after: Snapshot | None) -> AsyncGenerator[T, None]:
        since = await self._now()
        if after is not None:
            if after.xmax > since.xmax:
                raise Invalid.field("after", "is not a cursor of this database: begin with a list, without a cursor")
            while True:
                missed = 0
                async for page in _read(stream, after, since):
                    missed += len(page)
                    for news in page:
                        yield news.value
                if missed < ALMOST_THERE:
                    break
                after, since = since, await self._now()
        with stream.followed(since) as follower:
            self.wanted.set()
            while True:
                yield await follower.next()

    async def _now(self) -> Snapshot:
        async with answering():
            return await self.feed.now()

    async def run(self) -> None:
        """Until cancelled. PostgreSQL away: goes on where it was when it is back."""
        while True:
            await self.wanted.wait()
            try:
                async with self.feed.listening(self.fresh.set, self.runs.tell) as lost:
                    await self._tell_while_somebody_listens(lost)
                if lost.is_set():
                    self.runs.break_off()
            except AWAY as away:
                self.runs.break_off()
                log.warning("the feed is not read, PostgreSQL does not answer: %s", away)
                await asyncio.sleep(AGAIN_AFTER_SECS)

    async def _tell_while_somebody_listens(self, lost: asyncio.Event) -> None:
        while not lost.is_set():
            self.fresh.clear()
            now = await self.feed.now()
            await self.incidents.advance(now)
            await self.incoming.advance(now)
            await self.runs.advance()
            if not (self.incidents.followers or self.incoming.followers or self.runs.followers):
                self.wanted.clear()
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(ALERTS_POLL_SECS if self.incoming.followers else POLL_SECS):
                    await self.fresh.wait()


async def _read(stream: Stream[T], since: Snapshot, until: Snapshot) -> AsyncIterator[list[News[T]]]:
    """Raises: Unavailable."""
    try:
        async for page in stream.read(since, until):
            yield page
    except AWAY as away:
        raise Unavailable("database", "PostgreSQL does not answer; go on from the last cursor.") from away

"""One running subscription for everybody who asks the same: an event is worked out once, however many listen."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from app.domain.errors import Refused
from app.service.live import Backlog, Lagging
from app.telemetry import metrics

log = logging.getLogger(__name__)

Result = Any
Begin = Callable[[], Awaitable[AsyncIterator[Result]]]


@dataclass(eq=False)
class Shared:
    """A subscription that runs for as long as somebody listens."""

    begin: Begin
    listeners: set[Backlog[Result]] = field(default_factory=set)
    running: asyncio.Task[None] | None = None

    async def run(self) -> None:
        failure: Exception = Refused("The subscription has ended.")
        try:
            async for result in await self.begin():
                for listener in self.listeners:
                    listener.put(result)
        except Refused as refusal:
            failure = refusal
        except Exception:
            log.exception("a subscription failed")
        finally:
            for listener in self.listeners:
                listener.end(failure)


class Sharing:
    """The subscriptions that run, by who may see them and what was asked."""

    def __init__(self, most_behind: int) -> None:
        self.most_behind = most_behind
        self.running: dict[Hashable, Shared] = {}

    async def listen(self, key: Hashable, begin: Begin, drop: Callable[[], None]) -> AsyncGenerator[Result, None]:
        """The results from now on. `drop` is called when this listener does not keep up."""
        shared = self.running.get(key)
        if shared is None or (shared.running is not None and shared.running.done()):
            shared = self.running[key] = Shared(begin)
        backlog: Backlog[Result] = Backlog(self.most_behind, drop)
        metrics.GRAPHQL_SUBSCRIPTIONS.set(len(self.running))
        shared.listeners.add(backlog)
        if shared.running is None:
            shared.running = asyncio.create_task(shared.run())
        try:
            while True:
                try:
                    yield await backlog.next()
                except Lagging:
                    return
        finally:
            shared.listeners.discard(backlog)
            if not shared.listeners:
                if self.running.get(key) is shared:
                    del self.running[key]
                    metrics.GRAPHQL_SUBSCRIPTIONS.set(len(self.running))
                shared.running.cancel()
                with suppress(asyncio.CancelledError):
                    await shared.running

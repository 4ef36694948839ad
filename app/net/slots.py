"""A bulkhead per destination: a slow one may hold a few sends, never all of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

AT_ONCE = 16
"""Sends to one destination at the same time (chosen: a healthy one takes hundreds a second with that)."""
PATIENCE_SECS = 0.5
"""How long a send waits for its turn before it gives its worker slot back: plenty where the others are answered."""


class Busy(Exception):
    """Too many sends to the same destination are under way."""


class Slots:
    def __init__(self, at_once: int = AT_ONCE, patience_secs: float = PATIENCE_SECS) -> None:
        self.at_once = at_once
        self.patience_secs = patience_secs
        self.taken: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, destination: str) -> AsyncIterator[None]:
        """Holds one of the destination's slots. Raises: Busy when none comes free in time."""
        semaphore = self.taken.setdefault(destination, asyncio.Semaphore(self.at_once))
        try:
            async with asyncio.timeout(self.patience_secs):
                await semaphore.acquire()
        except TimeoutError:
            raise Busy(f"{self.at_once} sends to {destination} are under way") from None
        try:
            yield
        finally:
            semaphore.release()

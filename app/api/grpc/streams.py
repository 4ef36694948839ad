"""The streams under way, and what ends them before they end themselves: the server's end, and that of a key."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from app.api.grpc.wire import Context
from app.domain.errors import Refused, Unavailable
from app.telemetry import metrics

LOOKS_AGAIN_SECS = 5.0
"""A stream outlives its key by so much at most (chosen)."""

Call = asyncio.Task[Any]


class Streams:
    """`admit` says whether a call would be let in now. `ended` are the calls that were cancelled from here, and why."""

    def __init__(self, admit: Callable[[Context], Awaitable[object]]) -> None:
        self.admit = admit
        self.open: dict[Call, Context | None] = {}
        self.ended: dict[Call, Refused] = {}
        self._count()

    @asynccontextmanager
    async def kept(self, context: Context | None) -> AsyncIterator[None]:
        """Keeps this call among those that can be ended; `context` where it needs a key all along."""
        call = this_call()
        self.open[call] = context
        self._count()
        try:
            yield
        finally:
            del self.open[call]
            self.ended.pop(call, None)
            self._count()

    async def watch(self) -> None:
        """Until cancelled: ends those whose key was revoked, or whose token has run out."""
        while True:
            await asyncio.sleep(LOOKS_AGAIN_SECS)
            for call, context in list(self.open.items()):
                if context is None or call in self.ended:
                    continue
                try:
                    await self.admit(context)
                except Unavailable:
                    continue
                except Refused as refusal:
                    self._end(call, refusal)

    async def close(self) -> None:
        """Ends them all."""
        for call in list(self.open):
            self._end(call, Unavailable("gateway", "The gateway is being stopped: connect again."))

    def _end(self, call: Call, refusal: Refused) -> None:
        self.ended[call] = refusal
        call.cancel()

    def _count(self) -> None:
        metrics.GRPC_STREAMS_ACTIVE.set(len(self.open))


def this_call() -> Call:
    """The task of the call under way."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 — every call is a task
    return task

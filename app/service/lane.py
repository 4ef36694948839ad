"""Group commit: requests that arrive while a transaction is under way share the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from app.domain.errors import Unavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")
MOST = 1000
"""Items in one transaction (chosen: 100 batches of 10 or one of 1,000; some 50 ms of PostgreSQL)."""


@dataclass
class Lane(Generic[Item, Answer]):
    """Runs `commit` over everything that waits, one group at a time; each caller gets the answers to its own items.

    A group that fails is tried again one caller at a time, so that nobody pays for another's items. While
    the store is away, everybody who waits is told so at once instead of one after the other.
    """

    commit: Callable[[Sequence[Item]], Awaitable[list[Answer]]]
    waiting: "deque[tuple[Sequence[Item], asyncio.Future[list[Answer]]]]" = field(default_factory=deque)
    running: asyncio.Task[None] | None = None

    async def submit(self, items: Sequence[Item]) -> list[Answer]:
        """The answers to `items`, in their order, once they are durable. Raises what `commit` raises."""
        answers: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self.waiting.append((items, answers))
        if self.running is None or self.running.done():
            self.running = asyncio.create_task(self._run())
        return await answers

    async def _run(self) -> None:
        while self.waiting:
            group = [self.waiting.popleft()]
            size = len(group[0][0])
            while self.waiting and size + len(self.waiting[0][0]) <= MOST:
                size += len(self.waiting[0][0])
                group.append(self.waiting.popleft())
            if not await self._try(group):
                for alone in group:
                    await self._try([alone], last=True)

    async def _try(
        self, group: "Sequence[tuple[Sequence[Item], asyncio.Future[list[Answer]]]]", *, last: bool = False
    ) -> bool:
        """Whether everybody in the group has an answer now (or, at the `last` try, an error)."""
        try:
            answers = await self.commit([item for items, _ in group for item in items])
        except Unavailable as away:
            waiting, self.waiting = [*group, *self.waiting], deque()
            for _, future in waiting:
                if not future.done():
                    future.set_exception(away)
            return True
        except Exception as error:  # noqa: BLE001 — whatever it is, it belongs to those who wait for it
            if not last and len(group) > 1:
                return False
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
            return True
        begin = 0
        for items, future in group:
            if not future.done():
                future.set_result(answers[begin : begin + len(items)])
            begin += len(items)
        return True

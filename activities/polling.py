"""Asking providers' status pages how they are, and keeping what changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from temporalio import activity

from app.domain.enrichment import NoAnswer
from app.domain.record import Record
from app.domain.status_page import Seen, news

if TYPE_CHECKING:
    from app.domain.alert import Alert
    from app.domain.status_page import Summary

log = logging.getLogger(__name__)


class Poll(Record):
    """What was seen before, by provider, and the moment of this poll: the same one, however often it is tried."""

    at: datetime
    before: dict[str, Seen] = {}


class Polled(Record):
    """What is known now, how many alerts came of it, and whose page didn't answer."""

    seen: dict[str, Seen] = {}
    alerts: int = 0
    silent: tuple[str, ...] = ()


class Watched(Protocol):
    """A provider's page."""

    @property
    def provider(self) -> str: ...

    async def look(self) -> Summary:
        """What it says of what matters. Raises: NoAnswer."""


@dataclass(frozen=True)
class Polling:
    """`ingest` makes alerts durable, all or none; `observe` is told of each page whether it answered."""

    pages: Sequence[Watched]
    ingest: Callable[[Sequence[Alert]], Awaitable[object]]
    observe: Callable[[str, bool], None]

    @activity.defn(name="polling.status_pages")
    async def status_pages(self, ask: Poll) -> Polled:
        """Asks all pages at once. One that doesn't answer is as it was, and keeps nobody else waiting.

        A change is told once: the moment of the poll that saw it is part of its alert's delivery. A second try tells
        all that is well, too: the first may have told of what is over by now. Raises: Unavailable.
        """
        from app.sources.statuspage import changed

        again = activity.in_activity() and activity.info().attempt > 1
        summaries = await asyncio.gather(*(self._look(page) for page in self.pages))
        seen = dict(ask.before)
        alerts: list[Alert] = []
        for page, said in zip(self.pages, summaries, strict=True):
            if said is not None:
                fresh = news(said, ask.before.get(page.provider), unsure=again)
                alerts += changed(page.provider, fresh, ask.at)
                seen[page.provider] = fresh.seen
        if alerts:
            await self.ingest(alerts)
        silent = (page.provider for page, said in zip(self.pages, summaries, strict=True) if said is None)
        return Polled(seen=_watched(seen, self.pages), alerts=len(alerts), silent=tuple(silent))

    async def _look(self, page: Watched) -> Summary | None:
        try:
            said = await page.look()
        except NoAnswer as no:
            log.warning("%s's status page: %s", page.provider, no)
            self.observe(page.provider, False)
            return None
        self.observe(page.provider, True)
        return said


def _watched(seen: Mapping[str, Seen], pages: Sequence[Watched]) -> dict[str, Seen]:
    """Of pages that are asked no more nothing is remembered."""
    return {page.provider: seen[page.provider] for page in pages if page.provider in seen}

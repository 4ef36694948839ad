"""Looking around an incident."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import TYPE_CHECKING

from temporalio import activity

from app.domain.enrichment import About, Found, NoAnswer, bounded
from app.domain.record import Record
from app.domain.representation import Finding

if TYPE_CHECKING:
    from app.enrichers.answers import Answers
    from app.enrichers.base import Enricher
    from app.store.enrichments import EnrichmentStore

Observe = Callable[[str, float, bool], None]
"""Told the enricher, the seconds it took, and whether its answer was known."""


KEPT_EVERY_SECS = 0.25
"""What has come by then is written, so that a message that goes out says it."""


class Enrich(Record):
    """An incident, and the moment that is asked about."""

    incident_id: str
    at: datetime


class Enriched(Record):
    """The names of those enrichers that found something, and of those that failed or were late."""

    found: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Enriching:
    """`at_once`: how many look-ups of one incident run at the same time; `budget_secs`: for all of them together.

    `clean` takes personal data and keys out of what others than our own PostgreSQL say.
    """

    enrichers: Sequence[Enricher]
    store: EnrichmentStore
    answers: Answers
    observe: Observe
    at_once: int = 5
    budget_secs: float = 10
    clean: Callable[[Found], Found] = bounded

    @property
    def external(self) -> bool:
        """Whether anybody but our own PostgreSQL is asked."""
        return any(enricher.external for enricher in self.enrichers)

    @activity.defn(name="enriching.enrich")
    async def enrich(self, ask: Enrich) -> Enriched:
        """Asks everybody, and keeps each answer as it comes. Twice is once.

        Raises: NotFound, or what PostgreSQL says when it is away.
        """
        about = await self.store.about(ask.incident_id, ask.at)
        slots, until = asyncio.Semaphore(self.at_once), asyncio.get_running_loop().time() + self.budget_secs
        findings: list[Finding] = []
        async with asyncio.TaskGroup() as group:
            waiting = {group.create_task(self._one(enricher, about, slots, until)) for enricher in self.enrichers}
            while waiting:
                came, waiting = await asyncio.wait(waiting, timeout=KEPT_EVERY_SECS)
                findings += (fresh := [task.result() for task in came])
                await self.store.keep(about.incident_id, fresh)
        return Enriched(
            found=tuple(sorted(finding.enricher for finding in findings if finding.status == "found")),
            missed=tuple(sorted(finding.enricher for finding in findings if finding.status in ("failed", "late"))),
        )

    async def _one(self, enricher: Enricher, about: About, slots: asyncio.Semaphore, until: float) -> Finding:
        loop, began = asyncio.get_running_loop(), perf_counter()
        found, cached, status, error = None, False, "late", None
        try:
            async with asyncio.timeout_at(until), slots:
                began = perf_counter()
                async with asyncio.timeout_at(min(until, loop.time() + enricher.timeout_secs)):
                    found, cached = await self._answer(enricher, about)
            status = "found" if found.summary else "nothing"
        except TimeoutError:
            error = f"no answer within {enricher.timeout_secs:g} s"
        except Exception as failed:  # noqa: BLE001 — whatever it is, the others' answers count
            status = "failed"
            error = str(failed)[:500] if isinstance(failed, NoAnswer) else type(failed).__name__
        took = perf_counter() - began
        self.observe(enricher.name, took, cached)
        return Finding(
            enricher=enricher.name, status=status, summary=found.summary if found else "",
            data=found.data if found else {}, source=found.source if found else "", at=found.at if found else about.at,
            took_ms=round(took * 1000, 2), cached=cached, error=error,
        )  # fmt: skip

    async def _answer(self, enricher: Enricher, about: About) -> tuple[Found, bool]:
        """The answer, and whether it was known. It is asked for to its end, also when this incident gave up on it."""

        async def ask() -> Found:
            async with asyncio.timeout(enricher.timeout_secs):
                found = await enricher.look_up(about)
            if found is None:
                return Found(summary="", at=about.at, source="")
            return bounded(self.clean(found) if enricher.external else found)

        return await self.answers.get(enricher.name, enricher.key(about), ask)

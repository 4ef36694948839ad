"""Alerts: accepted only when durable."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter

from uuid_utils.compat import uuid7

from app.domain.access import Principal, Scope
from app.domain.alert import Alert
from app.domain.dedup import Outcome
from app.domain.representation import AlertView
from app.domain.requests import Ingested
from app.service.lane import MOST, Lane
from app.sources.redaction import ALL_OUT, Redaction
from app.store.alerts import AlertStore, Arrival
from app.store.database import answering
from app.store.incidents import as_uuid
from app.telemetry import metrics

JOINED = frozenset({Outcome.MERGED, Outcome.REPEAT, Outcome.REOPENED})


@dataclass
class Alerts:
    """`fresh` is called when a workflow has something to hear. With `by_content` off, only a source's own
    key makes two alerts the same problem. `redaction` is what an alert loses before anything else sees it."""

    store: AlertStore
    fresh: Callable[[], None]
    by_content: bool = True
    redaction: Redaction = ALL_OUT
    lane: Lane[Arrival, Ingested] = field(init=False)

    def __post_init__(self) -> None:
        self.lane = Lane(self._commit)

    async def ingest(self, who: Principal, alerts: Sequence[Alert], assignee: str | None = None) -> list[Ingested]:
        """What became of each alert, in order. They are durable when it returns.

        More than 1,000 are stored a thousand at a time: those of everybody else get in between.

        Raises: Forbidden; Unavailable, and then nothing of them was stored, or nothing but the first thousands.
        """
        who.may(Scope.SEND_ALERTS)
        began, at = perf_counter(), datetime.now(UTC)
        answers: list[Ingested] = []
        for begin in range(0, len(alerts), MOST):
            several = (self._identified(self.redaction.alert(alert)) for alert in alerts[begin : begin + MOST])
            answers += await self.lane.submit([Arrival.of(alert, at, assignee) for alert in several])
        metrics.PROCESSING.observe(perf_counter() - began)
        for (source, outcome), many in Counter(
            (a.source, b.outcome) for a, b in zip(alerts, answers, strict=True)
        ).items():
            metrics.ALERTS_PROCESSED.labels(metrics.one_of(metrics.SOURCES, source), outcome.value).inc(many)
            if outcome in JOINED:
                metrics.DEDUPLICATION_HITS.inc(many)
        return answers

    async def of_incident(
        self, who: Principal, incident_id: str, page: int, page_size: int
    ) -> tuple[list[AlertView], int]:
        """One page of an incident's alerts, newest first, and how many there are. Raises: Forbidden, NotFound."""
        who.may(Scope.READ)
        async with answering():
            return await self.store.of_incident(as_uuid(incident_id), page_size, (page - 1) * page_size)

    def _identified(self, alert: Alert) -> Alert:
        if self.by_content or alert.identity is not None:
            return alert
        return alert.model_copy(update={"identity": str(uuid7())})

    async def _commit(self, arrivals: Sequence[Arrival]) -> list[Ingested]:
        async with answering():
            answers, heard = await self.store.claim(arrivals)
        if heard:
            self.fresh()
        return answers

"""What metrics say right now, kept with the run.

Source of the API: https://prometheus.io/docs/prometheus/latest/querying/api/ (instant and range queries).
"""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self
from urllib.parse import urlencode

from pydantic import Field, StringConstraints

from app.actions.api import answered
from app.actions.base import Done, Failed, Plain, Situation, Tools
from app.channels.base import plain
from app.domain.digging import dug, listed
from app.domain.record import Record
from app.enrichers.asking import credentials, line
from app.enrichers.prometheus import course
from app.net.http import Http

SERIES = 10
"""Series that are kept of one query, the highest first."""
POINTS = 60

PromQL = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Label = Annotated[str, StringConstraints(pattern=r"^\S.{0,99}$")]


@dataclass(frozen=True)
class Prometheus:
    """The one of enrichment.prometheus."""

    http: Http
    url: str
    headers: dict[str, str]

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        own = tools.settings.enrichment.prometheus
        return cls(tools.http.named("prometheus"), own.url, credentials(own)) if own.url else None

    async def now(self, query: str, at: Situation) -> list[tuple[dict[str, str], str]]:
        """Every series' labels and value, as Prometheus writes it; a bare number is one without labels.

        Raises: Failed.
        """
        found = await self._asked("query", {"query": query, "time": at.now.timestamp()}, at)
        if dug(found, "resultType") == "scalar":
            return [({}, str(dug(found, "result", 1)))]
        if dug(found, "resultType") != "vector":
            raise Failed(f"{query} gives no number: ask for an instant vector or a scalar")
        return [(labels(one), str(dug(one, "value", 1))) for one in listed(dug(found, "result"))]

    async def course(self, query: str, window_secs: float, at: Situation) -> list[dict[str, object]]:
        """Every series' first, last, lowest and highest value. Raises: Failed."""
        until = at.now.timestamp()
        asks = {"query": query, "start": until - window_secs, "end": until, "step": max(window_secs / POINTS, 1)}
        found = await self._asked("query_range", asks, at)
        courses = [course(one) for one in listed(dug(found, "result"))]
        return [
            {"labels": one.labels, "first": one.first, "last": one.last, "low": one.low, "high": one.high}
            for one in courses
            if one is not None
        ]

    async def _asked(self, kind: str, asks: Mapping[str, object], at: Situation) -> Any:
        answer = await answered(self.http, "GET", f"{self.url}/api/v1/{kind}?{urlencode(asks)}", self.headers, at)
        if dug(answer, "status") != "success":
            raise Failed(f"Prometheus says {line(str(dug(answer, 'error')))}")
        return dug(answer, "data")


@dataclass(frozen=True)
class MetricsSnapshot(Plain):
    """It only reads: twice is harmless.

    `queries`: 1 to 10, name → PromQL of up to 2,000 characters. `window_secs`: 0 = the values of now, else how each
    series went in so many seconds, up to a day. In the output each name has `value` (its highest series', None where
    there is none) and `series`, ten at most.
    """

    prometheus: Prometheus

    class Parameters(Record):
        queries: dict[Label, PromQL] = Field(min_length=1, max_length=10)
        window_secs: float = Field(0, ge=0, le=86_400)

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        prometheus = Prometheus.configured(tools)
        return cls(prometheus) if prometheus else None

    async def check(self, asked: Parameters, at: Situation) -> str:
        found = await self.run(asked, at)
        return f"ask Prometheus; at present: {found.summary}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        answers = await asyncio.gather(*(self._series(query, asked, at) for query in asked.queries.values()))
        metrics = {
            name: {"query": query, "value": number(series[0]["last"]) if series else None, "series": series[:SERIES]}
            for (name, query), series in zip(asked.queries.items(), answers, strict=True)
        }
        shown = ", ".join(f"{name} {_shown(one['value'])}" for name, one in metrics.items())
        return Done(summary=shown[:500], output={"metrics": metrics, "at": at.now.isoformat()})

    async def _series(self, query: str, asked: Parameters, at: Situation) -> list[dict[str, object]]:
        if asked.window_secs:
            series = await self.prometheus.course(query, asked.window_secs, at)
        else:
            series = [{"labels": of, "last": number(value)} for of, value in await self.prometheus.now(query, at)]
        return sorted(series, key=lambda one: -(number(one["last"]) or 0))


def labels(series: object) -> dict[str, str]:
    found = dug(series, "metric")
    said = found.items() if isinstance(found, dict) else ()
    return {plain(str(name))[:100]: plain(str(value))[:100] for name, value in list(said)[:10]}


def number(value: object) -> float | None:
    """None for what JSON cannot say: NaN and the infinities."""
    try:
        found = float(str(value))
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "-"

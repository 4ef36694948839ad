"""What the metrics say: range queries that fit the incident's class and what it names.

Source of the API: https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries; of the queries: the metrics
that LiteLLM, vLLM, TGI and DCGM export.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from string import Template
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self
from urllib.parse import urlencode

from app.domain.digging import dug, listed
from app.domain.enrichment import About, Found, NoAnswer
from app.enrichers.asking import asked, credentials, escaped, line
from app.surroundings import Enrichment

if TYPE_CHECKING:
    from app.enrichers.base import Stores
    from app.net.http import Http

POINTS = 60
SERIES = 3
ASKED_AT_MOST = 6
SHOWN = 3
ENDED_SECS = 300
"""Prometheus itself takes a series for ended when it is missing for so long (its look-back)."""
KNOWN_BY = {
    "service": ("service", "app", "job"),
    "model": ("model", "model_name", "litellm_model_name"),
    "group": ("model_group", "model", "model_name"),
    "provider": ("provider", "api_provider", "llm_provider", "gen_ai.system", "gen_ai.provider.name"),
    "node": ("node", "hostname", "Hostname", "instance"),
}
"""The labels of an alert that say what a query asks about, the best first."""


class Query(NamedTuple):
    """`classes`: the beginnings of the incident classes it is asked for; empty = for all."""

    name: str
    template: str
    classes: tuple[str, ...] = ()


QUERIES = (
    Query(
        "failures of the provider",
        'sum(rate(litellm_deployment_failure_responses_total{api_provider="$provider"}[5m]))'
        ' / sum(rate(litellm_deployment_total_requests_total{api_provider="$provider"}[5m]))',
        ("availability.", "performance.", "agent."),
    ),
    Query("state of the deployment", 'max(litellm_deployment_state{litellm_model_name="$model"})', ("availability.",)),
    Query(
        "time to first token p95",
        "histogram_quantile(0.95, sum by (le) (rate("
        'litellm_llm_api_time_to_first_token_metric_bucket{model_group="$group"}[5m])))',
        ("performance.", "capacity."),
    ),
    Query(
        "tokens left", 'min(litellm_remaining_tokens_metric{model_group="$group"})', ("performance.rate_limit",)
    ),
    Query("spend per hour", "sum(rate(litellm_spend_metric_total[10m])) * 3600", ("cost.", "agent.loop")),
    Query(
        "guardrail errors per second",
        "sum(rate(litellm_guardrail_errors_total[5m]))",
        ("security.", "privacy.", "safety."),
    ),
    Query("requests waiting", 'sum(vllm:num_requests_waiting{model_name="$model"})', ("capacity.", "performance.")),
    Query(
        "KV cache used",
        'max(vllm:kv_cache_usage_perc{model_name="$model"} or vllm:gpu_cache_usage_perc{model_name="$model"})',
        ("capacity.", "performance."),
    ),
    Query("last XID of the GPU", 'max(DCGM_FI_DEV_XID_ERRORS{Hostname="$node"})', ("infrastructure.",)),
    Query("up", 'min(up{job="$service"})'),
    Query(
        "5xx share",
        'sum(rate(http_requests_total{job="$service",status=~"5.."}[5m]))'
        ' / sum(rate(http_requests_total{job="$service"}[5m]))',
    ),
)  # fmt: skip


class Course(NamedTuple):
    """One series over the window; `seen`: when it was last, in seconds since 1970."""

    labels: dict[str, str]
    first: float
    last: float
    low: float
    high: float
    seen: float


@dataclass(frozen=True)
class Prometheus:
    http: Http
    url: str
    headers: Mapping[str, str]
    window: timedelta
    queries: Sequence[Query]
    timeout_secs: float
    name: ClassVar[str] = "prometheus"
    external: ClassVar[bool] = True

    @classmethod
    def configured(cls, said: Enrichment, http: Http, _: Stores) -> Self | None:
        own = said.prometheus
        if own.url is None:
            return None
        queries = [Query(name, template) for name, template in own.queries.items()]
        window = timedelta(seconds=own.window_secs)
        return cls(
            http.named("prometheus"),
            own.url,
            credentials(own),
            window,
            (*queries, *QUERIES),
            said.patience(cls.name, 3),
        )

    def key(self, about: About) -> str:
        return "\0".join(text for _, text in self._wanted(about))

    async def look_up(self, about: About) -> Found | None:
        wanted = self._wanted(about)
        if not wanted:
            return None
        answers = await asyncio.gather(*(self._ask(text, about) for _, text in wanted), return_exceptions=True)
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        for failure in failures:
            if not isinstance(failure, NoAnswer):
                raise failure
        if len(failures) == len(answers):
            raise NoAnswer(str(failures[0]))
        found = [
            (query.name, text, courses)
            for (query, text), courses in zip(wanted, answers, strict=True)
            if isinstance(courses, list) and courses
        ]
        if not found:
            return None
        data: dict[str, object] = {
            name: {"query": text, "series": [course._asdict() for course in courses]} for name, text, courses in found
        }
        alive = about.at.timestamp() - max(ENDED_SECS, self._span(about)[1])
        summary = "; ".join(told(name, courses[0], alive) for name, _, courses in found[:SHOWN])
        return Found(summary=summary, data=data, at=about.at, source="Prometheus")

    def _wanted(self, about: About) -> list[tuple[Query, str]]:
        """The queries that fit, filled in: those for the incident's class first."""
        said = {name: escaped(value) for name, value in names(about).items()}
        class_ = about.incident_class or ""
        fitting = [
            query for query in self.queries if not query.classes or class_.startswith(query.classes) or not class_
        ]
        fitting.sort(key=lambda query: not (query.classes and class_))
        filled = []
        for query in fitting:
            try:
                filled.append((query, Template(query.template).substitute(said)))
            except (KeyError, ValueError):  # what it asks about isn't known, or it isn't one
                continue
        return filled[:ASKED_AT_MOST]

    def _span(self, about: About) -> tuple[datetime, int]:
        """When the window begins, and the seconds between two points of it."""
        begins = min(about.started_at, about.at) - self.window
        return begins, max(math.ceil((about.at - begins).total_seconds() / POINTS), 1)

    async def _ask(self, query: str, about: About) -> list[Course]:
        begins, step = self._span(about)
        asks = {"query": query, "start": begins.timestamp(), "end": about.at.timestamp(), "step": step}
        answer = await asked(self.http, f"{self.url}/api/v1/query_range?{urlencode(asks)}", self.headers)
        if dug(answer, "status") != "success":
            raise NoAnswer(line(f"{dug(answer, 'errorType')}: {dug(answer, 'error')}"))
        courses = [course(series) for series in listed(dug(answer, "data", "result"))]
        return sorted((one for one in courses if one is not None), key=lambda one: -one.last)[:SERIES]


def names(about: About) -> dict[str, str]:
    """What an incident names, by the variables that queries have for it."""
    found = {
        variable: value
        for variable, labels in KNOWN_BY.items()
        if (value := next((about.tags[label] for label in labels if about.tags.get(label)), None)) is not None
    }
    return found | ({"service": about.called[0]} if about.called else {})


def course(series: object) -> Course | None:
    """A series of somebody's matrix; None where it holds no number."""
    values, seen = [], 0.0
    for point in listed(dug(series, "values")):
        try:
            at, value = float(dug(point, 0)), float(dug(point, 1))
        except (TypeError, ValueError, OverflowError):
            continue
        if math.isfinite(value):
            values.append(value)
            seen = at
    if not values:
        return None
    labels = dug(series, "metric")
    said = {str(name)[:100]: str(value)[:100] for name, value in labels.items()} if isinstance(labels, dict) else {}
    return Course(dict(list(said.items())[:10]), values[0], values[-1], min(values), max(values), seen)


def told(name: str, course: Course, alive: float) -> str:
    """A series last seen before `alive` has ended, which is a finding, too: whoever reports it may be down."""
    ended = 0 < course.seen < alive
    until = f" until {datetime.fromtimestamp(course.seen, UTC):%H:%M} UTC" if ended else ""
    return f"{name} {course.last:.3g}{until} (was {course.first:.3g}, at most {course.high:.3g})"

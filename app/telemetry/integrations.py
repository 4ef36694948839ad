"""The figures of Sentinel, Shield, Edge-Agent and Governance, under the names that their dashboards know.

`requests_successful`, `requests_failed`, rates and averages are not what a client library makes of a counter, so they
are worked out when somebody looks, from one histogram that every process of the service fills.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Protocol

from prometheus_client import Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

NAMES = ("sentinel", "shield", "edge-agent", "governance")
DURATION = "llm_integration_request_duration_seconds"
LAST = "llm_integration_last_request_timestamp"
RATE_SECS = 60.0
"""Over how long requests per second are averaged, as far as somebody has looked that often."""

REQUEST_DURATION = Histogram(
    DURATION, "What a request to an integration took.", ("integration", "outcome"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)  # fmt: skip
LAST_REQUEST = Gauge(LAST, "When it was last asked, in Unix time.", ("integration",), multiprocess_mode="mostrecent")
WELL = Gauge(
    "llm_integration_health_status", "1: its last answer was of use; 0: it wasn't.", ("integration",),
    multiprocess_mode="mostrecent",
)  # fmt: skip

for _name in NAMES:
    for _outcome in ("success", "failure"):
        REQUEST_DURATION.labels(_name, _outcome)


def requested(name: str, secs: float, good: bool) -> None:
    """Counts a request to an integration."""
    REQUEST_DURATION.labels(name, "success" if good else "failure").observe(secs)
    LAST_REQUEST.labels(name).set(time())
    WELL.labels(name).set(good)


class Collector(Protocol):
    def collect(self) -> Iterable[Metric]: ...


@dataclass
class Figures:
    """What is known of one integration. `buckets`: seconds, no more than that took so many requests."""

    good: float = 0
    failed: float = 0
    secs: float = 0
    last: float = 0
    per_second: float = 0
    well: bool | None = None
    buckets: dict[float, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        return self.good + self.failed

    def quantile(self, share: float) -> float:
        """Milliseconds that `share` of the requests stayed within, to the bucket's upper edge; 0 without requests."""
        edges = sorted(self.buckets)
        within = next((edge for edge in edges if self.buckets[edge] >= share * self.total), 0.0)
        longest = max((edge for edge in edges if math.isfinite(edge)), default=0.0)
        return min(within, longest) * 1000 if self.total else 0.0

    def shown(self) -> dict[str, float | int | bool | None]:
        """By the names of the metrics, without their prefix."""
        total = self.total
        return {
            "requests_total": int(total),
            "requests_successful": int(self.good),
            "requests_failed": int(self.failed),
            "success_rate_percent": 100 * self.good / total if total else 100.0,
            "error_rate_percent": 100 * self.failed / total if total else 0.0,
            "latency_milliseconds_total": self.secs * 1000,
            "latency_milliseconds_average": self.secs * 1000 / total if total else 0.0,
            "latency_milliseconds_p95": self.quantile(0.95),
            "latency_milliseconds_p99": self.quantile(0.99),
            "requests_per_second": self.per_second,
            "last_request_timestamp": self.last,
        }


class Pulse:
    """How many requests a second there were, from what was seen at earlier looks."""

    def __init__(self) -> None:
        self.seen: dict[str, deque[tuple[float, float]]] = {name: deque() for name in NAMES}

    def beats(self, name: str, total: float, now: float) -> float:
        seen = self.seen[name]
        seen.append((now, total))
        while len(seen) > 2 and seen[1][0] <= now - RATE_SECS:
            seen.popleft()
        (then, had), *_ = seen
        return max(total - had, 0) / (now - then) if now > then else 0.0


_pulse = Pulse()


def figures(families: Iterable[Metric]) -> dict[str, Figures]:
    """Everything that is known, by integration."""
    found = {name: Figures() for name in NAMES}
    for family in families:
        for sample in family.samples:
            of = found.get(sample.labels.get("integration", ""))
            if of is not None:
                _take(of, sample.name, sample.labels, sample.value)
    for name, of in found.items():
        of.per_second = _pulse.beats(name, of.total, monotonic())
    return found


def _take(of: Figures, name: str, labels: dict[str, str], value: float) -> None:
    if name == f"{DURATION}_count" and labels["outcome"] == "success":
        of.good += value
    elif name == f"{DURATION}_count":
        of.failed += value
    elif name == f"{DURATION}_sum":
        of.secs += value
    elif name == f"{DURATION}_bucket":
        edge = float(labels["le"])
        of.buckets[edge] = of.buckets.get(edge, 0) + value
    elif name == LAST:
        of.last = value
    elif name == "llm_integration_health_status":
        of.well = bool(value)


@dataclass(frozen=True)
class WithIntegrations:
    """What another collector has, and the figures of the integrations worked out of it."""

    inner: Collector

    def collect(self) -> Iterator[Metric]:
        families = list(self.inner.collect())
        yield from families
        yield from derived(figures(families))


def derived(found: dict[str, Figures]) -> Sequence[Metric]:
    """The metrics that are worked out."""
    made: dict[str, Metric] = {}
    for integration, of in found.items():
        for name, value in of.shown().items():
            whole = f"llm_integration_{name}"
            if whole == LAST or not isinstance(value, int | float):
                continue
            if name == "requests_total":
                family: Metric = made.setdefault(whole, CounterMetricFamily(whole, MEANS[name], labels=["integration"]))
            else:
                family = made.setdefault(whole, GaugeMetricFamily(whole, MEANS[name], labels=["integration"]))
            family.add_metric([integration], value)  # type: ignore[attr-defined]
    return list(made.values())


MEANS = {
    "requests_total": "Requests to it, each try counted.",
    "requests_successful": "Those that were answered with something of use.",
    "requests_failed": "The others.",
    "success_rate_percent": "Share of the successful ones; 100 before the first.",
    "error_rate_percent": "Share of the failed ones.",
    "latency_milliseconds_total": "What all of them took together.",
    "latency_milliseconds_average": "What one took on average.",
    "latency_milliseconds_p95": "What 95 of 100 took at most, to the edge of a bucket.",
    "latency_milliseconds_p99": "What 99 of 100 took at most, to the edge of a bucket.",
    "requests_per_second": "Of the last minute, as far as somebody looked.",
}

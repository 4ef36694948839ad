"""Which incidents belong together: how strongly two of them point at each other, and which group one joins.

Each strategy gives evidence between 0 and 1 (`WEIGHTS` is the most it can say), pieces of evidence are combined as
independent hints (noisy-or, Pearl 1988), and time scales the whole: it is no evidence by itself. What everything of a
busy source has in common (the source, the type, a region) is worth so little that all of it together doesn't suffice.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import reduce
from typing import Any

from app.domain.dedup import normalized
from app.domain.record import Record
from app.domain.taxonomy import PROVIDER_LABELS
from app.domain.vocabulary import IncidentType


class Strategy(StrEnum):
    """What two incidents can have in common; or somebody said so."""

    SOURCE = "source"
    TYPE = "type"
    SIMILARITY = "similarity"
    TAGS = "tags"
    SERVICE = "service"
    TOPOLOGY = "topology"
    PROVIDER = "provider"
    MANUAL = "manual"


WEIGHTS: dict[Strategy, float] = {
    Strategy.SERVICE: 0.65, Strategy.SIMILARITY: 0.65, Strategy.TOPOLOGY: 0.55, Strategy.PROVIDER: 0.45,
    Strategy.TAGS: 0.35, Strategy.TYPE: 0.1, Strategy.SOURCE: 0.1,
}  # fmt: skip
"""The most a strategy can say. Chosen: tags, type and source never suffice alone, type and source not even together."""
REACH = (1.0, 0.9, 0.8, 0.7)
"""What a way of one, two … dependencies between two services says of what a direct one does."""
HUB = 20
"""Who depends on a service with more neighbours than this has nothing to do with who else does."""
TEMPLATED = 0.4
"""One rule for many services words all of its alerts alike: what like texts say when the services differ."""
ALIKE_FROM = 0.3
"""Texts with less in common than this have nothing in common."""
COMMONPLACE = frozenset(
    ("severity", "priority", "env", "environment", "region", "zone", "cluster", "team", "owner", "namespace", "job",
     "prometheus", "monitor", "receiver", "replica", "tenant", "account", "stage", "tier", "alertname", "class")
)  # fmt: skip
"""Tags that many unrelated incidents share."""
COMMONPLACE_WEIGHT = 0.2
PROVIDER_TAGS = {
    name: kind
    for kind, names in {
        "provider": PROVIDER_LABELS,
        "model": ("model", "model_group", "model_name", "litellm_model_name", "gen_ai.request.model"),
    }.items()
    for name in names
}
ONE_OF_TWO = 0.8
"""Of what the same provider and the same model say together, either says this alone."""
WORD = re.compile(r"[^\W\d_]{2,}|\d+")
STOPWORDS = frozenset(
    ("an", "and", "are", "as", "at", "be", "by", "due", "for", "from", "has", "have", "in", "into", "is", "it", "its",
     "no", "not", "of", "on", "or", "over", "that", "the", "this", "to", "was", "were", "when", "with")
)  # fmt: skip

Topology = Mapping[str, frozenset[str]]
"""Service → its neighbours: what it depends on, and what depends on it."""


@dataclass(frozen=True)
class Symptom:
    """An incident as correlation sees it. `until` is when its group was last joined, its own moment without one."""

    id: str
    at: datetime
    until: datetime
    source: str = ""
    type: IncidentType = IncidentType.UNKNOWN
    environment: str | None = None
    words: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()
    tags: Mapping[str, str] = field(default_factory=dict)
    provider: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Symptom":
        """Of an incident's columns; `services` as the topology names them."""
        said = {PROVIDER_TAGS[name]: normalized(value) for name, value in row["tags"].items() if name in PROVIDER_TAGS}
        return cls(
            id=row["id"], at=row["at"], until=row.get("until", row["at"]), source=row["source"],
            type=IncidentType(row["type"]), environment=row["environment"], services=frozenset(row["services"]),
            words=words(row["title"], row["description"]), tags=row["tags"], provider=frozenset(said.items()),
        )  # fmt: skip


def words(*texts: str) -> frozenset[str]:
    """The words of texts that say something, numbers included."""
    return frozenset(word for text in texts for word in WORD.findall(normalized(text)) if word not in STOPWORDS)


def neighbours(edges: Iterable[tuple[str, str]]) -> Topology:
    """The topology that (service, what it depends on) make."""
    beside: dict[str, set[str]] = {}
    for one, other in edges:
        beside.setdefault(one, set()).add(other)
        beside.setdefault(other, set()).add(one)
    return {service: frozenset(others) for service, others in beside.items()}


class Reason(Record):
    """What one strategy found, how much it says (0 to 1), and in words."""

    strategy: Strategy
    evidence: float
    said: str


class Score(Record):
    """How strongly two incidents belong together, 0 to 1, and why."""

    value: float
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class Rules:
    """Incidents belong together from `threshold` on, groups only from `merge_threshold` on: one false link would make
    one of two causes. Further apart than `window` nothing does. `max_size` members count, others only come along.
    """

    window: timedelta = timedelta(seconds=300)
    threshold: float = 0.4
    merge_threshold: float = 0.75
    min_size: int = 2
    max_size: int = 50
    strategies: frozenset[Strategy] = frozenset(Strategy)

    @property
    def halves_in(self) -> timedelta:
        """How far apart evidence counts half. What breaks together is told within a minute or so of each other."""
        return self.window / 4


def score(one: Symptom, other: Symptom, topology: Topology, rules: Rules) -> Score:
    """How strongly two incidents belong together. Symmetric; 0 outside the window and across environments."""
    apart = max(one.at - other.until, other.at - one.until, timedelta(0))
    if apart > rules.window or (one.environment and other.environment and one.environment != other.environment):
        return Score(value=0)
    reasons = tuple(
        Reason(strategy=strategy, evidence=round(found[0] * WEIGHTS[strategy], 3), said=found[1])
        for strategy, look in LOOKS.items()
        if strategy in rules.strategies and (found := look(one, other, topology)) is not None
    )
    doubt = reduce(lambda left, reason: left * (1 - reason.evidence), reasons, 1.0)
    closeness: float = 0.5 ** ((apart / rules.halves_in) ** 2)
    return Score(value=round((1 - doubt) * closeness, 3), reasons=reasons)


Found = tuple[float, str] | None


def _source(one: Symptom, other: Symptom, _: Topology) -> Found:
    return (1.0, f"both come from {one.source}") if one.source == other.source else None


def _type(one: Symptom, other: Symptom, _: Topology) -> Found:
    if one.type is not other.type or one.type is IncidentType.UNKNOWN:
        return None
    return 1.0, f"both are of the type {one.type}"


def _similarity(one: Symptom, other: Symptom, _: Topology) -> Found:
    common = one.words & other.words
    alike = len(common) / (len(one.words | other.words) or 1)
    if alike <= ALIKE_FROM:
        return None
    templated = one.services and other.services and not one.services & other.services
    share = (alike - ALIKE_FROM) / (1 - ALIKE_FROM) * (TEMPLATED if templated else 1)
    return share, f"{len(common)} of {len(one.words | other.words)} words in common"


def _tags(one: Symptom, other: Symptom, _: Topology) -> Found:
    names = (one.tags.keys() | other.tags.keys()) - PROVIDER_TAGS.keys()
    same = sorted(name for name in names if one.tags.get(name) == other.tags.get(name))
    if not same:
        return None
    share = sum(map(_telling, same)) / max(sum(map(_telling, names)), 1.0)
    return share, "same " + ", ".join(f"{name}={one.tags[name]}"[:80] for name in same[:5])


def _telling(tag: str) -> float:
    return COMMONPLACE_WEIGHT if tag in COMMONPLACE else 1.0


def _service(one: Symptom, other: Symptom, _: Topology) -> Found:
    common = sorted(one.services & other.services)
    if not common:
        return None
    return len(common) / min(len(one.services), len(other.services)), f"both affect {', '.join(common[:5])}"


def _topology(one: Symptom, other: Symptom, topology: Topology) -> Found:
    if one.services & other.services:
        return None
    paths = (path for service in sorted(one.services) if (path := _path(service, other.services, topology)))
    path = min(paths, key=len, default=None)
    if path is None:
        return None
    return REACH[len(path) - 2], f"depend on each other: {' – '.join(path)}"


def _path(start: str, goals: frozenset[str], topology: Topology) -> tuple[str, ...] | None:
    """The shortest way from a service to one of `goals`, both included. It passes through no hub."""
    ways: dict[str, tuple[str, ...]] = {start: (start,)}
    border = [start]
    for _ in REACH:
        further: dict[str, tuple[str, ...]] = {}
        for service in border:
            for beside in sorted(topology.get(service, ())):
                if beside in goals:
                    return (*ways[service], beside)
                if beside not in ways and len(topology[beside]) <= HUB:
                    further[beside] = (*ways[service], beside)
        ways |= further
        border = list(further)
    return None


def _provider(one: Symptom, other: Symptom, _: Topology) -> Found:
    common = dict(sorted(one.provider & other.provider))
    if not common:
        return None
    said = "same " + " and ".join(f"{kind} {name}" for kind, name in common.items())
    return (1.0 if len(common) > 1 else ONE_OF_TWO), said


LOOKS: dict[Strategy, Callable[[Symptom, Symptom, Topology], Found]] = {
    Strategy.SERVICE: _service, Strategy.TOPOLOGY: _topology, Strategy.SIMILARITY: _similarity,
    Strategy.TAGS: _tags, Strategy.PROVIDER: _provider, Strategy.TYPE: _type, Strategy.SOURCE: _source,
}  # fmt: skip

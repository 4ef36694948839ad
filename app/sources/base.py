"""What every inbound format is made of: a post, what it says, and how its sender proves who it is."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from app.domain.alert import LABELS_MAX, TEXT_MAX, TITLE_MAX, Alert, AlertStatus
from app.domain.errors import Unauthenticated
from app.domain.inbound import Inbound
from app.domain.taxonomy import KINDS
from app.domain.vocabulary import Category, Environment, IncidentType, Severity
from app.sources.strict_json import tolerant_json
from app.sources.text import NAME_MAX, VALUE_MAX, as_text, cut


@dataclass(frozen=True)
class Post:
    """One request of a tool. `headers` by their names in lower case; `at` is when it came."""

    body: bytes
    at: datetime
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def json(self) -> Any:
        """Raises: Invalid."""
        return tolerant_json(self.body)


Read = Callable[[Post], Inbound]
"""What a post says. Raises: Invalid where it is none of this source's."""
Verify = Callable[[Post, Sequence[str]], None]
"""Whether one of the secrets signed a post. Raises: Forged, Stale."""


@dataclass(frozen=True)
class Source:
    """`verify` None: the tool can't sign, and shows an API key in a header or in the address.

    `strict`: what it sends and nobody understands is refused, as it tells somebody or tries again. Of all others it
    becomes an alert that says so, for nothing may be lost. `schema` describes its bodies, `longest` is
    how many bytes they may have, where that is less than everywhere. `universal`: what it calls a problem is the same
    whichever way it comes; of all others two tools of one kind may mean two by it.
    """

    read: Read
    verify: Verify | None = None
    strict: bool = False
    schema: type[BaseModel] | None = None
    longest: int | None = None
    universal: bool = False


class Forged(Unauthenticated):
    """The signature is missing, or of none of the secrets."""


class Stale(Unauthenticated):
    """Signed, but too long ago: perhaps somebody else's copy."""


def canonical(
    source: str,
    title: str,
    identity: str,
    *,
    incident_class: str | None = None,
    severity: Severity | None = None,
    status: AlertStatus = AlertStatus.FIRING,
    description: str = "",
    service: str | None = None,
    environment: str | None = None,
    labels: Mapping[str, object] | None = None,
    notes: Mapping[str, object] | None = None,
    occurrences: int = 1,
    delivery: str | None = None,
    external_id: str | None = None,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    runbook_url: str | None = None,
) -> Alert:
    """An alert of a tool, with everything cut to what fits; labels and notes that are empty are left out.

    `identity` is what the tool calls the problem. The class (app/domain/taxonomy.py) gives type, category and, where
    the tool itself says nothing, the severity; it stands in the label `class`.
    """
    kind = KINDS.get(incident_class or "")
    said = {"class": incident_class, **(labels or {})}
    return Alert(
        source=source,
        title=cut(" ".join(title.split()), TITLE_MAX) or source,
        identity=short(identity, 1024),
        severity=severity or (kind.severity if kind else Severity.P2),
        status=status,
        description=cut(description, TEXT_MAX),
        incident_type=kind.type if kind else IncidentType.UNKNOWN,
        category=kind.category if kind else Category.OTHER,
        environment=known_environment(environment),
        affected_services=(cut(service, 255),) if service else (),
        labels=texts(said),
        annotations=texts(notes or {}),
        occurrences=max(1, min(occurrences, 1_000_000)),
        delivery=short(delivery, 1024) if delivery else None,
        external_id=short(external_id or identity, 255),
        starts_at=starts_at,
        ends_at=ends_at if status is AlertStatus.RESOLVED else None,
        runbook_url=runbook_url if runbook_url and len(runbook_url) <= 2048 else None,
    )


def texts(said: Mapping[str, object]) -> dict[str, str]:
    """Labels or annotations: no more than fit, each as text, none of them empty."""
    found = {cut(name, NAME_MAX): cut(as_text(value), VALUE_MAX) for name, value in said.items() if name}
    return {name: found[name] for name in list(found)[:LABELS_MAX] if found[name] not in ("", "null")}


def known_environment(name: str | None) -> Environment | None:
    """The environment that somebody's word for it means; None for other words."""
    try:
        return Environment(name or "")
    except ValueError:
        return None


def short(identity: str, longest: int) -> str:
    """The identity; of one that doesn't fit the beginning, and what tells it from others that begin so."""
    if len(identity) <= longest:
        return identity
    return f"{identity[: longest - 17]}…{pseudonym(identity)}"


def pseudonym(person: str) -> str:
    """16 hex digits that stand for somebody: the same for the same, and not their name."""
    return hashlib.sha256(person.encode("utf-8", "replace")).hexdigest()[:16]

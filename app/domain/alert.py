"""One statement of a source about one problem, in the form every source is translated to."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from app.domain.decode import Instant
from app.domain.record import Record
from app.domain.vocabulary import Category, Environment, IncidentType, Severity

TITLE_MAX = 500
TEXT_MAX = 65_536
LABELS_MAX = 256

Label = Annotated[str, Field(min_length=1, max_length=256)]
Labels = Annotated[dict[Label, Annotated[str, Field(max_length=4096)]], Field(max_length=LABELS_MAX)]


class AlertStatus(StrEnum):
    FIRING = "firing"
    RESOLVED = "resolved"
    ACKNOWLEDGED = "acknowledged"


class Standing(StrEnum):
    """Where an alert stands, with its incident: to take or end the one is to take or end the other."""

    FIRING = "FIRING"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    RESOLVED = "RESOLVED"

    @classmethod
    def _missing_(cls, value: object) -> "Standing | None":
        return cls.__members__.get(str(value).strip().upper())


class Event(Record):
    """What a published client says of an event beyond the alert that it is, as it said it; None where it didn't."""

    event_id: str | None = None
    source_version: str | None = None
    event_type: str | None = None
    category: Category | None = None
    timestamp: Instant | None = None
    resource: dict[str, object] | None = None
    metrics: dict[str, object] = {}
    tags: dict[str, str] = {}
    labels: tuple[str, ...] = ()
    correlation_id: str | None = None
    parent_event_id: str | None = None
    execution_id: str | None = None
    payload: dict[str, object] = {}


class Statement(Record):
    """What a source says of one problem.

    `identity` is what the source itself calls the problem (PagerDuty `dedup_key`, Alertmanager
    `fingerprint`, an explicit `fingerprint`); without one it is derived from the content.
    `delivery` names this very delivery: the same twice changes nothing. `starts_at` is the start of
    the episode, which tells a late "resolved" of an earlier one from the present one's.
    """

    source: str = Field(min_length=1, max_length=255)
    title: str = Field(min_length=1, max_length=TITLE_MAX)
    status: AlertStatus = AlertStatus.FIRING
    severity: Severity = Severity.P2
    description: str = Field(default="", max_length=TEXT_MAX)
    incident_type: IncidentType = IncidentType.UNKNOWN
    category: Category = Category.OTHER
    environment: Environment | None = None
    impact: str | None = Field(default=None, max_length=TEXT_MAX)
    resource: dict[str, object] | None = None
    affected_services: tuple[Annotated[str, Field(max_length=255)], ...] = Field(default=(), max_length=100)
    labels: Labels = {}
    annotations: Labels = {}
    runbook_url: str | None = Field(default=None, max_length=2048)
    external_id: str | None = Field(default=None, max_length=255)
    identity: str | None = Field(default=None, max_length=1024)
    delivery: str | None = Field(default=None, max_length=1024)
    starts_at: datetime | None = None
    ends_at: datetime | None = None


class Alert(Statement):
    """What an adapter of `app/sources` makes of what it was sent; `event` keeps whole what was sent as one.

    `occurrences`: of how many that happened the sender tells at once.
    """

    event: Event | None = None
    occurrences: int = Field(default=1, ge=1, le=1_000_000)


class ChangeEvent(Record):
    """Something that was changed somewhere (a deploy, a flag): never an incident, kept to explain one.

    `services` are those it touches; `at` None is when it was received.
    """

    source: str = Field(min_length=1, max_length=255)
    summary: str = Field(min_length=1, max_length=1024)
    at: datetime | None = None
    services: tuple[Annotated[str, Field(min_length=1, max_length=255)], ...] = Field(default=(), max_length=100)
    environment: Environment | None = None
    author: str | None = Field(default=None, max_length=255)
    details: dict[str, object] = {}
    links: tuple[dict[str, object], ...] = ()

"""What callers ask of the services, and what they get back besides representations."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from app.domain.alert import TEXT_MAX, TITLE_MAX, Labels, Standing
from app.domain.decode import Instant
from app.domain.dedup import Outcome
from app.domain.incident import CommandKind
from app.domain.record import Record
from app.domain.representation import AlertDetail, EventView, IncidentView
from app.domain.vocabulary import Category, Environment, Severity, Status

Text = Annotated[str, StringConstraints(max_length=TEXT_MAX)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=TITLE_MAX, strip_whitespace=True)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]


PageNumber = Annotated[int, Field(ge=0, le=1_000_000), AfterValidator(lambda page: max(page, 1))]
"""Counts from 1; 0 is the first as well."""


class Ingested(Record):
    """What became of one alert. The ids are None when it was ignored."""

    alert_id: str | None
    incident_id: str | None
    outcome: Outcome


class Ask(Record):
    """One request to an incident. `key` is the request's Idempotency-Key: asking twice with it is asking once."""

    kind: CommandKind
    key: Annotated[str, StringConstraints(min_length=1, max_length=300)] | None = None
    actor: Name | None = None
    reason: Text | None = None
    at_level: int | None = None
    to_level: int | None = None
    severity: Severity | None = None
    assignee: Name | None = None
    team: Name | None = None
    until: Instant | None = None
    for_secs: float | None = None
    title: Title | None = None
    description: Text | None = None
    tags: Labels | None = None
    root_cause: Text | None = None
    method: Name | None = None
    extra: Labels = {}


class IncidentQuery(Record):
    """A page of incidents. Lists are alternatives; different fields must all hold. `cursor` goes before `page`."""

    severity: tuple[Severity, ...] = ()
    status: tuple[Status, ...] = ()
    category: tuple[Category, ...] = ()
    environment: tuple[Environment, ...] = ()
    source: tuple[Name, ...] = ()
    incident_class: tuple[Name, ...] = ()
    assigned_to: Name | None = None
    assigned_team: Name | None = None
    tags: Labels = {}
    start_date: Instant | None = None
    end_date: Instant | None = None
    search: Annotated[str, StringConstraints(max_length=500)] | None = None
    active_only: bool = False
    suppressed: bool | None = None
    correlation_group: UUID | None = None
    sort: Literal["created_at", "updated_at", "severity", "status"] = "created_at"
    # P0 first is what is meant.
    order: Literal["asc", "desc"] = Field(
        default_factory=lambda said: "asc" if said.get("sort") == "severity" else "desc"
    )
    page: PageNumber = 1
    page_size: int = Field(default=50, ge=1, le=100)
    cursor: Annotated[str, StringConstraints(max_length=500)] | None = None

    def matches(self, incident: IncidentView) -> bool:
        """Whether the incident is one of those that are asked for; words are looked for as they stand."""
        alternatives = ("severity", "status", "category", "environment", "source", "incident_class")
        words = (self.search or "").strip().casefold()
        return (
            all(getattr(incident, name) in getattr(self, name) for name in alternatives if getattr(self, name))
            and self.assigned_to in (None, incident.assigned_to)
            and self.assigned_team in (None, incident.assigned_team)
            and self.tags.items() <= incident.tags.items()
            and (self.start_date is None or incident.created_at >= self.start_date)
            and (self.end_date is None or incident.created_at <= self.end_date)
            and (incident.status.open or not self.active_only)
            and self.suppressed in (None, incident.suppressed)
            and (self.correlation_group is None or incident.correlation_group == str(self.correlation_group))
            and (words in f"{incident.title} {incident.description}".casefold() or words == incident.incident_class)
        )


class IncidentPage(Record):
    """`next_cursor` leads to the page after this one; None on the last."""

    incidents: list[IncidentView]
    total_count: int
    next_cursor: str | None


class AlertQuery(Record):
    """A page of alerts, the newest first. Everything that is given must hold."""

    standing: Standing | None = None
    severity: Severity | None = None
    source: Name | None = None
    labels: Labels = {}
    from_time: Instant | None = None
    to_time: Instant | None = None
    page: int = Field(default=1, ge=1, le=1_000_000)
    page_size: int = Field(default=50, ge=1, le=100)


class AlertPage(Record):
    alerts: list[AlertDetail]
    total_count: int


class EventQuery(Record):
    """A page of events, the newest first. `since` ≤ received < `until`; `cursor` is the last one's id."""

    source: tuple[Name, ...] = ()
    incident_id: UUID | None = None
    since: Instant | None = None
    until: Instant | None = None
    limit: int = Field(default=50, ge=1, le=100)
    cursor: UUID | None = None


class EventPage(Record):
    """`next_cursor` leads to the page after this one; None on the last."""

    events: list[EventView]
    next_cursor: str | None


class Document(Record):
    """One version of a piece of configuration. `version` counts from 1."""

    kind: str
    id: str
    version: int
    body: dict[str, object]
    updated_at: datetime
    updated_by: str


class KeyView(Record):
    """An API key without its secret."""

    id: str
    name: str
    role: str
    created_at: datetime
    revoked_at: datetime | None

"""What may be asked, as keywords or as dicts. Moments are datetimes with a zone, or text in ISO 8601.

Severities are P0 (worst) to P4; statuses NEW, ACKNOWLEDGED, IN_PROGRESS, ESCALATED, RESOLVED, CLOSED. What a word
may be is the server's to say: it names the field and what is allowed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Required, TypedDict

Moment = datetime | str
Assumption = Mapping[str, Any]
"""What is supposed to happen in a simulation, like {"after_secs": 120, "ack": "alice"}."""


class NewAlert(TypedDict, total=False):
    """`fingerprint` is what the source itself calls the problem; `delivery_id` makes sending it again harmless."""

    source: Required[str]
    title: Required[str]
    description: str
    severity: str
    status: Literal["firing", "resolved"]
    alert_type: str
    category: str
    environment: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    affected_services: Sequence[str]
    external_id: str
    fingerprint: str
    delivery_id: str
    runbook_url: str
    starts_at: Moment
    ends_at: Moment


class NewIncident(TypedDict, total=False):
    """An alert that somebody reports by hand."""

    title: Required[str]
    source: str
    description: str
    severity: str
    incident_type: str
    category: str
    environment: str
    impact: str
    tags: Mapping[str, str]
    affected_resources: Sequence[str]
    fingerprint: str
    runbook_url: str
    assigned_to: str


class NewEvent(TypedDict, total=False):
    """An event, kept whole."""

    source: Required[str]
    title: Required[str]
    description: Required[str]
    severity: Required[str]
    event_type: Required[str]
    category: Required[str]
    timestamp: Required[Moment]
    event_id: str
    source_version: str
    resource: Mapping[str, Any]
    metrics: Mapping[str, Any]
    tags: Mapping[str, str]
    payload: Mapping[str, Any]


class Change(TypedDict, total=False):
    """What is to be different on an incident; null takes an assignee away."""

    title: str
    description: str
    severity: str
    status: str
    assigned_to: str | None
    assigned_team: str | None
    tags: Mapping[str, str]
    actor: str
    notes: str


class Filter(TypedDict, total=False):
    """Which incidents. Lists are alternatives; different fields must all hold."""

    severity: Sequence[str]
    status: Sequence[str]
    category: Sequence[str]
    environment: Sequence[str]
    source: Sequence[str]
    incident_class: Sequence[str]
    assigned_to: str
    assigned_team: str
    tags: Mapping[str, str]
    start_date: Moment
    end_date: Moment
    search: str
    active_only: bool
    suppressed: bool
    correlation_group: str
    sort: Literal["created_at", "updated_at", "severity", "status"]
    order: Literal["asc", "desc"]
    page_size: int


class LiveFilter(TypedDict, total=False):
    """Whose events, by what the incident is now."""

    severity: Sequence[str]
    status: Sequence[str]
    category: Sequence[str]
    environment: Sequence[str]
    source: Sequence[str]
    incident_class: Sequence[str]
    assigned_to: str
    assigned_team: str
    tags: Mapping[str, str]
    search: str
    suppressed: bool


class EventFilter(TypedDict, total=False):
    """`since` ≤ received < `until`."""

    source: Sequence[str]
    incident_id: str
    since: Moment
    until: Moment
    limit: int

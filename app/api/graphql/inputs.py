"""What callers send: every client's names for the same thing, made one question of the services'."""

import re
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any, cast

import strawberry
from strawberry import UNSET
from strawberry.scalars import JSON

from app.api.graphql.scalars import CategoryIn, EnvironmentIn, IncidentState
from app.domain.access import Principal
from app.domain.decode import decode
from app.domain.errors import Invalid
from app.domain.requests import IncidentQuery
from app.domain.vocabulary import IncidentType, Severity, Status

MOST = 100
LISTS = frozenset({"severity", "status", "category", "environment", "source"})
SAME = {
    "severities": "severity", "statuses": "status", "states": "status", "state": "status", "categories": "category",
    "environments": "environment", "sources": "source", "assigned_to_team": "assigned_team",
    "incident_classes": "incident_class",
}  # fmt: skip
"""Other names of a filter → its own."""


@strawberry.enum(name="SortDirection")
class Direction(StrEnum):
    ASC = "asc"
    DESC = "desc"


@strawberry.enum(name="IncidentSortField")
class SortField(StrEnum):
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    SEVERITY = "severity"
    STATUS = "status"


@strawberry.input(name="TimeRangeInput")
class TimeRange:
    start: datetime
    end: datetime


@strawberry.input(name="DateRangeInput")
class DateRange:
    start: datetime | None = UNSET
    end: datetime | None = UNSET


@strawberry.input(name="IncidentFilterInput")
class Filter:
    """Lists are alternatives; different fields must all hold. Plural and singular names are the same."""

    severity: list[Severity] | None = UNSET
    severities: list[Severity] | None = UNSET
    status: list[Status] | None = UNSET
    statuses: list[Status] | None = UNSET
    state: list[IncidentState] | None = UNSET
    states: list[IncidentState] | None = UNSET
    category: list[CategoryIn] | None = UNSET
    categories: list[CategoryIn] | None = UNSET
    environment: list[EnvironmentIn] | None = UNSET
    environments: list[EnvironmentIn] | None = UNSET
    source: list[str] | None = UNSET
    sources: list[str] | None = UNSET
    incident_class: list[str] | None = UNSET
    incident_classes: list[str] | None = UNSET
    date_range: DateRange | None = UNSET
    start_date: datetime | None = UNSET
    end_date: datetime | None = UNSET
    tags: JSON | None = UNSET
    search: str | None = UNSET
    assigned_to: str | None = UNSET
    assigned_to_me: bool | None = UNSET
    assigned_team: str | None = UNSET
    assigned_to_team: str | None = UNSET
    active_only: bool | None = UNSET
    suppressed: bool | None = UNSET


@strawberry.input(name="IncidentOrderByInput")
class OrderBy:
    field: SortField
    direction: Direction = Direction.DESC


@strawberry.input(name="SortInput")
class Sort:
    field: SortField
    order: Direction = Direction.DESC


@strawberry.input(name="PaginationInput")
class Pagination:
    """`cursor` goes before `page`, which counts from 1."""

    page: int | None = UNSET
    page_size: int | None = UNSET
    cursor: str | None = UNSET


@strawberry.input(name="ResourceInput")
class ResourceIn:
    type: str
    id: str
    name: str | None = UNSET
    metadata: JSON | None = UNSET


@strawberry.input(name="RawEventInput")
class RawEvent:
    """An event as the published clients have it."""

    event_id: str | None = UNSET
    source: str | None = UNSET
    source_version: str | None = UNSET
    timestamp: datetime | None = UNSET
    event_type: str | None = UNSET
    category: CategoryIn | None = UNSET
    title: str
    description: str | None = UNSET
    severity: str | None = UNSET
    resource: ResourceIn | None = UNSET
    metrics: JSON | None = UNSET
    tags: JSON | None = UNSET
    labels: list[str] | None = UNSET
    correlation_id: str | None = UNSET
    parent_event_id: str | None = UNSET
    payload: JSON | None = UNSET


@strawberry.input(name="CreateIncidentOptions")
class CreateOptions:
    skip_deduplication: bool | None = UNSET
    force_severity: Severity | None = UNSET
    assign_to: str | None = UNSET


@strawberry.input(name="CreateIncidentInput")
class CreateIncident:
    """Either `event` (with `options`), or the incident's own fields."""

    event: RawEvent | None = UNSET
    options: CreateOptions | None = UNSET
    source: str | None = UNSET
    title: str | None = UNSET
    description: str | None = UNSET
    severity: Severity | None = UNSET
    category: CategoryIn | None = UNSET
    incident_type: IncidentType | None = UNSET
    impact: str | None = UNSET
    resource: ResourceIn | None = UNSET
    environment: EnvironmentIn | None = UNSET
    tags: JSON | None = UNSET
    labels: list[str] | None = UNSET
    affected_resources: list[str] | None = UNSET
    fingerprint: str | None = UNSET
    external_id: str | None = UNSET
    assigned_to: str | None = UNSET
    runbook_url: str | None = UNSET


@strawberry.input(name="AlertInput")
class AlertIn:
    """As POST /api/v1/alerts takes it."""

    source: str
    title: str
    description: str | None = UNSET
    severity: Severity | None = UNSET
    status: str | None = UNSET
    alert_type: IncidentType | None = UNSET
    category: CategoryIn | None = UNSET
    environment: EnvironmentIn | None = UNSET
    labels: JSON | None = UNSET
    affected_services: list[str] | None = UNSET
    fingerprint: str | None = UNSET
    external_id: str | None = UNSET
    runbook_url: str | None = UNSET


@strawberry.input(name="UpdateIncidentInput")
class UpdateIncident:
    """What is left out stays as it is."""

    incident_id: strawberry.ID | None = UNSET
    title: str | None = UNSET
    description: str | None = UNSET
    severity: Severity | None = UNSET
    status: Status | None = UNSET
    state: IncidentState | None = UNSET
    assigned_to: str | None = UNSET
    assigned_team: str | None = UNSET
    tags: JSON | None = UNSET
    actor: str | None = UNSET
    notes: str | None = UNSET


@strawberry.input(name="ResolveIncidentInput")
class ResolveIncident:
    incident_id: strawberry.ID | None = UNSET
    resolved_by: str | None = UNSET
    method: str | None = UNSET
    root_cause: str | None = UNSET
    notes: str | None = UNSET
    resolution_notes: str | None = UNSET
    playbook_used: str | None = UNSET


@strawberry.input(name="CloseIncidentInput")
class CloseIncident:
    post_mortem_url: str | None = UNSET
    notes: str | None = UNSET


@strawberry.input(name="EscalateIncidentInput")
class EscalateIncident:
    reason: str | None = UNSET
    escalate_to: str | None = UNSET


@strawberry.input(name="AssignIncidentInput")
class AssignIncident:
    user_id: str | None = UNSET
    team_id: str | None = UNSET


def given(asked: object) -> dict[str, Any]:
    """What an input says, without what was left out; enums as their plain words."""
    if asked is None or asked is UNSET:
        return {}
    return {name: _plain(value) for name, value in vars(asked).items() if value is not UNSET}


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if hasattr(type(value), "__strawberry_definition__"):
        return given(value)
    return value


def narrowed(who: Principal, asked: Filter | None) -> dict[str, Any]:
    """The conditions of a filter, by the names of `IncidentQuery`. Raises: Invalid where two names contradict."""
    said = {name: value for name, value in given(asked).items() if value is not None}
    found: dict[str, Any] = {}
    for span, ends in (("date_range", said.pop("date_range", {})),):
        for end, name in (("start", "start_date"), ("end", "end_date")):
            if ends.get(end) is not None:
                if name in said:
                    raise Invalid.field(f"filter.{span}.{end}", f"is the same as {name}: give one of them")
                said[name] = ends[end]
    if said.pop("assigned_to_me", None):
        said["assigned_to"] = who.name
    for name, value in said.items():
        own = SAME.get(name, name)
        if isinstance(value, list):
            words = [word.lower() if own in ("category", "environment") else word for word in value]
            found[own] = [*found.get(own, []), *words]
        elif own in found:
            raise Invalid.field(f"filter.{name}", f"is the same as {own}: give one of them")
        else:
            found[own] = value
    return found


def query_of(conditions: dict[str, Any], **page: object) -> IncidentQuery:
    """Raises: Invalid, naming the field."""
    return decode(IncidentQuery, conditions | {name: value for name, value in page.items() if value is not None})


def order_of(order_by: list[OrderBy] | None, sort: Sort | None) -> dict[str, object]:
    """Raises: Invalid when there are several."""
    if order_by and sort:
        raise Invalid.field("sort", "is the same as orderBy: give one of them")
    if order_by and len(order_by) > 1:
        raise Invalid.field("orderBy", "takes one field: lists are read by cursors, in one order")
    if order_by:
        return {"sort": order_by[0].field.value, "order": order_by[0].direction.value}
    return {"sort": sort.field.value, "order": sort.order.value} if sort else {}


def identified(*ids: object) -> str:
    """The one id among all the ways to give it. Raises: Invalid for none, or two."""
    found = {str(id_) for id_ in ids if id_ is not None and id_ is not UNSET}
    if len(found) != 1:
        raise Invalid.field("incidentId", "is required, once: as id, incidentId or in the input")
    return found.pop()


def loose(asked: object) -> IncidentQuery:
    """A filter as plain JSON: names in either case, one word where a list is meant. Raises: Invalid."""
    found: dict[str, Any] = {}
    for name, value in json_object(asked, "filter").items():
        snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
        own = SAME.get(snake, snake)
        found[own] = [value] if own in LISTS and not isinstance(value, list) else value
    return query_of(found)


def json_object(value: object, field: str) -> dict[str, object]:
    """Raises: Invalid."""
    if not isinstance(value, dict):
        raise Invalid.field(field, "must be an object")
    return cast("dict[str, object]", value)

"""Incidents: the list and its filters, one of them, what belongs to it, and changes in place."""

from collections.abc import Iterator
from math import ceil
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from app.api.auth import Caller
from app.api.rest.query import asking, query
from app.api.rest.wire import IDEMPOTENT, Served, accepts, idempotency_key, read
from app.domain.access import Principal
from app.domain.alert import Labels
from app.domain.decode import decode
from app.domain.incident import CommandKind
from app.domain.record import Record
from app.domain.representation import AlertView, EscalationView, IncidentView, NotificationView, TimelineEvent
from app.domain.requests import Ask, IncidentPage, IncidentQuery, Name, PageNumber, Text, Title
from app.domain.vocabulary import Severity, Status
from app.runtime import Gateway

OTHER_NAMES = {
    "severities": "severity", "states": "status", "state": "status", "sources": "source",
    "tag": "tags", "sort_by": "sort", "limit": "page_size",
}  # fmt: skip
COMMAND_TO = {
    Status.ACKNOWLEDGED: CommandKind.ACKNOWLEDGE,
    Status.IN_PROGRESS: CommandKind.START,
    Status.ESCALATED: CommandKind.ESCALATE,
    Status.RESOLVED: CommandKind.RESOLVE,
    Status.CLOSED: CommandKind.CLOSE,
    Status.NEW: CommandKind.REOPEN,
}
router = APIRouter(prefix="/incidents", tags=["incidents"])


class Pagination(Record):
    page: int
    page_size: int
    total_count: int
    total_pages: int
    has_next: bool
    has_previous: bool
    next_cursor: str | None


class IncidentList(Record):
    """`total`, `page` and `page_size` repeat the pagination for older clients."""

    incidents: list[IncidentView]
    total: int
    page: int
    page_size: int
    pagination: Pagination

    @classmethod
    def of(cls, found: IncidentPage, query: IncidentQuery) -> "IncidentList":
        pages = ceil(found.total_count / query.page_size)
        pagination = Pagination(
            page=query.page, page_size=query.page_size, total_count=found.total_count, total_pages=pages,
            has_next=found.next_cursor is not None, has_previous=query.page > 1 or query.cursor is not None,
            next_cursor=found.next_cursor,
        )  # fmt: skip
        return cls(
            incidents=found.incidents, total=found.total_count, page=query.page, page_size=query.page_size,
            pagination=pagination,
        )  # fmt: skip


class PageOf(Record):
    page: PageNumber = 1
    page_size: int = Field(default=50, ge=1, le=100)


class AlertList(Record):
    alerts: list[AlertView]
    total: int
    page: int
    page_size: int


class Change(BaseModel):
    """What to change; what is left out stays. `state`, `assignees` and `notes` are older names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Title | None = None
    description: Text | None = None
    tags: Labels | None = None
    severity: Severity | None = None
    status: Status | None = None
    state: Status | None = None
    assigned_to: Name | None = None
    assigned_team: Name | None = None
    assignees: tuple[Name, ...] | None = Field(None, max_length=1)
    actor: Name | None = None
    notes: Text | None = None

    def asks(self, now: IncidentView, key: str | None) -> Iterator[Ask]:
        """The commands that make the change, the one that can be refused first."""
        common: dict[str, Any] = {"actor": self.actor, "reason": self.notes}
        given = self.model_fields_set

        def ask(kind: CommandKind, **what: object) -> Ask:
            return decode(Ask, {**common, **what, "kind": kind, "key": f"{key}:{kind}" if key else None})

        wanted = self.status or self.state
        if wanted is not None and wanted is not now.status:
            undo = wanted is Status.NEW and now.status is Status.ACKNOWLEDGED
            yield ask(CommandKind.UNACKNOWLEDGE if undo else COMMAND_TO[wanted])
        if self.severity is not None:
            yield ask(CommandKind.SEVERITY, severity=self.severity)
        people = {}
        if "assigned_to" in given or self.assignees is not None:
            people["assignee"] = next(iter(self.assignees), None) if self.assignees is not None else self.assigned_to
        if "assigned_team" in given:
            people["team"] = self.assigned_team
        if people:
            yield ask(CommandKind.ASSIGN, **people)
        if edits := self.model_dump(include={"title", "description", "tags"}, exclude_none=True):
            yield ask(CommandKind.EDIT, **edits)


def query_of(request: Request) -> IncidentQuery:
    """The filters of a list request. Raises: Invalid."""
    asked = query(request, IncidentQuery, OTHER_NAMES)
    if asked.sort == "severity" and "order" not in asked.model_fields_set:
        return asked.model_copy(update={"order": "asc"})  # P0 first is what is meant
    return asked


@router.get("", openapi_extra=asking(IncidentQuery))
async def list_incidents(request: Request, who: Caller, gateway: Served) -> IncidentList:
    """Lists are alternatives, different filters must all hold. `cursor` goes before `page`."""
    asked = query_of(request)
    return IncidentList.of(await gateway.incidents.list(who, asked), asked)


@router.get("/{incident_id}")
async def get_incident(incident_id: str, who: Caller, gateway: Served) -> IncidentView:
    return await gateway.incidents.get(who, incident_id)


@router.patch("/{incident_id}", openapi_extra=accepts(Change, required=False) | IDEMPOTENT)
async def change_incident(request: Request, incident_id: str, who: Caller, gateway: Served) -> IncidentView:
    return await _changed(request, incident_id, who, gateway)


@router.put("/{incident_id}", openapi_extra=accepts(Change, required=False) | IDEMPOTENT)
async def put_incident(request: Request, incident_id: str, who: Caller, gateway: Served) -> IncidentView:
    """The same as PATCH, for older clients."""
    return await _changed(request, incident_id, who, gateway)


async def _changed(request: Request, incident_id: str, who: Principal, gateway: Gateway) -> IncidentView:
    change = await read(request, Change)
    incident = await gateway.incidents.get(who, incident_id)
    for ask in list(change.asks(incident, idempotency_key(request))):
        incident = await gateway.incidents.ask(who, incident_id, ask)
    return incident


@router.get("/{incident_id}/timeline")
async def timeline(incident_id: str, who: Caller, gateway: Served) -> list[TimelineEvent]:
    """Every decision, in order."""
    return await gateway.incidents.timeline(who, incident_id)


@router.get("/{incident_id}/comments")
async def comments(incident_id: str, who: Caller, gateway: Served) -> list[TimelineEvent]:
    return await gateway.incidents.comments(who, incident_id)


@router.get("/{incident_id}/escalation")
async def escalation(incident_id: str, who: Caller, gateway: Served) -> EscalationView:
    """Where the escalation stands and what comes next, as the incident's workflow says."""
    return await gateway.incidents.escalation(who, incident_id)


@router.get("/{incident_id}/notifications")
async def notifications(incident_id: str, who: Caller, gateway: Served) -> list[NotificationView]:
    """Every message, whom it went to, and how it fared."""
    return await gateway.incidents.notifications(who, incident_id)


@router.get("/{incident_id}/alerts", openapi_extra=asking(PageOf))
async def alerts(request: Request, incident_id: str, who: Caller, gateway: Served) -> AlertList:
    """The incident's alerts, newest first."""
    asked = query(request, PageOf, OTHER_NAMES)
    found, total = await gateway.alerts.of_incident(who, incident_id, asked.page, asked.page_size)
    return AlertList(alerts=found, total=total, page=asked.page, page_size=asked.page_size)

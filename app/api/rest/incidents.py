"""Incidents: the list and its filters, one of them, what belongs to it, and changes in place."""

from math import ceil

from fastapi import APIRouter, Request
from pydantic import Field

from app.api.auth import Caller
from app.api.rest.query import asking, query
from app.api.rest.wire import IDEMPOTENT, Served, accepts, idempotency_key, read
from app.domain.access import Principal
from app.domain.editing import Change
from app.domain.record import Record
from app.domain.representation import AlertView, EscalationView, IncidentView, NotificationView, TimelineEvent
from app.domain.requests import IncidentPage, IncidentQuery, PageNumber
from app.runtime import Gateway

OTHER_NAMES = {
    "severities": "severity", "states": "status", "state": "status", "sources": "source",
    "class": "incident_class", "classes": "incident_class", "tag": "tags", "sort_by": "sort", "limit": "page_size",
}  # fmt: skip
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


def query_of(request: Request) -> IncidentQuery:
    """The filters of a list request. Raises: Invalid."""
    return query(request, IncidentQuery, OTHER_NAMES)


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
    return await gateway.incidents.change(who, incident_id, change, idempotency_key(request))


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

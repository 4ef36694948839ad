"""Incidents: the list and its filters, one of them, what belongs to it, and changes in place."""

from math import ceil
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.datastructures import QueryParams

from app.api.auth import Caller
from app.api.rest.wire import Served, accepts, idempotency_key, inlined, read
from app.domain.access import Principal
from app.domain.decode import decode
from app.domain.editing import Change
from app.domain.errors import Invalid
from app.domain.record import Record
from app.domain.representation import AlertView, EscalationView, IncidentView, NotificationView, TimelineEvent
from app.domain.requests import IncidentPage, IncidentQuery
from app.runtime import Gateway

LISTS = {"severity", "status", "category", "environment", "source"}
OTHER_NAMES = {
    "severities": "severity", "states": "status", "state": "status", "sources": "source",
    "tag": "tags", "sort_by": "sort", "limit": "page_size",
}  # fmt: skip
FILTERS = {"parameters": [
    {"name": name, "in": "query", "required": False, "schema": schema}
    for name, schema in inlined(IncidentQuery.model_json_schema())["properties"].items()
]}  # fmt: skip

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


class AlertList(Record):
    alerts: list[AlertView]
    total: int
    page: int
    page_size: int


def query_of(params: QueryParams) -> IncidentQuery:
    """The filters of a list request: repeated or comma-separated, with or without `[]`. Raises: Invalid."""
    asked: dict[str, Any] = {}
    for written, value in params.multi_items():
        name = OTHER_NAMES.get(written.removesuffix("[]"), written.removesuffix("[]"))
        if name not in IncidentQuery.model_fields:
            raise Invalid.field(written, f"is not a filter; there are {', '.join(IncidentQuery.model_fields)}")
        if "\0" in value:
            raise Invalid.field(written, "must not contain the character NUL")
        if name in LISTS:
            asked.setdefault(name, []).extend(filter(None, value.split(",")))
        elif name == "tags":
            asked.setdefault(name, {}).update(_tag(pair) for pair in value.split(","))
        elif name in asked:
            raise Invalid.field(written, "is given twice")
        elif name in ("start_date", "end_date"):
            asked[name] = value.replace(" ", "+")  # an unescaped + of a time zone arrives as a blank
        else:
            asked[name] = "1" if (name, value) == ("page", "0") else value
    return decode(IncidentQuery, asked)


def _tag(pair: str) -> tuple[str, str]:
    name, sign, value = pair.partition(":")
    if not sign:
        raise Invalid.field("tags", "must look like team:payments")
    return name, value


@router.get("", openapi_extra=FILTERS)
async def list_incidents(request: Request, who: Caller, gateway: Served) -> IncidentList:
    """Lists are alternatives, different filters must all hold. `cursor` goes before `page`."""
    query = query_of(request.query_params)
    return IncidentList.of(await gateway.incidents.list(who, query), query)


@router.get("/{incident_id}")
async def get_incident(incident_id: str, who: Caller, gateway: Served) -> IncidentView:
    return await gateway.incidents.get(who, incident_id)


@router.patch("/{incident_id}", openapi_extra=accepts(Change))
async def change_incident(request: Request, incident_id: str, who: Caller, gateway: Served) -> IncidentView:
    return await _changed(request, incident_id, who, gateway)


@router.put("/{incident_id}", openapi_extra=accepts(Change))
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


@router.get("/{incident_id}/alerts")
async def alerts(
    incident_id: str,
    who: Caller,
    gateway: Served,
    page: Annotated[int, Query(ge=0, le=1_000_000)] = 1,
    page_size: Annotated[int, Query(ge=1, le=100)] = 50,
) -> AlertList:
    """The incident's alerts, newest first."""
    page = max(page, 1)
    found, total = await gateway.alerts.of_incident(who, incident_id, page, page_size)
    return AlertList(alerts=found, total=total, page=page, page_size=page_size)

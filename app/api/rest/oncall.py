"""On-call: who is on duty, previews, overrides, calendars."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response, status
from pydantic import AliasChoices, Field

from app.api.auth import Caller
from app.api.limits import read_body
from app.api.rest.documents import IF_MATCH, Id, expected, gives
from app.api.rest.query import asking, query
from app.api.rest.wire import Served, accepts, read_json, reply, served
from app.domain.errors import Invalid
from app.domain.oncall import Moment, Override
from app.domain.people import Slug
from app.domain.record import Record
from app.service.oncall import Imported, Now, Preview

LONGEST = timedelta(days=400)
ICALENDAR = {"text/calendar": {"schema": {"type": "string"}}}

router = APIRouter(tags=["on-call"])


class At(Record):
    at: Moment | None = None


class Between(Record):
    """From now on, and for 14 days, unless it is said."""

    start: Moment | None = Field(None, validation_alias=AliasChoices("from", "start"))
    end: Moment | None = Field(None, validation_alias=AliasChoices("to", "end"))


class Whose(Record):
    user: Slug | None = None


class Reach(Record):
    days: int = Field(365, ge=1, le=400)


@router.get("/oncall/now", openapi_extra=asking(At))
async def now(request: Request, who: Caller, gateway: Served) -> list[Now]:
    """Every schedule: who is on duty now or at `at`, since and until when, and who follows."""
    return await gateway.oncall.now(who, query(request, At).at or datetime.now(UTC))


@router.get("/schedules/{id}/preview", openapi_extra=asking(Between))
async def preview(request: Request, id: Id, who: Caller, gateway: Served) -> Preview:  # noqa: A002
    """Who is on duty between `from` and `to`, at most 400 days. Times without anybody are segments with `gap`."""
    asked = query(request, Between)
    start = asked.start or datetime.now(UTC)
    end = asked.end or start + timedelta(days=14)
    if not timedelta() < end - start <= LONGEST:
        raise Invalid.field("to", f"must be after from, by at most {LONGEST.days} days")
    return await gateway.oncall.preview(who, id, start, end)


@router.post(
    "/schedules/{id}/overrides",
    status_code=status.HTTP_201_CREATED,
    openapi_extra=accepts(Override) | IF_MATCH,
    responses=gives(Override, 201),
)
async def add_override(request: Request, id: Id, who: Caller, gateway: Served) -> Response:  # noqa: A002
    """ETag is the schedule's new version. With If-Match only the version it names is changed; otherwise 409."""
    added, schedule = await gateway.oncall.add_override(who, id, await read_json(request), expected(request))
    answer = reply(added.model_dump(mode="json"), status.HTTP_201_CREATED)
    answer.headers["etag"] = f'"{schedule.version}"'
    return answer


@router.delete(
    "/schedules/{id}/overrides/{override_id}", status_code=status.HTTP_204_NO_CONTENT, openapi_extra=IF_MATCH
)
async def drop_override(
    request: Request,
    id: Id,  # noqa: A002
    override_id: Annotated[Slug, Path()],
    who: Caller,
    gateway: Served,
) -> Response:
    """ETag is the schedule's new version. With If-Match only the version it names is changed; otherwise 409."""
    schedule = await gateway.oncall.drop_override(who, id, override_id, expected(request))
    return Response(status_code=status.HTTP_204_NO_CONTENT, headers={"etag": f'"{schedule.version}"'})


@router.get(
    "/schedules/{id}/calendar.ics", openapi_extra=asking(Whose), response_class=Response,
    responses={status.HTTP_200_OK: {"content": ICALENDAR}},
)  # fmt: skip
async def calendar(request: Request, id: Id, who: Caller, gateway: Served) -> Response:  # noqa: A002
    """The duties of the next 180 days, of one user or of all, to subscribe to (RFC 5545)."""
    made = await gateway.oncall.calendar(who, id, query(request, Whose).user, datetime.now(UTC))
    return Response(made, media_type="text/calendar")


@router.post(
    "/schedules/{id}/import",
    openapi_extra={
        "parameters": asking(Reach)["parameters"] + IF_MATCH["parameters"],
        "requestBody": {"required": True, "content": ICALENDAR},
    },
)  # fmt: skip
async def take(request: Request, id: Id, who: Caller, gateway: Served) -> Imported:  # noqa: A002
    """Takes an iCalendar body's events of the next `days` days as shifts, in place of the calendar's earlier import.

    People are told by an attendee's mail address, else by the summary: a user's id, name or mail address.
    """
    raw = await read_body(request, served(request).settings.server.max_body_bytes)
    start = datetime.now(UTC)
    end = start + timedelta(days=query(request, Reach).days)
    return await gateway.oncall.take(who, id, raw, start, end, expected(request))

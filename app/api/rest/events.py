"""Events as they are read. They come in by app/api/rest/ingest.py."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from app.api.auth import Caller
from app.api.rest.query import asking, query
from app.api.rest.wire import Served
from app.domain.representation import EventView
from app.domain.requests import EventPage, EventQuery

router = APIRouter(prefix="/events", tags=["events"])
Named = Annotated[str, Path(min_length=1, max_length=255, pattern="^[^\0]*$")]


@router.get("", openapi_extra=asking(EventQuery))
async def events(request: Request, who: Caller, gateway: Served) -> EventPage:
    """The newest first."""
    return await gateway.events.list(who, query(request, EventQuery))


@router.get("/{event_id}")
async def event(event_id: Named, who: Caller, gateway: Served) -> EventView:
    """By our id or by the source's own; where several sources use it, the newest."""
    return await gateway.events.get(who, event_id)

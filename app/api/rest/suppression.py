"""Silences at a responder's hand, and why an incident pages nobody."""

from fastapi import APIRouter, Request, Response, status

from app.api.auth import Caller
from app.api.rest.documents import Id, gives, tagged, version_of
from app.api.rest.query import asking, query
from app.api.rest.wire import NOT_FOUND, Served, accepts, read
from app.domain.record import Record
from app.domain.suppression import Silence
from app.service.suppression import NewSilence, SilenceView, Suppression

SILENCE = version_of(Silence)

router = APIRouter(tags=["suppression"])


class Which(Record):
    active: bool = True


@router.post(
    "/silences",
    status_code=status.HTTP_201_CREATED,
    openapi_extra=accepts(NewSilence) | NOT_FOUND,
    responses=gives(SILENCE, 201),
)
async def silence(request: Request, who: Caller, gateway: Served) -> Response:
    """Pages nobody for what matches, or for the problem of one incident, for a while. 409 when the id is taken."""
    made = await gateway.suppressions.silence(who, await read(request, NewSilence))
    return tagged(made, status.HTTP_201_CREATED)


@router.post("/silences/{id}/expire", responses=gives(SILENCE))
async def expire(id: Id, who: Caller, gateway: Served) -> Response:  # noqa: A002
    """Ends it now: what it held pages, if it still fires. 409 when it has ended before."""
    return tagged(await gateway.suppressions.expire(who, id))


@router.get("/suppression/silences", openapi_extra=asking(Which))
async def silences(request: Request, who: Caller, gateway: Served) -> list[SilenceView]:
    """The active silences, or all, and how many open incidents each one holds."""
    return await gateway.suppressions.silences(who, active=query(request, Which).active)


@router.get("/incidents/{incident_id}/suppression")
async def suppression(incident_id: str, who: Caller, gateway: Served) -> Suppression:
    """Whether the incident pages anybody, and why not."""
    return await gateway.suppressions.why(who, incident_id)

"""Where heartbeats ping, and how they do."""

from fastapi import APIRouter, Request

from app.api.auth import Caller, shown
from app.api.rest.documents import Id
from app.api.rest.wire import Served
from app.service.heartbeats import HeartbeatStatus

router = APIRouter(tags=["heartbeats"])


@router.post("/heartbeats/{id}/ping")
async def ping(id: Id, who: Caller, gateway: Served) -> HeartbeatStatus:  # noqa: A002
    """It is alive. Where its silence has opened an incident, that is resolved. A body is not read."""
    return await gateway.heartbeats.ping(who, id)


@router.post("/heartbeats/{id}/ping/{token}", include_in_schema=False)
async def ping_by_address(request: Request, id: Id, token: str, gateway: Served) -> HeartbeatStatus:  # noqa: A002
    """The same, with an API key in the address: for what can't send headers."""
    return await gateway.heartbeats.ping(await shown(request, token), id)


@router.get("/heartbeats/{id}/status")
async def status(id: Id, who: Caller, gateway: Served) -> HeartbeatStatus:  # noqa: A002
    """When it pinged last, and when its next ping is due."""
    return await gateway.heartbeats.status(who, id)

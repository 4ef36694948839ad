"""Why an incident went where it did, and routing rules tried out before they count."""

from typing import Any

from fastapi import APIRouter, Request

from app.api.auth import Caller
from app.api.rest.wire import NOT_FOUND, Served, accepts, read
from app.service.routing import Compared, Trial, Tried

router = APIRouter(tags=["routing-rules"])


@router.get("/incidents/{incident_id}/routing")
async def routing(incident_id: str, who: Caller, gateway: Served) -> dict[str, Any]:
    """Every rule that was asked: whether it matched, the actual values it was tested on, and what it did."""
    return await gateway.routes.of(who, incident_id)


@router.post("/routing/dry-run", openapi_extra=accepts(Trial) | NOT_FOUND)
async def dry_run(request: Request, who: Caller, gateway: Served) -> Tried | Compared:
    """What the rules, or other ones, would do with an incident, or would have done in the last days."""
    return await gateway.routes.dry_run(who, await read(request, Trial))

"""Policies played through: `POST /escalation-policies/{id}/simulate`."""

from fastapi import APIRouter, Request

from app.api.auth import Caller
from app.api.rest.documents import Id
from app.api.rest.wire import Served, accepts, read
from app.service.simulate import Scenario, Simulated

router = APIRouter(tags=["escalation-policies"])


@router.post("/escalation-policies/{id}/simulate", openapi_extra=accepts(Scenario, required=False))
@router.post("/policies/escalation/{id}/simulate", include_in_schema=False)
async def simulate(request: Request, id: Id, who: Caller, gateway: Served) -> Simulated:  # noqa: A002
    """The timeline of who would be told what, when and through what. Nobody is told anything."""
    return await gateway.simulations.run(who, id, await read(request, Scenario))

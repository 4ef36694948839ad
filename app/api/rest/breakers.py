"""Circuit breakers: who is not asked at present, and a hand on each."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from app.api.auth import Caller
from app.api.rest.wire import Served, accepts, read
from app.service.breakers import BreakersHealth, BreakersView, BreakerView, Why

router = APIRouter(tags=["circuit breakers"])
Name = Annotated[str, Path(description="As listed; edge_agent is edge-agent.")]
WHY: dict[str, Any] = accepts(Why, required=False)


@router.get("/circuit-breakers")
async def listed(who: Caller, gateway: Served) -> BreakersView:
    """All that are set up, or were used by any process."""
    return await gateway.breaking.list(who)


@router.get("/circuit-breakers/health")
@router.get("/circuit-breakers/status")
@router.get("/health/circuit-breakers")
async def health(who: Caller, gateway: Served) -> BreakersHealth:
    """How many are closed, open and half-open, and which aren't closed."""
    return await gateway.breaking.health(who)


@router.post("/circuit-breakers/reset-all", openapi_extra=WHY)
async def reset_all(request: Request, who: Caller, gateway: Served) -> BreakersView:
    """Makes all as if they were new, also those that were opened by hand."""
    return await gateway.breaking.reset_all(who, await read(request, Why))


@router.get("/circuit-breakers/{name}")
async def shown(name: Name, who: Caller, gateway: Served) -> BreakerView:
    """One of them."""
    return await gateway.breaking.get(who, name)


@router.post("/circuit-breakers/{name}/open", openapi_extra=WHY)
async def open_(name: Name, request: Request, who: Caller, gateway: Served) -> BreakerView:
    """Nobody is asked until it is closed or reset by hand. Pages through it wait as well."""
    return await gateway.breaking.open(who, name, await read(request, Why))


@router.post("/circuit-breakers/{name}/close", openapi_extra=WHY)
async def close(name: Name, request: Request, who: Caller, gateway: Served) -> BreakerView:
    """Everybody is asked again, until too many fail."""
    return await gateway.breaking.close(who, name, await read(request, Why))


@router.post("/circuit-breakers/{name}/reset", openapi_extra=WHY)
async def reset(name: Name, request: Request, who: Caller, gateway: Served) -> BreakerView:
    """As if it were new: closed, and what was counted is forgotten."""
    return await gateway.breaking.reset(who, name, await read(request, Why))

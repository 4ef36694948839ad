"""Sentinel, Shield, Edge-Agent and Governance: how they do, what they were asked; compliance of an incident."""

from fastapi import APIRouter, Request

from app.api.auth import Caller
from app.api.rest.wire import Served, accepts, read
from app.domain.compliance import Evidence
from app.integrations.governance import Compliance
from app.service.integrations import IntegrationMetrics, IntegrationState

router = APIRouter(tags=["integrations"])


@router.get("/integrations")
async def integrations(who: Caller, gateway: Served) -> list[IntegrationState]:
    """All four. Each that is set up is asked whether it is well, at most every 5 s."""
    return await gateway.integrations.states(who)


@router.get("/metrics/integrations")
async def integration_metrics(who: Caller, gateway: Served) -> list[IntegrationMetrics]:
    """What was asked of all four, by every process that shares its figures."""
    return await gateway.integrations.metrics(who)


@router.get("/metrics/integrations/{name}")
async def integration_metrics_of(name: str, who: Caller, gateway: Served) -> IntegrationMetrics:
    """Of one: sentinel, shield, edge-agent or governance."""
    return await gateway.integrations.metrics_of(who, name)


@router.post("/incidents/{incident_id}/compliance", openapi_extra=accepts(Evidence, required=False))
async def compliance(request: Request, incident_id: str, who: Caller, gateway: Served) -> Compliance:
    """Judges what is known of an incident by GDPR, HIPAA, SOC2, PCI and ISO27001; what isn't known stays unknown.

    The body says what its tags don't. Nothing is kept.
    """
    return await gateway.integrations.compliance(who, incident_id, await read(request, Evidence))

"""What was found around an incident."""

from fastapi import APIRouter

from app.api.auth import Caller
from app.api.rest.wire import Served
from app.domain.representation import Finding

router = APIRouter(tags=["enrichment"])


@router.get("/incidents/{incident_id}/enrichment")
async def enrichment(incident_id: str, who: Caller, gateway: Served) -> list[Finding]:
    """One finding per enricher, with its source and age; those that failed or were late say why."""
    return (await gateway.incidents.get(who, incident_id)).enrichment

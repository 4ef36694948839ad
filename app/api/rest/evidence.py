"""Evidence, for admins: what a tool sent, as it sent it, and once more."""

from fastapi import APIRouter

from app.api.auth import Caller
from app.api.rest.doors import SourceTaken
from app.api.rest.wire import Served
from app.domain.evidence import EvidenceList, EvidenceView

KEY_GONE = {"responses": {"409": {"$ref": "#/components/responses/Conflict"}}}
router = APIRouter(tags=["evidence"])


@router.get("/evidence/{evidence_id}", openapi_extra=KEY_GONE)
async def evidence(evidence_id: str, who: Caller, gateway: Served) -> EvidenceView:
    """What a tool sent, decrypted. Who reads it is logged."""
    return await gateway.intake.evidence.get(who, evidence_id)


@router.get("/incidents/{incident_id}/evidence")
async def of_incident(incident_id: str, who: Caller, gateway: Served) -> EvidenceList:
    """What led to an incident, the newest first, without what it says."""
    return await gateway.intake.evidence.of_incident(who, incident_id)


@router.post("/evidence/{evidence_id}/replay")
async def replay(evidence_id: str, who: Caller, gateway: Served) -> SourceTaken:
    """Takes it once more, for instance after a mapping was corrected. What it has done already isn't done again.

    That goes for what has a delivery of its own; what has none is counted as one more of the same problem.
    """
    return SourceTaken.of(await gateway.intake.replay(who, evidence_id))

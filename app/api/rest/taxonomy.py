"""The classes of incidents, and what is at hand for each."""

from fastapi import APIRouter

from app.api.auth import Caller
from app.api.rest.wire import Served
from app.domain.record import Record
from app.domain.taxonomy import IncidentClass

router = APIRouter(prefix="/taxonomy", tags=["taxonomy"])


class Classes(Record):
    classes: list[IncidentClass]
    total: int


@router.get("")
async def taxonomy(who: Caller, gateway: Served) -> Classes:
    """Every class that a source may state in the label `class`, and that incidents are filtered by."""
    found = gateway.taxonomy.list(who)
    return Classes(classes=found, total=len(found))


@router.get("/{incident_class}")
async def incident_class(incident_class: str, who: Caller, gateway: Served) -> IncidentClass:
    return gateway.taxonomy.get(who, incident_class)

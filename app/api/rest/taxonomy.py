"""The classes of incidents, and what is at hand for each."""

from fastapi import APIRouter

from app.api.auth import Caller
from app.domain.record import Record
from app.domain.taxonomy import IncidentClass
from app.service.taxonomy import class_named, classes

router = APIRouter(prefix="/taxonomy", tags=["taxonomy"])


class Classes(Record):
    classes: list[IncidentClass]
    total: int


@router.get("")
async def taxonomy(who: Caller) -> Classes:
    """Every class that a source may state in the label `class`, and that incidents are filtered by."""
    found = classes(who)
    return Classes(classes=found, total=len(found))


@router.get("/{incident_class}")
async def get_class(incident_class: str, who: Caller) -> IncidentClass:
    return class_named(who, incident_class)

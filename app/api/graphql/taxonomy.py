"""The classes of incidents, and what is at hand for each."""

from typing import cast

import strawberry

from app.api.graphql.context import Info
from app.domain.errors import NotFound
from app.domain.vocabulary import IncidentType, Severity
from app.service.taxonomy import class_named, classes


@strawberry.type
class IncidentClass:
    """A class of incidents: where its severity begins, and what is at hand for it. `category` and `owner` are
    lower-case words, `fingerprint` the labels by which two alerts are the same problem."""

    name: str
    title: str
    incident_type: IncidentType
    category: str
    severity: Severity
    floor: Severity | None
    signals: list[str]
    tags: list[str]
    fingerprint: list[str]
    enrichers: list[str]
    suggested_playbook: str | None
    owner: str


@strawberry.type
class Taxonomy:
    """Of classes."""

    @strawberry.field
    def taxonomy(self, info: Info) -> list[IncidentClass]:
        """Every class that a source may state, and that incidents are filtered by."""
        return cast("list[IncidentClass]", classes(info.context.caller))

    @strawberry.field
    def incident_class(self, info: Info, name: str) -> IncidentClass | None:
        """None where there is no such class."""
        try:
            return cast("IncidentClass", class_named(info.context.caller, name))
        except NotFound:
            return None

"""The incident classes, for whoever may read incidents."""

from dataclasses import dataclass

from app.domain.access import Principal, Scope
from app.domain.taxonomy import CLASSES, IncidentClass, described


@dataclass(frozen=True)
class Taxonomy:
    def list(self, who: Principal) -> list[IncidentClass]:
        """All of them, in their own order. Raises: Forbidden."""
        who.may(Scope.READ)
        return [described(name) for name in CLASSES]

    def get(self, who: Principal, name: str) -> IncidentClass:
        """Raises: Forbidden, NotFound."""
        who.may(Scope.READ)
        return described(name)

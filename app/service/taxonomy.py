"""The incident classes, for whoever may read incidents."""

from app.domain.access import Principal, Scope
from app.domain.taxonomy import CLASSES, IncidentClass, described


def classes(who: Principal) -> list[IncidentClass]:
    """All of them, in their own order. Raises: Forbidden."""
    who.may(Scope.READ)
    return [described(name) for name in CLASSES]


def class_named(who: Principal, name: str) -> IncidentClass:
    """Raises: Forbidden, NotFound."""
    who.may(Scope.READ)
    return described(name)

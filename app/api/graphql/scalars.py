"""Scalars, and enums in the words that clients use."""

from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Any

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

from app.domain.grouping import GroupStatus
from app.domain.timeline import EventType
from app.domain.vocabulary import (
    ActorType,
    Category,
    ChannelName,
    DeliveryStatus,
    Environment,
    IncidentType,
    MessageKind,
    Role,
    Severity,
    Status,
)


def _moment(at: datetime) -> str:
    """ISO 8601 in UTC, as REST writes it."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _read_moment(text: object) -> datetime:
    try:
        found = datetime.fromisoformat(text)  # type: ignore[arg-type]
    except (ValueError, TypeError) as no:
        raise GraphQLError("DateTime: must be ISO 8601, like 2026-11-23T08:00:00Z") from no
    if found.tzinfo is None:
        raise GraphQLError("DateTime: needs a time zone, like 2026-11-23T08:00:00Z")
    return found


SCALARS: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(name="DateTime", serialize=_moment, parse_value=_read_moment),
}


class IncidentState(StrEnum):
    """What older clients call the status."""

    NEW = "NEW"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    IN_PROGRESS = "IN_PROGRESS"
    ESCALATED = "ESCALATED"
    RESOLVED = "RESOLVED"
    CLOSED = "CLOSED"


def _both_cases(name: str, enum: type[Enum]) -> Any:
    """The members in upper and in lower case, as clients write them; `.lower()` of a value is the domain's."""
    words = dict.fromkeys(word for member in enum for word in (member.name, str(member.value)))
    made: Any = Enum(name, {word: word for word in words})  # type: ignore[misc]
    return strawberry.enum(made, name=name)


CategoryIn = _both_cases("Category", Category)
EnvironmentIn = _both_cases("Environment", Environment)

for _enum, _name in (
    (Severity, "Severity"), (Status, "IncidentStatus"), (IncidentState, "IncidentState"),
    (IncidentType, "IncidentType"), (EventType, "EventType"), (ActorType, "ActorType"), (Role, "UserRole"),
    (ChannelName, "NotificationChannel"), (DeliveryStatus, "NotificationStatus"), (MessageKind, "NotificationKind"),
    (GroupStatus, "CorrelationGroupStatus"),
):  # fmt: skip
    strawberry.enum(_enum, name=_name)

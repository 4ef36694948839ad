"""The words of the trade, as they stand on the wire."""

from enum import StrEnum
from typing import Self


class Severity(StrEnum):
    """How urgent: P0 is everybody up, P4 is for information. A smaller number is more severe."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"

    @property
    def rank(self) -> int:
        """0 for P0 … 4 for P4."""
        return int(self.value[1])

    @property
    def important(self) -> bool:
        """Urgent enough to wake somebody who wants to sleep."""
        return self.rank <= 1

    def worse_than(self, other: "Severity") -> bool:
        return self.rank < other.rank

    @classmethod
    def _missing_(cls, value: object) -> "Severity | None":
        return SEVERITY_ALIASES.get(value.strip().lower()) if isinstance(value, str) else None


SEVERITY_ALIASES = {
    "p0": Severity.P0, "critical": Severity.P0, "emergency": Severity.P0, "page": Severity.P0,
    "p1": Severity.P1, "high": Severity.P1, "error": Severity.P1, "major": Severity.P1,
    "p2": Severity.P2, "medium": Severity.P2, "warning": Severity.P2, "warn": Severity.P2,
    "p3": Severity.P3, "low": Severity.P3, "minor": Severity.P3,
    "p4": Severity.P4, "info": Severity.P4, "informational": Severity.P4, "none": Severity.P4,
}  # fmt: skip


class Status(StrEnum):
    """Where an incident stands. Input may use the older systems' names; output is always one of these."""

    NEW = "NEW"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    IN_PROGRESS = "IN_PROGRESS"
    ESCALATED = "ESCALATED"
    RESOLVED = "RESOLVED"
    CLOSED = "CLOSED"

    @property
    def open(self) -> bool:
        """Neither resolved nor closed."""
        return self not in (Status.RESOLVED, Status.CLOSED)

    @property
    def waits_for_somebody(self) -> bool:
        """Nobody has taken it: the statuses in which people are paged."""
        return self in (Status.NEW, Status.ESCALATED)

    @property
    def taken(self) -> bool:
        """Somebody is at it."""
        return self in (Status.ACKNOWLEDGED, Status.IN_PROGRESS)

    @classmethod
    def _missing_(cls, value: object) -> "Self | None":
        name = str(value).strip().upper()
        return cls._member_map_.get(STATUS_ALIASES.get(name, name))  # type: ignore[return-value]


STATUS_ALIASES = {
    "DETECTED": "NEW", "OPEN": "NEW", "TRIAGED": "ACKNOWLEDGED", "IDENTIFIED": "ACKNOWLEDGED",
    "INVESTIGATING": "IN_PROGRESS", "REMEDIATING": "IN_PROGRESS", "MONITORING": "IN_PROGRESS",
}  # fmt: skip


class IncidentType(StrEnum):
    INFRASTRUCTURE = "Infrastructure"
    APPLICATION = "Application"
    SECURITY = "Security"
    DATA = "Data"
    PERFORMANCE = "Performance"
    AVAILABILITY = "Availability"
    COMPLIANCE = "Compliance"
    UNKNOWN = "Unknown"

    @property
    def category(self) -> "Category":
        return CATEGORY_OF_TYPE[self]

    @classmethod
    def _missing_(cls, value: object) -> "Self | None":
        return cls._member_map_.get(str(value).strip().upper())  # type: ignore[return-value]


class Category(StrEnum):
    PERFORMANCE = "performance"
    SECURITY = "security"
    AVAILABILITY = "availability"
    COMPLIANCE = "compliance"
    COST = "cost"
    OTHER = "other"

    @property
    def incident_type(self) -> IncidentType:
        return TYPE_OF_CATEGORY.get(self, IncidentType.UNKNOWN)

    @classmethod
    def _missing_(cls, value: object) -> "Self | None":
        return cls._member_map_.get(str(value).strip().upper())  # type: ignore[return-value]


CATEGORY_OF_TYPE = {
    IncidentType.INFRASTRUCTURE: Category.AVAILABILITY,
    IncidentType.APPLICATION: Category.AVAILABILITY,
    IncidentType.SECURITY: Category.SECURITY,
    IncidentType.DATA: Category.OTHER,
    IncidentType.PERFORMANCE: Category.PERFORMANCE,
    IncidentType.AVAILABILITY: Category.AVAILABILITY,
    IncidentType.COMPLIANCE: Category.COMPLIANCE,
    IncidentType.UNKNOWN: Category.OTHER,
}
TYPE_OF_CATEGORY = {
    Category.PERFORMANCE: IncidentType.PERFORMANCE,
    Category.SECURITY: IncidentType.SECURITY,
    Category.AVAILABILITY: IncidentType.AVAILABILITY,
    Category.COMPLIANCE: IncidentType.COMPLIANCE,
}


class Environment(StrEnum):
    PRODUCTION = "production"
    STAGING = "staging"
    DEVELOPMENT = "development"
    QA = "qa"

    @classmethod
    def _missing_(cls, value: object) -> "Self | None":
        name = str(value).strip().lower()
        return cls._member_map_.get(
            {"prod": "PRODUCTION", "stage": "STAGING", "dev": "DEVELOPMENT"}.get(name, name.upper())
        )  # type: ignore[return-value]


class ChannelName(StrEnum):
    """The ways to reach somebody."""

    EMAIL = "email"
    WEBHOOK = "webhook"
    SLACK = "slack"
    PAGERDUTY = "pagerduty"
    TEAMS = "teams"
    SMS = "sms"
    APPRISE = "apprise"


class MessageKind(StrEnum):
    """What a message is about. The first two are pages: somebody is asked to come. The others are notices."""

    CREATED = "created"
    ESCALATED = "escalated"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    REMINDER = "reminder"
    UPDATED = "updated"

    @property
    def page(self) -> bool:
        return self in (MessageKind.CREATED, MessageKind.ESCALATED)


class Wanted(StrEnum):
    """How long a message is worth sending: until somebody takes the incident, until it is over, or in any case."""

    UNTAKEN = "untaken"
    OPEN = "open"
    ALWAYS = "always"


class DeliveryStatus(StrEnum):
    """pending → sending → sent (the provider took it) → delivered (it said that the receiver has it);

    failed when given up or when the provider said so later; cancelled when nobody needed it any more.
    """

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TargetType(StrEnum):
    """Who a level pages: a person, a team, whoever is on duty, or an address outside the directory."""

    USER = "user"
    TEAM = "team"
    ON_CALL = "on_call"
    EXTERNAL = "external"

    @classmethod
    def _missing_(cls, value: object) -> "Self | None":
        name = str(value).strip().lower()
        return cls._value2member_map_.get({"oncall": "on_call", "schedule": "on_call"}.get(name, name))  # type: ignore[return-value]


class TeamMode(StrEnum):
    """Who of a team is paged: all, the next in turn, or whoever has the fewest open incidents."""

    EVERYONE = "everyone"
    ROUND_ROBIN = "round_robin"
    LOAD_BALANCED = "load_balanced"


class Role(StrEnum):
    """What an API key may do, from least to most."""

    INGEST = "ingest"
    VIEWER = "viewer"
    RESPONDER = "responder"
    ADMIN = "admin"


class ActorType(StrEnum):
    USER = "user"
    SYSTEM = "system"
    INTEGRATION = "integration"

"""What happened to an incident, in order: one entry per decision."""

from datetime import datetime
from enum import StrEnum

from app.domain.record import Record
from app.domain.vocabulary import ActorType


class EventType(StrEnum):
    INCIDENT_CREATED = "incident_created"
    INCIDENT_UPDATED = "incident_updated"
    STATE_CHANGED = "state_changed"
    SEVERITY_CHANGED = "severity_changed"
    ASSIGNED = "assigned"
    ACKNOWLEDGED = "acknowledged"
    UNACKNOWLEDGED = "unacknowledged"
    ESCALATED = "escalated"
    ESCALATION_ENDED = "escalation_ended"
    PAUSED = "paused"
    SNOOZED = "snoozed"
    RESUMED = "resumed"
    RESOLVED = "resolved"
    CLOSED = "closed"
    REOPENED = "reopened"
    COMMENT_ADDED = "comment_added"
    ROUTED = "routed"
    CLASSIFIED = "classified"
    CORRELATED = "correlated"
    ENRICHMENT_ADDED = "enrichment_added"
    SUPPRESSED = "suppressed"
    UNSUPPRESSED = "unsuppressed"
    TRIAGE_INCOMPLETE = "triage_incomplete"
    PAGED = "paged"
    NOBODY_REACHED = "nobody_reached"
    FAILOVER = "failover"
    ACKNOWLEDGE_REMINDER = "acknowledge_reminder"
    NOTIFICATION_SENT = "notification_sent"
    NOTIFICATION_FAILED = "notification_failed"
    NOTIFICATION_REDELIVERED = "notification_redelivered"


class Actor(Record):
    """Who did it. The system itself is `system`."""

    name: str
    type: ActorType = ActorType.USER


SYSTEM = Actor(name="system", type=ActorType.SYSTEM)


class Entry(Record):
    """`seq` counts an incident's entries from 1 without a gap; `command` names the request that caused it.

    Texts (a comment, a reason) are not here: they stay in PostgreSQL with the command.
    """

    seq: int
    type: EventType
    at: datetime
    actor: Actor = SYSTEM
    command: str | None = None
    data: dict[str, object] = {}

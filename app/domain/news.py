"""What a decision on an incident's timeline means to those who listen."""

from enum import StrEnum

from app.domain.representation import IncidentView, TimelineEvent
from app.domain.timeline import EventType
from app.domain.vocabulary import Severity, Status

BECAME = {
    EventType.ACKNOWLEDGED: Status.ACKNOWLEDGED, EventType.UNACKNOWLEDGED: Status.NEW,
    EventType.ESCALATED: Status.ESCALATED, EventType.RESOLVED: Status.RESOLVED, EventType.CLOSED: Status.CLOSED,
    EventType.REOPENED: Status.NEW,
}  # fmt: skip
ENDS = frozenset({EventType.RESOLVED, EventType.CLOSED})


class UpdateType(StrEnum):
    CREATED = "CREATED"
    UPDATED = "UPDATED"
    STATUS_CHANGED = "STATUS_CHANGED"
    STATE_CHANGED = "STATE_CHANGED"
    ASSIGNED = "ASSIGNED"
    ESCALATED = "ESCALATED"
    RESOLVED = "RESOLVED"
    CLOSED = "CLOSED"
    COMMENT_ADDED = "COMMENT_ADDED"


KIND = {
    EventType.INCIDENT_CREATED: UpdateType.CREATED, EventType.ASSIGNED: UpdateType.ASSIGNED,
    EventType.ESCALATED: UpdateType.ESCALATED, EventType.RESOLVED: UpdateType.RESOLVED,
    EventType.CLOSED: UpdateType.CLOSED, EventType.COMMENT_ADDED: UpdateType.COMMENT_ADDED,
    EventType.ACKNOWLEDGED: UpdateType.STATUS_CHANGED, EventType.UNACKNOWLEDGED: UpdateType.STATUS_CHANGED,
    EventType.STATE_CHANGED: UpdateType.STATUS_CHANGED, EventType.REOPENED: UpdateType.STATUS_CHANGED,
}  # fmt: skip
FIELDS = {
    EventType.SEVERITY_CHANGED: ("severity",), EventType.ASSIGNED: ("assignedTo", "assignedTeam"),
    EventType.COMMENT_ADDED: ("comments",), EventType.PAUSED: ("escalationPaused",),
    EventType.RESUMED: ("escalationPaused",), EventType.SNOOZED: ("escalationPaused",),
    EventType.SUPPRESSED: ("suppressed",), EventType.UNSUPPRESSED: ("suppressed",),
    EventType.CORRELATED: ("correlationGroup",), EventType.ENRICHMENT_ADDED: ("enrichment",),
    EventType.CLASSIFIED: ("classification",), EventType.ROUTED: ("routing",),
    EventType.PAGED: ("escalationLevel", "notifications"), EventType.NOTIFICATION_SENT: ("notifications",),
    EventType.NOTIFICATION_FAILED: ("notifications",), EventType.NOTIFICATION_REDELIVERED: ("notifications",),
}  # fmt: skip


def kind(entry: TimelineEvent) -> UpdateType:
    return KIND.get(entry.event_type, UpdateType.UPDATED)


def older_kind(entry: TimelineEvent) -> UpdateType:
    """As the first clients call it: one word for every change of status but the resolve."""
    found = kind(entry)
    changed = (UpdateType.STATUS_CHANGED, UpdateType.ESCALATED, UpdateType.CLOSED)
    return UpdateType.STATE_CHANGED if found in changed else found


def changed_fields(entry: TimelineEvent) -> tuple[str, ...]:
    """Names of the incident's fields, in camelCase."""
    if entry.event_type is EventType.INCIDENT_UPDATED:
        named = entry.data.get("fields")
        return tuple(str(name) for name in named) if isinstance(named, list) else ()
    return ("status",) if transition(entry) else FIELDS.get(entry.event_type, ())


def transition(entry: TimelineEvent) -> tuple[Status, Status] | None:
    """From which status to which, if the decision changed it."""
    if entry.event_type is EventType.STATE_CHANGED:
        after = Status(str(entry.data["to"]))
    elif entry.event_type in BECAME:
        after = BECAME[entry.event_type]
    else:
        return None
    known = entry.data.get("from")
    before = (
        Status(str(known)) if known is not None else Status.ACKNOWLEDGED
    )  # an unacknowledge comes from nowhere else
    return None if before is after else (before, after)


def becomes_critical(entry: TimelineEvent, incident: IncidentView) -> bool:
    """P0 or P1, and wasn't before: it opened so, was raised, or opened again."""
    if entry.event_type is EventType.INCIDENT_CREATED:
        return Severity(str(entry.data["severity"])).important
    if entry.event_type is EventType.SEVERITY_CHANGED:
        before, after = Severity(str(entry.data["from"])), Severity(str(entry.data["to"]))
        return after.important and not before.important
    return entry.event_type is EventType.REOPENED and incident.severity.important


def concerns_active(entry: TimelineEvent, incident: IncidentView) -> bool:
    """It is open, or this is what ended it."""
    return incident.status.open or entry.event_type in ENDS

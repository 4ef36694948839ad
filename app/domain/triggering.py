"""Which playbooks something that happened to an incident begins."""

from app.domain import news
from app.domain.matching import Subject, holds
from app.domain.playbook import Playbook, Trigger, TriggerType
from app.domain.representation import TimelineEvent
from app.domain.timeline import EventType

MAY_BEGIN = frozenset(
    {
        EventType.INCIDENT_CREATED, EventType.ROUTED, EventType.ESCALATED, EventType.ACKNOWLEDGED,
        EventType.UNACKNOWLEDGED, EventType.STATE_CHANGED, EventType.RESOLVED, EventType.CLOSED, EventType.REOPENED,
    }
)  # fmt: skip
NEW = frozenset({TriggerType.INCIDENT_CREATED, TriggerType.SEVERITY, TriggerType.TYPE, TriggerType.SOURCE})


def cause(playbook: Playbook, event: TimelineEvent, subject: Subject) -> str | None:
    """Why the playbook begins, in words; None when it does not.

    What a playbook has done itself begins it not: its own name is the actor.
    """
    if not playbook.enabled or event.actor.name == f"playbook:{playbook.id}":
        return None
    if event.event_type is EventType.ROUTED:
        wanted = event.data.get("playbooks")
        return "a routing rule applies it" if isinstance(wanted, list) and playbook.id in wanted else None
    for trigger in playbook.triggers:
        if _fires(trigger, event) and holds(trigger.conditions, subject):
            return f"trigger {trigger.type}"
    return None


def _fires(trigger: Trigger, event: TimelineEvent) -> bool:
    if trigger.type in NEW:
        return event.event_type is EventType.INCIDENT_CREATED
    if trigger.type is TriggerType.ESCALATED:
        return event.event_type is EventType.ESCALATED
    if trigger.type is TriggerType.STATUS_CHANGED:
        change = news.transition(event)
        return change is not None and (not trigger.to or change[1] in trigger.to)
    return False

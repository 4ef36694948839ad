"""What happens next, in words, for whoever looks at a run in Temporal's UI."""

from app.domain.incident import Incident
from app.domain.vocabulary import Status


def next_step(incident: Incident) -> str:
    """One line, for a timer: what happens when it fires."""
    if not incident.status.open:
        return "the incident ends unless its problem comes back"
    if incident.paused_until is not None:
        return "the snooze ends"
    if incident.acknowledge_expires_at is not None:
        return "the acknowledge lapses"
    policy = incident.policy
    if policy is None:
        return "nothing"
    level = policy.level(incident.rung)
    whom = level.name or ", ".join(target.label for target in level.targets)
    return f"escalate to level {policy.level_number(incident.rung)}: {whom}"[:200]


def describe(incident: Incident) -> str:
    """Markdown, for a run's current details."""
    if incident.status in (Status.RESOLVED, Status.CLOSED):
        now = f"{incident.status.capitalize()} by {incident.resolved_by or 'somebody'}."
    elif incident.paused:
        left = f", {incident.paused_left.total_seconds():.0f} s left" if incident.paused_left is not None else ""
        now = f"Paused{left}." if incident.paused_until is None else f"Snoozed until {incident.paused_until:%F %T} UTC."
    elif incident.status is Status.ACKNOWLEDGED:
        now = f"Acknowledged by {incident.acknowledged_by}: nobody is paged."
    elif incident.due_at is not None:
        now = f"At {incident.due_at:%F %T} UTC: {next_step(incident)}."
    else:
        now = "Nobody else will be paged."
    return f"**{incident.severity} {incident.status}**, level {incident.level}. {now}"

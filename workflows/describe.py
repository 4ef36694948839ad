"""What happens next, in words, for whoever looks at a run in Temporal's UI."""

from app.domain.incident import Incident
from app.domain.vocabulary import Status


def next_step(incident: Incident) -> str:
    """One line, for a timer: what happens when it fires."""
    if not incident.status.open:
        return "the incident ends unless its problem comes back"
    if incident.paused_until is not None:
        return "the snooze ends"
    wakes_at, policy = incident.wakes_at, incident.policy
    if wakes_at is not None and incident.look_again_at == wakes_at:
        return "look whether anybody is to be paged"
    for planned in incident.plan:
        if planned.due_at == wakes_at:
            return f"tell {planned.target} by {planned.channel}"[:200]
    for awaited in incident.awaited:
        if awaited.by == wakes_at:
            return f"another channel for {awaited.outgoing.target}"[:200]
    if incident.acknowledge_reminder_at is not None and incident.acknowledge_reminder_at == wakes_at:
        return "a reminder of the acknowledge"
    if incident.acknowledge_expires_at is not None and incident.acknowledge_expires_at == wakes_at:
        return "the acknowledge lapses"
    if policy is None or incident.due_at is None:
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
    elif incident.held and incident.status.waits_for_somebody:
        why = ", ".join(f"{hold.reason} {hold.by}" for hold in incident.holds)
        now = f"Nobody is paged because of {why}{_then(incident, '; at ')}."
    elif incident.status.taken:
        now = f"Taken by {incident.acknowledged_by or 'somebody'}: nobody is paged{_then(incident, ' until ')}."
    else:
        now = f"{_then(incident, 'At ') or 'Nobody else will be paged'}."
    return f"**{incident.severity} {incident.status}**, level {incident.level}. {now}"


def _then(incident: Incident, word: str) -> str:
    at = incident.wakes_at
    return f"{word}{at:%F %T} UTC: {next_step(incident)}" if at is not None else ""

"""What each event makes of an incident. Pure functions (incident, event, now) → the incident after and what to tell.

The workflow, the policy simulator and the property tests run this same code.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from app.domain.errors import Conflict, Invalid, InvalidTransition
from app.domain.escalation import Policy
from app.domain.incident import REMEMBERED_COMMANDS, TRANSITIONS, Command, CommandKind, Heard, Incident
from app.domain.timeline import SYSTEM, Actor, Entry, EventType
from app.domain.vocabulary import ActorType, Severity, Status, Wanted

Change = tuple[Incident, tuple[Entry, ...]]


def told(
    incident: Incident, at: datetime, actor: Actor, kind: EventType, command: str | None = None, **data: object
) -> Change:
    """The incident with its sequence one further, and the one entry that is told."""
    seq = incident.seq + 1
    return incident.with_(seq=seq), (Entry(seq=seq, type=kind, at=at, actor=actor, command=command, data=data),)


def opened(
    id: str,  # noqa: A002
    heard: Heard,
    policy: Policy | None,
    *,
    opened_at: datetime,
    now: datetime,
    assigned_to: str | None = None,
) -> Change:
    """A new incident, as it was reported: its first level is due at once."""
    severity = heard.reported or heard.severity
    incident = Incident(
        id=id, severity=severity, heard_severity=severity, opened_at=opened_at,
        policy=policy, due_at=now if policy else None, assigned_to=assigned_to,
    )  # fmt: skip
    source = Actor(name=heard.source, type=ActorType.INTEGRATION)
    policy_id = policy.id if policy else None
    incident, entries = told(
        incident, opened_at, source, EventType.INCIDENT_CREATED, severity=severity, policy=policy_id
    )
    if assigned_to:
        incident, more = told(
            incident, opened_at, source, EventType.ASSIGNED, assigned_to=assigned_to, assigned_team=None
        )
        entries += more
    if policy:
        return incident, entries
    incident, more = told(
        incident, now, SYSTEM, EventType.NOBODY_REACHED, reason="no escalation policy applies, and there is no default"
    )
    return incident, entries + more


def apply(incident: Incident, command: Command, now: datetime) -> Change:
    """What a command makes of the incident. A repeat (same id, or same intent) changes and tells nothing.

    Raises: InvalidTransition, Conflict, Invalid.
    """
    if command.id in incident.commands:
        return incident, ()
    after, entries = COMMANDS[command.kind](incident, command, now)
    if entries:
        after = lapsing(after, now)
    return after.with_(commands=(*after.commands, command.id)[-REMEMBERED_COMMANDS:]), entries


def may_become(incident: Incident, wanted: Status) -> None:
    """Raises: InvalidTransition, naming both statuses and what is possible."""
    allowed = TRANSITIONS[incident.status]
    if wanted not in allowed:
        raise InvalidTransition(incident.status, wanted, sorted(allowed))


def _tell(incident: Incident, command: Command, now: datetime, kind: EventType, **data: object) -> Change:
    return told(incident, now, command.actor, kind, command.id, **data)


def _quiet(incident: Incident, status: Status, **changes: object) -> Incident:
    """In a status in which nothing is due."""
    return incident.with_(
        status=status, due_at=None, paused=False, paused_at=None, paused_left=None, paused_until=None,
        acknowledge_reminder_at=None, acknowledge_expires_at=None, escalation_asked=False, unheld=False,
        plan=(), flying=(), awaited=(), **changes,
    )  # fmt: skip


def _taken(incident: Incident, status: Status, now: datetime, **changes: object) -> Incident:
    """In a status in which only those levels of this round still go out that an acknowledge does not stop."""
    thawed, policy = _thawed(incident, now), incident.policy
    taken = _quiet(incident, status, **changes).with_(
        plan=tuple(o for o in thawed.plan if o.wanted is Wanted.OPEN),
        flying=tuple(o for o in thawed.flying if o.wanted is Wanted.OPEN),
        awaited=tuple(a for a in thawed.awaited if a.outgoing.wanted is Wanted.OPEN),
    )
    due = thawed.due_at
    if policy is None or due is None or incident.rung not in policy.round_of(max(incident.rung - 1, 0)):
        return taken
    rung, due_at = policy.despite_acknowledge(incident.rung, due)
    return taken.with_(rung=rung if due_at else incident.rung, due_at=due_at)


def lapsing(incident: Incident, now: datetime) -> Incident:
    """An acknowledge counts anew how long it may stand without progress. A pause holds that up."""
    policy = incident.policy
    if policy is None or not policy.acknowledge_timeout_secs or incident.status is not Status.ACKNOWLEDGED:
        return incident.with_(acknowledge_reminder_at=None, acknowledge_expires_at=None)
    if incident.paused:
        return incident.with_(acknowledge_reminder_at=None, acknowledge_expires_at=None)
    expires = now + timedelta(seconds=policy.acknowledge_timeout_secs)
    reminder = timedelta(seconds=policy.acknowledge_reminder_secs)
    return incident.with_(
        acknowledge_expires_at=expires, acknowledge_reminder_at=expires - reminder if reminder else None
    )


def _climbing_anew(incident: Incident, now: datetime) -> Incident:
    return _quiet(
        incident, Status.NEW, cycle=incident.cycle + 1, rung=0, level=0, reached=-1, resolved_at=None,
        resolved_by=None, closed_at=None, acknowledged_at=None, acknowledged_by=None,
    ).with_(due_at=now if incident.policy else None)  # fmt: skip


def _acknowledge(incident: Incident, command: Command, now: datetime) -> Change:
    if incident.status is Status.ACKNOWLEDGED:
        return incident, ()
    may_become(incident, Status.ACKNOWLEDGED)
    taken = _taken(incident, Status.ACKNOWLEDGED, now, acknowledged_by=command.actor.name, acknowledged_at=now)
    return _tell(lapsing(taken, now), command, now, EventType.ACKNOWLEDGED, **{"from": incident.status})


def _unacknowledge(incident: Incident, command: Command, now: datetime) -> Change:
    if incident.status is Status.NEW:
        return incident, ()
    if incident.status is not Status.ACKNOWLEDGED:
        raise InvalidTransition(incident.status, Status.NEW, sorted(TRANSITIONS[incident.status]))
    return _tell(_climbing_anew(incident, now), command, now, EventType.UNACKNOWLEDGED)


def _start(incident: Incident, command: Command, now: datetime) -> Change:
    if incident.status is Status.IN_PROGRESS:
        return incident, ()
    may_become(incident, Status.IN_PROGRESS)
    by, at = incident.acknowledged_by or command.actor.name, incident.acknowledged_at or now
    started = _taken(incident, Status.IN_PROGRESS, now, acknowledged_by=by, acknowledged_at=at)
    return _tell(started, command, now, EventType.STATE_CHANGED, **{"from": incident.status, "to": started.status})


def _resolve(incident: Incident, command: Command, now: datetime) -> Change:
    if incident.status is Status.RESOLVED:
        return incident, ()
    may_become(incident, Status.RESOLVED)
    resolved = _quiet(incident, Status.RESOLVED, resolved_by=command.actor.name, resolved_at=now)
    return _tell(resolved, command, now, EventType.RESOLVED, **{"from": incident.status})


def _close(incident: Incident, command: Command, now: datetime) -> Change:
    if incident.status is Status.CLOSED:
        return incident, ()
    may_become(incident, Status.CLOSED)
    closed = _quiet(incident, Status.CLOSED, closed_at=now)
    return _tell(closed, command, now, EventType.CLOSED, **{"from": incident.status})


def _reopen(incident: Incident, command: Command, now: datetime) -> Change:
    if incident.status is Status.NEW:
        return incident, ()
    if incident.status.open:
        raise InvalidTransition(incident.status, Status.NEW, sorted(TRANSITIONS[incident.status]))
    return _tell(_climbing_anew(incident, now), command, now, EventType.REOPENED, **{"from": incident.status})


def _escalate(incident: Incident, command: Command, now: datetime) -> Change:
    if incident.status is not Status.ESCALATED:
        may_become(incident, Status.ESCALATED)
    policy = incident.policy
    rung = _rung_asked(incident, command)
    if policy is None or rung is None or command.at_level not in (None, incident.level):
        return incident, ()
    if incident.escalation_asked and not incident.paused and incident.rung >= rung:
        return incident, ()
    escalated = _thawed(incident, now).with_(
        status=Status.ESCALATED, rung=rung, due_at=now, escalation_asked=True, unheld=True,
        acknowledge_reminder_at=None, acknowledge_expires_at=None,
    )  # fmt: skip
    return _tell(
        escalated, command, now, EventType.ESCALATED, level=policy.level_number(rung), **{"from": incident.status}
    )


def _rung_asked(incident: Incident, command: Command) -> int | None:
    """The rung an escalation goes to; None when its level has gone out already.

    Raises: Invalid for a level that isn't there, Conflict when there is none after the last.
    """
    policy, wanted = incident.policy, command.to_level
    if policy is not None and wanted is not None:
        if not 1 <= wanted <= len(policy.levels):
            raise Invalid.field("level", f"must be one of the policy's levels, 1 to {len(policy.levels)}")
        if wanted <= incident.level:
            return None
        return policy.round_of(max(incident.rung - 1, 0))[wanted - 1]
    if command.at_level not in (None, incident.level):
        return None
    if policy is None or incident.rung >= policy.rungs:
        raise Conflict(
            f"There is no level after {incident.level} to escalate to; once acknowledged, unacknowledge starts again.",
            {"level": incident.level},
        )
    return incident.rung


def _assign(incident: Incident, command: Command, now: datetime) -> Change:
    person = command.assignee if "assignee" in command.fields else incident.assigned_to
    team = command.team if "team" in command.fields else incident.assigned_team
    if (person, team) == (incident.assigned_to, incident.assigned_team):
        return incident, ()
    assigned = incident.with_(assigned_to=person, assigned_team=team)
    return _tell(assigned, command, now, EventType.ASSIGNED, assigned_to=person, assigned_team=team)


def _comment(incident: Incident, command: Command, now: datetime) -> Change:
    return _tell(incident, command, now, EventType.COMMENT_ADDED)


def _severity(incident: Incident, command: Command, now: datetime) -> Change:
    if command.severity is None:
        raise Invalid.field("severity", "is needed: one of P0, P1, P2, P3, P4")
    if command.severity is incident.severity:
        return incident, ()
    changed = _roused(incident, command.severity, now)
    return _tell(
        changed, command, now, EventType.SEVERITY_CHANGED, **{"from": incident.severity, "to": command.severity}
    )


def _roused(incident: Incident, severity: Severity, now: datetime) -> Incident:
    """With another severity: when it is worth breaking sleep for, whoever has not been told yet is told now."""
    changed = incident.with_(severity=severity)
    if not severity.important or incident.severity.important or incident.paused:
        return changed
    first: dict[str, datetime] = {}
    for planned in incident.plan:
        if planned.due_at is not None:
            first[planned.target] = min(planned.due_at, first.get(planned.target, planned.due_at))
    awake = {told.target for told in incident.told} | {message.target for message in incident.flying}
    plan = tuple(
        o if o.target in awake or o.due_at is None
        else o.model_copy(update={"due_at": o.due_at - (first[o.target] - now)})
        for o in incident.plan
    )  # fmt: skip
    return changed.with_(plan=plan)


def _pause(incident: Incident, command: Command, now: datetime) -> Change:
    if incident.paused and incident.paused_until is None:
        return incident, ()
    return _tell(_frozen(incident, None, now), command, now, EventType.PAUSED)


def _snooze(incident: Incident, command: Command, now: datetime) -> Change:
    if command.until is None or command.until <= now:
        raise Invalid.field("until", "must be a moment in the future")
    if command.until == incident.paused_until:
        return incident, ()
    return _tell(_frozen(incident, command.until, now), command, now, EventType.SNOOZED, until=command.until)


def _frozen(incident: Incident, until: datetime | None, now: datetime) -> Incident:
    if not incident.status.open:
        raise InvalidTransition(incident.status, "paused", sorted(TRANSITIONS[incident.status]))
    left = incident.paused_left if incident.due_at is None else max(incident.due_at - now, timedelta(0))
    since = incident.paused_at or now
    return incident.with_(paused=True, paused_at=since, paused_left=left, paused_until=until, due_at=None)


def _resume(incident: Incident, command: Command, now: datetime) -> Change:
    if not incident.paused:
        return incident, ()
    return _tell(_thawed(incident, now), command, now, EventType.RESUMED)


def _thawed(incident: Incident, now: datetime) -> Incident:
    """Everything that stood still goes on with the time it had left."""
    if incident.paused_at is None:
        return incident
    stood = now - incident.paused_at
    due = now + incident.paused_left if incident.paused_left is not None else None
    thawed = incident.with_(
        paused=False, paused_at=None, paused_left=None, paused_until=None, due_at=due,
        plan=tuple(o.model_copy(update={"due_at": o.due_at + stood}) for o in incident.plan if o.due_at),
        awaited=tuple(a.model_copy(update={"by": a.by + stood}) for a in incident.awaited),
    )  # fmt: skip
    return lapsing(thawed, now)


def _edit(incident: Incident, command: Command, now: datetime) -> Change:
    return _tell(incident, command, now, EventType.INCIDENT_UPDATED, fields=list(command.fields))


COMMANDS: dict[CommandKind, Callable[[Incident, Command, datetime], Change]] = {
    CommandKind.ACKNOWLEDGE: _acknowledge,
    CommandKind.UNACKNOWLEDGE: _unacknowledge,
    CommandKind.START: _start,
    CommandKind.RESOLVE: _resolve,
    CommandKind.CLOSE: _close,
    CommandKind.REOPEN: _reopen,
    CommandKind.ESCALATE: _escalate,
    CommandKind.ASSIGN: _assign,
    CommandKind.COMMENT: _comment,
    CommandKind.SEVERITY: _severity,
    CommandKind.PAUSE: _pause,
    CommandKind.RESUME: _resume,
    CommandKind.SNOOZE: _snooze,
    CommandKind.EDIT: _edit,
}


def hear(incident: Incident, heard: Heard, now: datetime) -> Change:
    """What the alerts say now. Saying the same again changes nothing; a late word about the past neither."""
    source = Actor(name=heard.source, type=ActorType.INTEGRATION)
    entries: list[Entry] = []
    ended = incident.ended_at
    if ended is not None and heard.last_firing_at > ended:
        incident, said = told(
            _climbing_anew(incident, now), now, source, EventType.REOPENED, **{"from": incident.status}
        )
        entries += said
    if heard.severity.worse_than(incident.heard_severity):
        worse = heard.severity.worse_than(incident.severity)
        before, incident = incident.severity, incident.with_(heard_severity=heard.severity)
        if worse and incident.status.open:
            incident, said = told(
                _roused(incident, heard.severity, now), now, source, EventType.SEVERITY_CHANGED,
                **{"from": before, "to": heard.severity},
            )  # fmt: skip
            entries += said
    if _news(heard.source_acknowledged_at, incident.heard_acknowledge_at):
        incident = incident.with_(heard_acknowledge_at=heard.source_acknowledged_at)
        if incident.status.waits_for_somebody:
            incident, said = _acknowledge(incident, _by(source, CommandKind.ACKNOWLEDGE), now)
            entries += said
    if _news(heard.source_resolved_at, incident.heard_resolve_at):
        incident = incident.with_(heard_resolve_at=heard.source_resolved_at)
        if incident.status.open:
            incident, said = _resolve(incident, _by(source, CommandKind.RESOLVE), now)
            entries += said
    return incident, tuple(entries)


def _news(said: datetime | None, heard: datetime | None) -> bool:
    return said is not None and (heard is None or said > heard)


def _by(actor: Actor, kind: CommandKind) -> Command:
    return Command(id="", kind=kind, actor=actor)


def tick(incident: Incident, now: datetime) -> Change:
    """What time alone changes: a snooze ends, an acknowledge without progress is reminded of and lapses."""
    if incident.paused_until is not None and incident.paused_until <= now:
        return told(_thawed(incident, now), now, SYSTEM, EventType.RESUMED)
    if incident.acknowledge_expires_at is not None and incident.acknowledge_expires_at <= now:
        return told(_climbing_anew(incident, now), now, SYSTEM, EventType.UNACKNOWLEDGED, reason="no progress in time")
    if incident.acknowledge_reminder_at is not None and incident.acknowledge_reminder_at <= now:
        return told(
            incident.with_(acknowledge_reminder_at=None), now, SYSTEM, EventType.ACKNOWLEDGE_REMINDER,
            acknowledged_by=incident.acknowledged_by, lapses_at=incident.acknowledge_expires_at,
        )  # fmt: skip
    return incident, ()

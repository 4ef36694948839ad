"""What each event makes of an incident. Pure functions (incident, event, now) → the incident after and what to tell.

The workflow, the policy simulator and the property tests run this same code.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from app.domain.errors import Conflict, Invalid, InvalidTransition
from app.domain.escalation import Policy
from app.domain.incident import REMEMBERED_COMMANDS, TRANSITIONS, Command, CommandKind, Heard, Incident, Page
from app.domain.timeline import SYSTEM, Actor, Entry, EventType
from app.domain.vocabulary import ActorType, Status

Change = tuple[Incident, tuple[Entry, ...]]


def told(
    incident: Incident, at: datetime, actor: Actor, kind: EventType, command: str | None = None, **data: object
) -> Change:
    """The incident with its sequence one further, and the one entry that is told."""
    seq = incident.seq + 1
    return incident.with_(seq=seq), (Entry(seq=seq, type=kind, at=at, actor=actor, command=command, data=data),)


def opened(id: str, heard: Heard, policy: Policy | None, *, opened_at: datetime, now: datetime) -> Change:  # noqa: A002
    """A new incident: its first level is due at once."""
    incident = Incident(
        id=id, severity=heard.severity, heard_severity=heard.severity, opened_at=opened_at,
        policy=policy, due_at=now if policy else None,
    )  # fmt: skip
    source = Actor(name=heard.source, type=ActorType.INTEGRATION)
    policy_id = policy.id if policy else None
    incident, entries = told(
        incident, opened_at, source, EventType.INCIDENT_CREATED, severity=heard.severity, policy=policy_id
    )
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
        after = _lapsing(after, now)
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
        status=status, due_at=None, paused=False, paused_left=None, paused_until=None,
        acknowledge_expires_at=None, escalation_asked=False, **changes,
    )  # fmt: skip


def _lapsing(incident: Incident, now: datetime) -> Incident:
    """An acknowledge counts anew how long it may stand without progress. A pause holds that up."""
    timeout = incident.policy.acknowledge_timeout_secs if incident.policy else 0
    counts = timeout and incident.status is Status.ACKNOWLEDGED and not incident.paused
    return incident.with_(acknowledge_expires_at=now + timedelta(seconds=timeout) if counts else None)


def _climbing_anew(incident: Incident, now: datetime) -> Incident:
    return _quiet(
        incident, Status.NEW, cycle=incident.cycle + 1, rung=0, level=0, resolved_at=None, resolved_by=None,
        closed_at=None, acknowledged_at=None, acknowledged_by=None,
    ).with_(due_at=now if incident.policy else None)  # fmt: skip


def _acknowledge(incident: Incident, command: Command, now: datetime) -> Change:
    if incident.status is Status.ACKNOWLEDGED:
        return incident, ()
    may_become(incident, Status.ACKNOWLEDGED)
    taken = _quiet(incident, Status.ACKNOWLEDGED, acknowledged_by=command.actor.name, acknowledged_at=now)
    return _tell(_lapsing(taken, now), command, now, EventType.ACKNOWLEDGED, **{"from": incident.status})


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
    started = _quiet(incident, Status.IN_PROGRESS)
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
    repeated = incident.escalation_asked and not incident.paused
    if repeated or command.at_level not in (None, incident.level):
        return incident, ()
    policy = incident.policy
    if policy is None or incident.rung >= policy.rungs:
        raise Conflict(
            f"There is no level after {incident.level} to escalate to; once acknowledged, unacknowledge starts again.",
            {"level": incident.level},
        )
    wanted = policy.level_number(incident.rung)
    escalated = _quiet(incident, Status.ESCALATED).with_(due_at=now, escalation_asked=True)
    return _tell(escalated, command, now, EventType.ESCALATED, level=wanted, **{"from": incident.status})


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
    changed = incident.with_(severity=command.severity)
    return _tell(
        changed, command, now, EventType.SEVERITY_CHANGED, **{"from": incident.severity, "to": command.severity}
    )


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
    return incident.with_(paused=True, paused_left=left, paused_until=until, due_at=None)


def _resume(incident: Incident, command: Command, now: datetime) -> Change:
    if not incident.paused:
        return incident, ()
    return _tell(_thawed(incident, now), command, now, EventType.RESUMED)


def _thawed(incident: Incident, now: datetime) -> Incident:
    due = now + incident.paused_left if incident.paused_left is not None else None
    return _lapsing(incident.with_(paused=False, paused_left=None, paused_until=None, due_at=due), now)


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
                incident.with_(severity=heard.severity), now, source, EventType.SEVERITY_CHANGED,
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
    """What time alone changes: a snooze ends, an acknowledge without progress lapses."""
    if incident.paused_until is not None and incident.paused_until <= now:
        return told(_thawed(incident, now), now, SYSTEM, EventType.RESUMED)
    if incident.acknowledge_expires_at is not None and incident.acknowledge_expires_at <= now:
        return told(_climbing_anew(incident, now), now, SYSTEM, EventType.UNACKNOWLEDGED, reason="no progress in time")
    return incident, ()


def climb(incident: Incident, now: datetime) -> tuple[Incident, Page | None, tuple[Entry, ...]]:
    """The level that is due, if one is. Its successor's clock starts now, not when anybody answers."""
    policy = incident.policy
    due = incident.due_at is not None and incident.due_at <= now and incident.status.waits_for_somebody
    if policy is None or not due or incident.paused:
        return incident, None, ()
    rung, number = incident.rung, policy.level_number(incident.rung)
    patience = policy.patience(rung)
    after = incident.with_(
        rung=rung + 1, level=number, due_at=now + patience if patience is not None else None,
        status=Status.ESCALATED if rung else incident.status, escalation_asked=False,
    )  # fmt: skip
    entries: tuple[Entry, ...] = ()
    if rung and not incident.escalation_asked:
        after, entries = told(
            after, now, SYSTEM, EventType.ESCALATED, level=number, round=rung // len(policy.levels) + 1,
            **{"from": incident.status},
        )  # fmt: skip
    return after, Page(cycle=incident.cycle, rung=rung, number=number, level=policy.level(rung)), entries


def paged(incident: Incident, page: Page, reached: Sequence[str], unreachable: Sequence[str], now: datetime) -> Change:
    """Who of a level is being told (`target via channel`) and who cannot be; nobody: the next level goes at once."""
    entries: tuple[Entry, ...] = ()
    if reached:
        incident, entries = told(
            incident, now, SYSTEM, EventType.PAGED, level=page.number, name=page.level.name, told=list(reached)
        )
    if unreachable:
        incident, more = told(
            incident, now, SYSTEM, EventType.NOBODY_REACHED, level=page.number, targets=list(unreachable),
            reason="no address on any channel of this level",
        )  # fmt: skip
        entries += more
    if not reached:
        incident = at_once(incident, page, now)
    if incident.policy is not None and page.rung + 1 >= incident.policy.rungs:
        incident, more = told(incident, now, SYSTEM, EventType.ESCALATION_ENDED, level=page.number)
        entries += more
    return incident, entries


def at_once(incident: Incident, page: Page, now: datetime) -> Incident:
    """Nobody of this page can be told any more: the next level does not wait. The next round does."""
    if incident.policy is not None and (page.rung + 1) % len(incident.policy.levels) == 0:
        return incident
    current = (incident.cycle, incident.rung) == (page.cycle, page.rung + 1)
    if current and incident.due_at is not None:
        return incident.with_(due_at=now)
    if current and incident.paused_left is not None:
        return incident.with_(paused_left=timedelta(0))
    return incident


def rerouted(incident: Incident, policy: Policy | None, now: datetime) -> Change:
    """The policy that fits after a raise: another one starts its own climb, the same one goes on."""
    if policy is None or (incident.policy is not None and policy.id == incident.policy.id):
        return incident, ()
    before = incident.policy.id if incident.policy else None
    incident = incident.with_(policy=policy, cycle=incident.cycle + 1, rung=0, level=0, escalation_asked=False)
    if incident.status.waits_for_somebody:
        incident = incident.with_(**{"paused_left": timedelta(0)} if incident.paused else {"due_at": now})
    return told(_lapsing(incident, now), now, SYSTEM, EventType.ROUTED, **{"from": before, "to": policy.id})

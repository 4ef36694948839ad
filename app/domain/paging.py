"""Who is told when, and what comes of it. Pure functions, run by the workflow and the simulator alike."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from app.domain.escalation import Policy
from app.domain.incident import Awaited, Incident, Page, Told
from app.domain.lifecycle import Change, lapsing, told
from app.domain.notification import Outgoing, notice_key
from app.domain.reach import Unreached
from app.domain.timeline import SYSTEM, Entry, EventType
from app.domain.vocabulary import ChannelName, MessageKind, Status, Wanted

ONE_MESSAGE_EACH = frozenset({ChannelName.SLACK})
"""Channels that keep one message per incident and hear of every change."""
SHARED = frozenset({ChannelName.SLACK, ChannelName.PAGERDUTY})
"""Channels where others read along: they hear of a deed also from whoever did it."""
CHANGES = {
    EventType.ACKNOWLEDGED: MessageKind.ACKNOWLEDGED,
    EventType.RESOLVED: MessageKind.RESOLVED,
    EventType.CLOSED: MessageKind.RESOLVED,
    EventType.ACKNOWLEDGE_REMINDER: MessageKind.REMINDER,
    EventType.STATE_CHANGED: MessageKind.UPDATED,
    EventType.SEVERITY_CHANGED: MessageKind.UPDATED,
    EventType.ASSIGNED: MessageKind.UPDATED,
    EventType.ESCALATED: MessageKind.UPDATED,
    EventType.PAUSED: MessageKind.UPDATED,
    EventType.SNOOZED: MessageKind.UPDATED,
    EventType.RESUMED: MessageKind.UPDATED,
}


def climb(incident: Incident, now: datetime) -> tuple[Incident, Page | None, tuple[Entry, ...]]:
    """The level that is due, if one is. Its successor's clock starts now, not when anybody answers."""
    policy = incident.policy
    if policy is None or incident.due_at is None or incident.due_at > now or incident.quiet:
        return incident, None, ()
    rung, number, level = incident.rung, policy.level_number(incident.rung), policy.level(incident.rung)
    after = incident.with_(level=number, escalation_asked=False, **_following(incident, policy, now))
    page = Page(cycle=incident.cycle, rung=rung, number=number, level=level)
    if not rung or incident.escalation_asked or incident.status.taken:
        return after, page, ()
    after, entries = told(
        after.with_(status=Status.ESCALATED), now, SYSTEM, EventType.ESCALATED, level=number,
        round=rung // len(policy.levels) + 1, **{"from": incident.status},
    )  # fmt: skip
    return after, page, entries


def _following(incident: Incident, policy: Policy, now: datetime) -> dict[str, object]:
    """The rung after the one that goes out now, and when it is due."""
    rung, patience = incident.rung, policy.patience(incident.rung)
    due = now + patience if patience is not None else None
    if not incident.status.taken:
        return {"rung": rung + 1, "due_at": due}
    if due is None or rung + 1 not in policy.round_of(rung):
        return {"rung": rung + 1, "due_at": None}
    following, due = policy.despite_acknowledge(rung + 1, due)
    return {"rung": following, "due_at": due}


def paged(
    incident: Incident, page: Page, outgoing: Sequence[Outgoing], unreached: Sequence[Unreached], now: datetime
) -> Change:
    """Who of a level is told, now or later, and who cannot be; nobody: the next level goes at once."""
    entries: tuple[Entry, ...] = ()
    if outgoing:
        incident, entries = told(
            incident.with_(plan=incident.plan + tuple(_from(o, now) for o in outgoing)), now, SYSTEM, EventType.PAGED,
            level=page.number, name=page.level.name, told=[_whom(o) for o in outgoing if not _later(o, now)],
            later={_whom(o): o.due_at for o in outgoing if _later(o, now)},
        )  # fmt: skip
    if unreached:
        incident, more = told(
            incident, now, SYSTEM, EventType.NOBODY_REACHED, level=page.number, targets=[u.target for u in unreached],
            reason="; ".join(f"{u.target} {u.reason}" for u in unreached),
        )  # fmt: skip
        entries += more
    if not outgoing:
        incident = at_once(incident, page.cycle, page.rung, now)
    if incident.policy is not None and page.rung + 1 >= incident.policy.rungs and not incident.status.taken:
        incident, more = told(incident, now, SYSTEM, EventType.ESCALATION_ENDED, level=page.number)
        entries += more
    return incident, entries


def _whom(message: Outgoing) -> str:
    return f"{message.target} by {message.channel}"


def _later(message: Outgoing, now: datetime) -> bool:
    return message.due_at is not None and message.due_at > now


def _from(message: Outgoing, now: datetime) -> Outgoing:
    return message if message.due_at else message.model_copy(update={"due_at": now})


def due(incident: Incident, now: datetime) -> tuple[Incident, tuple[Outgoing, ...]]:
    """The messages that go out now. One whose person has another channel after it is awaited."""
    if incident.quiet:
        return incident, ()
    left = tuple(o for o in incident.plan if o.due_at and o.due_at > now)
    going = tuple(o for o in incident.plan if o not in left and incident.wants(o))
    patience = timedelta(seconds=incident.policy.failover_after_secs if incident.policy else 0)
    awaited = tuple(Awaited(outgoing=o, by=now + patience) for o in going if patience and _next_of(o, left))
    after = incident.with_(plan=left, flying=incident.flying + going, awaited=incident.awaited + awaited)
    return after, going


def _next_of(message: Outgoing, plan: Sequence[Outgoing]) -> Outgoing | None:
    """The next that the same person gets of the same page, by whatever channel."""
    mine = (message.cycle, message.rung, message.target)
    following = (o for o in plan if o.due_at and (o.cycle, o.rung, o.target) == mine)
    return min(following, key=lambda o: (o.due_at, o.key), default=None)


def unconfirmed(incident: Incident, now: datetime) -> Change:
    """Of whom nothing was heard in time: their next channel is used now."""
    late = [] if incident.quiet else [awaited for awaited in incident.awaited if awaited.by <= now]
    entries: tuple[Entry, ...] = ()
    for awaited in late:
        incident, more = _failover(incident, awaited.outgoing, "not confirmed in time", now)
        entries += more
    return incident, entries


def _failover(incident: Incident, message: Outgoing, reason: str, now: datetime) -> Change:
    incident = _without(incident, message, flying=False)
    following = _next_of(message, incident.plan)
    if following is None or following.due_at is None or following.due_at <= now:
        return incident, ()
    plan = tuple(o.model_copy(update={"due_at": now}) if o is following else o for o in incident.plan)
    return told(
        incident.with_(plan=plan), now, SYSTEM, EventType.FAILOVER, level=message.level, target=message.target,
        channel=message.channel, to=following.channel, reason=reason,
    )  # fmt: skip


def _without(incident: Incident, message: Outgoing, *, flying: bool = True) -> Incident:
    awaited = tuple(a for a in incident.awaited if a.outgoing.key != message.key)
    if not flying:
        return incident.with_(awaited=awaited)
    return incident.with_(awaited=awaited, flying=tuple(o for o in incident.flying if o.key != message.key))


def sent(incident: Incident, message: Outgoing, now: datetime) -> Change:
    """A provider took the message. Whoever was paged will hear what becomes of the incident."""
    incident = _without(incident, message)
    if message.kind.page:
        before = [t for t in incident.told if (t.target, t.channel) == (message.target, message.channel)]
        others = tuple(t for t in incident.told if t not in before)
        highest = max(message.level, *(t.level for t in before), 0)
        mine = Told(target=message.target, channel=message.channel, level=highest)
        reached = max(incident.reached, message.rung) if message.cycle == incident.cycle else incident.reached
        incident = incident.with_(told=(*others, mine), reached=reached)
    return _said(incident, message, now, EventType.NOTIFICATION_SENT)


def failed(incident: Incident, message: Outgoing, reason: str, now: datetime) -> Change:
    """A message will never arrive: the person's next channel is used now; a level nobody heard of is passed over."""
    incident, entries = _said(_without(incident, message), message, now, EventType.NOTIFICATION_FAILED, reason)
    if not message.kind.page or not incident.wants(message):
        return incident, entries
    incident, more = _failover(incident, message, reason, now)
    rung = (message.cycle, message.rung)
    hope = any((o.cycle, o.rung) == rung for o in (*incident.flying, *incident.plan)) or incident.reached >= rung[1]
    return (incident if hope else at_once(incident, *rung, now)), entries + more


def _said(incident: Incident, message: Outgoing, now: datetime, kind: EventType, reason: str | None = None) -> Change:
    return told(
        incident, now, SYSTEM, kind, key=message.key, message=message.kind, level=message.level, target=message.target,
        channel=message.channel, reason=reason,
    )  # fmt: skip


def at_once(incident: Incident, cycle: int, rung: int, now: datetime) -> Incident:
    """Nobody of this rung can be told any more: the next level does not wait. The next round does."""
    policy = incident.policy
    if policy is not None and (rung + 1) % len(policy.levels) == 0:
        return incident
    current = (incident.cycle, incident.rung) == (cycle, rung + 1) and incident.status.waits_for_somebody
    if current and incident.due_at is not None:
        return incident.with_(due_at=min(now, incident.due_at))
    if current and incident.paused_left is not None:
        return incident.with_(paused_left=timedelta(0))
    return incident


def rerouted(incident: Incident, policy: Policy | None, now: datetime) -> Change:
    """The policy that fits after a raise: another one starts its own climb, the same one goes on."""
    if policy is None or (incident.policy is not None and policy.id == incident.policy.id):
        return incident, ()
    before = incident.policy.id if incident.policy else None
    incident = incident.with_(
        policy=policy, cycle=incident.cycle + 1, rung=0, level=0, reached=-1, escalation_asked=False,
        plan=(), flying=(), awaited=(), due_at=None, paused_left=None,
    )  # fmt: skip
    if incident.status.waits_for_somebody:
        incident = incident.with_(**{"paused_left": timedelta(0)} if incident.paused else {"due_at": now})
    return told(lapsing(incident, now), now, SYSTEM, EventType.ROUTED, **{"from": before, "to": policy.id})


def recovered(incident: Incident, outstanding: Sequence[Outgoing]) -> Incident:
    """The incident as another run takes it over, with the messages of which nothing was heard."""
    planned = {o.key for o in incident.plan}
    return incident.with_(flying=tuple(o for o in outstanding if o.key not in planned), awaited=())


def notices(incident: Incident, entries: Sequence[Entry]) -> tuple[Outgoing, ...]:
    """Who hears of what has just happened: those who were paged. The last change of the weightiest kind is told."""
    news = [(CHANGES[entry.type], entry) for entry in entries if entry.type in CHANGES]
    for kind in (MessageKind.RESOLVED, MessageKind.ACKNOWLEDGED, MessageKind.REMINDER, MessageKind.UPDATED):
        latest = next((entry for told_kind, entry in reversed(news) if told_kind is kind), None)
        if latest is not None and _still_so(incident, kind):
            return tuple(_notice(incident, t, kind, latest.seq) for t in _hearers(incident, kind, latest))
    return ()


def late_notice(incident: Incident, message: Outgoing) -> tuple[Outgoing, ...]:
    """For a page that arrived when somebody had already taken the incident, or it was over: that this is so."""
    if not message.kind.page or incident.wants(message) or incident.status.waits_for_somebody:
        return ()
    kind = MessageKind.ACKNOWLEDGED if incident.status.open else MessageKind.RESOLVED
    mine = [t for t in incident.told if (t.target, t.channel) == (message.target, message.channel)]
    return tuple(_notice(incident, t, kind, incident.seq) for t in mine)


def _still_so(incident: Incident, kind: MessageKind) -> bool:
    if kind is MessageKind.RESOLVED:
        return not incident.status.open
    return incident.status.taken if kind is MessageKind.ACKNOWLEDGED else incident.status.open


def _hearers(incident: Incident, kind: MessageKind, entry: Entry) -> list[Told]:
    if kind is MessageKind.UPDATED:
        paged_anyway = {(o.target, o.channel) for o in (*incident.plan, *incident.flying) if o.kind.page}
        return [t for t in incident.told if t.channel in ONE_MESSAGE_EACH and (t.target, t.channel) not in paged_anyway]
    if kind is MessageKind.REMINDER:
        own = [t for t in incident.told if t.target == f"user:{incident.acknowledged_by}"]
        return own or list(incident.told)
    return [t for t in incident.told if t.channel in SHARED or t.target != f"user:{entry.actor.name}"]


def _notice(incident: Incident, hearer: Told, kind: MessageKind, seq: int) -> Outgoing:
    return Outgoing(
        key=notice_key(incident.id, seq, kind, hearer.target, hearer.channel), cycle=incident.cycle, rung=incident.rung,
        level=hearer.level, target=hearer.target, channel=hearer.channel, kind=kind,
        wanted=Wanted.OPEN if kind in (MessageKind.UPDATED, MessageKind.REMINDER) else Wanted.ALWAYS,
    )  # fmt: skip

"""Whom a level reaches at a moment, through what, and when: from what the directory says, without asking anybody."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from app.domain.calendar import ends
from app.domain.escalation import Level, Recipient
from app.domain.incident import Page
from app.domain.notification import Outgoing, delivery_key
from app.domain.oncall import Schedule, on_duty
from app.domain.people import Team, User, external_address
from app.domain.record import Record
from app.domain.vocabulary import ChannelName, MessageKind, Severity, TargetType, TeamMode

Addresses = Mapping[ChannelName, dict[str, str]]


class People(Record):
    """What the directory knows of those a level names. `turns` are the members whose turn it is, by team."""

    users: dict[str, User] = {}
    teams: dict[str, Team] = {}
    schedules: dict[str, Schedule] = {}
    turns: dict[str, str] = {}


class Planned(Record):
    """One message to one person: `step` counts the uses of the same channel in their rules, from 0."""

    target: str
    channel: ChannelName
    address: dict[str, str]
    due_at: datetime
    step: int = 0


class Unreached(Record):
    """A target behind which nobody is told, and why."""

    target: str
    reason: str


class Reach(Record):
    """Everything a level tells, and to whom nothing could be told."""

    messages: tuple[Planned, ...]
    unreached: tuple[Unreached, ...]


def reach(level: Level, severity: Severity, people: People, channels: Collection[ChannelName], at: datetime) -> Reach:
    """Everybody a level tells, each of them once, and whoever it can't. `channels` are those that are switched on."""
    messages: dict[str, list[Planned]] = {}
    unreached: dict[str, str] = {}
    for target in level.targets:
        allowed = [channel for channel in target.channels or level.channels if channel in channels]
        for wanted in (target, target.fallback):
            if wanted is None:
                continue
            found = list(_behind(wanted, severity, people, allowed, at))
            for label, told in found:
                if isinstance(told, str):
                    unreached[label] = told
                else:
                    messages.setdefault(label, told)
            if any(not isinstance(told, str) for _, told in found):
                break
    return Reach(
        messages=tuple(message for told in messages.values() for message in told),
        unreached=tuple(Unreached(target=label, reason=reason) for label, reason in unreached.items()),
    )


def _behind(
    target: Recipient, severity: Severity, people: People, allowed: Sequence[ChannelName], at: datetime
) -> Iterator[tuple[str, list[Planned] | str]]:
    """Everybody a target stands for: what they are told, or why they aren't."""
    if target.type is TargetType.EXTERNAL:
        channel, address = external_address(target.id)
        message = Planned(target=target.label, channel=channel, address=address, due_at=at)
        yield target.label, [message] if channel in allowed else f"is not reached: {channel} is off here"
        return
    ids = _ids(target, severity, people, allowed, at)
    if isinstance(ids, str):
        yield target.label, ids
        return
    for user_id in ids:
        yield f"user:{user_id}", personal(user_id, people.users.get(user_id), severity, allowed, at)


def _ids(
    target: Recipient, severity: Severity, people: People, allowed: Sequence[ChannelName], at: datetime
) -> Sequence[str] | str:
    if target.type is TargetType.USER:
        return [target.id]
    if target.type is TargetType.ON_CALL:
        schedule = people.schedules.get(target.id)
        if schedule is None:
            return "is no schedule"
        return on_duty(schedule, at) or "has nobody on duty"
    team = people.teams.get(target.id)
    if team is None:
        return "is no team"
    if target.mode is TeamMode.EVERYONE:
        return team.members or "has no members"
    turn = people.turns.get(team.id)
    return [turn] if turn is not None else "has no member who can be reached"


def candidates(
    team: Team, severity: Severity, people: People, allowed: Collection[ChannelName], at: datetime
) -> list[str]:
    """The members of a team who can be told, in the order of their turns."""
    channels = list(allowed)
    return [m for m in team.members if isinstance(personal(m, people.users.get(m), severity, channels, at), list)]


def next_in_turn(members: Sequence[str], reachable: Collection[str], last: str | None) -> str | None:
    """The first reachable one after whoever was last, in the team's order; None when there is none."""
    start = members.index(last) + 1 if last in members else 0
    order = [*members[start:], *members[:start]]
    return next((member for member in order if member in reachable), None)


def least_loaded(reachable: Sequence[str], load: Mapping[str, int]) -> str | None:
    """Who has the fewest open incidents; among equals the first in the team's order."""
    return min(reachable, key=lambda member: load.get(member, 0), default=None)


def pick(
    mode: TeamMode, members: Sequence[str], reachable: Collection[str], last: str | None, load: Mapping[str, int]
) -> str | None:
    """Whose turn it is in a team, or None when nobody of it can be reached."""
    if mode is TeamMode.ROUND_ROBIN:
        return next_in_turn(members, reachable, last)
    return least_loaded([member for member in members if member in reachable], load)


def personal(
    user_id: str, user: User | None, severity: Severity, allowed: Collection[ChannelName], at: datetime
) -> list[Planned] | str:
    """What one person is told by their own rules, or why they aren't told.

    A channel they have no address for, or that the level doesn't use, is passed over with the wait after it. When
    that leaves none of their rules, every channel they can be reached on is used at once.
    """
    if user is None:
        return "is not in the directory"
    if not user.active:
        return "is inactive"
    preferences = user.notification_preferences
    if preferences.severity_filter and severity not in preferences.severity_filter:
        return f"is not told of {severity}"
    addresses = {c: address for c, address in user.addresses().items() if c in allowed}
    if not addresses:
        return "has no address on any channel of this level"
    steps = _steps(user, severity, addresses) or [(channel, timedelta(0)) for channel in addresses]
    start = at if severity.important else awake(user, at)
    used: dict[ChannelName, int] = {}
    planned = []
    for channel, after in steps:
        step = used[channel] = used.get(channel, -1) + 1
        due = start + after if severity.important else awake(user, start + after)
        planned.append(
            Planned(target=f"user:{user_id}", channel=channel, address=addresses[channel], due_at=due, step=step)
        )
    return planned


def _steps(user: User, severity: Severity, addresses: Addresses) -> list[tuple[ChannelName, timedelta]]:
    found: list[tuple[ChannelName, timedelta]] = []
    after, passed_over = timedelta(0), False
    for step in user.notification_preferences.rules.of(severity):
        if step.wait_secs is not None:
            after += timedelta(seconds=0 if passed_over else step.wait_secs)
        elif step.channel is not None:
            passed_over = step.channel not in addresses
            if not passed_over:
                found.append((step.channel, after))
    return found


def awake(user: User, at: datetime) -> datetime:
    """When somebody who sleeps at `at` is told instead: at the end of their quiet hours."""
    quiet = user.notification_preferences.quiet_hours
    until = ends(quiet, user.timezone, at) if quiet is not None else None
    return until or at


def outgoing(incident_id: str, page: Page, planned: Planned, at: datetime) -> Outgoing:
    """One of a page's messages. The same person, channel and step of the same page always make the same key."""
    return Outgoing(
        key=delivery_key(incident_id, page.cycle, page.rung, planned.target, planned.channel, planned.step),
        kind=MessageKind.ESCALATED if page.rung else MessageKind.CREATED, wanted=page.wanted, cycle=page.cycle,
        rung=page.rung, level=page.number, target=planned.target, channel=planned.channel,
        due_at=planned.due_at if planned.due_at > at else None,
    )  # fmt: skip

"""What would go wrong on a night to come, found on a quiet afternoon."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

from app.domain.escalation import Level, Policy
from app.domain.oncall import Schedule, shifts
from app.domain.people import User
from app.domain.reach import People, pick, reach
from app.domain.record import Record
from app.domain.template import Template
from app.domain.vocabulary import ChannelName, Severity, TargetType

AHEAD = timedelta(days=14)
MOMENTS_AT_MOST = 100
GAPS_SHOWN = 10
WORST = Severity.P1


class Finding(Record):
    """`code` is stable; `field` is a path in the document, empty for all of it."""

    level: Literal["error", "warning"]
    code: str
    kind: str
    id: str
    field: str = ""
    message: str


class Setup(Record):
    """Everything that is looked at. `services` are the names in notifications.apprise.services."""

    people: People
    policies: tuple[Policy, ...]
    templates: tuple[Template, ...] = ()
    default_policy: str
    channels: frozenset[ChannelName]
    services: frozenset[str] = frozenset()


def lint(setup: Setup, now: datetime) -> list[Finding]:
    """Everything worth knowing about the next 14 days, errors first. Bounded by `MOMENTS_AT_MOST` per policy."""
    found = [
        *_default(setup),
        *(finding for policy in setup.policies if policy.enabled for finding in _policy(policy, setup, now)),
        *(finding for schedule in setup.people.schedules.values() for finding in _schedule(schedule, setup, now)),
        *(finding for user in setup.people.users.values() for finding in _user(user, setup)),
    ]
    return sorted(found, key=lambda finding: (finding.level, finding.kind, finding.id, finding.field))


def _default(setup: Setup) -> Iterator[Finding]:
    default = next((policy for policy in setup.policies if policy.id == setup.default_policy), None)
    if default is None:
        yield Finding(
            level="error", code="no_default_policy", kind="escalation-policies", id=setup.default_policy,
            message="There is no default policy: an incident that no other policy fits pages nobody. Create it.",
        )  # fmt: skip


def _policy(policy: Policy, setup: Setup, now: datetime) -> Iterator[Finding]:
    templates = {template.id: template for template in setup.templates}
    for n, level in enumerate(policy.levels):
        field = f"levels[{n}]"
        named = templates.get(level.template or "")
        if named is not None and not named.enabled:
            yield _of(
                policy, "warning", "template_disabled", f"{field}.template", f"Template {named.id!r} is disabled."
            )
        missed: dict[str, tuple[str, datetime]] = {}
        nobody: datetime | None = None
        for at in _moments(level, setup, now):
            found = reach(level, WORST, _taking_turns(level, setup), setup.channels, at)
            nobody = at if not found.messages and nobody is None else nobody
            for unreached in found.unreached:
                missed.setdefault(unreached.target, (unreached.reason, at))
        for target, (reason, at) in missed.items():
            yield _of(policy, "warning", "target_unreachable", field, f"{target} {reason} ({_when(at, now)}).")
        if nobody is not None:
            message = f"Level {n + 1} reaches nobody ({_when(nobody, now)}): the next level goes out at once."
            yield _of(policy, "error", "level_reaches_nobody", field, message)


def _of(policy: Policy, level: Literal["error", "warning"], code: str, field: str, message: str) -> Finding:
    return Finding(level=level, code=code, kind="escalation-policies", id=policy.id, field=field, message=message)


def _taking_turns(level: Level, setup: Setup) -> People:
    """Everybody's turn comes sooner or later: for a look ahead the first who is there stands for the team."""
    turns: dict[str, str] = {}
    for id_, mode in level.in_turns.items():
        team = setup.people.teams.get(id_)
        able = [m for m in team.members if _addresses(setup, m)] if team is not None else []
        turn = pick(mode, able, able, None, {})
        turns |= {id_: turn} if turn is not None else {}
    return setup.people.model_copy(update={"turns": turns})


def _addresses(setup: Setup, user_id: str) -> Collection[ChannelName]:
    user = setup.people.users.get(user_id)
    return [c for c in user.addresses() if c in setup.channels] if user is not None else []


def _moments(level: Level, setup: Setup, now: datetime) -> Sequence[datetime]:
    """Now, and whenever somebody else comes on duty."""
    schedules = [
        setup.people.schedules[t.id] for t in level.everybody
        if t.type is TargetType.ON_CALL and t.id in setup.people.schedules
    ]  # fmt: skip
    changes = {shift.start for schedule in schedules for shift in shifts(schedule, now, now + AHEAD)}
    return sorted({now, *changes})[:MOMENTS_AT_MOST]


def _when(at: datetime, now: datetime) -> str:
    return "now" if at <= now else f"from {at:%F %H:%M} UTC"


def _schedule(schedule: Schedule, setup: Setup, now: datetime) -> Iterator[Finding]:
    segments = shifts(schedule, now, now + AHEAD)
    gaps = [segment for segment in segments if segment.gap]

    def found(level: Literal["error", "warning"], code: str, message: str) -> Finding:
        return Finding(level=level, code=code, kind="schedules", id=schedule.id, message=message)

    if all(segment.gap for segment in segments):
        yield found("error", "schedule_empty", "Nobody is on duty in the next 14 days.")
    elif gaps:
        shown = ", ".join(f"{gap.start:%F %H:%M}–{gap.end:%F %H:%M}" for gap in gaps[:GAPS_SHOWN])
        more = f" and {len(gaps) - GAPS_SHOWN} more" if len(gaps) > GAPS_SHOWN else ""
        yield found("warning", "schedule_gap", f"Nobody is on duty (UTC): {shown}{more}.")
    used = {t.id for p in setup.policies for level in p.levels for t in level.everybody if t.type is TargetType.ON_CALL}
    if schedule.id not in used:
        yield found("warning", "schedule_unused", "No policy pages who is on duty here.")


def _user(user: User, setup: Setup) -> Iterator[Finding]:
    def found(level: Literal["error", "warning"], code: str, field: str, message: str) -> Finding:
        return Finding(level=level, code=code, kind="users", id=user.id, field=field, message=message)

    if not user.active:
        return
    able = _addresses(setup, user.id)
    if not able:
        channels = ", ".join(sorted(setup.channels))
        yield found("error", "user_without_contact", "", f"No address on any channel that is on: {channels}.")
    preferences = user.notification_preferences
    hidden = [
        s for s in (Severity.P0, Severity.P1) if preferences.severity_filter and s not in preferences.severity_filter
    ]
    if hidden:
        message = f"Is never told of {' and '.join(hidden)}."
        yield found("warning", "severity_filter", "notification_preferences.severity_filter", message)
    for name, steps in (("default", preferences.rules.default), ("important", preferences.rules.important)):
        for n, step in enumerate(steps):
            if step.channel is not None and able and step.channel not in able:
                where = f"notification_preferences.rules.{name}[{n}]"
                yield found("warning", "rule_without_address", where, f"There is no address for {step.channel}.")
    if user.apprise and user.apprise.partition(":")[0] not in setup.services:
        message = "Is no service of the setting notifications.apprise.services."
        yield found("error", "unknown_service", "apprise", message)

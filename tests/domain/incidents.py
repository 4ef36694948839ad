"""Incidents, policies and commands to try the domain with."""

from datetime import UTC, datetime, timedelta

from app.domain import lifecycle
from app.domain.errors import Refused
from app.domain.escalation import Level, Policy, Target
from app.domain.incident import Command, CommandKind, Heard, Incident, Page
from app.domain.timeline import Actor
from app.domain.vocabulary import Severity, TargetType

START = datetime(2026, 11, 23, 8, tzinfo=UTC)
ALICE = Actor(name="alice")


def level(escalate_after_secs: int = 300, person: str = "alice") -> Level:
    target = Target(type=TargetType.USER, id=person)
    return Level(targets=(target,), escalate_after_secs=escalate_after_secs)


def policy(*levels: Level, id: str = "day", **more: object) -> Policy:  # noqa: A002
    """Three levels, 5 minutes apart, unless others are given."""
    return Policy.model_validate({"id": id, "name": id, "levels": levels or (level(),) * 3} | more)


def heard(severity: Severity = Severity.P2, at: datetime = START, **more: object) -> Heard:
    return Heard.model_validate({"severity": severity, "last_firing_at": at, "source": "grafana"} | more)


def opened(policy: Policy | None, severity: Severity = Severity.P2) -> Incident:
    return lifecycle.opened("1", heard(severity), policy, opened_at=START, now=START)[0]


def command(kind: CommandKind, id: str = "c", **more: object) -> Command:  # noqa: A002
    return Command.model_validate({"id": id, "kind": kind, "actor": ALICE} | more)


def asked(incident: Incident, kind: CommandKind, now: datetime = START, **more: object) -> Incident:
    """The incident after a command that is carried out. Every call is a request of its own."""
    return lifecycle.apply(incident, command(kind, f"{kind} {incident.seq}", **more), now)[0]


def refused(incident: Incident, kind: CommandKind, now: datetime = START, **more: object) -> Refused | None:
    """Why a command is not carried out, or None when it is."""
    try:
        lifecycle.apply(incident, command(kind, f"{kind} {incident.seq}", **more), now)
    except Refused as refusal:
        return refusal
    return None


def worked(incident: Incident, now: datetime) -> tuple[Incident, list[Page]]:
    """The incident once everything that is due has been done, and the pages of it; everybody can be reached."""
    pages: list[Page] = []
    for _ in range(100):
        if incident.wakes_at is None or incident.wakes_at > now:
            return incident, pages
        incident, _told = lifecycle.tick(incident, now)
        incident, page, _told = lifecycle.climb(incident, now)
        if page is not None:
            pages.append(page)
            incident, _told = lifecycle.paged(incident, page, ["user:alice"], [], now)
    raise AssertionError("time alone keeps the incident busy for ever")


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)

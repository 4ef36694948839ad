"""Incidents, policies and commands to try the domain with."""

from datetime import UTC, datetime, timedelta

from app.domain import lifecycle, paging
from app.domain.errors import Refused
from app.domain.escalation import Level, Policy, Target
from app.domain.incident import Command, CommandKind, Heard, Incident, Page
from app.domain.notification import Outgoing, delivery_key
from app.domain.timeline import Actor
from app.domain.vocabulary import ChannelName, MessageKind, Severity, TargetType

START = datetime(2026, 11, 23, 8, tzinfo=UTC)
ALICE = Actor(name="alice")


def level(escalate_after_secs: int = 300, person: str = "alice", *, stop_on_ack: bool = True) -> Level:
    target = Target(type=TargetType.USER, id=person)
    return Level(targets=(target,), escalate_after_secs=escalate_after_secs, stop_on_ack=stop_on_ack)


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


def message(page: Page, person: str = "alice", due_at: datetime | None = None, **more: object) -> Outgoing:
    """The page to one person."""
    target, channel = f"user:{person}", ChannelName.EMAIL
    return Outgoing.model_validate(
        {
            "key": delivery_key("1", page.cycle, page.rung, target, channel), "cycle": page.cycle, "rung": page.rung,
            "level": page.number, "target": target, "channel": channel, "wanted": page.wanted, "due_at": due_at,
            "kind": MessageKind.ESCALATED if page.rung else MessageKind.CREATED,
        } | more
    )  # fmt: skip


def worked(incident: Incident, now: datetime) -> tuple[Incident, list[Page]]:
    """The incident once everything that is due has been done, and the pages of it; everybody can be reached."""
    pages: list[Page] = []
    for _ in range(100):
        if incident.wakes_at is None or incident.wakes_at > now:
            return incident, pages
        incident, _told = lifecycle.tick(incident, now)
        incident, page, _told = paging.climb(incident, now)
        if page is not None:
            pages.append(page)
            incident, _told = paging.paged(incident, page, [message(page)], [], now)
        incident, going = paging.due(incident, now)
        for outgoing in going:
            incident, _told = paging.sent(incident, outgoing, now)
    raise AssertionError("time alone keeps the incident busy for ever")


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)

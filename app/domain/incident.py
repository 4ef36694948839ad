"""One incident as a value: where it stands, what may be asked of it, what its alerts say."""

from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.escalation import Level, Policy
from app.domain.notification import Outgoing
from app.domain.record import Record
from app.domain.timeline import Actor
from app.domain.vocabulary import ChannelName, Severity, Status, Wanted

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.NEW: frozenset({Status.ACKNOWLEDGED, Status.IN_PROGRESS, Status.ESCALATED, Status.RESOLVED, Status.CLOSED}),
    Status.ACKNOWLEDGED: frozenset({Status.IN_PROGRESS, Status.ESCALATED, Status.RESOLVED, Status.NEW}),
    Status.IN_PROGRESS: frozenset({Status.ESCALATED, Status.RESOLVED}),
    Status.ESCALATED: frozenset({Status.ACKNOWLEDGED, Status.IN_PROGRESS, Status.RESOLVED}),
    Status.RESOLVED: frozenset({Status.CLOSED, Status.NEW}),
    Status.CLOSED: frozenset({Status.NEW}),
}
REMEMBERED_COMMANDS = 200


class CommandKind(StrEnum):
    """What may be asked of an incident; also the names of the REST routes."""

    ACKNOWLEDGE = "acknowledge"
    UNACKNOWLEDGE = "unacknowledge"
    START = "start"
    RESOLVE = "resolve"
    CLOSE = "close"
    REOPEN = "reopen"
    ESCALATE = "escalate"
    ASSIGN = "assign"
    COMMENT = "comment"
    SEVERITY = "severity"
    PAUSE = "pause"
    RESUME = "resume"
    SNOOZE = "snooze"
    EDIT = "edit"


class Command(Record):
    """One request to an incident. `id` makes asking twice harmless; texts stay in PostgreSQL under it.

    `at_level` is the level the asker saw when escalating: asked again after the level has gone out, it
    changes nothing; `to_level` the one to go to, the next when None. `until` ends a snooze. `fields` names what
    an edit or an assign changes.
    """

    id: str
    kind: CommandKind
    actor: Actor
    at_level: int | None = None
    to_level: int | None = None
    severity: Severity | None = None
    assignee: str | None = None
    team: str | None = None
    until: datetime | None = None
    fields: tuple[str, ...] = ()


class HoldReason(StrEnum):
    """Why nobody is paged for an incident although it is open."""

    SILENCE = "silence"
    MAINTENANCE = "maintenance"
    INHIBITION = "inhibition"
    FLAPPING = "flapping"
    RULE = "rule"
    GROUP = "group"


BEHIND_ANOTHER = frozenset({HoldReason.INHIBITION, HoldReason.GROUP})
"""Held because another incident is paged for."""


class Hold(Record):
    """Nobody is paged. `by` is the id of the silence, window, routing rule, or of the incident that it hides behind.

    `until`: when it ends by itself; None = when something else changes.
    """

    reason: HoldReason
    by: str
    until: datetime | None = None


class Standing(Record):
    """Why nobody is to be paged at a moment, and when that must be judged anew by itself (None = never)."""

    holds: tuple[Hold, ...] = ()
    look_again_at: datetime | None = None


class Heard(Record):
    """What ingest knows of the incident's alerts, as it stands in PostgreSQL now (absolute, never a difference).

    `severity` is the alerts' as the team's rules and its model read it, `reported` the alerts' own where it differs.
    `standing` is None where nobody has looked.
    """

    severity: Severity
    reported: Severity | None = None
    standing: Standing | None = None
    last_firing_at: datetime
    source: str = ""
    source_resolved_at: datetime | None = None
    source_acknowledged_at: datetime | None = None


class Awaited(Record):
    """A message that nobody has confirmed yet: `by` then the person's next channel is used."""

    outgoing: Outgoing
    by: datetime


class Told(Record):
    """Somebody who was paged, through what, and at which level at the highest."""

    target: str
    channel: ChannelName
    level: int


class Incident(Record):
    """Everything the workflow decides by. Times are aware datetimes.

    `cycle` counts the climbs of the ladder (a reopened or unacknowledged incident starts anew), `rung` is
    the next step to go out in this one and `due_at` when; `paused_left` keeps what was left of the wait
    while `paused` (since `paused_at`). `level` is the last level that went out, counted from 1.

    `plan` are the messages that people's own rules put off, `flying` those that were handed out and of which
    nothing was heard yet, `awaited` those of them that have a next channel. `reached` is the last rung of this
    climb of which a page has arrived, `told` everybody a page has arrived at.

    While anything of `holds` stands nobody is paged, unless somebody has escalated by hand (`unheld`): the clock goes
    on, and what became due goes out when the last one ends. `look_again_at` is when they must be judged anew;
    `triaged` says that they were judged from the start.
    """

    id: str
    status: Status = Status.NEW
    severity: Severity
    heard_severity: Severity
    opened_at: datetime
    policy: Policy | None = None
    cycle: int = 0
    rung: int = 0
    level: int = 0
    due_at: datetime | None = None
    paused: bool = False
    paused_at: datetime | None = None
    paused_left: timedelta | None = None
    paused_until: datetime | None = None
    assigned_to: str | None = None
    assigned_team: str | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    acknowledge_reminder_at: datetime | None = None
    acknowledge_expires_at: datetime | None = None
    resolved_by: str | None = None
    resolved_at: datetime | None = None
    closed_at: datetime | None = None
    heard_acknowledge_at: datetime | None = None
    heard_resolve_at: datetime | None = None
    escalation_asked: bool = False
    plan: tuple[Outgoing, ...] = ()
    flying: tuple[Outgoing, ...] = ()
    awaited: tuple[Awaited, ...] = ()
    reached: int = -1
    told: tuple[Told, ...] = ()
    triaged: bool = False
    holds: tuple[Hold, ...] = ()
    unheld: bool = False
    look_again_at: datetime | None = None
    seq: int = 0
    commands: tuple[str, ...] = ()

    def with_(self, **changes: object) -> "Incident":
        return self.model_copy(update=changes)

    @property
    def ended_at(self) -> datetime | None:
        """When it was resolved or closed, whichever came last; None while it is open."""
        if self.status.open:
            return None
        return max((at for at in (self.resolved_at, self.closed_at) if at is not None), default=None)

    @property
    def held(self) -> bool:
        return bool(self.holds) and not self.unheld

    def looks_again(self, now: datetime) -> bool:
        """It is time to judge anew whether anybody is to be paged."""
        return self.look_again_at is not None and self.look_again_at <= now and self.status.open

    @property
    def quiet(self) -> bool:
        """Nobody is paged, whatever is due: it is paused or held."""
        return self.paused or self.held

    @property
    def wakes_at(self) -> datetime | None:
        """When time alone changes something next, or None."""
        moments = [self.paused_until, self.acknowledge_reminder_at, self.acknowledge_expires_at]
        if self.status.open:
            moments += [self.look_again_at]
        if not self.quiet:
            moments += [self.due_at]
            moments += [*(planned.due_at for planned in self.plan), *(awaited.by for awaited in self.awaited)]
        return min((moment for moment in moments if moment is not None), default=None)

    def wants(self, message: "Outgoing | Page") -> bool:
        """Whether a message is still worth sending."""
        if message.wanted is Wanted.ALWAYS:
            return True
        stands = self.status.waits_for_somebody if message.wanted is Wanted.UNTAKEN else self.status.open
        return stands and self.cycle == message.cycle


class Page(Record):
    """A level that goes out now: whom to page, and the numbers that make its delivery keys."""

    cycle: int
    rung: int
    number: int
    level: Level

    @property
    def wanted(self) -> Wanted:
        return Wanted.UNTAKEN if self.level.stop_on_ack else Wanted.OPEN

"""What keeps an open incident from paging anybody: silences, maintenance windows, inhibition, flapping, a group's lead.

Inhibition is Alertmanager's (https://prometheus.io/docs/alerting/latest/configuration/#inhibit_rule), with one more
condition, so that incidents can't hold each other: among those that could both inhibit and be inhibited, only the
older inhibits the younger.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from app.domain.calendar import DAY, Hours, Zone, windows
from app.domain.decode import Instant
from app.domain.fields import field_name
from app.domain.incident import Hold, HoldReason, Standing
from app.domain.matchers import Matchers
from app.domain.matching import Condition, Subject, holds, values
from app.domain.people import Slug
from app.domain.record import Record
from app.domain.vocabulary import Severity

LONGEST = timedelta(days=366)
HORIZON = timedelta(days=731)
"""How far ahead a recurring window is looked for: every Friday the 13th comes in it."""
AT_LEAST = timedelta(hours=1)
"""How often an incident that is held is judged anew, whatever else happens: the most that anything missed can cost."""


class Silence(Record):
    """Nobody is paged for what matches, from one moment until another."""

    id: Slug
    name: str = Field(default="", max_length=200)
    comment: str = Field(default="", max_length=2000)
    created_by: str | None = Field(default=None, max_length=255)
    enabled: bool = True
    matchers: Matchers
    starts_at: Instant
    ends_at: Instant

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if not timedelta(0) < self.ends_at - self.starts_at <= LONGEST:
            raise ValueError(f"ends_at must be after starts_at, by {LONGEST.days} days at most")
        return self


class MaintenanceWindow(Record):
    """Nobody is paged for what matches while it is open.

    Once: from `starts_at` until `ends_at`. Recurring: the `hours` of a wall clock in `timezone`, on some days of the
    week or (`days_of_month`, -1 = the last) of the month; `starts_at` and `ends_at` then bound it all.
    """

    id: Slug
    name: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=2000)
    enabled: bool = True
    matchers: Matchers
    timezone: Zone = "UTC"
    hours: Hours | None = None
    days_of_month: tuple[Annotated[int, Field(ge=-1, le=31)], ...] = Field(default=(), max_length=31)
    starts_at: Instant | None = None
    ends_at: Instant | None = None

    @model_validator(mode="after")
    def _says_when(self) -> Self:
        if self.hours is None and (self.starts_at is None or self.ends_at is None):
            raise ValueError("needs hours, or starts_at and ends_at")
        if self.hours is None and self.days_of_month:
            raise ValueError("days_of_month goes with hours")
        if 0 in self.days_of_month:
            raise ValueError("days_of_month counts from 1; -1 is the last day")
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            raise ValueError("ends_at must be after starts_at")
        return self


class InhibitionRule(Record):
    """While an open incident meets `source`, those that meet `target` page nobody, where all of `equal` is the same."""

    id: Slug
    name: str = Field(default="", max_length=200)
    description: str = Field(default="", max_length=2000)
    enabled: bool = True
    source: Matchers
    target: Matchers
    equal: tuple[Annotated[str, Field(max_length=1000)], ...] = Field(default=(), max_length=20)

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in self.equal:
            equal_field(name)
        return self


def equal_field(name: str) -> str:
    """The field that has to be equal; a word that is none is a tag. Raises: ValueError."""
    try:
        return field_name(name)
    except ValueError:
        return field_name(f"tags.{name}")


Timed = Silence | MaintenanceWindow


HOLDS = ("silences", "maintenance-windows", "inhibition-rules")
"""The kinds of documents that keep incidents from paging."""


def sides(document: Record) -> tuple[Condition, ...]:
    """The conditions on incidents that one of those documents bears on."""
    if isinstance(document, InhibitionRule):
        return (document.source, document.target)
    return (document.matchers,) if isinstance(document, Silence | MaintenanceWindow) else ()


class Span(NamedTuple):
    start: datetime
    end: datetime


def spans(timed: Timed, at: datetime, until: datetime) -> Iterator[Span]:
    """When it is open, as far as that touches `at` … `until`, in order."""
    first, last = timed.starts_at or at, timed.ends_at or until + DAY
    if until < first or last <= at:
        return
    if isinstance(timed, Silence) or timed.hours is None:
        yield Span(first, last)
        return
    for start, end in windows(timed.hours, timed.timezone, max(at, first), min(until, last)):
        if not timed.days_of_month or _day_of_month(timed, start):
            bounded = Span(max(start, timed.starts_at or start), min(end, timed.ends_at or end))
            if bounded.start < bounded.end:
                yield bounded


def _day_of_month(window: MaintenanceWindow, start: datetime) -> bool:
    day = start.astimezone(ZoneInfo(window.timezone)).date()
    last = (day + DAY).month != day.month
    return day.day in window.days_of_month or (last and -1 in window.days_of_month)


def open_until(timed: Timed, at: datetime) -> datetime | None:
    """When what is open `at` a moment ends, or None where it isn't open."""
    return max((span.end for span in spans(timed, at, at) if span.start <= at), default=None)


def opens_next(timed: Timed, at: datetime) -> datetime | None:
    """When it opens next after a moment, within `HORIZON`; None where it doesn't."""
    return next((span.start for span in spans(timed, at, at + HORIZON) if span.start > at), None)


def state(silence: Silence, at: datetime) -> str:
    """pending, active or expired at a moment, or disabled."""
    if not silence.enabled:
        return "disabled"
    if at < silence.starts_at:
        return "pending"
    return "active" if at < silence.ends_at else "expired"


class Other(Record):
    """An open incident that another may hide behind. `silenced`: it is itself held by anything but another one.

    `behind` are the ids of those it hides behind now.
    """

    id: str
    subject: Subject
    opened_at: datetime
    silenced: bool = False
    behind: frozenset[str] = frozenset()


def inhibitor(rules: Collection[InhibitionRule], target: Other, others: Sequence[Other]) -> str | None:
    """The id of the incident that an incident hides behind: of those there are the oldest."""
    if not any(holds(rule.target, target.subject) for rule in rules):
        return None
    found = [other for other in others if _inhibits(rules, other, target)]
    return min(found, key=_age).id if found else None


def inhibited(rules: Collection[InhibitionRule], source: Other, others: Sequence[Other]) -> list[str]:
    """The ids of those that could hide behind an incident and don't."""
    if not any(holds(rule.source, source.subject) for rule in rules):
        return []
    return [other.id for other in others if source.id not in other.behind and _inhibits(rules, source, other)]


def _inhibits(rules: Collection[InhibitionRule], source: Other, target: Other) -> bool:
    if source.id == target.id or source.silenced:
        return False
    if not any(_applies(rule, source.subject, target.subject) for rule in rules):
        return False
    either = any(holds(rule.target, source.subject) for rule in rules) and any(
        holds(rule.source, target.subject) for rule in rules
    )
    return not either or _age(source) < _age(target)


def _applies(rule: InhibitionRule, source: Subject, target: Subject) -> bool:
    return (
        holds(rule.source, source)
        and holds(rule.target, target)
        and all(_same(equal_field(name), source, target) for name in rule.equal)
    )


def _same(field: str, one: Subject, other: Subject) -> bool:
    return set(values(field, one)) == set(values(field, other))


def _age(other: Other) -> tuple[datetime, str]:
    return other.opened_at, other.id


class Flapping(Record):
    """`changes` reopenings within `window_secs` hold an incident until it has been steady for `hold_secs`."""

    changes: int = 4
    window_secs: float = 3600
    hold_secs: float = 900


def flapping_until(
    reopened: Sequence[datetime], severity: Severity, flapping: Flapping, at: datetime
) -> datetime | None:
    """Until when an incident that comes and goes is held; None when it isn't. The most urgent never is."""
    window = timedelta(seconds=flapping.window_secs)
    lately = [moment for moment in reopened if timedelta(0) <= at - moment <= window]
    if severity is Severity.P0 or len(lately) < flapping.changes:
        return None
    until = max(lately) + timedelta(seconds=flapping.hold_secs)
    return until if until > at else None


class Lead(Record):
    """The incident that a group's members hide behind."""

    id: str
    severity: Severity
    open: bool
    held: bool


def behind(lead: Lead | None, severity: Severity) -> Hold | None:
    """The hold of a group's member: not when the lead is over, held itself, or less urgent."""
    if lead is None or not lead.open or lead.held or severity.worse_than(lead.severity):
        return None
    return Hold(reason=HoldReason.GROUP, by=lead.id)


def standing(subject: Subject, timed: Collection[Timed], other: Collection[Hold], at: datetime) -> Standing:
    """Everything that holds an incident at a moment, `other` holds included, and when that must be judged anew."""
    found = [hold for hold in other if hold.until is None or hold.until > at]
    moments = [hold.until for hold in found if hold.until is not None]
    for one in sorted(timed, key=lambda timed: timed.id):
        if not one.enabled or not holds(one.matchers, subject):
            continue
        until = open_until(one, at)
        if until is not None:
            reason = HoldReason.SILENCE if isinstance(one, Silence) else HoldReason.MAINTENANCE
            found.append(Hold(reason=reason, by=one.id, until=until))
        moments += [moment for moment in (until, opens_next(one, at)) if moment is not None]
    if found:
        moments.append(at + AT_LEAST)
    order = list(HoldReason)
    return Standing(
        holds=tuple(sorted(found, key=lambda hold: (order.index(hold.reason), hold.by))),
        look_again_at=min(moments, default=None),
    )

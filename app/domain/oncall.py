"""On-call schedules: who is on duty, when that changes, and where nobody is."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import groupby, pairwise
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, AliasChoices, Field, computed_field, model_validator

from app.domain.calendar import Zone
from app.domain.decode import Instant
from app.domain.people import Slug
from app.domain.record import Record
from app.domain.rotation import Layer, Name, in_our_time

FIXED_SHIFTS_MAX = 2000

Moment = Annotated[Instant, AfterValidator(in_our_time)]


class Period(Record):
    """From `start` until just before `end`."""

    start: Moment = Field(validation_alias=AliasChoices("start", "start_date"))
    end: Moment = Field(validation_alias=AliasChoices("end", "end_date"))

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.start >= self.end:
            raise ValueError("end must be after start")
        return self


class FixedShift(Period):
    """One person's duty; people whose shifts overlap are on duty together."""

    user: Slug


class Calendar(Record):
    """Duties written down one by one, as an imported calendar has them."""

    name: Name
    shifts: tuple[FixedShift, ...] = Field(default=(), max_length=FIXED_SHIFTS_MAX)


class Temporary(Period, Calendar):
    """While it lasts, these shifts are the whole schedule; what they leave open is a gap."""


class OverrideKind(StrEnum):
    ADD = "add"
    REMOVE = "remove"
    REPLACE = "replace"


class Override(Period):
    """A change for a while: `user` comes beside the others, goes, or stands in for `replaces` (None: for everybody).

    Standing in for everybody also fills a gap. Without an `id` it gets one from its content.
    """

    kind: OverrideKind = OverrideKind.REPLACE
    user: Slug = Field(validation_alias=AliasChoices("user", "user_id"))
    replaces: Slug | None = None
    reason: str = Field(default="", max_length=1000)
    id: Slug = ""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, body: object) -> object:
        if not isinstance(body, dict) or body.get("id"):
            return body
        content = repr(sorted((str(name), str(value)) for name, value in body.items()))
        return body | {"id": hashlib.sha256(content.encode("utf-8", "backslashreplace")).hexdigest()[:12]}

    @model_validator(mode="after")
    def _replaces_somebody(self) -> Self:
        if self.replaces is not None and self.kind is not OverrideKind.REPLACE:
            raise ValueError("replaces is for the kind replace")
        return self

    def applied(self, users: tuple[str, ...]) -> tuple[str, ...]:
        """Who is on duty with it, when these would be without."""
        if self.kind is OverrideKind.ADD:
            changed = (*users, self.user)
        elif self.kind is OverrideKind.REMOVE:
            changed = tuple(user for user in users if user != self.user)
        elif self.replaces is None:
            changed = (self.user,)
        else:
            changed = tuple(self.user if user == self.replaces else user for user in users)
        return tuple(dict.fromkeys(changed))


class Schedule(Record):
    """Layers, calendars on top of them, temporary schedules instead of both; overrides have the last word.

    Of layers and calendars the last that has somebody counts; overrides apply in their order.
    """

    id: Slug
    name: Name
    description: str = Field(default="", max_length=2000)
    team_id: Slug | None = None
    timezone: Zone = "UTC"
    layers: tuple[Layer, ...] = Field(
        default=(), max_length=20, validation_alias=AliasChoices("layers", "rotations")
    )  # fmt: skip
    calendars: tuple[Calendar, ...] = Field(default=(), max_length=10)
    temporary: tuple[Temporary, ...] = Field(default=(), max_length=50)
    overrides: tuple[Override, ...] = Field(default=(), max_length=500)
    enabled: bool = True

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for field, names in (
            ("overrides", [override.id for override in self.overrides]),
            ("calendars", [calendar.name for calendar in self.calendars]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"{field} must not be the same twice, nor have the same name or id")
        if sum(len(part.shifts) for part in (*self.calendars, *self.temporary)) > FIXED_SHIFTS_MAX:
            raise ValueError(f"calendars and temporary must have at most {FIXED_SHIFTS_MAX} shifts together")
        return self


def people_of(schedule: Schedule) -> dict[str, str]:
    """Every user a schedule names, and the field that does so first."""
    fields = [
        (f"layers[{n}].users[{m}]", user)
        for n, layer in enumerate(schedule.layers)
        for m, user in enumerate(layer.users)
    ]
    for kind, parts in (("calendars", schedule.calendars), ("temporary", schedule.temporary)):
        for n, part in enumerate(parts):
            fields += [(f"{kind}[{n}].shifts[{m}].user", shift.user) for m, shift in enumerate(part.shifts)]
    for n, override in enumerate(schedule.overrides):
        fields.append((f"overrides[{n}].user", override.user))
        if override.replaces is not None:
            fields.append((f"overrides[{n}].replaces", override.replaces))
    return {user: path for path, user in reversed(fields)}


class Source(StrEnum):
    LAYER = "layer"
    CALENDAR = "calendar"
    TEMPORARY = "temporary"
    OVERRIDE = "override"


class Shift(Record):
    """A time in which nothing changes, in UTC. `source` and `name` say which part of the schedule decides."""

    start: datetime
    end: datetime
    users: tuple[str, ...]
    source: Source | None = None
    name: str | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def gap(self) -> bool:
        return not self.users


class _Claim(NamedTuple):
    """That somebody (None: whoever else claims at this rank) is on duty for a while. The highest rank counts."""

    start: datetime
    end: datetime
    user: str | None
    rank: int
    source: Source
    name: str
    override: Override | None = None


_Decision = tuple[tuple[str, ...], Source | None, str | None]


def on_duty(schedule: Schedule, at: datetime) -> tuple[str, ...]:
    """The ids of those on duty at `at` (any aware instant); empty when nobody is or the schedule is disabled."""
    at = at.astimezone(UTC)
    return _decided([claim for claim in _claims(schedule, at, at) if claim.start <= at < claim.end])[0]


def shifts(schedule: Schedule, start: datetime, end: datetime) -> list[Shift]:
    """Who is on duty from `start` to `end` (aware), in order and without a hole: gaps are shifts of nobody."""
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    claims = [claim for claim in _claims(schedule, start, end) if claim.start < end and start < claim.end]
    changes: defaultdict[datetime, set[int]] = defaultdict(set)
    for n, claim in enumerate(claims):
        changes[max(claim.start, start)] ^= {n}
        changes[min(claim.end, end)] ^= {n}
    active: set[int] = set()
    decisions: list[tuple[datetime, datetime, _Decision]] = []
    for begins, ends in pairwise(sorted({start, *changes, end} if start < end else ())):
        active ^= changes[begins]
        decisions.append((begins, ends, _decided([claims[n] for n in sorted(active)])))
    found = []
    for (users, source, name), same in groupby(decisions, key=lambda row: row[2]):
        rows = list(same)
        found.append(Shift(start=rows[0][0], end=rows[-1][1], users=users, source=source, name=name))
    return found


class Standing(NamedTuple):
    """Who is on duty, since and until when (None: 400 days and more), and the next to be, if there is anybody."""

    users: tuple[str, ...]
    since: datetime | None
    until: datetime | None
    next: Shift | None


def standing(schedule: Schedule, at: datetime) -> Standing:
    """How the duty stands at `at` (any aware instant)."""
    at, found = at.astimezone(UTC), Standing((), None, None, None)
    for reach in (timedelta(days=days) for days in (2, 16, 128, 400)):  # far only for those who change rarely
        known = [(users, list(same)) for users, same in groupby(shifts(schedule, at - reach, at + reach), _users)]
        now = next(n for n, (_, same) in enumerate(known) if at < same[-1].end)
        users, same = known[now]
        later = [turns[0].model_copy(update={"end": turns[-1].end}) for who, turns in known[now + 1 :] if who]
        since = same[0].start if now > 0 else None
        until = same[-1].end if now + 1 < len(known) else None
        found = Standing(users, since, until, later[0] if later else None)
        if since and found.next and found.next.end < at + reach:
            break
    return found


def _users(shift: Shift) -> tuple[str, ...]:
    return shift.users


def _claims(schedule: Schedule, start: datetime, end: datetime) -> Iterator[_Claim]:
    """Everything that may have a say between `start` and `end`, in the order of the document."""
    if not schedule.enabled:
        return
    for rank, layer in enumerate(schedule.layers):
        for begins, ends, user in layer.duties(schedule.timezone, start, end):
            yield _Claim(begins, ends, user, rank, Source.LAYER, layer.name)
    above = len(schedule.layers)
    for rank, calendar in enumerate(schedule.calendars, above):
        yield from _fixed(calendar, rank, Source.CALENDAR)
    above += len(schedule.calendars)
    for rank, temporary in enumerate(schedule.temporary, above):
        yield _Claim(temporary.start, temporary.end, None, rank, Source.TEMPORARY, temporary.name)
        for claim in _fixed(temporary, rank, Source.TEMPORARY):
            begins, ends = max(claim.start, temporary.start), min(claim.end, temporary.end)
            if begins < ends:
                yield claim._replace(start=begins, end=ends)
    for override in schedule.overrides:
        yield _Claim(override.start, override.end, None, -1, Source.OVERRIDE, override.id, override)


def _fixed(calendar: Calendar, rank: int, source: Source) -> Iterator[_Claim]:
    for shift in calendar.shifts:
        yield _Claim(shift.start, shift.end, shift.user, rank, source, calendar.name)


def _decided(active: Sequence[_Claim]) -> _Decision:
    """Who is on duty when these claims hold, and which of them decided it."""
    top = max((claim for claim in active if claim.override is None), key=lambda claim: claim.rank, default=None)
    users: tuple[str, ...] = ()
    source, name = (top.source, top.name) if top else (None, None)
    if top:
        users = tuple(dict.fromkeys(claim.user for claim in active if claim.rank == top.rank and claim.user))
    for claim in active:
        if claim.override is not None and (changed := claim.override.applied(users)) != users:
            users, source, name = changed, Source.OVERRIDE, claim.name
    return users, source, name

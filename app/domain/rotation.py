"""Rotations: people who take turns at fixed wall-clock times."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, model_validator

from app.domain.calendar import WEEK, Hours, WallClock, Weekday, instant, windows
from app.domain.people import Slug
from app.domain.record import Record

YEARS = range(1970, 2200)

Span = tuple[datetime, datetime]
"""From the first until just before the second, both UTC."""


def in_our_time(day: date) -> date:
    """Raises: ValueError for a year so far away that calculating with it could overflow."""
    if day.year not in YEARS:
        raise ValueError(f"must lie between the years {YEARS[0]} and {YEARS[-1]}")
    return day


Day = Annotated[date, AfterValidator(in_our_time)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


def _handoff_day(value: object) -> object:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 31):
        return value
    try:
        return Weekday(str(value))
    except ValueError:
        raise ValueError("must be a weekday for a weekly rotation, 1 to 31 for a monthly one") from None


class Rotation(StrEnum):
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    CUSTOM = "custom"


class Layer(Record):
    """People who take turns, in order, from `start_date` (inclusive) until `until` (exclusive), both at `handoff_time`.

    A turn lasts `interval` days, weeks or months by `rotation`; a custom one `interval` days or `shift_hours`.
    Hand-offs stand at fixed wall-clock times of the schedule's zone. The first person has the turn that
    `start_date` lies in, however much of it is left. With `restrictions` the layer is empty outside them.
    """

    name: Name
    users: tuple[Slug, ...] = Field(min_length=1, max_length=100)
    rotation: Rotation = Field(
        default=Rotation.WEEKLY, validation_alias=AliasChoices("rotation", "rotation_type")
    )  # fmt: skip
    interval: int = Field(default=1, ge=1, le=366)
    shift_hours: int | None = Field(default=None, ge=1, le=24)
    start_date: Day
    handoff_time: WallClock = Field(
        default=time(9), validation_alias=AliasChoices("handoff_time", "handoff_hour")
    )  # fmt: skip
    handoff_day: Annotated[Weekday | int | None, BeforeValidator(_handoff_day)] = None
    until: Day | None = None
    restrictions: tuple[Hours, ...] = Field(default=(), max_length=14)

    @model_validator(mode="before")
    @classmethod
    def _interval_in_days(cls, body: object) -> object:
        """`interval_days` and `rotation_interval_days` always count days, `interval` what the rotation counts."""
        given = {"interval_days", "rotation_interval_days"} & body.keys() if isinstance(body, dict) else set()
        if not isinstance(body, dict) or not given:
            return body
        rest = {name: value for name, value in body.items() if name not in given}
        days, rotation = body[min(given)], body.get("rotation", body.get("rotation_type", "weekly"))
        if rotation == "weekly" and isinstance(days, int) and days % 7 == 0:
            return {"interval": days // 7} | rest
        if rotation not in ("daily", "custom"):
            raise ValueError(f"{min(given)} must be whole weeks for a weekly rotation; for a monthly one say interval")
        return {"interval": days} | rest

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.shift_hours is not None and (self.rotation is not Rotation.CUSTOM or 24 % self.shift_hours):
            raise ValueError("shift_hours is for custom rotations, and must divide 24: 1, 2, 3, 4, 6, 8, 12 or 24")
        if self.shift_hours is not None and self.interval != 1:
            raise ValueError("a custom rotation has shift_hours or an interval of days, not both")
        day = self.handoff_day
        if day is not None and self.rotation not in (Rotation.WEEKLY, Rotation.MONTHLY):
            raise ValueError("handoff_day is for weekly and monthly rotations")
        if self.rotation is Rotation.WEEKLY and isinstance(day, int) and day > 6:
            raise ValueError("handoff_day of a weekly rotation must be a weekday, like monday (or 0, Sunday, to 6)")
        if self.rotation is Rotation.MONTHLY and (isinstance(day, Weekday) or day == 0):
            raise ValueError("handoff_day of a monthly rotation must be a day of the month, 1 to 31")
        if self.until is not None and self.until <= self.start_date:
            raise ValueError("until must be after start_date")
        return self

    def handoff(self, turn: int) -> datetime:
        """When a turn begins on the wall clock, without a zone. Turn 0 is the one that `start_date` lies in."""
        if self.rotation is Rotation.MONTHLY:
            return datetime.combine(self._monthly(turn * self.interval), self.handoff_time)
        day = self.start_date
        if self.rotation is Rotation.WEEKLY and self.handoff_day is not None:
            wanted = self.handoff_day
            weekday = WEEK.index(wanted) if isinstance(wanted, Weekday) else wanted - 1
            day -= timedelta(days=(day.weekday() - weekday) % 7)
        return datetime.combine(day, self.handoff_time) + turn * self._period

    def turn(self, zone: str, at: datetime) -> int:
        """The turn that `at` lies in, the first of all being 0."""
        wall = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        began = self.handoff(0)
        if self.rotation is Rotation.MONTHLY:
            guess = ((wall.year - began.year) * 12 + wall.month - began.month) // self.interval
        else:
            guess = (wall - began) // self._period
        guess += 1  # the wall clock may have been set back since a hand-off
        while instant_of(zone, self.handoff(guess)) > at:
            guess -= 1
        return guess

    def turns(self, zone: str, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime, str]]:
        """Every turn that shares an instant with `start` … `end`, as UTC start and end and the user; in order."""
        first = instant(zone, self.start_date, self.handoff_time)
        over = instant(zone, self.until, self.handoff_time) if self.until else datetime.max.replace(tzinfo=UTC)
        turn = self.turn(zone, max(start, first))
        begins = max(instant_of(zone, self.handoff(turn)), first)
        while begins <= end and begins < over:
            turn, next_begins = turn + 1, instant_of(zone, self.handoff(turn + 1))
            if begins < next_begins:
                yield begins, min(next_begins, over), self.users[(turn - 1) % len(self.users)]
            begins = next_begins

    def duties(self, zone: str, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime, str]]:
        """The turns, as far as the restrictions let them."""
        if not self.restrictions:
            yield from self.turns(zone, start, end)
            return
        open_at = _united(span for hours in self.restrictions for span in windows(hours, zone, start, end))
        closing = [closes for _, closes in open_at]
        for begins, ends, user in self.turns(zone, start, end):
            for n in range(bisect_right(closing, begins), len(open_at)):
                opens, closes = open_at[n]
                if opens >= ends:
                    break
                yield max(begins, opens), min(ends, closes), user

    @property
    def _period(self) -> timedelta:
        if self.shift_hours is not None:
            return timedelta(hours=self.shift_hours)
        return timedelta(weeks=self.interval) if self.rotation is Rotation.WEEKLY else timedelta(days=self.interval)

    def _monthly(self, months: int) -> date:
        """The hand-off day so many months after the first one; a month too short for it has it on its last day."""
        wanted = self.handoff_day if isinstance(self.handoff_day, int) else self.start_date.day
        month = self.start_date.year * 12 + self.start_date.month - 1 + months
        if _clamped(self.start_date.year * 12 + self.start_date.month - 1, wanted) > self.start_date:
            month -= 1
        return _clamped(month, wanted)


def _clamped(month: int, day: int) -> date:
    """The day of a month (counted from year 0), or its last."""
    after = date((month + 1) // 12, (month + 1) % 12 + 1, 1)
    return min(date(month // 12, month % 12 + 1, 1) + timedelta(days=day), after) - timedelta(days=1)


def instant_of(zone: str, wall: datetime) -> datetime:
    return instant(zone, wall.date(), wall.time())


def _united(spans: Iterable[Span]) -> list[Span]:
    """The same time without overlaps, in order."""
    united: list[Span] = []
    for begins, ends in sorted(spans):
        if united and begins <= united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], ends))
        else:
            united.append((begins, ends))
    return united

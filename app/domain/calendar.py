"""Wall-clock time: zones, weekdays, and hours that keep their place when the clocks change."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cache
from typing import Annotated, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, WithJsonSchema

from app.domain.record import Record

DAY = timedelta(days=1)
CLOCK = re.compile(r"([01]\d|2[0-4]):([0-5]\d)(:00(\.0+)?)?")


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones()) - {"localtime"}  # which is another one on every machine


def _zone(name: str) -> str:
    if name not in _zones():
        raise ValueError("is not a time zone; write its IANA name, like Europe/Berlin or UTC")
    return name


def _clock(value: object) -> object:
    """`HH:MM`, or a whole hour as a number; 24:00 is the midnight that ends a day."""
    if isinstance(value, time):
        value = value.isoformat()
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"{value:02}:00"
    found = CLOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None or (found[1] == "24" and found[2] != "00"):
        raise ValueError("must be a time of day in whole minutes, like 09:00")
    return time(int(found[1]) % 24, int(found[2]))


Zone = Annotated[str, Field(max_length=64), AfterValidator(_zone)]
"""An IANA time zone name."""

WallClock = Annotated[
    time,
    BeforeValidator(_clock),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)(:00(\.0+)?)?$"},
                {"type": "integer", "minimum": 0, "maximum": 24},
            ]
        }
    ),
]
"""A time of day as the clock on the wall shows it, in whole minutes, of no zone by itself."""


class Weekday(StrEnum):
    """Input may be short (`mon`) or a number (0 is Sunday); output is always the whole name."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"

    @classmethod
    def of(cls, day: date) -> "Weekday":
        return WEEK[day.weekday()]

    @classmethod
    def _missing_(cls, value: object) -> "Self | None":
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 6:
            return list(cls)[value - 1]
        name = str(value).strip().lower()
        return next((day for day in cls if name in (day.value, day.value[:3])), None)


WEEK = tuple(Weekday)


class Hours(Record):
    """A wall-clock window on some days of the week.

    An end that isn't after the start is on the following day: the window runs over midnight and belongs
    to the day it starts on. With start and end the same it is a whole day.
    """

    start: WallClock = Field(validation_alias=AliasChoices("start", "start_hour"))
    end: WallClock = Field(validation_alias=AliasChoices("end", "end_hour"))
    days: tuple[Weekday, ...] = Field(
        default=WEEK, min_length=1, max_length=7, validation_alias=AliasChoices("days", "days_of_week")
    )


def instant(zone: str, day: date, at: time) -> datetime:
    """The UTC instant at which the clocks of `zone` show `at` on `day`.

    A time the clocks skip moves forward with them; of one they show twice it is the first (PEP 495).
    """
    return datetime.combine(day, at.replace(fold=0), ZoneInfo(zone)).astimezone(UTC)


def windows(hours: Hours, zone: str, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Every window of `hours` that shares an instant with `start` … `end`, in order, as UTC (start, end)."""
    day, last = (moment.astimezone(ZoneInfo(zone)).date() for moment in (start, end))
    over_midnight = DAY if hours.end <= hours.start else timedelta()
    day -= DAY
    while day <= last + DAY:
        if Weekday.of(day) in hours.days:
            begins, ends_at = instant(zone, day, hours.start), instant(zone, day + over_midnight, hours.end)
            if begins < ends_at and begins <= end and start < ends_at:
                yield begins, ends_at
        day += DAY


def within(hours: Hours, zone: str, at: datetime) -> bool:
    """Whether `at` (any aware instant) lies in a window: from its start on, until just before its end."""
    return ends(hours, zone, at) is not None


def ends(hours: Hours, zone: str, at: datetime) -> datetime | None:
    """The UTC instant at which the window that `at` lies in ends, or None when it lies in none."""
    return max((end for _, end in windows(hours, zone, at, at)), default=None)

"""Wall-clock time when the clocks change, and hours that run over midnight."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.calendar import Hours, Weekday, Zone, ends, instant, windows, within
from app.domain.decode import decode
from app.domain.errors import Invalid
from app.domain.record import Record

ZONES = ("America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca")
NIGHT = Hours(start=time(22), end=time(6), days=(Weekday.FRIDAY,))
YEAR = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))


class Place(Record):
    zone: Zone


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "day", "at", "expected"),
    [
        ("America/New_York", date(2026, 3, 7), time(9), "2026-03-07T14:00"),
        ("America/New_York", date(2026, 3, 8), time(9), "2026-03-08T13:00"),
        ("America/New_York", date(2026, 3, 8), time(2, 30), "2026-03-08T07:30"),  # skipped: 03:30 EDT
        ("America/New_York", date(2026, 11, 1), time(1, 30), "2026-11-01T05:30"),  # twice: the first, EDT
        ("Australia/Lord_Howe", date(2026, 10, 4), time(2, 15), "2026-10-03T15:45"),  # skipped: 02:45
        ("Australia/Lord_Howe", date(2026, 4, 5), time(1, 45), "2026-04-04T14:45"),  # twice: the first
        ("Asia/Kolkata", date(2026, 3, 8), time(9), "2026-03-08T03:30"),
    ],
)
def test_skipped_times_move_with_the_clock_and_of_repeated_ones_the_first_counts(
    zone: str, day: date, at: time, expected: str
) -> None:
    assert instant(zone, day, at) == instant(zone, day, at.replace(fold=1)) == utc(expected)


def test_a_window_over_midnight_belongs_to_the_day_it_starts_on() -> None:
    berlin = "Europe/Berlin"  # 2026-11-27 is a Friday, in winter
    assert not within(NIGHT, berlin, utc("2026-11-27T20:59:59"))
    assert within(NIGHT, berlin, utc("2026-11-27T21:00"))
    assert within(NIGHT, berlin, utc("2026-11-28T04:59:59"))  # on Saturday, but Friday's
    assert not within(NIGHT, berlin, utc("2026-11-28T05:00"))
    assert not within(NIGHT, berlin, utc("2026-11-27T02:00"))  # on Friday, but Thursday's
    assert ends(NIGHT, berlin, utc("2026-11-28T00:00")) == utc("2026-11-28T05:00")
    assert ends(NIGHT, berlin, utc("2026-11-28T12:00")) is None


def test_a_night_is_as_long_as_the_clocks_make_it() -> None:
    hours = Hours(start=time(22), end=time(6))
    nights = list(windows(hours, "Europe/Berlin", utc("2026-03-27T12:00"), utc("2026-03-30T12:00")))
    assert [(end - start) / timedelta(hours=1) for start, end in nights] == [8, 7, 8]
    nights = list(windows(hours, "Europe/Berlin", utc("2026-10-23T12:00"), utc("2026-10-26T12:00")))
    assert [(end - start) / timedelta(hours=1) for start, end in nights] == [8, 9, 8]


def test_the_same_start_and_end_is_a_whole_day() -> None:
    monday = Hours(start=time(9), end=time(9), days=(Weekday.MONDAY,))
    assert ends(monday, "Asia/Kolkata", utc("2026-11-24T03:29")) == utc("2026-11-24T03:30")
    assert not within(monday, "Asia/Kolkata", utc("2026-11-24T03:30"))


def test_a_window_the_clocks_skip_is_none() -> None:
    skipped = Hours(start=time(2, 30), end=time(3))
    around = utc("2026-03-08T06:00"), utc("2026-03-09T06:00")
    assert not list(windows(skipped, "America/New_York", *around))


@given(
    st.sampled_from(ZONES), st.times().map(lambda t: t.replace(second=0, microsecond=0)),
    st.times().map(lambda t: t.replace(second=0, microsecond=0)),
    st.sets(st.sampled_from(Weekday), min_size=1), YEAR,
)  # fmt: skip
def test_the_wall_clock_says_whether_it_is_within(
    zone: str, start: time, end: time, days: set[Weekday], at: datetime
) -> None:
    """On a day on which no clock changes, what a person reads off the wall is the whole truth."""
    wall = at.astimezone(ZoneInfo(zone))
    offsets = {(at + timedelta(hours=hours)).astimezone(ZoneInfo(zone)).utcoffset() for hours in range(-49, 50)}
    today, yesterday = Weekday.of(wall.date()), Weekday.of(wall.date() - timedelta(days=1))
    now = wall.time()
    if start < end:
        expected = today in days and start <= now < end
    else:
        expected = (today in days and start <= now) or (yesterday in days and now < end)
    if len(offsets) == 1:
        hours = Hours(start=start, end=end, days=tuple(days))
        assert within(hours, zone, at) == expected
        over = ends(hours, zone, at)
        assert (over is not None) == expected
        assert over is None or over.astimezone(ZoneInfo(zone)).time() == end


@given(st.sampled_from(ZONES), st.times(), st.times(), st.sets(st.sampled_from(Weekday), min_size=1), YEAR)
def test_windows_hold_exactly_what_is_within(
    zone: str, start: time, end: time, days: set[Weekday], at: datetime
) -> None:
    whole_minutes = {"second": 0, "microsecond": 0}
    hours = Hours(start=start.replace(**whole_minutes), end=end.replace(**whole_minutes), days=tuple(days))  # type: ignore[arg-type]
    found = list(windows(hours, zone, at - timedelta(days=8), at + timedelta(days=8)))
    assert found == sorted(found)
    assert within(hours, zone, at) == any(opens <= at < closes for opens, closes in found)
    for opens, closes in found:
        assert within(hours, zone, opens)
        assert ends(hours, zone, opens) == closes
        assert ends(hours, zone, closes) != closes


def test_days_have_long_names_short_names_and_the_seeds_numbers() -> None:
    hours = decode(Hours, {"start_hour": 9, "end_hour": 24, "days_of_week": [0, "mon", "Tuesday", 6]})
    assert hours == Hours(
        start=time(9), end=time(0),
        days=(Weekday.SUNDAY, Weekday.MONDAY, Weekday.TUESDAY, Weekday.SATURDAY),
    )  # fmt: skip
    assert decode(Hours, hours.model_dump(mode="json")) == hours


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"start": "9", "end": "10:00"}, "start", "whole minutes"),
        ({"start": "09:00", "end": "10:00:30"}, "end", "whole minutes"),
        ({"start": "09:00", "end": "10:00Z"}, "end", "whole minutes"),
        ({"start": "09:00", "end": "24:30"}, "end", "whole minutes"),
        ({"start": "09:00", "end": 25}, "end", "whole minutes"),
        ({"start": True, "end": "10:00"}, "start", "whole minutes"),
        ({"start": "09:00", "end": "10:00", "days": []}, "days", "at least 1"),
        ({"start": "09:00", "end": "10:00", "days": ["frunday"]}, "days[0]", "'friday'"),
        ({"start": "09:00", "end": "10:00", "days": [7]}, "days[0]", "'friday'"),
        ({"start": "09:00"}, "end", "is required"),
    ],
)
def test_hours_that_are_none_are_refused(body: dict[str, object], field: str, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        decode(Hours, body)
    assert isinstance(refused.value.details, list)
    assert field in [problem["field"] for problem in refused.value.details]
    assert says in str(refused.value.details)


@pytest.mark.parametrize("zone", ["", "America", "../etc/passwd", "localtime", "europe/berlin", "x\0", "CEST+2", 5])
def test_a_zone_that_is_none_is_refused(zone: object) -> None:
    with pytest.raises(Invalid, match="zone"):
        decode(Place, {"zone": zone})

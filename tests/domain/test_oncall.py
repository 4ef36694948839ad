"""Who is on duty: at every minute exactly one of a layer, hand-offs when the clock on the wall says so."""

import json
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.calendar import instant, within
from app.domain.decode import decode
from app.domain.errors import Invalid
from app.domain.oncall import Schedule, Shift, Source, on_duty, shifts
from app.domain.rotation import Layer, Rotation

ZONES = ("America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
PEOPLE = ("ann", "ben", "cat", "dan", "eve")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def layer(**said: Any) -> dict[str, Any]:
    return {"name": "primary", "users": ["ann", "ben"], "start_date": "2025-12-01"} | said


def schedule(*layers: dict[str, Any], **said: Any) -> Schedule:
    return decode(Schedule, {"id": "s", "name": "S", "timezone": "Europe/Berlin", "layers": list(layers)} | said)


def span(start: str, end: str, **said: Any) -> dict[str, Any]:
    return {"start": f"{start}Z", "end": f"{end}Z"} | said


def told(schedule: Schedule, start: str, end: str) -> list[tuple[str, str, str]]:
    """Who from when, and why; times without the year."""
    return [
        (f"{shift.start:%m-%d %H:%M}", " ".join(shift.users), f"{shift.source} {shift.name}" if shift.source else "gap")
        for shift in shifts(schedule, utc(start), utc(end))
    ]


def clock_changes(zone: str) -> list[datetime]:
    """The whole hours of 2026 in which the zone's offset changes."""
    hours = [NEW_YEAR + n * HOUR for n in range(365 * 24)]
    return [a for a, b in pairwise(hours) if a.astimezone(ZoneInfo(zone)).utcoffset() != b.astimezone(ZoneInfo(zone)).utcoffset()]  # fmt: skip # noqa: E501


CLOCK_CHANGES = {zone: clock_changes(zone) for zone in ZONES}


@st.composite
def rotations(draw: st.DrawFn, /, **fixed: Any) -> dict[str, Any]:
    rotation = draw(st.sampled_from(list(Rotation)))
    said: dict[str, Any] = {
        "name": "drawn", "rotation": rotation.value,
        "users": PEOPLE[: draw(st.integers(1, 5))],
        "interval": draw(st.integers(1, 3)),
        "start_date": draw(st.dates(date(2024, 1, 1), date(2025, 10, 31))).isoformat(),
        "handoff_time": draw(st.times()).strftime("%H:%M"),
    }  # fmt: skip
    if rotation is Rotation.WEEKLY:
        said["handoff_day"] = draw(st.none() | st.sampled_from(["mon", "thu", "sunday"]))
    if rotation is Rotation.MONTHLY:
        said["handoff_day"] = draw(st.none() | st.integers(1, 31))
    if rotation is Rotation.CUSTOM and draw(st.booleans()):
        said |= {"interval": 1, "shift_hours": draw(st.sampled_from([1, 2, 3, 4, 6, 8, 12, 24]))}
    return said | fixed


def hand_off(layer: Layer, zone: str, after: datetime) -> datetime:
    """The first hand-off of a layer after a moment, found by walking through the days."""
    day = after.astimezone(ZoneInfo(zone)).date() - DAY
    while True:
        for hour in range(0, 24, layer.shift_hours or 24):
            wall = datetime.combine(day, layer.handoff_time) + hour * HOUR
            if is_hand_off_day(layer, day) and instant(zone, wall.date(), wall.time()) > after:
                return instant(zone, wall.date(), wall.time())
        day += DAY


def is_hand_off_day(layer: Layer, day: date) -> bool:
    if layer.rotation is Rotation.MONTHLY:
        wanted = layer.handoff_day or layer.start_date.day
        assert isinstance(wanted, int)
        last = (day + DAY).day == 1
        return day.day == wanted or (last and day.day < wanted)
    if layer.rotation is Rotation.WEEKLY:
        return f"{day:%A}".lower() == (layer.handoff_day or f"{layer.start_date:%A}".lower())
    return True


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ZONES), rotations(), st.integers(0, 365 * 24 * 60))
def test_turns_follow_each_other_without_a_hole_at_the_stated_wall_clock_time(
    zone: str, said: dict[str, Any], minute: int
) -> None:
    drawn = decode(Layer, said)
    at = NEW_YEAR + minute * MINUTE
    turns = list(drawn.turns(zone, at - 40 * DAY, at + 40 * DAY))
    assert turns[0][0] <= at - 40 * DAY
    assert turns[-1][1] > at + 40 * DAY
    for (_, ended, before), (began, _, after) in pairwise(turns):
        assert ended == began
        whole_turn_skipped = drawn.shift_hours == 1 and any(abs(began - at) < 2 * HOUR for at in CLOCK_CHANGES[zone])
        if not whole_turn_skipped:
            assert drawn.users.index(after) == (drawn.users.index(before) + 1) % len(drawn.users)
    for began, ended, _ in turns:
        expected = began
        for _ in range(drawn.interval):
            expected = hand_off(drawn, zone, expected)
        assert ended == expected


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(ZONES), rotations(), st.lists(st.integers(0, 365 * 24 * 60 - 1), max_size=30))
def test_at_every_minute_of_a_year_exactly_one_is_on_duty(zone: str, said: dict[str, Any], minutes: list[int]) -> None:
    """Every boundary and the minutes about it, minutes drawn, and all minutes about each clock change."""
    one = schedule(said, timezone=zone)
    year = shifts(one, NEW_YEAR, NEW_YEAR + 365 * DAY)
    assert (year[0].start, year[-1].end) == (NEW_YEAR, NEW_YEAR + 365 * DAY)
    assert all(before.end == after.start and before.users != after.users for before, after in pairwise(year))
    assert all(len(shift.users) == 1 for shift in year)
    for shift in year:
        assert on_duty(one, shift.start) == on_duty(one, shift.end - MINUTE) == shift.users
        assert on_duty(one, shift.start + MINUTE / 2) == shift.users
    for minute in minutes:
        at = NEW_YEAR + minute * MINUTE
        assert [on_duty(one, at)] == [shift.users for shift in year if shift.start <= at < shift.end]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("hours", [1, 24])
def test_minute_by_minute_across_the_clock_changes_everybody_has_one_turn_after_the_other(
    zone: str, hours: int
) -> None:
    one = schedule(layer(rotation="custom", shift_hours=hours, users=PEOPLE, handoff_time="02:30"), timezone=zone)
    assert len(CLOCK_CHANGES[zone]) == (0 if zone == "Asia/Kolkata" else 2)
    for change in CLOCK_CHANGES[zone]:
        minutes = [change + n * MINUTE for n in range(-8 * 60, 9 * 60)]
        duty = [on_duty(one, at) for at in minutes]
        assert all(len(users) == 1 for users in duty)
        for (_, before), (at, after) in pairwise(zip(minutes, duty, strict=True)):
            wall = at.astimezone(ZoneInfo(zone))
            if before != after:
                assert wall.fold == 0
                assert wall.minute == 30 or wall.utcoffset() != (at - HOUR).astimezone(ZoneInfo(zone)).utcoffset()


def test_a_nine_o_clock_hand_off_stays_at_nine_over_both_clock_changes() -> None:
    daily = schedule(layer(rotation="daily"), timezone="America/New_York")
    for start in ("2026-03-06", "2026-10-30"):
        changes = [shift.start for shift in shifts(daily, utc(start), utc(start) + 5 * DAY)][1:]
        walls = [at.astimezone(ZoneInfo("America/New_York")) for at in changes]
        assert [(wall.hour, wall.minute) for wall in walls] == [(9, 0)] * 5
        assert len({wall.utcoffset() for wall in walls}) == 2


def test_a_skipped_hand_off_moves_with_the_clock_and_a_repeated_one_comes_once() -> None:
    zone = "America/New_York"
    skipped = schedule(layer(rotation="daily", handoff_time="02:30"), timezone=zone)
    assert [row[0] for row in told(skipped, "2026-03-08T00:00", "2026-03-09T12:00")][1:] == [
        "03-08 07:30",
        "03-09 06:30",
    ]
    twice = schedule(layer(rotation="daily", handoff_time="01:30"), timezone=zone)
    assert [row[0] for row in told(twice, "2026-11-01T00:00", "2026-11-02T12:00")][1:] == ["11-01 05:30", "11-02 06:30"]


def test_a_monthly_hand_off_on_the_31st_is_on_the_last_day_of_shorter_months() -> None:
    monthly = schedule(layer(rotation="monthly", handoff_day=31, start_date="2026-01-31", handoff_time="00:00"), timezone="UTC")  # fmt: skip # noqa: E501
    found = told(monthly, "2026-01-30T00:00", "2026-07-01T00:00")
    assert [(start[:5], who) for start, who, _ in found] == [
        ("01-30", ""), ("01-31", "ann"), ("02-28", "ben"), ("03-31", "ann"), ("04-30", "ben"), ("05-31", "ann"),
        ("06-30", "ben"),
    ]  # fmt: skip


def test_the_first_turn_ends_at_the_next_hand_off_day_and_the_layer_with_until() -> None:
    weekly = schedule(layer(start_date="2026-11-25", handoff_day="monday", until="2026-12-08"))  # a Wednesday
    assert told(weekly, "2026-11-25T00:00", "2026-12-10T00:00") == [
        ("11-25 00:00", "", "gap"), ("11-25 08:00", "ann", "layer primary"), ("11-30 08:00", "ben", "layer primary"),
        ("12-07 08:00", "ann", "layer primary"), ("12-08 08:00", "", "gap"),
    ]  # fmt: skip


def test_a_later_layer_wins_where_it_has_somebody() -> None:
    nights = layer(name="nights", users=["cat"], restrictions=[{"start": "22:00", "end": "06:00", "days": ["fri"]}])
    both = schedule(layer(users=["ann"]), nights)
    assert told(both, "2026-11-27T12:00", "2026-11-29T12:00") == [
        ("11-27 12:00", "ann", "layer primary"), ("11-27 21:00", "cat", "layer nights"),
        ("11-28 05:00", "ann", "layer primary"),
    ]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(ZONES), rotations(), st.times(), st.times(), st.sets(st.integers(0, 6), min_size=1),
    st.integers(0, 300),
)  # fmt: skip
def test_a_restricted_layer_has_one_person_within_its_hours_and_nobody_outside(
    zone: str, said: dict[str, Any], opens: time, closes: time, days: set[int], day: int
) -> None:
    hours = {"start": opens.strftime("%H:%M"), "end": closes.strftime("%H:%M"), "days": sorted(days)}
    restricted, free = schedule(said | {"restrictions": [hours]}, timezone=zone), schedule(said, timezone=zone)
    window = restricted.layers[0].restrictions[0]
    start = NEW_YEAR + day * DAY
    found = shifts(restricted, start, start + 9 * DAY)
    edges = {at + n * MINUTE for shift in found for at in (shift.start, shift.end) for n in (-1, 0, 1)}
    for at in {start + n * 7 * HOUR for n in range(30)} | edges:
        assert on_duty(restricted, at) == (on_duty(free, at) if within(window, zone, at) else ())
        assert [on_duty(restricted, at)] == [s.users for s in found if s.start <= at < s.end] or not (
            start <= at < start + 9 * DAY
        )


def test_overrides_add_remove_and_replace_in_their_order() -> None:
    over = schedule(
        layer(users=["ann"], until="2026-11-30"),
        overrides=[
            span("2026-11-27T10:00", "2026-11-27T20:00", kind="add", user="ben", id="beside"),
            span("2026-11-27T12:00", "2026-11-27T18:00", kind="replace", user="cat", replaces="ann", id="swap"),
            span("2026-11-27T14:00", "2026-11-27T16:00", kind="remove", user="ben", id="off"),
            span("2026-11-27T15:00", "2026-11-27T15:30", kind="remove", user="cat", id="nobody"),
            span("2026-12-01T00:00", "2026-12-01T06:00", user="dan", id="fills"),
            span("2026-12-01T00:00", "2026-12-02T00:00", kind="replace", user="eve", replaces="ann", id="idle"),
        ],
    )
    assert told(over, "2026-11-27T09:00", "2026-11-27T21:00") == [
        ("11-27 09:00", "ann", "layer primary"), ("11-27 10:00", "ann ben", "override beside"),
        ("11-27 12:00", "cat ben", "override swap"), ("11-27 14:00", "cat", "override off"),
        ("11-27 15:00", "", "override nobody"), ("11-27 15:30", "cat", "override off"),
        ("11-27 16:00", "cat ben", "override swap"), ("11-27 18:00", "ann ben", "override beside"),
        ("11-27 20:00", "ann", "layer primary"),
    ]  # fmt: skip
    assert told(over, "2026-11-30T00:00", "2026-12-02T00:00") == [
        ("11-30 00:00", "ann", "layer primary"), ("11-30 08:00", "", "gap"), ("12-01 00:00", "dan", "override fills"),
        ("12-01 06:00", "", "gap"),
    ]  # fmt: skip
    assert [s.gap for s in shifts(over, utc("2026-11-27T14:00"), utc("2026-11-27T15:30"))] == [False, True]


def test_a_temporary_schedule_is_the_whole_schedule_and_its_gaps_are_gaps() -> None:
    holidays = span("2026-12-24T00:00", "2026-12-27T00:00", name="holidays", shifts=[
        span("2026-12-24T00:00", "2026-12-25T00:00", user="ben"),
        span("2026-12-26T00:00", "2026-12-31T00:00", user="cat"),
        span("2026-12-28T00:00", "2026-12-29T00:00", user="dan"),
    ])  # fmt: skip
    calendar = {"name": "team", "shifts": [span("2026-12-23T00:00", "2026-12-24T12:00", user="eve")]}
    cover = [span("2026-12-25T06:00", "2026-12-25T08:00", user="dan", id="cover")]
    both = schedule(layer(users=["ann"]), temporary=[holidays], calendars=[calendar], overrides=cover)
    assert told(both, "2026-12-22T00:00", "2026-12-30T00:00") == [
        ("12-22 00:00", "ann", "layer primary"), ("12-23 00:00", "eve", "calendar team"),
        ("12-24 00:00", "ben", "temporary holidays"), ("12-25 00:00", "", "temporary holidays"),
        ("12-25 06:00", "dan", "override cover"), ("12-25 08:00", "", "temporary holidays"),
        ("12-26 00:00", "cat", "temporary holidays"), ("12-27 00:00", "ann", "layer primary"),
    ]  # fmt: skip


def test_shifts_of_a_calendar_that_overlap_are_people_on_duty_together() -> None:
    calendar = {"name": "c", "shifts": [span("2026-11-27T10:00", "2026-11-27T14:00", user="ben"),
                                        span("2026-11-27T08:00", "2026-11-27T12:00", user="ann")]}  # fmt: skip
    both = schedule(calendars=[calendar])
    assert on_duty(both, utc("2026-11-27T11:00")) == ("ben", "ann")
    assert told(both, "2026-11-27T08:00", "2026-11-27T14:00") == [
        ("11-27 08:00", "ann", "calendar c"), ("11-27 10:00", "ben ann", "calendar c"),
        ("11-27 12:00", "ben", "calendar c"),
    ]  # fmt: skip


moments = st.integers(0, 20 * 48).map(lambda n: NEW_YEAR + n * HOUR / 2)


@st.composite
def spans(draw: st.DrawFn, /, **said: Any) -> dict[str, Any]:
    start = draw(moments)
    body = {"start": start, "end": start + draw(st.integers(1, 100)) * HOUR / 2, "user": draw(st.sampled_from(PEOPLE))}
    return body | {name: draw(value) for name, value in said.items()}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_shifts_and_on_duty_tell_the_same_whatever_the_schedule(data: st.DataObject) -> None:
    fixed = st.lists(spans(), max_size=6)
    temporary = [
        {"name": str(n), "start": s["start"], "end": s["end"], "shifts": data.draw(fixed)}
        for n, s in enumerate(data.draw(st.lists(spans(), max_size=2)))
    ]
    overrides = [
        s
        | {"id": str(n), "replaces": data.draw(st.none() | st.sampled_from(PEOPLE)) if s["kind"] == "replace" else None}
        for n, s in enumerate(
            data.draw(st.lists(spans(kind=st.sampled_from(["add", "remove", "replace"])), max_size=5))
        )
    ]
    drawn = schedule(
        *data.draw(st.lists(rotations(restrictions=[{"start": 8, "end": 18}]), max_size=3)),
        calendars=[{"name": "c", "shifts": data.draw(fixed)}], temporary=temporary, overrides=overrides,
        timezone=data.draw(st.sampled_from(ZONES)),
    )  # fmt: skip
    start, end = sorted(data.draw(st.lists(moments, min_size=2, max_size=2, unique=True)))
    found = shifts(drawn, start, end)
    assert (found[0].start, found[-1].end) == (start, end)
    assert all(before.end == after.start and before != after for before, after in pairwise(found))
    for shift in found:
        assert shift.gap == (not shift.users)
        for at in (shift.start, shift.start + (shift.end - shift.start) / 2, shift.end - MINUTE):
            assert on_duty(drawn, at) == shift.users


def test_the_example_for_operators_says_what_it_is_said_to() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs/oncall.md").read_text()
    example = decode(Schedule, json.loads(text.partition("```json\n")[2].partition("```")[0]))
    assert on_duty(example, utc("2026-03-02T09:00")) == ("alice",)
    assert on_duty(example, utc("2026-03-03T09:00")) == ("bob",)
    assert on_duty(example, utc("2026-12-25T22:00")) == ("bob",)
    night = [shift.end for shift in shifts(example, utc("2026-03-14T12:00"), utc("2026-03-16T00:00"))][1]
    assert night == utc("2026-03-15T05:00")  # Saturday's night, until Sunday 06:00 in Berlin


def test_a_disabled_schedule_is_a_gap_and_an_empty_time_has_no_shifts() -> None:
    off = schedule(layer(), enabled=False, overrides=[span("2026-11-27T10:00", "2026-11-27T20:00", user="ben")])
    assert on_duty(off, utc("2026-11-27T12:00")) == ()
    assert shifts(off, NEW_YEAR, NEW_YEAR + DAY) == [Shift(start=NEW_YEAR, end=NEW_YEAR + DAY, users=())]
    assert shifts(schedule(layer()), NEW_YEAR, NEW_YEAR) == shifts(schedule(layer()), NEW_YEAR + DAY, NEW_YEAR) == []


def test_a_moment_may_come_in_any_zone() -> None:
    daily = schedule(layer(rotation="daily"), timezone="America/New_York")
    new_york = ZoneInfo("America/New_York")
    for fold in (0, 1):
        at = datetime(2026, 11, 1, 1, 30, tzinfo=new_york, fold=fold)
        found = shifts(daily, at, at.astimezone(UTC) + DAY)
        assert found[0].start == at.astimezone(UTC)
        assert found[0].users == on_duty(daily, at) == on_duty(daily, at.astimezone(UTC))
        assert found[0].source is Source.LAYER


def test_the_seeds_names_are_understood_and_a_document_reads_back_as_it_was_written() -> None:
    seed = decode(Schedule, {
        "id": "s", "name": "S", "team_id": "ml", "timezone": "Asia/Kolkata", "enabled": True,
        "rotations": [
            {"name": "w", "users": ["ann"], "rotation_type": "weekly", "rotation_interval_days": 14, "handoff_day": 1,
             "handoff_hour": 10, "start_date": "2026-01-01",
             "restrictions": [{"days_of_week": [0, 6], "start_hour": 8, "end_hour": 24}]},
            {"name": "d", "users": ["ann"], "rotation_type": "custom", "rotation_interval_days": 3,
             "start_date": "2026-01-01T00:00:00"},
        ],
        "overrides": [{"user_id": "ben", "start_date": "2026-01-01T00:00:00Z", "end_date": "2026-01-02T00:00:00+05:30",
                       "reason": "ill"}],
    })  # fmt: skip
    assert [(one.interval, one.handoff_time) for one in seed.layers] == [(2, time(10)), (3, time(9))]
    assert seed.layers[0].handoff(0) == datetime(2025, 12, 29, 10)  # the Monday before
    assert len(seed.overrides[0].id) == 12
    assert decode(Schedule, seed.model_dump(mode="json")) == seed


@pytest.mark.parametrize(
    ("said", "field", "says"),
    [
        ({"timezone": "Mars/Olympus"}, "timezone", "Europe/Berlin"),
        ({"layers": [layer(users=[])]}, "layers[0].users", "at least 1"),
        ({"layers": [layer(rotation="hourly")]}, "layers[0].rotation", "'weekly'"),
        ({"layers": [layer(interval=0)]}, "layers[0].interval", "greater than or equal to 1"),
        ({"layers": [layer(rotation="custom", shift_hours=5)]}, "layers[0]", "divide 24"),
        ({"layers": [layer(shift_hours=8)]}, "layers[0]", "custom"),
        ({"layers": [layer(rotation="custom", shift_hours=8, interval=2)]}, "layers[0]", "not both"),
        ({"layers": [layer(handoff_day=9)]}, "layers[0]", "weekday"),
        ({"layers": [layer(handoff_day="someday")]}, "layers[0].handoff_day", "weekday"),
        ({"layers": [layer(rotation="monthly", handoff_day="mon")]}, "layers[0]", "1 to 31"),
        ({"layers": [layer(rotation="daily", handoff_day="mon")]}, "layers[0]", "weekly and monthly"),
        ({"layers": [layer(rotation_interval_days=10)]}, "layers[0]", "whole weeks"),
        ({"layers": [layer(start_date="0001-01-01")]}, "layers[0].start_date", "1970"),
        ({"layers": [layer(until="2025-12-01")]}, "layers[0]", "after start_date"),
        ({"layers": [layer()] * 21}, "layers", "at most 20"),
        ({"overrides": [span("2026-01-02T00:00", "2026-01-01T00:00", user="ann")]}, "overrides[0]", "after start"),
        ({"overrides": [{"start": "2026-01-02T00:00:00", "end": "x", "user": "a"}]}, "overrides[0].start", "time zone"),
        ({"overrides": [span("2026-01-01T00:00", "2026-01-02T00:00", user="ann")] * 2}, "body", "overrides"),
        ({"overrides": [span("2026-01-01T00:00", "2026-01-02T00:00", user="a", kind="add", replaces="b")]},
         "overrides[0]", "kind replace"),
        ({"overrides": [span("9999-12-31T00:00", "9999-12-31T23:59", user="ann")]}, "overrides[0].end", "2199"),
    ],
)  # fmt: skip
def test_what_makes_no_schedule_is_refused_by_its_field(said: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(Invalid) as refused:
        schedule(**{"layers": []} | said)
    assert isinstance(refused.value.details, list)
    assert [problem for problem in refused.value.details if problem["field"] == field and says in problem["message"]]


def test_a_year_of_the_busiest_schedule_is_worked_out_in_seconds() -> None:
    hours = [{"start": f"{hour:02}:00", "end": f"{hour:02}:40"} for hour in range(14)]
    busy = schedule(*[layer(rotation="custom", shift_hours=1, restrictions=hours)] * 20)
    began = datetime.now(UTC)
    found = shifts(busy, NEW_YEAR, NEW_YEAR + 365 * DAY)
    assert len(found) > 10_000
    assert datetime.now(UTC) - began < timedelta(seconds=20)

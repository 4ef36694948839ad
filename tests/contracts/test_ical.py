"""Other people's calendars: recurrences, exceptions, zones; and those that were made to hurt."""

import asyncio
from datetime import UTC, datetime, timedelta
from time import perf_counter

import pytest

from app.domain.errors import Invalid
from app.domain.oncall import Schedule, Shift
from app.domain.people import User
from app.service import ical

START = datetime(2026, 10, 1, tzinfo=UTC)
HEAD = "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//tests//EN\n"
BERLIN = (
    "BEGIN:VTIMEZONE\nTZID:Home\nBEGIN:STANDARD\nDTSTART:19701025T030000\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\n"
    "TZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nEND:STANDARD\nBEGIN:DAYLIGHT\nDTSTART:19700329T020000\n"
    "RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0200\nEND:DAYLIGHT\nEND:VTIMEZONE\n"
)


def event(*lines: str, uid: str = "one") -> str:
    return "\n".join(["BEGIN:VEVENT", f"UID:{uid}", "DTSTAMP:20260101T000000Z", *lines, "END:VEVENT", ""])


def reading(*parts: str, days: int = 365, zone: str = "Europe/Berlin") -> ical.Reading:
    calendar = f"{HEAD}{''.join(parts)}END:VCALENDAR\n".replace("\n", "\r\n")
    return ical.Reading(calendar=calendar, zone=zone, start=START, end=START + timedelta(days=days))


def told(*parts: str, days: int = 365, zone: str = "Europe/Berlin") -> list[str]:
    found = ical.unfolded(reading(*parts, days=days, zone=zone))
    assert found.refusal is None
    return [f"{one.summary} {one.start:%m-%d %H:%M} {one.end:%m-%d %H:%M}" for one in found.events]


def test_recurrences_exceptions_and_moved_occurrences_keep_the_wall_clock_of_their_zone() -> None:
    weekly = event(
        "DTSTART;TZID=America/New_York:20261019T090000", "DTEND;TZID=America/New_York:20261019T170000",
        "RRULE:FREQ=WEEKLY;COUNT=4", "EXDATE;TZID=America/New_York:20261026T090000", "SUMMARY:ann",
    )  # fmt: skip
    moved = event(
        "RECURRENCE-ID;TZID=America/New_York:20261102T090000", "DTSTART;TZID=America/New_York:20261103T100000",
        "DTEND;TZID=America/New_York:20261103T120000", "SUMMARY:ben",
    )  # fmt: skip
    assert told(weekly, moved) == [
        "ann 10-19 13:00 10-19 21:00", "ben 11-03 15:00 11-03 17:00", "ann 11-09 14:00 11-09 22:00",
    ]  # fmt: skip


def test_times_without_a_zone_and_whole_days_are_of_the_schedules_zone() -> None:
    floating = event("DTSTART:20261024T090000", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=2", "SUMMARY:f")
    whole = event("DTSTART;VALUE=DATE:20261025", "DTEND;VALUE=DATE:20261026", "SUMMARY:w", uid="two")
    assert told(floating, whole) == [
        "f 10-24 07:00 10-24 08:00", "w 10-24 22:00 10-25 23:00", "f 10-25 08:00 10-25 09:00",
    ]  # fmt: skip
    assert told(floating, zone="Asia/Kolkata") == ["f 10-24 03:30 10-24 04:30", "f 10-25 03:30 10-25 04:30"]


def test_a_zone_the_calendar_defines_is_known_and_one_nobody_knows_is_refused() -> None:
    home = event("DTSTART;TZID=Home:20261026T090000", "DTEND;TZID=Home:20261026T100000", "SUMMARY:h")
    assert told(BERLIN, home, zone="Asia/Kolkata") == ["h 10-26 08:00 10-26 09:00"]
    stray = ical.unfolded(reading(event("DTSTART;TZID=Mars/Olympus:20261026T090000", "DURATION:PT1H")))
    assert "'Mars/Olympus'" in str(stray.refusal)


def test_what_was_cancelled_or_lies_beyond_the_time_asked_for_does_not_count() -> None:
    cancelled = event("DTSTART:20261103T090000Z", "DURATION:PT1H", "STATUS:CANCELLED", "SUMMARY:c")
    late = event("DTSTART:20261201T090000Z", "DURATION:PT1H", "SUMMARY:l", uid="two")
    running = event("DTSTART:20260930T090000Z", "DURATION:P2D", "SUMMARY:r", uid="three")
    assert told(cancelled, late, running, days=30) == ["r 09-30 09:00 10-02 09:00"]


def test_people_are_told_by_mail_address_then_by_summary_and_never_by_guess() -> None:
    people = {"ann": {"ann"}, "ann@example.com": {"ann"}, "ben": {"ben"}, "sam": {"sam1", "sam2"}}

    def whose(summary: str, *attendees: str) -> list[str]:
        return ical.whose(ical.Event(summary=summary, attendees=attendees, start=START, end=START), people)

    assert whose("anything", "mailto:Ann@Example.com", "mailto:x@example.com") == ["ann"]
    assert whose("Ben", "mailto:x@example.com") == ["ben"]
    assert whose("Ben", "mailto:ann@example.com") == ["ann"]
    assert whose("Sam") == whose("somebody") == whose("") == whose("ann and ben") == []


def test_duties_last_as_long_as_somebody_is_on_call_whoever_is_beside_them() -> None:
    def shift(hour: int, *users: str) -> Shift:
        return Shift(start=START + timedelta(hours=hour), end=START + timedelta(hours=hour + 1), users=users)

    found = ical.duties([shift(0, "ann"), shift(1, "ann", "ben"), shift(2, "ben"), shift(3), shift(4, "ben")])
    assert [(one.user, one.start.hour, one.end.hour) for one in found] == [
        ("ann", 0, 2), ("ben", 1, 3), ("ben", 4, 5),
    ]  # fmt: skip


def test_names_cannot_break_out_of_their_line() -> None:
    schedule = Schedule(id="s", name="A;B,C\r\nATTACH:http://evil.example")
    duty = ical.Duty(START, "ann", START + timedelta(hours=1))
    person = User(id="ann", name="Ann\nEND:VEVENT\nBEGIN:VEVENT", email="ann@example.com")
    text = ical.render(schedule, [duty], {"ann": person}, 3, START).decode()
    assert text.count("\r\nBEGIN:VEVENT") == 1
    assert "\r\nATTACH" not in text
    assert {"SEQUENCE:3", "DTSTART:20261001T000000Z", "DTEND:20261001T010000Z"} <= set(text.split("\r\n"))
    assert all(len(line.encode()) <= 75 for line in text.split("\r\n"))
    read = ical.unfolded(ical.Reading(calendar=text, zone="UTC", start=START, end=START + timedelta(days=1)))
    assert read.name == schedule.name.replace("\r", "")
    assert [one.summary for one in read.events] == [person.name]


EVERY_SECOND = ";".join(
    f"{part}={','.join(map(str, range(most)))}" for part, most in (("BYHOUR", 24), ("BYMINUTE", 60), ("BYSECOND", 60))
)
HOSTILE = {
    "every second": event("DTSTART:20261103T090000Z", "DURATION:PT1H", "RRULE:FREQ=SECONDLY"),
    "every minute": event("DTSTART:20261103T090000Z", "DURATION:PT1H", "RRULE:FREQ=MINUTELY;COUNT=1000000"),
    "every hour": event("DTSTART:20261103T090000Z", "DURATION:PT1H", "RRULE:FREQ=HOURLY"),
    "every second in disguise": event("DTSTART:20261103T090000Z", "DURATION:PT1H", f"RRULE:FREQ=DAILY;{EVERY_SECOND}"),
    "never": "".join(
        event("DTSTART:20261103T090000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", uid=str(n))
        for n in range(200)
    ),
    "too many": "".join(event("DTSTART:20261103T090000Z", "DURATION:PT1H", uid=str(n)) for n in range(2500)),
    "nested": "BEGIN:VEVENT\n" * 20_000,
    "no such rule": event("DTSTART:20261103T090000Z", "RRULE:FREQ=SOMETIMES"),
    "no such time": event("DTSTART:99999999T999999"),
    "no start": event("SUMMARY:x"),
    "for ever": event("DTSTART:00010101T000000Z", "DURATION:P9999999D"),
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_a_calendar_made_to_hurt_is_refused_in_bounded_time_while_others_are_served(what: str) -> None:
    began, waited, longest = perf_counter(), asyncio.ensure_future(ical.read(reading(HOSTILE[what]))), 0.0
    while not waited.done():
        tick = perf_counter()
        await asyncio.wait([waited], timeout=0.05)
        longest = max(longest, perf_counter() - tick)
    with pytest.raises(Invalid, match=r"^body: "):
        await waited
    assert perf_counter() - began < 2 * ical.SECONDS + 5
    assert longest < 1, "the event loop stood still"


async def test_reading_a_calendar_ends_with_the_request_that_asked_for_it() -> None:
    never = asyncio.ensure_future(ical.read(reading(HOSTILE["never"])))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(never, 1)
    began = perf_counter()
    found = await ical.read(reading(event("DTSTART:20261103T090000Z", "DURATION:PT1H", "SUMMARY:ann")))
    assert [one.summary for one in found.events] == ["ann"]
    assert perf_counter() - began < ical.SECONDS

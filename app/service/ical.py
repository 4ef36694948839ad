"""iCalendar (RFC 5545): duties as a calendar to subscribe to, and other people's calendars as duties.

Run as a module it is the process that reads a stranger's calendar: one with a recurrence rule that never
comes to an end can be stopped there, and nowhere else.
"""

import asyncio
import os
import re
import resource
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from hashlib import sha256
from itertools import islice
from typing import NamedTuple

import icalendar
import recurring_ical_events
from pydantic import Field

from app.domain.calendar import instant
from app.domain.decode import printable
from app.domain.errors import Invalid
from app.domain.oncall import FIXED_SHIFTS_MAX, Schedule, Shift
from app.domain.people import User
from app.domain.record import Record

SECONDS = 5
"""How long reading one calendar may take (chosen: a thousand weekly rules take one)."""
MEMORY = 1 << 29
TOO_OFTEN = {"SECONDLY", "MINUTELY"}


class Event(Record):
    """One occurrence of an event, in UTC."""

    summary: str
    attendees: tuple[str, ...]
    start: datetime
    end: datetime


class Reading(Record):
    """What to read: a calendar, as far as it touches `start` … `end`. Times without a zone are of `zone`."""

    calendar: str
    zone: str
    start: datetime
    end: datetime


class Read(Record):
    """The calendar's name and what takes place; or `refusal`, why it can't be read."""

    name: str = ""
    events: tuple[Event, ...] = Field(default=(), max_length=FIXED_SHIFTS_MAX)
    refusal: str | None = None


class Duty(NamedTuple):
    """One person on call without a break, whoever is beside them; in UTC."""

    start: datetime
    user: str
    end: datetime


def duties(shifts: Iterable[Shift]) -> list[Duty]:
    """Everybody's duties in shifts that follow each other, by start."""
    found: list[Duty] = []
    since: dict[str, datetime] = {}
    last = datetime.min.replace(tzinfo=UTC)
    for shift in shifts:
        found += [Duty(since[user], user, last) for user in since.keys() - set(shift.users)]
        since = {user: since.get(user, shift.start) for user in shift.users}
        last = shift.end
    return sorted(found + [Duty(start, user, last) for user, start in since.items()])


def render(
    schedule: Schedule, duties: Iterable[Duty], people: Mapping[str, User], version: int, changed_at: datetime
) -> bytes:
    """The duties as events. One keeps its UID as long as it is of the same person and begins when it does."""
    calendar = icalendar.Calendar()
    calendar.add("prodid", "-//LLM Incident Manager//On-call//EN")
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    calendar["X-WR-CALNAME"] = icalendar.vText(schedule.name)  # which `add` would leave unescaped
    for start, user, end in duties:
        person = people.get(user)
        event = icalendar.Event()
        key = sha256(f"{schedule.id} {user} {start.isoformat()}".encode()).hexdigest()[:32]
        event.add("uid", f"{key}@llm-incident-manager")
        event.add("dtstamp", changed_at)
        event.add("sequence", version)
        event.add("dtstart", start)
        event.add("dtend", end)
        event.add("summary", person.name if person else user)
        event.add("description", f"On call: {schedule.name}")
        if person is not None and person.email:
            event.add("attendee", f"mailto:{person.email}")
        calendar.add_component(event)
    return bytes(calendar.to_ical())


async def read(reading: Reading) -> Read:
    """What a calendar holds, worked out in a process of its own, within `SECONDS` seconds and `MEMORY` bytes.

    Raises: Invalid when it is no calendar, or one that takes too much.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.service.ical",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(SECONDS * 2):
            answer, complaint = await process.communicate(reading.model_dump_json().encode())
    except TimeoutError:
        answer, complaint = b"", b""
    finally:
        if process.returncode is None:
            process.kill()
        code = await process.wait()
    if code == 0:
        found = Read.model_validate_json(answer)
    elif code < 0 or b"MemoryError" in complaint:
        found = Read(refusal=f"takes more than {SECONDS} s to work out: give its recurrences an end, or send fewer")
    else:
        reason = complaint.decode(errors="replace").strip().rpartition("\n")[2]
        found = Read(refusal=f"must be iCalendar (RFC 5545): {printable(reason)[:300]}")
    if found.refusal is not None:
        raise Invalid.field("body", found.refusal)
    return found


def unfolded(reading: Reading) -> Read:
    """What takes place between `start` and `end`. Raises: what the libraries do when it is no calendar."""
    calendar = icalendar.Calendar.from_ical(reading.calendar)
    if often := sorted({str(rule) for rule in _frequencies(calendar)} & TOO_OFTEN):
        return Read(refusal=f"has an event with FREQ={often[0]}: nobody's shift changes that often")
    if stray := next(_unknown_zones(calendar), None):
        return Read(refusal=f"has times in {stray!r}, which is no IANA zone and isn't defined in it")
    occurrences = recurring_ical_events.of(calendar).between(reading.start, reading.end)
    events = list(islice(_events(occurrences, reading), FIXED_SHIFTS_MAX + 1))
    if len(events) > FIXED_SHIFTS_MAX:
        return Read(refusal=f"has more than {FIXED_SHIFTS_MAX} events until {reading.end:%Y-%m-%d}: ask for fewer days")
    name = _plain(str(calendar.calendar_name or "")).strip()[:200]
    return Read(name=name or "imported calendar", events=tuple(events))


def _plain(text: str) -> str:
    """TEXT without its escapes, which the library leaves in names that begin with X- (RFC 5545, 3.3.11)."""
    return re.sub(r"\\(.)", lambda escaped: "\n" if escaped[1] in "nN" else escaped[1], text)


def _frequencies(calendar: icalendar.Calendar) -> Iterator[object]:
    for event in calendar.walk("VEVENT"):
        rules = event.get("RRULE", [])
        for rule in rules if isinstance(rules, list) else [rules]:
            yield from rule.get("FREQ", [])


def _unknown_zones(calendar: icalendar.Calendar) -> Iterator[str]:
    """Zones that were named but not found, whose times would pass for the schedule's own."""
    for event in calendar.walk("VEVENT"):
        for moment in (event.get(name) for name in ("DTSTART", "DTEND", "RECURRENCE-ID")):
            if (
                isinstance(getattr(moment, "dt", None), datetime)
                and moment.dt.tzinfo is None
                and "TZID" in moment.params
            ):
                yield str(moment.params["TZID"])[:100]


def _events(occurrences: Sequence[icalendar.Event], reading: Reading) -> Iterator[Event]:
    for event in sorted(occurrences, key=lambda event: _utc(event.start, reading.zone)):
        if str(event.get("STATUS", "")).upper() == "CANCELLED":
            continue
        said = event.get("ATTENDEE", [])
        yield Event(
            summary=str(event.get("SUMMARY", "")).strip(),
            attendees=tuple(str(one) for one in (said if isinstance(said, list) else [said])),
            start=_utc(event.start, reading.zone),
            end=_utc(event.end, reading.zone),
        )


def _utc(moment: date, zone: str) -> datetime:
    if not isinstance(moment, datetime):
        return instant(zone, moment, time())
    return instant(zone, moment.date(), moment.time()) if moment.tzinfo is None else moment.astimezone(UTC)


def whose(event: Event, people: Mapping[str, set[str]]) -> list[str]:
    """The ids of the users an event is about: attendees by mail address, else who the summary names.

    `people` maps an id, a name or a mail address, case folded, to the users it belongs to. Empty when it
    is nobody's, or could be several's.
    """
    known = [people.get(one.lower().removeprefix("mailto:").casefold(), set()) for one in event.attendees]
    attending = [min(users) for users in known if len(users) == 1]
    named = people.get(event.summary.casefold(), set())
    return list(dict.fromkeys(attending)) or (list(named) if len(named) == 1 else [])


def main() -> None:
    os.nice(10)  # nobody is paged later for it
    for limit, most in ((resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_AS, MEMORY)):
        resource.setrlimit(limit, (most, most))
    found = unfolded(Reading.model_validate_json(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(found.model_dump_json().encode())


if __name__ == "__main__":
    main()

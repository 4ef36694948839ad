"""On-call: who is on duty and who will be, overrides, and calendars in and out."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice

from app.domain.access import Principal, Scope
from app.domain.decode import PROBLEMS_SHOWN, decode
from app.domain.errors import Conflict, Invalid, NotFound
from app.domain.oncall import Calendar, Override, Schedule, Shift, shifts, standing
from app.domain.people import User
from app.domain.record import Record
from app.domain.requests import Document
from app.service import ical
from app.store.database import answering
from app.store.documents import DocumentStore

KIND = "schedules"
NOBODYS = "must name one user, by an attendee's mail address or by its summary: an id, a name or a mail address"
BACK, AHEAD = timedelta(days=400), timedelta(days=180)
"""How far back the start of a duty is looked for, and how far ahead a calendar to subscribe to reaches."""


class Person(Record):
    """Somebody on duty; `known` is False when no active user has the id."""

    id: str
    name: str
    known: bool


class Turn(Record):
    start: datetime
    end: datetime
    people: list[Person]


class Now(Record):
    """How one schedule stands. `since` and `until` are None beyond 400 days, `next` when nobody follows by then."""

    schedule_id: str
    name: str
    timezone: str
    enabled: bool
    gap: bool
    people: list[Person]
    since: datetime | None
    until: datetime | None
    next: Turn | None


class Preview(Record):
    """`gaps` repeats how many of the segments have nobody."""

    schedule_id: str
    timezone: str
    start: datetime
    end: datetime
    segments: list[Shift]
    gaps: int


class Imported(Record):
    """What an import wrote: the calendar's name, its shifts, and the schedule's version with it."""

    calendar: str
    shifts: int
    replaced: bool
    version: int


@dataclass(frozen=True)
class OnCall:
    """`importing` lets one calendar be read at a time."""

    store: DocumentStore
    importing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))

    async def now(self, who: Principal, at: datetime) -> list[Now]:
        """How every schedule stands at `at`, by id. Raises: Forbidden, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            people = await self._people()
            documents = await self.store.all(KIND)
        schedules = [_schedule(document) for document in documents]
        return await asyncio.to_thread(lambda: [_now(schedule, people, at) for schedule in schedules])

    async def preview(self, who: Principal, id_: str, start: datetime, end: datetime) -> Preview:
        """Who is on duty from `start` to `end`. Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.READ)
        schedule = _schedule(await self._document(id_))
        found = await asyncio.to_thread(shifts, schedule, start, end)
        return Preview(
            schedule_id=id_, timezone=schedule.timezone, start=start, end=end, segments=found,
            gaps=sum(shift.gap for shift in found),
        )  # fmt: skip

    async def calendar(self, who: Principal, id_: str, user: str | None, at: datetime) -> bytes:
        """The duties of one user or of all from `at` on, as iCalendar. Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.READ)
        document = await self._document(id_)
        schedule = _schedule(document)
        async with answering():
            people = await self._people()
        if user is not None and user not in people:
            raise NotFound("user", user)
        found = await asyncio.to_thread(shifts, schedule, at - BACK, at + AHEAD)
        return await asyncio.to_thread(
            ical.render, schedule,
            [duty for duty in ical.duties(found) if duty.end > at and user in (None, duty.user)],
            people, document.version, document.updated_at,
        )  # fmt: skip

    async def add_override(
        self, who: Principal, id_: str, body: object, expected: int | None
    ) -> tuple[Override, Document]:
        """The override, and the schedule with it. `expected` is the version it must follow.

        Raises: Forbidden, NotFound, Invalid, Conflict, Unavailable.
        """
        who.may(Scope.RESPOND)
        override = decode(Override, body)
        async with answering():
            people = await self._people()
        for where, user in (("user", override.user), ("replaces", override.replaces)):
            if user is not None and user not in people:
                raise Invalid.field(where, f"there is no user {user!r}")

        def added(schedule: Schedule) -> dict[str, object]:
            if any(other.id == override.id for other in schedule.overrides):
                raise Conflict(f"The schedule has an override {override.id!r} already.")
            return {"overrides": (*schedule.overrides, override)}

        return override, await self._change(who, id_, added, expected)

    async def drop_override(self, who: Principal, id_: str, override_id: str, expected: int | None) -> Document:
        """The schedule without the override. Raises: Forbidden, NotFound, Conflict, Unavailable."""
        who.may(Scope.RESPOND)

        def dropped(schedule: Schedule) -> dict[str, object]:
            left = tuple(override for override in schedule.overrides if override.id != override_id)
            if len(left) == len(schedule.overrides):
                raise NotFound("override", override_id)
            return {"overrides": left}

        return await self._change(who, id_, dropped, expected)

    async def take(
        self, who: Principal, id_: str, raw: bytes, start: datetime, end: datetime, expected: int | None
    ) -> Imported:
        """Imports a calendar's events between `start` and `end`, in place of the earlier import of its name.

        Raises: Forbidden, NotFound, Invalid listing the events that are nobody's, Conflict, Unavailable.
        """
        who.may(Scope.ADMINISTER)
        zone = _schedule(await self._document(id_)).timezone
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as bad:
            raise Invalid.field("body", f"must be UTF-8; byte {bad.start} is not") from None
        if "\0" in text:  # which PostgreSQL can't hold
            raise Invalid.field("body", "must not contain the character NUL")
        async with self.importing:
            read = await ical.read(ical.Reading(calendar=text, zone=zone, start=start, end=end))
        async with answering():
            people = await self._people()
        taken = decode(Calendar, {"name": read.name, "shifts": _assigned(read.events, people)})
        replaced = False

        def with_it(schedule: Schedule) -> dict[str, object]:
            nonlocal replaced
            names = [calendar.name for calendar in schedule.calendars]
            replaced = taken.name in names
            kept = tuple(taken if calendar.name == taken.name else calendar for calendar in schedule.calendars)
            return {"calendars": kept if replaced else (*kept, taken)}

        document = await self._change(who, id_, with_it, expected)
        return Imported(calendar=taken.name, shifts=len(taken.shifts), replaced=replaced, version=document.version)

    async def _change(
        self,
        who: Principal,
        id_: str,
        change: Callable[[Schedule], dict[str, object]],
        expected: int | None,
        tries: int = 5,
    ) -> Document:
        """Writes the schedule with a change, to its newest version or, when it says so, only to the expected one.

        Raises: NotFound, Invalid, Conflict, Unavailable.
        """  # fmt: skip
        document = await self._document(id_)
        schedule = _schedule(document)
        changed = decode(Schedule, schedule.model_copy(update=change(schedule)).model_dump(mode="json"))
        body, at = changed.model_dump(mode="json"), datetime.now(UTC)
        follows = document.version if expected is None else expected
        try:
            async with answering():
                version = await self.store.write(KIND, id_, body, expected=follows, by=who.name, at=at)
        except Conflict:
            if expected is not None or tries == 1:
                raise
            return await self._change(who, id_, change, None, tries - 1)
        return Document(kind=KIND, id=id_, version=version, body=body, updated_at=at, updated_by=who.name)

    async def _document(self, id_: str) -> Document:
        async with answering():
            found = await self.store.get(KIND, id_)
        if found is None:
            raise NotFound(KIND, id_)
        return found

    async def _people(self) -> dict[str, User]:
        return {document.id: User.model_validate(document.body) for document in await self.store.all("users")}


def _schedule(document: Document) -> Schedule:
    return Schedule.model_validate(document.body)


def _now(schedule: Schedule, people: dict[str, User], at: datetime) -> Now:
    now = standing(schedule, at)
    following = now.next and Turn(start=now.next.start, end=now.next.end, people=_named(now.next.users, people))
    return Now(
        schedule_id=schedule.id, name=schedule.name, timezone=schedule.timezone, enabled=schedule.enabled,
        gap=not now.users, people=_named(now.users, people), since=now.since, until=now.until, next=following,
    )  # fmt: skip


def _named(users: tuple[str, ...], people: dict[str, User]) -> list[Person]:
    found = [(id_, people.get(id_)) for id_ in users]
    return [
        Person(id=id_, name=user.name if user else id_, known=user is not None and user.active) for id_, user in found
    ]


def _assigned(events: tuple[ical.Event, ...], people: dict[str, User]) -> list[dict[str, object]]:
    """The events as shifts of their people. Raises: Invalid with every event that is nobody's, or of no length."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    for user in people.values():
        for name in (user.id, user.name, user.email):
            if name:
                names[name.casefold()].add(user.id)
    found: list[dict[str, object]] = []
    wrong: dict[str, str] = {}
    for event in events:
        users = ical.whose(event, names)
        if not users:
            wrong[f"event {event.summary[:100]!r}"] = NOBODYS
        elif event.start >= event.end:
            wrong[f"event {event.summary[:100]!r} of {event.start:%Y-%m-%d %H:%M}Z"] = "must end after it starts"
        found += [{"user": user, "start": event.start, "end": event.end} for user in users]
    if wrong:
        raise Invalid.fields([{"field": where, "message": why} for where, why in islice(wrong.items(), PROBLEMS_SHOWN)])
    if not found:
        raise Invalid.field("body", "has no event in that time")
    return found

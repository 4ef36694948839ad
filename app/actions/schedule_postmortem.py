"""Invites people to a post-mortem, by mail.

Source of the format: RFC 5545 (iCalendar), RFC 5546 (REQUEST, CANCEL) and RFC 6047 (by mail).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from email.utils import parseaddr
from hashlib import sha256
from typing import ClassVar, Literal, Self
from zoneinfo import ZoneInfo

import icalendar
from pydantic import Field

from app.actions.base import Done, Failed, Plain, Situation, Tools
from app.actions.telling import Subject, Text, message, told
from app.channels.base import plain
from app.channels.email import Email, in_ascii
from app.domain.calendar import WallClock, Zone, instant
from app.domain.notification import Invitation, Undelivered
from app.domain.people import MailAddress
from app.domain.record import Record
from app.domain.vocabulary import ChannelName

SATURDAY = 5


@dataclass(frozen=True)
class SchedulePostmortem(Plain):
    """Each try invites to the event of the same UID: a calendar shows it once, however many mails came.

    `to`: 1 to 20 mail addresses. `in_days`: how many days from now, 0 to 60; where that is a weekend, the Monday
    after. `at`: at what time of day there, like 10:00; `zone`: the IANA zone of it. `minutes`: how long, 5 to 480.
    `title`: up to 150 characters, none = Post-mortem and the incident's title. `text`: up to 3,000. Undoing cancels it.
    """

    email: Email
    link: Callable[[str], str | None]

    class Parameters(Record):
        to: tuple[MailAddress, ...] = Field(min_length=1, max_length=20)
        in_days: int = Field(2, ge=0, le=60)
        at: WallClock = time(10)
        zone: Zone = "UTC"
        minutes: int = Field(60, ge=5, le=480)
        title: Subject | None = None
        text: Text = "What happened, why, what helped, and what we will change."

    undoes: ClassVar[bool] = True

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        email = tools.channels.get(ChannelName.EMAIL)
        return cls(email, tools.link) if isinstance(email, Email) else None

    async def check(self, asked: Parameters, at: Situation) -> str:
        try:
            people = ", ".join(in_ascii(one) for one in asked.to)
        except Undelivered as never:
            raise Failed(str(never)) from never
        return f"invite {people} to {title(asked, at)} at {begins(asked, at).isoformat()}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        start = begins(asked, at)
        await self._mail("REQUEST", asked, at, start, asked.text)
        return Done(
            summary=f"{len(asked.to)} people are invited to {start:%Y-%m-%d %H:%M} UTC",
            output={"uid": uid(at.key), "start": start.isoformat(), "key": at.key},
        )

    async def undo(self, asked: Parameters, done: Done, at: Situation) -> Done:
        start = datetime.fromisoformat(str(done.output["start"]))
        await self._mail("CANCEL", asked, at, start, "The post-mortem is cancelled.", str(done.output["key"]))
        return Done(summary=f"{len(asked.to)} people are told that it is cancelled")

    async def _mail(
        self, method: Literal["REQUEST", "CANCEL"], asked: Parameters, at: Situation, start: datetime, text: str,
        key: str | None = None,
    ) -> None:  # fmt: skip
        """A mail to each, with a key of its own. `key`: that of the run whose event is meant."""
        calendar = self._calendar(method, asked, at, start, uid(key or at.key))
        subject = title(asked, at) if method == "REQUEST" else f"Cancelled: {title(asked, at)}"
        said = message(at, self.link(at.incident.id), text, subject[:150])
        for one in asked.to:
            own = {"key": f"{at.key}/{method}/{one}", "invitation": Invitation(method=method, calendar=calendar)}
            await told(self.email, said.model_copy(update=own), Email.Address(email=one))

    def _calendar(self, method: str, asked: Parameters, at: Situation, start: datetime, uid: str) -> str:
        calendar, event = icalendar.Calendar(), icalendar.Event()
        calendar.add("prodid", "-//LLM Incident Manager//Playbooks//EN")
        calendar.add("version", "2.0")
        calendar.add("method", method)
        event.add("uid", uid)
        event.add("dtstamp", at.now)
        event.add("sequence", int(method == "CANCEL"))
        event.add("status", "CANCELLED" if method == "CANCEL" else "CONFIRMED")
        event.add("dtstart", start)
        event.add("dtend", start + timedelta(minutes=asked.minutes))
        event.add("summary", title(asked, at))
        event.add("description", "\n".join(filter(None, (asked.text, self.link(at.incident.id)))))
        event.add("organizer", f"mailto:{parseaddr(self.email.sender)[1]}")
        for one in asked.to:
            event.add("attendee", f"mailto:{in_ascii(one)}")
        calendar.add_component(event)
        return bytes(calendar.to_ical()).decode()


def title(asked: SchedulePostmortem.Parameters, at: Situation) -> str:
    return asked.title or plain(f"Post-mortem: {at.incident.title}")[:150]


def begins(asked: SchedulePostmortem.Parameters, at: Situation) -> datetime:
    """In UTC."""
    day = at.now.astimezone(ZoneInfo(asked.zone)).date() + timedelta(days=asked.in_days)
    day += timedelta(days=7 - day.weekday() if day.weekday() >= SATURDAY else 0)
    return instant(asked.zone, day, asked.at)


def uid(key: str) -> str:
    """The event's, the same for the same key."""
    return f"{sha256(key.encode('utf-8', 'replace')).hexdigest()[:32]}@llm-incident-manager"

"""Dead-man's switches: what has to report at regular times, and when its silence is an incident."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, NamedTuple, Self

from pydantic import Field, model_validator

from app.domain.people import Slug, WebAddress
from app.domain.record import Record
from app.domain.taxonomy import CLASSES
from app.domain.vocabulary import Environment, Severity

SUBJECT = "heartbeat:"
Word = Annotated[str, Field(min_length=1, max_length=255)]
YEAR = 31_622_400
LEEWAY = timedelta(hours=1)


class Heartbeat(Record):
    """Something that pings every `every_secs`, `grace_secs` late at most; where it doesn't, an incident opens.

    `severity` None is the class's own.
    """

    id: Slug
    name: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=2000)
    enabled: bool = True
    every_secs: float = Field(ge=10, le=YEAR)
    grace_secs: float = Field(default=60, ge=0, le=YEAR)
    severity: Severity | None = None
    incident_class: str = Field(default="observability.blind_spot", json_schema_extra={"enum": list(CLASSES)})
    service: Word | None = None
    environment: Environment | None = None
    labels: dict[Word, Annotated[str, Field(max_length=1000)]] = Field(default={}, max_length=50)
    runbook_url: WebAddress | None = None

    @model_validator(mode="after")
    def _of_a_known_class(self) -> Self:
        if self.incident_class not in CLASSES:
            raise ValueError(f"incident_class must be one of {', '.join(CLASSES)}")
        return self

    @property
    def subject(self) -> str:
        """What its episodes and its incidents are known by."""
        return f"{SUBJECT}{self.id}"

    @property
    def urgency(self) -> Severity:
        return self.severity or CLASSES[self.incident_class].severity


class Beats(NamedTuple):
    """When a heartbeat pinged last (None: never), and since when it is waited for: not while it is switched off."""

    since: datetime
    at: datetime | None = None


class Pulse(StrEnum):
    """`waiting` for its first ping; `late`, but within its grace; `off` = not enabled."""

    WAITING = "waiting"
    ALIVE = "alive"
    LATE = "late"
    OVERDUE = "overdue"
    OFF = "off"


class Standing(NamedTuple):
    pulse: Pulse
    due_at: datetime
    overdue_at: datetime


def standing(
    heartbeat: Heartbeat, beats: Beats, resumed_at: datetime, now: datetime, *, failing: bool = False
) -> Standing:
    """How a heartbeat does.

    `resumed_at`: when watching began anew, after a time in which nobody watched and pings may have been lost. Who was
    due before has one more period from then on, an hour at most; who is `failing` already has not pinged by that.
    """
    every = timedelta(seconds=heartbeat.every_secs)
    due = max(beats.at or beats.since, beats.since) + every
    if due < resumed_at and not failing:
        due = resumed_at + min(every, LEEWAY)
    overdue = due + timedelta(seconds=heartbeat.grace_secs)
    if not heartbeat.enabled:
        pulse = Pulse.OFF
    elif now >= overdue:
        pulse = Pulse.OVERDUE
    elif now >= due:
        pulse = Pulse.LATE
    else:
        pulse = Pulse.WAITING if beats.at is None else Pulse.ALIVE
    return Standing(pulse, due, overdue)

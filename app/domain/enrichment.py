"""What is asked about an incident, and what is found around it."""

from datetime import datetime
from typing import Annotated

from pydantic import BeforeValidator, Field

from app.domain.record import Record
from app.domain.vocabulary import Severity

SUMMARY_MAX = 500
DATA_MAX = 32_768


def _one_line(text: object) -> object:
    if not isinstance(text, str):
        return text
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return cut(line, SUMMARY_MAX)


class About(Record):
    """An incident as enrichers see it, `at` the moment they are asked."""

    incident_id: str
    title: str
    description: str = ""
    source: str
    category: str = "other"
    incident_type: str = "Unknown"
    incident_class: str | None = None
    environment: str | None = None
    services: tuple[str, ...] = ()
    tags: dict[str, str] = {}
    severity: Severity
    assigned_team: str | None = None
    started_at: datetime
    at: datetime

    @property
    def called(self) -> tuple[str, ...]:
        """The names of the services it affects, as the alert has them: its services, else its label `service`."""
        named = self.services or tuple(filter(None, (self.tags.get("service"),)))
        return tuple(dict.fromkeys(named))


class Found(Record):
    """What one enricher found. `summary` is one line for people, cut to 500 characters; "" = nothing.

    `data` is the same for machines, a JSON object; `at` is as old as the data; `source` says where it is from.
    """

    summary: Annotated[str, BeforeValidator(_one_line)]
    data: dict[str, object] = Field(default={})
    at: datetime
    source: str = Field(max_length=200)


def bounded(found: Found) -> Found:
    """The same, its `data` left out where that would be too much to keep."""
    if len(found.model_dump_json()) <= DATA_MAX:
        return found
    return found.model_copy(update={"data": {"left_out": f"more than {DATA_MAX} bytes"}})


class NoAnswer(Exception):
    """Whoever was asked is away, or said what makes no sense. The text says which, to people, without a secret."""


class Resting(NoAnswer):
    """Nobody was asked: who would be is known not to answer."""


def cut(text: str, longest: int) -> str:
    """At most `longest` characters; an ellipsis says that there were more."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def ago(then: datetime, now: datetime) -> str:
    """How long ago, in the largest unit that fits: `just now`, `12 min ago`, `3 h ago`, `4 days ago`."""
    minutes = int((now - then).total_seconds() // 60)
    if minutes < 1:
        return "just now"
    if minutes < 120:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // 1440} days ago"

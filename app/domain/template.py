"""Notification templates: which of them says a message."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AliasChoices, Field, model_validator

from app.domain.people import Slug
from app.domain.record import Record
from app.domain.vocabulary import Category, ChannelName, MessageKind, Severity

LONGEST = 10_000


class TemplateType(StrEnum):
    """What a template is about. A custom one is used only where a level names it."""

    CREATED = "created"
    ESCALATED = "escalated"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    REMINDER = "reminder"
    UPDATED = "updated"
    CUSTOM = "custom"

    @classmethod
    def _missing_(cls, value: object) -> "Self | None":
        name = str(value).strip().lower().removeprefix("incident_")
        return cls._value2member_map_.get(name)  # type: ignore[return-value]


FALLS_BACK_TO_UPDATED = (MessageKind.ACKNOWLEDGED, MessageKind.REMINDER)


class Wording(Record):
    """Jinja templates. `html` is for mail, `payload` (its output is a JSON object) for webhooks."""

    subject: str | None = Field(default=None, max_length=1000)
    text: str | None = Field(
        default=None, max_length=LONGEST, validation_alias=AliasChoices("text", "body_text", "message")
    )
    html: str | None = Field(default=None, max_length=LONGEST, validation_alias=AliasChoices("html", "body_html"))
    payload: str | None = Field(default=None, max_length=LONGEST)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.said:
            raise ValueError("must have subject, text, html or payload")
        return self

    @property
    def said(self) -> dict[str, str]:
        """Field → template, of the fields that are there."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class Fitting(Record):
    """An empty list allows everything; `tags` must all be there with these values."""

    severity: tuple[Severity, ...] = ()
    category: tuple[Category, ...] = ()
    tags: dict[str, str] = {}


class Template(Record):
    """How the messages of one type are said, per channel. `variables` are the team's own constants."""

    id: Slug
    name: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=2000)
    type: TemplateType
    enabled: bool = True
    priority: int = Field(default=0, ge=-1000, le=1000)
    conditions: Fitting = Fitting()
    variables: dict[str, Annotated[str, Field(max_length=2000)]] = Field(default={}, max_length=50)
    channels: dict[ChannelName, Wording] = Field(min_length=1)


class Subject(Record):
    """What a template is chosen by, besides the kind of the message."""

    severity: Severity
    category: Category = Category.OTHER
    tags: dict[str, str] = {}


def choose(
    templates: Sequence[Template], kind: MessageKind, channel: ChannelName, about: Subject, named: str | None
) -> Template | None:
    """The template the level names, else the fitting one of the highest priority, ties by id; None = no template."""
    able = [template for template in templates if template.enabled and channel in template.channels]
    for template in able:
        if template.id == named:
            return template
    for wanted in (str(kind), *(["updated"] if kind in FALLS_BACK_TO_UPDATED else [])):
        fitting = [template for template in able if template.type == wanted and _fits(template.conditions, about)]
        if fitting:
            return min(fitting, key=lambda template: (-template.priority, template.id))
    return None


def _fits(wanted: Fitting, about: Subject) -> bool:
    return (
        (not wanted.severity or about.severity in wanted.severity)
        and (not wanted.category or about.category in wanted.category)
        and all(about.tags.get(tag) == value for tag, value in wanted.tags.items())
    )

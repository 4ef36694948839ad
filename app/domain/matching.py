"""Conditions on an incident: what rules, silences and playbooks ask before they act.

Source of the operators and of the short form: the seed's routing rules, §4.4 and §5.9 of its contract.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from app.domain.calendar import Weekday, within
from app.domain.escalation import Conditions, Daytime
from app.domain.fields import SHOWN, TEXT_MAX, Operator, comparable, expression, field_name
from app.domain.record import Record
from app.domain.vocabulary import Category, IncidentType, Severity, Status

DEPTH_MAX = 10
PARTS_MAX = 100
FORMS = ("field", "and", "or", "not")


class Subject(Record):
    """What is asked about an incident at a moment (aware), named as its columns are."""

    severity: Severity
    at: datetime
    source: str = ""
    title: str = ""
    description: str = ""
    category: Category = Category.OTHER
    incident_type: IncidentType = IncidentType.UNKNOWN
    incident_class: str | None = None
    environment: str | None = None
    affected_services: tuple[str, ...] = ()
    tags: dict[str, str] = {}
    runbook_url: str | None = None
    alert_count: int = 1
    flap_count: int = 0
    status: Status = Status.NEW
    assigned_team: str | None = None
    fingerprint: str = ""


class Condition(Record):
    """One test, `{"field", "operator", "value"}`, or several: `{"and": […]}`, `{"or": […]}`, `{"not": …}`.

    Also taken: a list, of which all must hold; and `{"severity": […], "category": […], "source": […],
    "environment": […], "tags": {…}, "time_of_day": {…}}`, of which all that are named must. `{}` holds always.
    """

    field: str | None = Field(default=None, max_length=TEXT_MAX)
    operator: Operator = Field(default=Operator.EQUALS)
    value: Any = Field(default=None, validate_default=True)
    and_: "tuple[Condition, ...] | None" = Field(default=None, validation_alias="and")
    or_: "tuple[Condition, ...] | None" = Field(default=None, validation_alias="or")
    not_: "Condition | None" = Field(default=None, validation_alias="not")

    @model_validator(mode="before")
    @classmethod
    def _in_full(cls, given: object) -> object:
        if isinstance(given, list | tuple):
            given = {"and": given}
        if isinstance(given, Mapping) and not given.keys() & {*FORMS, "operator", "value"}:
            given = _spelt_out(Conditions.model_validate(given, extra="forbid"))
        _bounded(given)
        return given

    @field_validator("field")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        return None if name is None else field_name(name)

    @field_validator("value")
    @classmethod
    def _comparable(cls, value: object, info: ValidationInfo) -> object:
        name, operator = info.data.get("field"), info.data.get("operator")
        if name is None or operator is None:
            return value
        if value is None:
            raise ValueError("is required")
        return comparable(name, operator, value)

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        said = [self.field, self.and_, self.or_, self.not_]
        if sum(form is not None for form in said) != 1 or (self.field is None and self.value is not None):
            raise ValueError("must be a test (field, operator, value), or one of and, or, not")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """One level of it: schemas are shown with what they refer to put in its place, and this refers to itself."""
        several: JsonSchemaValue = {"type": "array", "items": {"type": "object"}}
        operators = [operator.value for operator in Operator]
        tests = {"field": {"type": "string"}, "operator": {"enum": operators, "default": operators[0]}, "value": {}}
        forms = tests | {"and": several, "or": several, "not": {"type": "object"}}
        return {"type": "object", "description": cls.__doc__, "properties": forms}

    @model_serializer
    def _as_written(self) -> dict[str, Any]:
        if self.and_ is not None:
            return {"and": [part.model_dump(mode="json") for part in self.and_]}
        if self.or_ is not None:
            return {"or": [part.model_dump(mode="json") for part in self.or_]}
        if self.not_ is not None:
            return {"not": self.not_.model_dump(mode="json")}
        return {"field": self.field, "operator": self.operator.value, "value": _shown(self.value)}


class Tested(Record):
    """One test of a condition: what the incident had there (empty when nothing), and whether the test held."""

    field: str
    operator: Operator
    value: Any
    actual: tuple[str | float, ...]
    held: bool


def holds(condition: Condition, subject: Subject) -> bool:
    """Whether a condition is true of an incident. What isn't there equals nothing and is in nothing."""
    if condition.and_ is not None:
        return all(holds(part, subject) for part in condition.and_)
    if condition.or_ is not None:
        return any(holds(part, subject) for part in condition.or_)
    if condition.not_ is not None:
        return not holds(condition.not_, subject)
    return _holds(condition, subject)


def explain(condition: Condition, subject: Subject) -> tuple[Tested, ...]:
    """Every test of the condition in the order it is written, each judged by itself."""
    parts = (*(condition.and_ or ()), *(condition.or_ or ()), *((condition.not_,) if condition.not_ else ()))
    if condition.field is None:
        return tuple(tested for part in parts for tested in explain(part, subject))
    actual = tuple(a[:SHOWN] if isinstance(a, str) else a for a in values(condition.field, subject))
    value = _shown(condition.value)
    if len(said := str(value)) > SHOWN:
        value = f"{said[:SHOWN]}…"
    held = _holds(condition, subject)
    return (Tested(field=condition.field, operator=condition.operator, value=value, actual=actual[:10], held=held),)


def _holds(test: Condition, subject: Subject) -> bool:
    found = any(_compares(test, actual, subject) for actual in values(test.field or "", subject))
    return found == (test.operator.positive is test.operator)


def _compares(test: Condition, actual: str | float, subject: Subject) -> bool:
    value, text = test.value, str(actual)
    match test.operator.positive:
        case Operator.IN if isinstance(value, Daytime):
            return within(value, value.timezone, subject.at)
        case Operator.IN:
            return actual in value
        case Operator.CONTAINS:
            return str(value).casefold() in text.casefold()
        case Operator.MATCHES:
            return expression(value).isinstance_python(text)
        case Operator.GREATER_THAN:
            return _magnitude(test.field, actual) > _magnitude(test.field, value)
        case Operator.LESS_THAN:
            return _magnitude(test.field, actual) < _magnitude(test.field, value)
    return bool(actual == value)


def _magnitude(name: str | None, value: str | float) -> float:
    """A number to compare by; of severities the more urgent is the greater. NaN, which compares to nothing, if none."""
    if name == "severity":
        return -Severity(str(value)).rank
    try:
        return float(value)
    except ValueError:
        return math.nan


def values(name: str, subject: Subject) -> tuple[str | float, ...]:
    """What an incident has there: nothing, one value, or (services) several."""
    at = subject.at.astimezone(UTC)
    tag = name.removeprefix("tags.")
    found: str | float | None
    match name:
        case "service":
            return subject.affected_services
        case "time":
            return (at.strftime("%H:%M"),)
        case "hour":
            return (at.hour,)
        case "weekday":
            return (Weekday.of(at.date()).value,)
        case _ if tag != name:
            found = subject.tags.get(tag)
        case _:
            found = getattr(subject, name)
    return (found,) if found is not None and found != "" else ()


def _bounded(given: object) -> None:
    """Raises: ValueError when there is too much of it."""
    level, parts = [given], 0
    for _ in range(DEPTH_MAX + 1):
        parts += len(level)
        level = [inner for part in level for inner in _parts(part)]
    if level or parts > PARTS_MAX:
        raise ValueError(f"must have at most {PARTS_MAX} parts, nested at most {DEPTH_MAX} deep")


def _parts(given: object) -> Iterable[object]:
    if isinstance(given, list | tuple):
        return given
    if not isinstance(given, Mapping):
        return ()
    several = [part for form in ("and", "or") if isinstance(given.get(form), list | tuple) for part in given[form]]
    return [*several, given["not"]] if "not" in given else several


def _spelt_out(short: Conditions) -> dict[str, object]:
    named = ("severity", "category", "source", "environment")
    tests: list[dict[str, object]] = [
        {"field": name, "operator": "in", "value": list(getattr(short, name))} for name in named if getattr(short, name)
    ]
    tests += [{"field": f"tags.{tag}", "operator": "equals", "value": value} for tag, value in short.tags.items()]
    if short.time_of_day is not None:
        tests.append({"field": "time", "operator": "in", "value": short.time_of_day.model_dump(mode="json")})
    return {"and": tests}


def _shown(value: object) -> object:
    return value.model_dump(mode="json") if isinstance(value, Daytime) else value


ALWAYS = Condition.model_validate({})

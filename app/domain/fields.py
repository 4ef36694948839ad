"""What conditions may ask about, how, and of which values."""

import json
import math
import re
from enum import StrEnum
from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, core_schema

from app.domain.calendar import Weekday
from app.domain.escalation import Daytime
from app.domain.vocabulary import Category, Environment, IncidentType, Severity, Status

VALUES_MAX = 100
TEXT_MAX = 1000
SHOWN = 200


class Operator(StrEnum):
    """Each `not_` is true exactly where the other is not, and so of what isn't there."""

    EQUALS = "equals"
    NOT_EQUALS = "not_equals"
    CONTAINS = "contains"
    NOT_CONTAINS = "not_contains"
    GREATER_THAN = "greater_than"
    LESS_THAN = "less_than"
    IN = "in"
    NOT_IN = "not_in"
    MATCHES = "matches"

    @property
    def positive(self) -> "Operator":
        return Operator(self.value.removeprefix("not_"))


WORDS: dict[str, type[StrEnum]] = {
    "severity": Severity, "category": Category, "incident_type": IncidentType, "environment": Environment,
    "status": Status, "weekday": Weekday,
}  # fmt: skip
TEXTS = ("source", "title", "description", "incident_class", "service", "runbook_url", "assigned_team", "fingerprint")
NUMBERS = ("alert_count", "flap_count", "hour")
FIELDS = (*WORDS, *TEXTS, *NUMBERS, "time", "tags.<name>")
ALIASES = {"affected_services": "service", "affected_resources": "service", "type": "incident_type", "state": "status"}
_OF_SEVERAL = (Operator.IN, Operator.NOT_IN)
_ORDER = (Operator.GREATER_THAN, Operator.LESS_THAN)
_OF_TEXT = (Operator.CONTAINS, Operator.NOT_CONTAINS, Operator.MATCHES)


def field_name(name: str) -> str:
    """The name a field goes by. Raises: ValueError naming those there are."""
    if name.startswith("labels."):
        name = f"tags.{name.removeprefix('labels.')}"
    name = ALIASES.get(name, name)
    if name not in FIELDS[:-1] and not (name.startswith("tags.") and len(name) > len("tags.")):
        raise ValueError(f"must be one of {', '.join(FIELDS)}")
    return name


def comparable(name: str, operator: Operator, value: object) -> object:
    """The value of a test as it is compared. Raises: ValueError saying what it may be."""
    if name == "time":
        return _hours(operator, value)
    if operator in _OF_SEVERAL:
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= VALUES_MAX:
            raise ValueError(f"must be a list of 1 to {VALUES_MAX} values for {operator}")
        return tuple(_one(name, operator, one) for one in value)
    if operator in _OF_TEXT:
        if name in NUMBERS:
            raise ValueError(f"can't be tested with {operator}: {name} is a number")
        text = _text(value)
        if operator is Operator.MATCHES:
            expression(text)
        return text
    if operator in _ORDER and name != "severity":
        if name not in NUMBERS and not name.startswith("tags."):
            raise ValueError(f"can't be tested with {operator}: {name} has no order")
        return _number(value)
    return _one(name, operator, value)


def _one(name: str, operator: Operator, value: object) -> str | float:
    plain = isinstance(value, str | int | float)
    if not plain:
        raise ValueError("must be plain values" if operator in _OF_SEVERAL else f"must be one value for {operator}")
    if name in NUMBERS:
        return _number(value)
    words = WORDS.get(name)
    if words is None:
        return _text(value)
    try:
        return words(str(value)).value
    except ValueError:
        raise ValueError(f"must be one of {', '.join(word.value for word in words)}") from None


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("must be a number")
    return value


def _text(value: object) -> str:
    """Tags are texts: 3 and true are taken for "3" and "true"."""
    text = value if isinstance(value, str) else json.dumps(value) if isinstance(value, bool | int | float) else None
    if text is None or len(text) > TEXT_MAX:
        raise ValueError(f"must be a string of at most {TEXT_MAX} characters")
    return text


def _hours(operator: Operator, value: object) -> Daytime:
    if operator not in _OF_SEVERAL:
        raise ValueError("time is tested with in and not_in")
    return Daytime.model_validate(value, extra="forbid")


@lru_cache(maxsize=256)
def expression(pattern: str) -> SchemaValidator:
    """A regular expression, found anywhere in a text in time linear in its length (Rust's `regex`).

    Raises: ValueError when it is none, or one that engine doesn't have (look-around, back-references).
    """
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except SchemaError as wrong:
        why = re.sub(r"\s+", " ", re.split("error:", str(wrong), flags=re.IGNORECASE)[-1]).strip()
        raise ValueError(f"must be a regular expression as Rust's regex has them: {why[:SHOWN]}") from None

"""Who is held: conditions that stay as they are while nobody looks, also as Alertmanager's matchers.

Source of the matchers: https://prometheus.io/docs/alerting/latest/configuration/#matcher and the shape of its API,
`[{"name", "value", "isRegex", "isEqual"}]`.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from app.domain.fields import Operator, comparable, expression
from app.domain.matching import Condition

COLUMNS = {
    "alertname": "title", "service": "service", "severity": "severity", "env": "environment",
    "environment": "environment",
}  # fmt: skip
"""Alertmanager's labels that are fields of what other sources send, who may have no such tag."""
MOVING = frozenset({"time", "hour", "weekday", "alert_count", "status"})


def _from_alertmanager(given: object) -> object:
    """Alertmanager's matchers as a condition; all else as it is."""
    if not isinstance(given, list | tuple) or not given:
        return given
    if not all(isinstance(one, Mapping) and "name" in one for one in given):
        return given
    return {"and": [_matcher(one) for one in given]}


def _matcher(one: Mapping[str, Any]) -> object:
    name, value, regex = str(one["name"]), str(one.get("value", "")), bool(one.get("isRegex"))
    test = _test(f"tags.{name}", value, regex=regex)
    column = COLUMNS.get(name)
    if value and column and (regex or _sayable(column, value)):
        test = {"or": [test, _test(column, value, regex=regex)]}
    return test if one.get("isEqual", True) else {"not": test}


def _test(field: str, value: str, *, regex: bool) -> object:
    """A regex is anchored, and what is empty isn't there, as in Alertmanager."""
    if value and not regex:
        return {"field": field, "operator": "equals", "value": value}
    absent = {"not": {"field": field, "operator": "matches", "value": "(?s)."}}
    if not value:
        return absent
    found = {"field": field, "operator": "matches", "value": f"^(?:{value})$"}
    return {"or": [found, absent]} if _finds_nothing(found["value"]) else found


def _finds_nothing(pattern: str) -> bool:
    try:
        return expression(pattern).isinstance_python("")
    except ValueError:
        return False  # what is wrong with it is said where it is read


def _sayable(field: str, value: str) -> bool:
    try:
        comparable(field, Operator.EQUALS, value)
    except ValueError:
        return False
    return True


def _steady(condition: Condition) -> Condition:
    if moving := sorted(MOVING & set(_fields(condition))):
        raise ValueError(
            f"can't ask for {', '.join(moving)}, which changes without anybody looking; a maintenance window has hours"
        )
    return condition


def _fields(condition: Condition) -> Iterator[str]:
    if condition.field is not None:
        yield condition.field
    for part in (*(condition.and_ or ()), *(condition.or_ or ()), *((condition.not_,) if condition.not_ else ())):
        yield from _fields(part)


Matchers = Annotated[Condition, BeforeValidator(_from_alertmanager), AfterValidator(_steady)]

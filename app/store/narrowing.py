"""Conditions on incidents as SQL, as far as they are about columns: the rest is asked of what is found."""

from collections.abc import Iterable
from typing import NamedTuple

from app.domain.fields import Operator
from app.domain.matching import Condition, Subject, values
from app.domain.suppression import InhibitionRule, equal_field

PLAIN = frozenset(
    {"source", "severity", "environment", "category", "incident_type", "assigned_team", "title", "fingerprint"}
)
"""Fields that are columns of one text."""
TAG = "tags."


class Narrow(NamedTuple):
    """A condition over `incidents i`, with {} for each argument; an empty one is true of all."""

    sql: str = ""
    arguments: tuple[object, ...] = ()


def narrowed(condition: Condition) -> Narrow:
    """What is true of every incident the condition holds of, and of few others."""
    if condition.and_ is not None:
        return every(narrowed(part) for part in condition.and_)
    if condition.or_ is not None:
        return either(narrowed(part) for part in condition.or_)
    if condition.field is None or condition.operator not in (Operator.EQUALS, Operator.IN):
        return Narrow()
    wanted = list(condition.value) if condition.operator is Operator.IN else [condition.value]
    if condition.field == "service":
        return Narrow("i.affected_services && {}::text[]", (wanted,))
    if condition.field in PLAIN:
        return Narrow(f"i.{condition.field} = ANY({{}}::text[])", (wanted,))
    if condition.field.startswith(TAG):
        return Narrow("i.tags->>({}::text) = ANY({}::text[])", (condition.field.removeprefix(TAG), wanted))
    return Narrow()


def alike(rule: InhibitionRule, subject: Subject) -> Narrow:
    """What is true of every incident that equals another one where a rule asks for it. What is empty isn't there."""
    return every(_same(equal_field(name), subject) for name in rule.equal)


def _same(name: str, subject: Subject) -> Narrow:
    mine = next(iter(values(name, subject)), None)
    if name in PLAIN:
        return Narrow(f"nullif(i.{name}, '') IS NOT DISTINCT FROM {{}}::text", (mine,))
    if name.startswith(TAG):
        tag = name.removeprefix(TAG)
        return Narrow("nullif(i.tags->>({}::text), '') IS NOT DISTINCT FROM {}::text", (tag, mine))
    return Narrow()


def every(parts: Iterable[Narrow]) -> Narrow:
    return _joined(" AND ", [part for part in parts if part.sql])


def either(parts: Iterable[Narrow]) -> Narrow:
    """True of all where one of the parts is."""
    found = list(parts)
    return _joined(" OR ", found) if all(part.sql for part in found) else Narrow()


def _joined(word: str, parts: list[Narrow]) -> Narrow:
    if not parts:
        return Narrow()
    return Narrow(f"({word.join(part.sql for part in parts)})", tuple(a for part in parts for a in part.arguments))

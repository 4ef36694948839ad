"""JSON that is strict, and fits: only what JSON and PostgreSQL can hold, and not too deep."""

import json
import math
import re
from collections.abc import Iterator

import orjson

from app.domain.decode import path_of, printable
from app.domain.errors import Invalid

DEEPEST = 64
TOO_DEEP = f"must not be nested deeper than {DEEPEST} levels"
NO_NUL = "must not contain the character NUL"
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
SURROGATE = re.compile("[\ud800-\udfff]")
EXPLAINED_BYTES = 262_144
MOST_CONTAINERS = 500_000  # chosen: a quarter of a second to parse


def parse_json(raw: bytes) -> object:
    """Strict JSON: finite numbers, whole Unicode characters, no NUL, at most 64 levels and 500,000 containers.

    Raises: Invalid with the path of the offending value, or with line and column where there is none to name.
    """
    if not raw:
        raise Invalid.field("body", "must be JSON, but is empty")
    openings = _openings(raw)
    if openings > MOST_CONTAINERS:
        raise Invalid.field("body", f"must not hold more than {MOST_CONTAINERS:,} objects and lists")
    try:
        value: object = orjson.loads(raw)
    except orjson.JSONDecodeError as wrong:
        raise _why_not(raw, wrong) from None
    if b"\\u0000" in raw and NUL.search(raw):
        raise _first_fault(raw) or Invalid.field("body", NO_NUL)
    if openings > DEEPEST and _deeper_than(value, DEEPEST):
        raise Invalid.field("body", TOO_DEEP)
    return value


def _openings(raw: bytes) -> int:
    return raw.count(b"[") + raw.count(b"{")


def _why_not(raw: bytes, wrong: orjson.JSONDecodeError) -> Invalid:
    if wrong.msg.startswith(("depth limit exceeded", "failed to allocate memory")):  # what orjson says of the very deep
        return Invalid.field("body", TOO_DEEP)
    reason = printable(wrong.msg.partition(": line ")[0])
    at_least = Invalid.field("body", f"must be JSON: {reason} (line {wrong.lineno}, column {wrong.colno})")
    return _first_fault(raw) or at_least


def _first_fault(raw: bytes) -> Invalid | None:
    """What must not be in the body and where, found by a laxer parser; None when that can't say, or not cheaply."""
    if len(raw) > EXPLAINED_BYTES:
        return None
    try:
        return next(faults(json.loads(raw.decode(), strict=False)), None)
    except UnicodeDecodeError as bad:
        return Invalid.field("body", f"must be UTF-8; byte {bad.start} is not")
    except (ValueError, RecursionError):
        return None


def faults(value: object, path: tuple[object, ...] = ()) -> Iterator[Invalid]:
    """What PostgreSQL or JSON cannot hold, and where."""
    if len(path) > DEEPEST:
        yield Invalid.field("body", TOO_DEEP)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from faults(key, (*path, key))
            yield from faults(inner, (*path, key))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from faults(inner, (*path, at))
    elif isinstance(value, float) and not math.isfinite(value):
        yield Invalid.field(path_of(path), "must be a finite number")
    elif isinstance(value, str) and "\0" in value:
        yield Invalid.field(path_of(path), NO_NUL)
    elif isinstance(value, str) and SURROGATE.search(value):
        yield Invalid.field(path_of(path), "must not contain half a surrogate pair")


def _deeper_than(value: object, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True


def tolerant_json(raw: bytes) -> object:
    """JSON as models' output ends up in it: NUL left out, half a surrogate pair replaced, NaN taken for null.

    Raises: Invalid where it is no JSON all the same, or too deep.
    """
    try:
        return parse_json(raw)
    except Invalid as strict:
        if _openings(raw) > MOST_CONTAINERS:
            raise
        try:
            value = json.loads(raw.decode("utf-8", "replace"), strict=False, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            raise strict from None
        if _deeper_than(value, DEEPEST):
            raise strict from None
        return _holdable(value)


def _holdable(value: object) -> object:
    if isinstance(value, str):
        return SURROGATE.sub("�", value).replace("\0", "")
    if isinstance(value, dict):
        return {_holdable(key): _holdable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_holdable(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and not -(2**63) <= value < 2**64:  # as orjson, which can't write it again
        return float(value) if abs(value) < 10**300 else None
    return value

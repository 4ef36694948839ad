"""Bodies, as far as they may go: how long, how deep, and only what JSON and PostgreSQL can hold."""

import json
import math
from collections.abc import Iterator

import orjson
from starlette.requests import Request

from app.domain.decode import decode, path_of, printable
from app.domain.errors import Invalid, TooLarge

__all__ = ["decode", "parse_json", "read_body"]

DEEPEST = 64
TOO_DEEP = f"must not be nested deeper than {DEEPEST}"


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body. Raises: TooLarge before a byte beyond `max_bytes` is kept, or any is read if it was announced."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > max_bytes):
        raise _too_large(max_bytes)
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"The body is larger than the {max_bytes:,} bytes allowed here.", {"max_bytes": max_bytes})


def parse_json(raw: bytes) -> object:
    """Strict JSON: finite numbers, whole Unicode characters, no NUL, at most 64 levels.

    Raises: Invalid with the path of the offending value, or with line and column where there is no value yet.
    """
    if not raw:
        raise Invalid.field("body", "must be JSON, but is empty")
    try:
        value: object = orjson.loads(raw)
    except orjson.JSONDecodeError as wrong:
        raise _why(raw, wrong) from None
    # A document that has neither is walked through by nobody: this is the hot path.
    if b"\\u0000" in raw:
        _check(value)
    if raw.count(b"[") + raw.count(b"{") > DEEPEST and _deeper_than(value, DEEPEST):
        raise Invalid.field("body", TOO_DEEP)
    return value


def _why(raw: bytes, wrong: orjson.JSONDecodeError) -> Invalid:
    """orjson says where; the laxer parser of the standard library takes NaN, 1e400 and half characters and says what."""
    if wrong.msg.startswith("depth limit exceeded"):
        return Invalid.field("body", TOO_DEEP)
    try:
        _check(json.loads(raw.decode(), strict=False))
    except Invalid as refusal:
        return refusal
    except UnicodeDecodeError as bad:
        return Invalid.field("body", f"must be UTF-8; byte {bad.start} is not")
    except (ValueError, RecursionError):
        pass
    reason = wrong.msg.partition(": line ")[0]
    return Invalid.field("body", f"must be JSON: {printable(reason)} (line {wrong.lineno}, column {wrong.colno})")


def _deeper_than(value: object, levels: int) -> bool:
    level = [value]
    for _ in range(levels + 1):
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


def _check(value: object) -> None:
    """Raises: Invalid for the first value of the document that may not be in it."""
    for path, node in _leaves(value):
        if isinstance(node, float) and not math.isfinite(node):
            raise Invalid.field(path_of(path), "must be a finite number")
        if isinstance(node, str):
            if "\0" in node:
                raise Invalid.field(path_of(path), "must not contain the character NUL (\\u0000)")
            if not node.isascii() and printable(node) != node:
                raise Invalid.field(path_of(path), "must not contain half a surrogate pair")


def _leaves(value: object) -> Iterator[tuple[tuple[object, ...], object]]:
    """Every key and every value that is no container, with its path; in no particular order."""
    waiting: list[tuple[tuple[object, ...], object]] = [((), value)]
    while waiting:
        path, node = waiting.pop()
        if len(path) > DEEPEST:
            raise Invalid.field("body", TOO_DEEP)
        if isinstance(node, dict):
            yield from (((*path, key), key) for key in node)
            waiting.extend(((*path, key), inner) for key, inner in node.items())
        elif isinstance(node, list):
            waiting.extend(((*path, at), inner) for at, inner in enumerate(node))
        else:
            yield path, node

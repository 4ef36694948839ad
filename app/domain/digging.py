"""Reading JSON of which only a little is known: what is there, or nothing. Never raises."""

from datetime import UTC, datetime
from typing import Any

MILLISECONDS_FROM = 1e11
"""A number of seconds this large would lie in the year 5138: it counts milliseconds."""


def dug(found: object, *path: str | int) -> Any:
    """What is at a place in somebody's JSON; None where it isn't."""
    for step in path:
        if isinstance(found, dict) and isinstance(step, str):
            found = found.get(step)
        elif isinstance(found, list) and isinstance(step, int) and -len(found) <= step < len(found):
            found = found[step]
        else:
            return None
    return found


def listed(found: object) -> list[Any]:
    """A list, empty where somebody's JSON has something else there."""
    return found if isinstance(found, list) else []


def text_at(found: object, *path: str | int) -> str:
    """The text, or the number as text, at a place; empty where there is none."""
    value = dug(found, *path)
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def moment_at(found: object, *path: str | int) -> datetime | None:
    """The moment at a place, in UTC: ISO 8601 (without a zone: UTC), seconds or milliseconds since 1970."""
    value = dug(found, *path)
    try:
        if isinstance(value, str) and not value.strip().isdigit():
            moment = datetime.fromisoformat(value.strip())
            return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
        seconds = float(text_at(value))
        return datetime.fromtimestamp(seconds / (1000 if seconds >= MILLISECONDS_FROM else 1), UTC)
    except (ValueError, OverflowError, OSError):
        return None

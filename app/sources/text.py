"""Making what a vendor sends fit: a page is never refused over a long text."""

import json
from collections.abc import Mapping

import orjson

from app.domain.alert import LABELS_MAX

NAME_MAX = 256
VALUE_MAX = 4096


def cut(text: str, longest: int) -> str:
    """The text, or as much of it as fits with an ellipsis at the end."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def first_said(*texts: str | None) -> str:
    """The first of the texts that is not blank, or the empty one."""
    return next((text for text in texts if text and not text.isspace()), "")


def as_text(value: object) -> str:
    """Text as it stands, everything else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # a number of more than 64 bits
        return json.dumps(value, default=str)


def flat(name: str, value: object) -> dict[str, str]:
    """A JSON value as annotations: `name`, or `name.key` for every key of an object."""
    found = {f"{name}.{key}": inner for key, inner in value.items()} if isinstance(value, Mapping) else {name: value}
    texts = {cut(key, NAME_MAX): cut(as_text(inner), VALUE_MAX) for key, inner in found.items() if inner is not None}
    return {key: texts[key] for key in list(texts)[: LABELS_MAX // 2]}


def without_nulls(value: object) -> object:
    """Go and Rust write an absent field as null."""
    if not isinstance(value, dict) or None not in value.values():
        return value
    return {name: inner for name, inner in value.items() if inner is not None}

"""Making what a vendor sends fit: a page is never refused over a long text."""

import json
import re
from collections.abc import Mapping

import orjson

from app.domain.alert import LABELS_MAX

NAME_MAX = 256
VALUE_MAX = 4096
OUT = "[content]"
CONTENT = frozenset({
    "messages", "prompt", "prompts", "input", "inputs", "output", "outputs", "response", "responses", "completion",
    "completions", "request_body", "response_body", "system_prompt", "user_prompt", "system_instructions",
    "user_message", "assistant_message",
})  # fmt: skip
"""Members that hold what people and models have said to each other, alone or as the end of a dotted name."""
NAMES = frozenset({
    "id", "name", "version", "role", "type", "model", "labels", "tags", "createdat", "updatedat", "created_at",
    "updated_at",
})  # fmt: skip
"""Members of such an object that are no content."""
FIGURE = re.compile(r"\s*[-+]?[0-9][0-9.,]{0,30}\s*%?\s*")


def cut(text: str, longest: int) -> str:
    """The text, or as much of it as fits with an ellipsis at the end."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def first_said(*texts: str | None) -> str:
    """The first of the texts that is not blank, or the empty one."""
    return next((text for text in texts if text and not text.isspace()), "")


def as_text(value: object) -> str:
    """Text as it stands, everything else as JSON, without what people and models have said to each other."""
    if isinstance(value, str):
        return value
    said = without_content(value)
    try:
        return orjson.dumps(said, default=str).decode()
    except TypeError:  # a number of more than 64 bits
        return json.dumps(said, default=str)


def without_content(value: object, *, within: bool = False) -> object:
    """A JSON value with `[content]` for texts and lists that hold prompts or answers, known by their members' names.

    `within`: it is a part of one.
    """
    if isinstance(value, str):
        return OUT if within and says(value) else value
    if isinstance(value, list | tuple):
        return OUT if within and value else [without_content(inner) for inner in value]
    if isinstance(value, Mapping):
        return {
            name: without_content(inner, within=is_content(name) or (within and str(name).lower() not in NAMES))
            for name, inner in value.items()
        }
    return value


def is_content(name: object) -> bool:
    return str(name).rpartition(".")[2].lower() in CONTENT


def says(value: str) -> bool:
    """Whether a text says something: it is neither empty nor a figure."""
    return bool(value) and FIGURE.fullmatch(value) is None


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

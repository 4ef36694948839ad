"""From a parsed JSON value to a typed one, with refusals that say which field and what it may be."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ValidationError

from app.domain.errors import Invalid

M = TypeVar("M", bound=BaseModel)

PROBLEMS_SHOWN = 20
NAME_SHOWN = 100
NUMBER = re.compile(r"\s*[+-]?[\d._]+(e[+-]?\d+)?\s*", re.IGNORECASE)
PLAINER = {
    "missing": "is required",
    "string_type": "must be a string",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "extra_forbidden": "is not a field here",
}


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("needs a time zone, like 2026-11-23T08:00:00Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie between the years 1 and 9999 in UTC") from None


def _written(moment: object) -> object:
    """A number may be seconds or milliseconds: it is no moment."""
    if isinstance(moment, bool | int | float) or (isinstance(moment, str) and NUMBER.fullmatch(moment)):
        raise ValueError("must be a moment like 2026-11-23T08:00:00Z")
    return moment


Instant = Annotated[datetime, BeforeValidator(_written), AfterValidator(_utc)]


def decode(model: type[M], obj: object, prefix: str = "", *, extra: Literal["forbid", "ignore"] = "forbid") -> M:
    """`obj` as `model`. `prefix` is where `obj` stands in the request, like `alerts[3]`.

    Raises: Invalid with the path of every broken field, 20 at most, and what it may be.
    """
    try:
        return model.model_validate(obj, extra=extra)
    except ValidationError as wrong:
        raise Invalid.fields(problems(_errors(wrong), prefix, field_names(model))) from None


def problems(errors: Iterable[Mapping[str, Any]], prefix: str = "", known: Sequence[str] = ()) -> list[dict[str, str]]:
    """pydantic's errors as `{field, message}`, 20 at most. No message repeats a value that was sent.

    `known` are the fields of the outermost model, named when there is one too many.
    """
    return [
        {"field": path_of(error["loc"], prefix), "message": _plainly(error, known)}
        for error in islice(errors, PROBLEMS_SHOWN)
    ]


def _plainly(error: Mapping[str, Any], known: Sequence[str]) -> str:
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1 and known:
        return f"is not a field here; there are {', '.join(known)}"
    if error["type"] in PLAINER:
        return PLAINER[error["type"]]
    message: str = error["msg"].removeprefix("Value error, ")
    return re.sub(r"^\w+ should (.*?)( after validation, not \w+)?$", r"must \1", message)


def path_of(parts: Iterable[object], prefix: str = "") -> str:
    """`alerts[3].labels.foo`; `body` for the whole. Always encodable: a lone surrogate is spelt out."""
    path = prefix
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]":
            path += f".{printable(str(part)[:NAME_SHOWN])}" if path else printable(str(part)[:NAME_SHOWN])
    return path or "body"


def printable(text: str) -> str:
    """The text with what UTF-8 cannot say (lone surrogates) and NUL written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\u0000")


def field_names(model: type[BaseModel]) -> list[str]:
    """The model's fields as callers write them, the first name of each."""
    return [_alias(field.validation_alias) or name for name, field in model.model_fields.items()]


def _alias(alias: object) -> str | None:
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else alias if isinstance(alias, str) else None


def _errors(wrong: ValidationError) -> Sequence[Mapping[str, Any]]:
    return wrong.errors(include_url=False, include_context=False, include_input=False)

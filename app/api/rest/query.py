"""Query strings: read as one record, and documented from the same one."""

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from fastapi import Request

from app.api.rest.wire import inlined
from app.domain.decode import decode, printable
from app.domain.errors import Invalid
from app.domain.record import Record

R = TypeVar("R", bound=Record)
NO_OTHERS: Mapping[str, str] = {}


def query(request: Request, shape: type[R], others: Mapping[str, str] = NO_OTHERS) -> R:
    """The query string as one of `shape`; `others` are further names of its fields.

    Lists are repeated or have commas, with or without `[]`; objects are pairs like `team:payments`.

    Raises: Invalid naming the parameter, and for an unknown one those there are.
    """
    fields, asked = parameters(shape), dict[str, Any]()
    for written, value in request.query_params.multi_items():
        name = others.get(written.removesuffix("[]"), written.removesuffix("[]"))
        if "\0" in value:
            raise Invalid.field(written, "must not contain the character NUL")
        match fields.get(name, {}):
            case {"type": "array"}:
                asked.setdefault(name, []).extend(filter(None, value.split(",")))
            case {"type": "object"}:
                asked.setdefault(name, {}).update(_pair(name, pair) for pair in value.split(","))
            case _ if name in asked:
                raise Invalid.field(written, "is given twice")
            case {"format": "date-time"}:
                asked[name] = value.replace(" ", "+")  # an unescaped + of a time zone arrives as a blank
            case _:
                asked[name] = value
    return decode(shape, asked)


async def nothing_asked(request: Request) -> None:
    """Refuses a query string where none is read. Raises: Invalid."""
    extra: dict[str, Any] = getattr(request.scope.get("route"), "openapi_extra", None) or {}
    if request.query_params and not any(parameter["in"] == "query" for parameter in extra.get("parameters", ())):
        raise Invalid.field(printable(next(iter(request.query_params))), "is not a parameter here; there are none")


def _pair(field: str, pair: str) -> tuple[str, str]:
    name, sign, value = pair.partition(":")
    if not sign:
        raise Invalid.field(field, "must look like team:payments")
    return name, value


@cache
def parameters(shape: type[Record]) -> dict[str, dict[str, Any]]:
    """The JSON schema of every parameter by its name. What isn't asked is left out: there is no null in a query."""
    fields: dict[str, dict[str, Any]] = inlined(shape.model_json_schema())["properties"]
    return {name: _without_null(schema) for name, schema in fields.items()}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    return {**rest, **kinds[0]}


def asking(shape: type[Record]) -> dict[str, Any]:
    """An operation's `openapi_extra` for a query string that `query` takes."""
    required = shape.model_json_schema().get("required", [])
    return {
        "parameters": [
            {"name": name, "in": "query", "required": name in required, "schema": _written(schema)}
            | ({"description": schema["description"]} if "description" in schema else {})
            for name, schema in parameters(shape).items()
        ]
    }


def _written(schema: dict[str, Any]) -> dict[str, Any]:
    """How it is written in a query string: an object as pairs."""
    if schema.get("type") == "object":
        return {"type": "array", "items": {"type": "string", "pattern": "^[^:,]+:[^,]*$"}}
    return {name: value for name, value in schema.items() if name != "description"}

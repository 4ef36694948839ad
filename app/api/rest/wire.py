"""What every REST route needs: the gateway, a body that has been checked, how both are documented."""

from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Depends, Request, Response
from pydantic import AliasChoices, BaseModel

from app.api.limits import read_body
from app.domain.decode import decode
from app.domain.vocabulary import SEVERITY_ALIASES, Severity
from app.runtime import Gateway
from app.sources.native import delivery_of
from app.sources.strict_json import parse_json

M = TypeVar("M", bound=BaseModel)


async def _gateway(request: Request) -> Gateway:
    return served(request)


Served = Annotated[Gateway, Depends(_gateway)]


def served(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


async def read_json(request: Request, *, batch: bool = False) -> object:
    """The body as JSON, whatever its Content-Type says; an empty one is {}. Raises: Invalid, TooLarge."""
    server = served(request).settings.server
    raw = await read_body(request, server.max_batch_bytes if batch else server.max_body_bytes)
    return parse_json(raw) if raw else {}


async def read(request: Request, shape: type[M]) -> M:
    """The body as one of `shape`. Raises: Invalid with every field's path, TooLarge."""
    return decode(shape, await read_json(request))


def reply(body: object, status: int = 200) -> Response:
    """JSON; moments in UTC end in Z."""
    return Response(orjson.dumps(body, option=orjson.OPT_UTC_Z), status, media_type="application/json")


def idempotency_key(request: Request) -> str | None:
    """Raises: Invalid."""
    return delivery_of(request.headers)


def accepts(shape: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """An operation's `openapi_extra` for a body that `read` takes."""
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": taken(shape)}}}}


IDEMPOTENT: dict[str, Any] = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "description": "Asking again with the same key is asking once.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }
    ]
}


NOT_FOUND: dict[str, Any] = {"responses": {"404": {"$ref": "#/components/responses/NotFound"}}}
"""An operation's `openapi_extra` where the body names something that must be there."""


def taken(shape: type[BaseModel], *, nulls: bool = False) -> dict[str, Any]:
    """The JSON schema of a body that `decode` takes: nothing but its fields, each by its first name.

    `nulls`: null is the same as left out.
    """
    schema: dict[str, Any] = closed(inlined(shape.model_json_schema()))
    schema = _with_aliases(nullable(schema) if nulls else schema)
    for field in shape.model_fields.values():
        if isinstance(names := field.validation_alias, AliasChoices) and len(names.choices) > 1:
            first, *others = (str(choice) for choice in names.choices)
            prop = schema["properties"][first]
            prop["description"] = " ".join([prop.get("description", ""), f"Also: {', '.join(others)}."]).strip()
    return schema


def _with_aliases(schema: Any) -> Any:
    """A JSON schema of which every severity may be said in the words of other systems."""
    if isinstance(schema, list):
        return [_with_aliases(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("enum") == list(Severity):
        return schema | {
            "enum": [*Severity, *(name for name in SEVERITY_ALIASES if name.upper() not in list(Severity))]
        }
    return {name: _with_aliases(part) for name, part in schema.items()}


def nullable(schema: Any) -> Any:
    """A JSON schema in which what may be left out may be null."""
    if isinstance(schema, list):
        return [nullable(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    whole = {name: nullable(part) for name, part in schema.items()}
    if isinstance(properties := whole.get("properties"), dict):
        whole["properties"] = {
            name: part if name in whole.get("required", ()) or {"type": "null"} in part.get("anyOf", ()) else
            {"anyOf": [part, {"type": "null"}]}
            for name, part in properties.items()
        }  # fmt: skip
    return whole


def closed(schema: Any) -> Any:
    """A JSON schema of which every object has the properties it names, and no others."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    whole = {name: closed(part) for name, part in schema.items()}
    if isinstance(whole.get("properties"), dict) and whole.get("type") == "object":
        whole.setdefault("additionalProperties", False)
    return whole


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema with every $ref replaced by what it names, to stand anywhere in an OpenAPI document.

    Within itself a thing is only said to be an object.
    """
    definitions = schema.get("$defs", {})

    def resolved(part: Any, within: tuple[str, ...] = ()) -> Any:
        if isinstance(part, list):
            return [resolved(item, within) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            name = part["$ref"].rpartition("/")[2]
            return {"type": "object"} if name in within else resolved(definitions[name], (*within, name))
        return {name: resolved(value, within) for name, value in part.items() if name != "$defs"}

    result: dict[str, Any] = resolved(schema)
    return result

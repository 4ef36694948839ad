"""The description of the API, made true: what FastAPI can't know of our answers is added, what isn't so taken out."""

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson

from app.api.rest.doors import InvalidEvent
from app.domain.record import Record

Schema = dict[str, Any]

METHODS = frozenset({"get", "put", "post", "delete", "patch"})
EXAMPLES = Path(__file__).with_name("examples.json")
"""Of a story that was played through: what was sent, and what was answered."""
OPEN = frozenset({"/health", "/health/live", "/health/ready", "/ready", "/metrics"})
"""Where nobody has to say who asks."""


class Fault(Record):
    """`details` lists `{field, message}` for every part of the request that is wrong; else what the code needs."""

    code: str
    message: str
    status: int
    details: list[Any] | dict[str, Any] | None = None


class Error(Record):
    """Every refusal. `error.code` is stable, the message is for people and names a way out."""

    error: Fault
    message: str
    timestamp: str


REFUSALS: dict[HTTPStatus, tuple[str, str, object]] = {
    HTTPStatus.BAD_REQUEST: (
        "VALIDATION_ERROR", "severity: must be 'P0', 'P1', 'P2', 'P3' or 'P4'",
        [{"field": "severity", "message": "must be 'P0', 'P1', 'P2', 'P3' or 'P4'"}],
    ),
    HTTPStatus.UNAUTHORIZED: ("AUTHENTICATION_ERROR", "This API key is not known.", None),
    HTTPStatus.FORBIDDEN: (
        "AUTHORIZATION_ERROR", "The role viewer may not respond to incidents; these may: responder, admin.", None,
    ),
    HTTPStatus.NOT_FOUND: (
        "NOT_FOUND", "There is no incident 'nowhere'.", {"kind": "incident", "id": "nowhere"},
    ),
    HTTPStatus.CONFLICT: (
        "INVALID_STATE_TRANSITION",
        "An incident that is RESOLVED cannot become ACKNOWLEDGED; from RESOLVED it can go to CLOSED, NEW.",
        {"from": "RESOLVED", "to": "ACKNOWLEDGED", "allowed": ["CLOSED", "NEW"]},
    ),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
        "PAYLOAD_TOO_LARGE", "The body is larger than the 1,048,576 bytes allowed here.", {"max_bytes": 1_048_576},
    ),
    HTTPStatus.TOO_MANY_REQUESTS: (
        "RATE_LIMIT_EXCEEDED", "A key or token of the role viewer may send 30,000 requests a minute; wait 12 s.",
        {"limit": 30_000, "retry_after": 12},
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: (
        "SERVICE_UNAVAILABLE", "PostgreSQL does not answer; nothing was stored. Try again in a moment.",
        {"component": "database"},
    ),
}  # fmt: skip
LEFT = {
    "X-RateLimit-Limit": {"description": "Requests in a minute of the clock.", "schema": {"type": "integer"}},
    "X-RateLimit-Remaining": {"description": "How many of them are left.", "schema": {"type": "integer"}},
    "X-RateLimit-Reset": {"description": "Seconds until all are there again.", "schema": {"type": "integer"}},
}
WAITS = {"Retry-After": {"description": "Seconds after which to ask again.", "schema": {"type": "integer"}}}
WHY = {
    HTTPStatus.BAD_REQUEST: "The request breaks a rule; every broken field is named with what is allowed.",
    HTTPStatus.UNAUTHORIZED: "The key or token is missing, not known, or no longer valid.",
    HTTPStatus.FORBIDDEN: "The key's role may not do this.",
    HTTPStatus.NOT_FOUND: "There is no such thing.",
    HTTPStatus.CONFLICT: "It contradicts what is there, or was asked of an incident that is past it.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large; it was not read.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests.",
    HTTPStatus.SERVICE_UNAVAILABLE: "A part that is needed is away; asking again later is right.",
}


def completed(schema: Schema) -> Schema:
    """The description with everything that holds for all of its operations."""
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    error = Error.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= error.pop("$defs") | {"Error": error, "InvalidEvent": InvalidEvent.model_json_schema()}
    components["responses"] = {status.name.title().replace("_", ""): _refusal(status) for status in REFUSALS}
    components["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "`llm-im key create`"},
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "The same key, or a JWT of one of `auth.issuers`.",
        },
    }
    schema["security"] = [{"key": []}, {"bearer": []}]
    for path, operation in operations(schema):
        _complete(path, operation)
    _exemplify(schema, orjson.loads(EXAMPLES.read_bytes()))
    return schema


def _exemplify(schema: Schema, said: Schema) -> None:
    """Gives bodies, answers and what answers are made of the examples that are kept for them."""
    for name, example in said["answers"].items():
        schema["components"]["schemas"][name]["examples"] = [example]
    for named, example in said["requests"].items():
        method, path = named.split()
        content = schema["paths"][path][method.lower()]["requestBody"]["content"]
        content["application/json"]["example"] = example
    for named, example in said["responses"].items():
        method, path, status = named.split()
        content = schema["paths"][path][method.lower()]["responses"][status]["content"]
        content["application/json"]["example"] = example


def operations(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Every operation with its path and, as `method`, in what way."""
    for path, item in schema["paths"].items():
        for method in METHODS & item.keys():
            item[method].setdefault("x-method", method)
            yield path, item[method]


def _complete(path: str, operation: Schema) -> None:
    method, responses = operation.pop("x-method"), operation["responses"]
    responses.pop("422", None)
    if path.removeprefix("/api/v1") in OPEN:
        operation["security"] = []
        return
    for status in _possible(path, method, "requestBody" in operation, operation.get("security") != []):
        said = _as_pagerduty(status) if path.startswith("/v2/") else {"$ref": f"#/components/responses/{_name(status)}"}
        responses.setdefault(str(status.value), said)


def _possible(path: str, method: str, body: bool, secured: bool) -> Iterator[HTTPStatus]:
    yield HTTPStatus.BAD_REQUEST
    yield HTTPStatus.UNAUTHORIZED
    if secured:
        yield HTTPStatus.FORBIDDEN
    if "{" in path or not secured:
        yield HTTPStatus.NOT_FOUND
    if method != "get":
        yield HTTPStatus.CONFLICT
    if body:
        yield HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    yield HTTPStatus.TOO_MANY_REQUESTS
    yield HTTPStatus.SERVICE_UNAVAILABLE


def _as_pagerduty(status: HTTPStatus) -> Schema:
    schema = {"$ref": "#/components/schemas/InvalidEvent"}
    return {"description": WHY[status], "content": {"application/json": {"schema": schema}}}


def _name(status: HTTPStatus) -> str:
    return status.name.title().replace("_", "")


def _refusal(status: HTTPStatus) -> Schema:
    code, message, details = REFUSALS[status]
    example = {
        "error": {"code": code, "message": message, "status": status.value, "details": details},
        "message": message, "timestamp": "2026-11-23T08:00:00Z",
    }  # fmt: skip
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}, "example": example}}
    headers = {HTTPStatus.TOO_MANY_REQUESTS: WAITS | LEFT, HTTPStatus.SERVICE_UNAVAILABLE: WAITS}.get(status)
    return {"description": WHY[status], "content": content} | ({"headers": headers} if headers else {})

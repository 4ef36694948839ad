"""Refusals on the wire: the only place that knows which status and which body one becomes."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path

from app.api import allowance
from app.domain.access import Allowance
from app.domain.decode import printable, problems
from app.domain.errors import Invalid, InvalidToken, RateLimited, Refused, TooLarge, Unauthenticated, Unavailable
from app.sources.alertmanager import DOORS as ALERTMANAGER_DOORS
from app.sources.pagerduty import DOORS as PAGERDUTY_DOORS
from app.sources.pagerduty import InvalidEvent

log = logging.getLogger(__name__)

STATUS: dict[str, HTTPStatus] = {
    "VALIDATION_ERROR": HTTPStatus.BAD_REQUEST,
    "AUTHENTICATION_ERROR": HTTPStatus.UNAUTHORIZED,
    "AUTHORIZATION_ERROR": HTTPStatus.FORBIDDEN,
    "NOT_FOUND": HTTPStatus.NOT_FOUND,
    "METHOD_NOT_ALLOWED": HTTPStatus.METHOD_NOT_ALLOWED,
    "CONFLICT": HTTPStatus.CONFLICT,
    "INVALID_STATE_TRANSITION": HTTPStatus.CONFLICT,
    "PAYLOAD_TOO_LARGE": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "RATE_LIMIT_EXCEEDED": HTTPStatus.TOO_MANY_REQUESTS,
    "INTERNAL_ERROR": HTTPStatus.INTERNAL_SERVER_ERROR,
    "PROCESSING_ERROR": HTTPStatus.INTERNAL_SERVER_ERROR,
    "SERVICE_UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
}
CODE = {status: code for code, status in reversed(STATUS.items())}
PARTS_OF_A_REQUEST = ("body", "query", "path", "header", "cookie")


def response(refusal: Refused, path: str = "") -> Response:
    """The refusal as `path` words them: PagerDuty's way at its doors, ours everywhere else."""
    status = STATUS.get(refusal.code, HTTPStatus.INTERNAL_SERVER_ERROR)
    if isinstance(refusal, RateLimited) and path.startswith(ALERTMANAGER_DOORS):
        status = HTTPStatus.SERVICE_UNAVAILABLE  # Alertmanager drops what is answered 429, and sends again after 503
    if path in PAGERDUTY_DOORS:
        return _json(_as_pagerduty(refusal, status), status, _headers(refusal))
    return _json(_body(refusal.code, refusal.message, status, refusal.details), status, _headers(refusal))


def install(app: FastAPI) -> None:
    """Whatever goes wrong in `app` is answered in one form."""

    @app.exception_handler(Refused)
    async def refused(request: Request, refusal: Refused) -> Response:
        return response(refusal, request.url.path)

    @app.exception_handler(RequestValidationError)
    async def unusable(request: Request, wrong: RequestValidationError) -> Response:
        found = problems(error | {"loc": _within(error["loc"])} for error in wrong.errors())
        return response(Invalid.fields(found), request.url.path)

    @app.exception_handler(HTTPException)
    async def http(request: Request, wrong: HTTPException) -> Response:
        status = HTTPStatus(wrong.status_code)
        body = _body(CODE.get(status, status.name), str(wrong.detail), status)
        methods = ", ".join(allowed(request)) if status == HTTPStatus.METHOD_NOT_ALLOWED else ""
        return _json(body, status, {"Allow": methods} if methods else wrong.headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, wrong: ClientDisconnect) -> Response:
        return Response(status_code=HTTPStatus.BAD_REQUEST)

    @app.exception_handler(Exception)
    async def broken(request: Request, bug: Exception) -> Response:
        route = getattr(request.scope.get("route"), "path", None)  # no address: the last part of one may be a key
        log.error("%s %s failed", request.method, route or printable(request.url.path), exc_info=bug)
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        return _json(_body("INTERNAL_ERROR", "Something went wrong here; it has been logged.", status), status)


def allowed(request: Request) -> list[str]:
    """The methods that there are at an address, as it is documented: several routes may share it."""
    path = request.url.path.removeprefix("/api")
    items: dict[int, dict[str, object]] = {
        template.count("{"): item
        for template, item in request.app.openapi()["paths"].items()
        if compile_path(template.removeprefix("/api"))[0].match(path)
    }
    return [method.upper() for method in items[min(items)]] if items else []


def _within(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    return loc[1:] if len(loc) > 1 and loc[0] in PARTS_OF_A_REQUEST else loc


def _headers(refusal: Refused) -> dict[str, str]:
    match refusal:
        case Unavailable():
            return {"Retry-After": str(refusal.retry_after)}
        case RateLimited():
            left = Allowance(refusal.limit, 0, refusal.retry_after)
            return {"Retry-After": str(refusal.retry_after), **(allowance.headers(left) if refusal.limit else {})}
        case InvalidToken():  # RFC 6750, 3.1
            why = refusal.message.encode("ascii", "replace").decode().replace("\\", "").replace('"', "'")
            return {"WWW-Authenticate": f'Bearer error="invalid_token", error_description="{why}"'}
        case Unauthenticated():
            return {"WWW-Authenticate": "Bearer"}
        case TooLarge():  # the rest of the body is still under way: nothing else can be said on this connection
            return {"Connection": "close"}
    return {}


def _body(code: str, message: str, status: HTTPStatus, details: object = None) -> dict[str, object]:
    return {
        "error": {"code": code, "message": message, "status": status.value, "details": details},
        "message": message,
        "timestamp": datetime.now(UTC),
    }


def _as_pagerduty(refusal: Refused, status: HTTPStatus) -> dict[str, object]:
    """Source: PagerDuty Events API v2, https://developer.pagerduty.com/docs/events-api-v2-overview"""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return {"status": "throttle exceeded", "message": refusal.message}
    if isinstance(refusal, InvalidEvent):
        return {"status": "invalid event", "message": refusal.message, "errors": refusal.errors}
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return {"status": "error", "message": refusal.message}
    return {"status": "invalid event", "message": "Event object is invalid", "errors": [refusal.message]}


def _json(body: object, status: HTTPStatus, headers: Mapping[str, str] | None = None) -> Response:
    try:
        content = orjson.dumps(body, option=orjson.OPT_UTC_Z)
    except TypeError:  # a lone surrogate, or a value only the caller could have put there
        content = orjson.dumps(_printable(body), option=orjson.OPT_UTC_Z)
    return Response(content, status, dict(headers or {}), media_type="application/json")


def _printable(value: object) -> object:
    match value:
        case dict():
            return {printable(str(key)): _printable(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_printable(inner) for inner in value]
        case None | bool() | float() | datetime():
            return value
        case int() if value.bit_length() < 64:
            return value
    return printable(str(value))

"""One request and its answer over HTTP, tried again while that is harmless."""

import asyncio
import json
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote
from uuid import uuid4

import httpx

from llm_incident_manager_client.errors import (
    PASSING,
    BadAddress,
    BadAnswer,
    IncidentManagerError,
    Refused,
    Unreachable,
    refusal,
)

FIRST_PAUSE_SECS, LONGEST_PAUSE_SECS = 0.25, 5.0
"""Chosen: a restarted gateway is found within a second, and one that stays away is asked twelve times a minute."""
NOT_DONE = frozenset({429, 503})
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
CREATED, HEALTHY_OR_NOT = 201, (200, 503)


class Backoff:
    """Pauses between tries: exponential, with full jitter.

    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    def __init__(self) -> None:
        self._tries = 0

    def next(self, at_least: float = 0) -> float:
        """Seconds."""
        longest = min(LONGEST_PAUSE_SECS, FIRST_PAUSE_SECS * 2 ** min(self._tries, 10))
        self._tries += 1
        return at_least + random.uniform(0, longest)  # noqa: S311

    def reset(self) -> None:
        self._tries = 0


class Reply(NamedTuple):
    status: int
    body: Any


@dataclass(frozen=True)
class Rest:
    """`retry_for_secs`: no try begins later than this after the first; each takes `http`'s timeout at most."""

    endpoint: str
    http: httpx.AsyncClient
    retry_for_secs: float

    async def ask(
        self,
        method: str,
        *path: str,
        query: Mapping[str, Any] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
        repeatable: bool = True,
        answers: Sequence[int] = (),
    ) -> Reply:
        """The answer to one request: 2xx, or a status in `answers`.

        A write carries an Idempotency-Key (`key`, or one of its own) that is the same in every try. What is not
        `repeatable` is tried again only where it was not carried out: not connected, or refused for now.

        Raises: Refused, Unreachable, BadAnswer.
        """
        request = self.http.build_request(
            method, f"{self.endpoint}/{_target(path)}", params=_written(query or {}),
            content=None if body is None else encoded(body),
            headers={**_headers(method, key), **(headers or {})},
        )  # fmt: skip
        backoff, give_up_at = Backoff(), time.monotonic() + self.retry_for_secs
        while True:
            try:
                response = await self.http.send(request)
                if response.is_success or response.status_code in answers:
                    return Reply(response.status_code, _body(response))
                refused = _refused(response)
                failure: IncidentManagerError = refused
                again = response.status_code in (PASSING if repeatable else NOT_DONE)
                pause = backoff.next(refused.retry_after or 0)
            except httpx.TransportError as silence:
                failure = Unreachable(f"{self.endpoint} does not answer ({_why(silence)}); is the server running?")
                failure.__cause__ = silence
                again = repeatable or isinstance(silence, NOT_SENT)
                pause = backoff.next()
            if not again or time.monotonic() + pause > give_up_at:
                raise failure
            await asyncio.sleep(pause)


def address(endpoint: str) -> str:
    """The server's base address without a slash at its end. Raises: BadAddress."""
    with suppress(httpx.InvalidURL):
        url = httpx.URL(endpoint)
        if url.scheme in ("http", "https") and url.host and "%" not in url.host:
            return endpoint.rstrip("/")
    raise BadAddress(f"{endpoint!r} is no address of a server; it looks like http://localhost:8080")


def key_header(api_key: str | None) -> dict[str, str]:
    """Raises: Unauthenticated for what can't be sent."""
    if not api_key:
        return {}
    if not (api_key.isascii() and api_key.isprintable()):
        raise refusal("AUTHENTICATION_ERROR", "An API key or a JWT has nothing but printable ASCII characters.")
    return {"X-API-Key": api_key}


def _target(path: Sequence[str]) -> str:
    """Raises: NotFound for what would be another address."""
    for part in path:
        if part in ("", ".", ".."):
            raise refusal("NOT_FOUND", f"{part!r} is no id")
    return "/".join(quote(part, safe="") for part in path)


def encoded(value: object) -> str:
    """JSON; moments as ISO 8601."""
    return json.dumps(value, default=_json)


def _headers(method: str, key: str | None) -> dict[str, str]:
    if method == "GET":
        return {}
    return {"Content-Type": "application/json", "Idempotency-Key": key or uuid4().hex}


def _written(query: Mapping[str, Any]) -> httpx.QueryParams:
    """As the server reads query strings: lists repeat, objects are pairs with a colon."""
    found: list[tuple[str, str]] = []
    for name, value in query.items():
        match value:
            case None:
                continue
            case bool():
                found.append((name, str(value).lower()))
            case Mapping():
                found += [(name, f"{key}:{text}") for key, text in value.items()]
            case list() | tuple() | set() | frozenset():
                found += [(name, str(one)) for one in value]
            case datetime():
                found.append((name, value.isoformat()))
            case _:
                found.append((name, str(value)))
    return httpx.QueryParams(tuple(found))


def _json(value: object) -> object:
    match value:
        case datetime():
            return value.isoformat()
        case Mapping():
            return dict(value)
        case set() | frozenset() | Sequence():
            return list(value)
    raise TypeError(f"{value!r} can't be sent as JSON")


def _body(response: httpx.Response) -> Any:
    if not response.content:
        return None
    try:
        return response.json()
    except ValueError as no:
        where = f"{response.request.url.scheme}://{response.request.url.netloc.decode()}"
        raise BadAnswer(f"{where} answered {response.status_code} without JSON; is it this service?") from no


def _refused(response: httpx.Response) -> Refused:
    """The refusal, in the form of the server's `{error: {code, message, status, details}, message, timestamp}`."""
    status, wait = response.status_code, response.headers.get("retry-after", "")
    retry_after = float(wait) if wait.isdecimal() else None
    try:
        body = response.json()
    except ValueError:
        body = None
    said = body.get("error") if isinstance(body, dict) else None
    if not isinstance(said, dict):
        message = f"{response.request.url} answered {status}; is it this service?"
        return refusal(
            response.reason_phrase.upper().replace(" ", "_") or str(status), message, None, status, retry_after
        )
    return refusal(str(said.get("code")), str(said.get("message")), said.get("details"), status, retry_after)


def _why(silence: httpx.TransportError) -> str:
    return str(silence) or type(silence).__name__

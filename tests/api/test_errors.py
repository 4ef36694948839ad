"""Every refusal on the wire: status, headers, and one form of body that is always JSON."""

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Query

from app.api import errors
from app.domain.errors import (
    Conflict,
    Forbidden,
    Invalid,
    InvalidTransition,
    NotFound,
    RateLimited,
    Refused,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from app.sources.pagerduty import InvalidEvent

REFUSALS: list[tuple[Refused, int, dict[str, str]]] = [
    (Invalid.field("title", "is required"), 400, {}),
    (Unauthenticated("Who is there?"), 401, {"www-authenticate": "Bearer"}),
    (Forbidden("Not you."), 403, {}),
    (NotFound("incident", "1"), 404, {}),
    (Conflict("Too late."), 409, {}),
    (InvalidTransition("CLOSED", "ACKNOWLEDGED", ["NEW"]), 409, {}),
    (TooLarge("Less."), 413, {"connection": "close"}),
    (RateLimited("Slower."), 429, {"retry-after": "1"}),
    (Unavailable("database", "PostgreSQL is away.", retry_after=2), 503, {"retry-after": "2"}),
    (Refused("No."), 500, {}),
]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    errors.install(app)

    @app.get("/typed/{number}")
    async def typed(number: int, limit: int = Query(default=1, le=10)) -> None: ...

    @app.post("/body")
    async def body(title: dict[str, int]) -> None: ...

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("the secret is 42aa42")

    @app.get("/raised/{at}")
    async def raised(at: int) -> None:
        raise REFUSALS[at][0]

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, {"short": "\ud800 stout"})

    @app.post("/v2/enqueue")
    async def enqueue(status: int) -> None:
        raise {
            400: InvalidEvent(["'payload' is missing or blank"]), 401: Unauthenticated("Unknown key."),
            413: TooLarge("Less."), 429: RateLimited("Slower."), 503: Unavailable("database", "Away."),
        }[status]  # fmt: skip

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as opened:
        yield opened


def said(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error of an answer in our one form."""
    body: dict[str, Any] = answer.json()
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert body.keys() == {"error", "message", "timestamp"}
    error: dict[str, Any] = body["error"]
    assert error.keys() == {"code", "message", "status", "details"}
    assert (error["code"], error["status"], error["message"]) == (code, status, body["message"])
    assert abs(datetime.fromisoformat(body["timestamp"]) - datetime.now(UTC)) < timedelta(minutes=1)
    return error


@pytest.mark.parametrize("at", range(len(REFUSALS)))
async def test_each_refusal_has_its_status_and_headers(client: httpx.AsyncClient, at: int) -> None:
    refusal, status, headers = REFUSALS[at]
    answer = await client.get(f"/raised/{at}")
    error = said(answer, status, refusal.code)
    assert error["message"] == refusal.message
    assert error["details"] == refusal.details
    assert headers.items() <= dict(answer.headers).items()


def test_no_refusal_is_without_a_status() -> None:
    def kinds(kind: type[Refused]) -> set[str]:
        return {kind.code}.union(*(kinds(special) for special in kind.__subclasses__()))

    assert kinds(Refused) <= errors.STATUS.keys()


async def test_an_unknown_path_and_a_wrong_method(client: httpx.AsyncClient) -> None:
    said(await client.get("/nowhere"), 404, "NOT_FOUND")
    wrong = await client.delete("/broken")
    said(wrong, 405, "METHOD_NOT_ALLOWED")
    assert wrong.headers["allow"] == "GET"


async def test_what_fastapi_refuses_is_a_400_that_names_the_field(client: httpx.AsyncClient) -> None:
    error = said(await client.get("/typed/x?limit=11"), 400, "VALIDATION_ERROR")
    assert [problem["field"] for problem in error["details"]] == ["number", "limit"]
    assert error["details"][1]["message"] == "must be less than or equal to 10"
    raw = b'{"a\\ud800": "\\ud800", "b": NaN, "c": 1e400}'
    error = said(
        await client.post("/body", content=raw, headers={"content-type": "application/json"}), 400, "VALIDATION_ERROR"
    )
    assert [problem["field"] for problem in error["details"]][1:] == ["b", "c"]


async def test_a_bug_is_logged_and_not_shown(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = await client.get("/broken")
    error = said(answer, 500, "INTERNAL_ERROR")
    assert "42aa42" not in answer.text
    assert error["details"] is None
    [record] = [record for record in caplog.records if record.name == "app.api.errors"]
    assert record.getMessage() == "GET /broken failed"
    assert record.exc_info is not None
    assert "42aa42" in str(record.exc_info[1])


async def test_any_string_can_be_answered(client: httpx.AsyncClient) -> None:
    assert "\\ud800 stout" in said(await client.get("/teapot"), 418, "IM_A_TEAPOT")["message"]
    odd = errors.response(Refused("\ud800", {"\udfff": ["\ud800", float("nan"), 10**30, object]}))
    assert b"\\\\ud800" in bytes(odd.body)


@pytest.mark.parametrize(("status", "body"), [
    (400, {
        "status": "invalid event", "message": "Event object is invalid", "errors": ["'payload' is missing or blank"],
    }),
    (401, {"status": "invalid event", "message": "Event object is invalid", "errors": ["Unknown key."]}),
    (413, {"status": "invalid event", "message": "Event object is invalid", "errors": ["Less."]}),
    (429, {"status": "throttle exceeded", "message": "Slower."}),
    (503, {"status": "error", "message": "Away."}),
])  # fmt: skip
async def test_pagerdutys_door_answers_as_pagerduty(client: httpx.AsyncClient, status: int, body: object) -> None:
    answer = await client.post("/v2/enqueue", params={"status": status})
    assert (answer.status_code, answer.json()) == (status, body)

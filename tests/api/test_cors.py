"""Which web pages may use the API from a browser."""

from collections.abc import AsyncIterator

import pytest
from starlette.types import Message

from app.domain.vocabulary import Role
from tests.support.house import House, a_house

CONSOLE = "https://console.example.com"
PREFLIGHT = {
    "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization,x-api-key,if-match",
}  # fmt: skip


@pytest.fixture(scope="module")
async def house(database_url: str) -> AsyncIterator[House]:
    origins = [CONSOLE.upper() + ":443", "http://localhost:5173"]
    async with a_house(database_url, server={"cors_origins": origins}, rate_limits={"viewer_per_minute": 3}) as made:
        yield made


async def test_nobody_is_let_in_unless_named(database_url: str) -> None:
    async with a_house(database_url) as closed:
        key = await closed.keys.create("ada", Role.VIEWER)
        async with closed.visitor(key) as visitor:
            preflight = await visitor.options("/api/v1/incidents", headers={"Origin": CONSOLE, **PREFLIGHT})
            answer = await visitor.get("/api/v1/incidents", headers={"Origin": CONSOLE})
    assert preflight.status_code == 405
    assert answer.status_code == 200
    assert not [name for name in (*preflight.headers, *answer.headers) if name.startswith("access-control")]


async def test_a_named_page_is_let_in_and_may_read_what_is_left(house: House) -> None:
    key = await house.keys.create("ada", Role.VIEWER)
    async with house.visitor(key) as visitor, house.visitor() as nobody:
        answers = [await visitor.get("/api/v1/incidents", headers={"Origin": CONSOLE}) for _ in range(4)]
        answers.append(await nobody.get("/api/v1/incidents", headers={"Origin": CONSOLE}))
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 401]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == CONSOLE
        assert {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Retry-After"} <= set(
            answer.headers["access-control-expose-headers"].split(", ")
        )
        assert "access-control-allow-credentials" not in answer.headers


async def test_a_preflight_needs_no_key(house: House) -> None:
    await house.keys.create("ada", Role.VIEWER)
    async with house.visitor() as visitor:
        good = await visitor.options("/api/v1/users/ada", headers={"Origin": "http://localhost:5173", **PREFLIGHT})
        bad = await visitor.options("/api/v1/users/ada", headers={"Origin": "https://evil.example", **PREFLIGHT})
    assert good.status_code == 200
    assert good.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert good.headers["access-control-allow-headers"] == "authorization,x-api-key,if-match"
    assert bad.status_code == 400
    assert "access-control-allow-origin" not in bad.headers


async def test_all_pages_may_be_let_in_but_never_with_cookies(database_url: str) -> None:
    async with a_house(database_url, server={"cors_origins": ["*"]}) as open_to_pages:
        key = await open_to_pages.keys.create("ada", Role.VIEWER)
        async with open_to_pages.visitor(key) as visitor:
            answer = await visitor.get("/api/v1/incidents", headers={"Origin": "https://any.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


async def test_without_a_key_even_a_named_page_is_not_answered(database_url: str) -> None:
    async with a_house(database_url, server={"cors_origins": [CONSOLE]}) as house, house.visitor() as visitor:
        answer = await visitor.post("/api/v1/alerts", json={}, headers={"Origin": CONSOLE})
    assert answer.status_code == 403
    assert "llm-im key create" in answer.json()["message"]
    async with a_house(database_url) as house:
        assert await opened(house, CONSOLE) == {"type": "websocket.close", "code": 1000, "reason": ""}


async def opened(house: House, origin: str) -> Message:
    """What a browser hears that opens a WebSocket for a page, which needs no preflight."""
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        said.append(message)

    headers = [(b"host", b"localhost:8080"), (b"origin", origin.encode())]
    scope = {"type": "websocket", "path": "/graphql/ws", "headers": headers, "query_string": b"", "subprotocols": []}
    await house.app(scope, receive, send)
    return said[0]

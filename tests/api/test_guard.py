"""Who gets in: keys and roles, and a machine that has no key yet."""

from collections.abc import AsyncIterator

import pytest

from app.api.http import serve
from app.child import CannotStart
from app.config import Settings
from app.domain.vocabulary import Role
from tests.api.conftest import NOBODY_THERE
from tests.support.databases import another_database
from tests.support.house import House, a_house

ALERT = {"source": "tests", "title": "who is there"}
USER = {"id": "ada", "name": "Ada"}


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    async with a_house(database_url) as made:
        yield made


@pytest.mark.parametrize("host", ["localhost", "localhost:3000", "127.0.0.1:8080", "127.8.9.1", "[::1]:8080"])
async def test_without_a_key_this_machine_may_do_everything(house: House, host: str) -> None:
    async with house.visitor(host=host) as visitor:
        assert (await visitor.post("/api/v1/alerts", json=ALERT)).status_code == 200
        assert (await visitor.put("/api/v1/users/ada", json=USER)).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1.nip.io", ""])
async def test_without_a_key_a_rebound_name_is_not_answered(house: House, host: str) -> None:
    async with house.visitor(host=host) as visitor:
        for path in ("/api/v1/incidents", "/health", "/metrics", "/docs", "/api/v2/alerts"):
            answer = await visitor.get(path)
            assert answer.status_code == 403
            assert answer.json()["error"]["code"] == "AUTHORIZATION_ERROR"
            assert "llm-im key create" in answer.json()["message"]
        assert (await visitor.post("/v2/enqueue", json={})).status_code == 403


@pytest.mark.parametrize(("origin", "status"), [
    ("https://evil.example", 403), ("null", 403), ("http://localhost:3000", 200), ("http://127.0.0.1:8080", 200),
])  # fmt: skip
async def test_without_a_key_no_foreign_page_may_send(house: House, origin: str, status: int) -> None:
    async with house.visitor() as visitor:
        answer = await visitor.post("/api/v1/alerts", json=ALERT, headers={"Origin": origin})
    assert answer.status_code == status


async def test_the_first_key_closes_the_door(house: House) -> None:
    key = await house.keys.create("ops", Role.ADMIN)
    async with house.visitor() as stranger:
        refused = await stranger.get("/api/v1/incidents")
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "AUTHENTICATION_ERROR"
        assert (await stranger.get("/health/live")).status_code == 200
    async with house.visitor(key, host="incidents.example") as friend:
        assert (await friend.get("/api/v1/incidents")).status_code == 200
    async with house.visitor() as bearer:
        answer = await bearer.get("/api/v1/incidents", headers={"Authorization": f"bearer {key}"})
        assert answer.status_code == 200


async def test_a_revoked_key_opens_nothing_and_does_not_reopen_the_door(house: House) -> None:
    key = await house.keys.create("ops", Role.ADMIN)
    await house.keys.revoke("ops")
    for shown in (key, None, "im" + "x" * 30):
        async with house.visitor(shown) as visitor:
            assert (await visitor.get("/api/v1/incidents")).status_code == 401


@pytest.mark.parametrize(("role", "alerts", "reads", "acks", "writes"), [
    (Role.INGEST, 200, 403, 403, 403),
    (Role.VIEWER, 403, 200, 403, 403),
    (Role.RESPONDER, 200, 200, 404, 403),
    (Role.ADMIN, 200, 200, 404, 200),
])  # fmt: skip
async def test_a_role_may_do_what_it_is_for(
    house: House, role: Role, alerts: int, reads: int, acks: int, writes: int
) -> None:
    key = await house.keys.create("somebody", role)
    nobody = "00000000-0000-7000-8000-000000000000"
    async with house.visitor(key) as visitor:
        answers = [
            await visitor.post("/api/v1/alerts", json=ALERT),
            await visitor.get("/api/v1/incidents"),
            await visitor.post(f"/api/v1/incidents/{nobody}/acknowledge"),
            await visitor.put("/api/v1/users/ada", json=USER),
        ]
    assert [answer.status_code for answer in answers] == [alerts, reads, acks, writes]


async def test_a_body_is_not_read_before_its_sender_is_known(house: House) -> None:
    await house.keys.create("ops", Role.ADMIN)

    async def endless() -> AsyncIterator[bytes]:
        yield b"{"
        raise AssertionError("read on")

    async with house.visitor() as stranger:
        for path in ("/api/v1/alerts", "/api/v1/incidents", "/api/v1/ingest/alertmanager", "/api/v2/alerts"):
            assert (await stranger.post(path, content=endless())).status_code == 401


async def test_pagerduty_clients_show_their_key_in_the_body(house: House) -> None:
    event = {"event_action": "trigger", "payload": {"summary": "down", "source": "db", "severity": "critical"}}
    async with house.visitor() as visitor:
        anything = await visitor.post("/v2/enqueue", json=event | {"routing_key": "r" * 32})
        assert anything.status_code == 202
        key = await house.keys.create("pagerduty", Role.INGEST)
        assert (await visitor.post("/v2/enqueue", json=event | {"routing_key": key})).status_code == 202
        assert (await visitor.post("/v2/enqueue", json=event | {"routing_key": "r" * 32})).status_code in (400, 401)


async def test_it_does_not_start_open_to_other_machines(database_url: str) -> None:
    async with another_database(database_url) as url:
        settings = Settings.model_validate({
            "storage": {"connection_string": url}, "temporal": {"address": NOBODY_THERE},
            "server": {"host": "0.0.0.0", "http_port": 0, "api_port": 0, "metrics_port": 0},
        })  # fmt: skip
        with pytest.raises(CannotStart, match="key create"):
            await serve(settings)


async def test_a_door_to_other_machines_stays_shut_until_there_is_a_key(database_url: str) -> None:
    """PostgreSQL was away when it started, so it could not know then."""
    async with a_house(database_url, server={"host": "0.0.0.0"}) as house, house.visitor(host="192.0.2.1") as visitor:
        assert (await visitor.get("/api/v1/incidents")).status_code == 401
        assert (await visitor.get("/health/live")).status_code == 200

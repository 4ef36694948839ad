"""A hand on the circuit breakers: who may, what is shown, and that it reaches the worker."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import httpx
import pytest

from app.domain.vocabulary import Role
from tests.support.house import House, a_house
from tests.support.receivers import Reply, http_receiver
from tests.support.service import Service

AT = "/api/v1/circuit-breakers"


@pytest.fixture
async def house(database_url: str) -> AsyncIterator[House]:
    async with a_house(database_url) as made:
        yield made


async def test_an_administrator_opens_closes_and_resets_and_others_only_look(house: House) -> None:
    admin, viewer = await house.keys.create("root", Role.ADMIN), await house.keys.create("eyes", Role.VIEWER)
    responder, sender = await house.keys.create("ann", Role.RESPONDER), await house.keys.create("ci", Role.INGEST)
    async with house.visitor(admin) as hand:
        opened = (await hand.post(f"{AT}/Edge_Agent/open", json={"reason": "they asked for it"})).json()
        assert (opened["name"], opened["state"], opened["forced"], opened["until"]) == (
            "edge-agent",
            "open",
            True,
            None,
        )
        assert (opened["by"], opened["reason"]) == ("root", "they asked for it")
        assert (await hand.post(f"{AT}/edge-agent/open")).json() == opened
        assert (await hand.post(f"{AT}/slack/close")).json()["by"] is None
    async with house.visitor(viewer) as eyes:
        assert (await eyes.get(f"{AT}/edge_agent")).json() == opened
        listed = (await eyes.get("/v1/circuit-breakers")).json()
        assert listed["total"] == len(listed["circuit_breakers"])
        assert {one["name"]: one["state"] for one in listed["circuit_breakers"]}["sentinel"] == "closed"
        for path in (f"{AT}/health", f"{AT}/status", "/api/v1/health/circuit-breakers"):
            said = (await eyes.get(path)).json()
            assert (said["status"], said["open"], said["not_closed"]) == ("degraded", 1, ["edge-agent"])
        assert (await eyes.get(f"{AT}/nobody")).status_code == 404
    for key in (viewer, responder, sender):
        async with house.visitor(key) as other:
            for path in ("slack/open", "edge-agent/close", "edge-agent/reset", "reset-all"):
                assert (await other.post(f"{AT}/{path}")).status_code == 403
    async with house.visitor(sender) as other:
        assert (await other.get(AT)).status_code == 403
    async with house.visitor(admin) as hand:
        assert (await hand.post(f"{AT}/nobody/open")).status_code == 404
        assert (await hand.post(f"{AT}/slack/open", json={"why": "?"})).status_code == 400
        assert (await hand.post(f"{AT}/edge-agent/close")).json()["state"] == "closed"
        await hand.post(f"{AT}/slack/open")
        assert {one["state"] for one in (await hand.post(f"{AT}/reset-all")).json()["circuit_breakers"]} == {"closed"}
        assert (await hand.get(f"{AT}/health")).json()["status"] == "healthy"


async def until(http: httpx.AsyncClient, name: str, **wanted: object) -> dict[str, Any]:
    """The breaker, once it is so."""
    async with asyncio.timeout(10):
        while True:
            answer = await http.get(f"{AT}/{name}")
            said: dict[str, Any] = answer.json()
            if answer.status_code == 200 and wanted.items() <= said.items():
                return said
            await asyncio.sleep(0.05)


async def test_what_the_worker_learns_is_seen_here_and_what_is_said_here_the_worker_hears(service: Service) -> None:
    async with http_receiver() as receiver:
        receiver.usually, name = (
            Reply(503),
            f"webhook:127.0.0.1:{receiver.port}~{sha256(receiver.url.encode()).hexdigest()[:8]}",
        )
        policy = {
            "id": name.translate(str.maketrans(":~", "--")), "name": name, "conditions": {"source": [name]},
            "priority": 99,
            "levels": [{"targets": [{"type": "external", "id": receiver.url}], "escalate_after_secs": 3600}],
        }  # fmt: skip
        assert (await service.http.post("/api/v1/escalation-policies", json=policy)).status_code == 201
        for _ in range(5):
            await service.incident(source=name, severity="P0")
        opened = await until(service.http, name, state="open")
        assert (opened["forced"], opened["by"], opened["openings_in_a_row"]) == (False, None, 1)
        assert (await service.http.post(f"{AT}/{name}/open", json={"reason": "quiet"})).json()["forced"]
        receiver.usually, tried = Reply(), len(receiver.items)
        assert (await service.http.post(f"{AT}/{name}/reset")).json()["state"] == "closed"
        worker = f"http://127.0.0.1:{service.environment['LLM_IM__SERVER__WORKER_METRICS_PORT']}/metrics"
        async with asyncio.timeout(10):
            while f'circuit_breaker_state{{name="{name}"}} 0.0' not in (await service.http.get(worker)).text:
                await asyncio.sleep(0.05)
        await service.incident(source=name, severity="P0")
        await receiver.received(tried + 1)
        text = (await service.http.get("/metrics")).text
        assert f'circuit_breaker_state{{name="{name}"}} 0.0' in text


async def test_a_terminal_shows_them_and_turns_them(service: Service) -> None:
    opened = await service.cli("breakers", "open", "nobody")
    assert (opened.code, "There is no circuit breaker 'nobody'." in opened.complained) == (1, True)
    opened = await service.cli("breakers", "open", "shield", "--reason", "it is moving house")
    assert opened.said.split()[:2] == ["shield", "open"]
    assert opened.said.strip().endswith("by local: it is moving house")
    first = (await service.cli("breakers", "list")).said.splitlines()[0]
    assert first.split()[:2] == ["shield", "open"]
    assert (await service.cli("breakers", "close", "shield")).said.split()[1] == "closed"

"""Live updates over WebSocket: what is heard, who may listen, and how a connection ends."""

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from app.domain.vocabulary import Role
from app.service.keys import Keys
from app.stack import free_port
from app.store.database import pool
from app.store.keys import KeyStore
from tests.api.conftest import NOBODY_THERE, Service, process
from tests.support.databases import another_database
from tests.support.issuer import AUDIENCE, claims

MODERN, LEGACY = Subprotocol("graphql-transport-ws"), Subprotocol("graphql-ws")
NEW = "subscription { newIncidents { id title severity state createdAt affectedResources } }"


class Ear:
    """One socket and the subscriptions on it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, **message: object) -> None:
        await self.socket.send(json.dumps(message))

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(20):
            message: dict[str, Any] = json.loads(await self.socket.recv())
            return message

    async def subscribe(self, query: str, id_: str = "1", **variables: Any) -> None:
        await self.say(id=id_, type="subscribe", payload={"query": query, "variables": variables})

    async def next(self) -> dict[str, Any]:
        """The next event's data."""
        message = await self.hear()
        assert message["type"] == "next", message
        assert "errors" not in message["payload"], message
        found: dict[str, Any] = message["payload"]["data"]
        return found

    async def closes(self) -> tuple[int, str]:
        """The close frame's code and reason."""
        async with asyncio.timeout(20):
            with suppress(ConnectionClosed):
                while True:
                    await self.socket.recv()
        assert self.socket.close_code is not None
        return self.socket.close_code, self.socket.close_reason or ""


def address(service: Service, path: str = "/graphql/ws") -> str:
    return service.url.replace("http", "ws") + path


@asynccontextmanager
async def ear(url: str, *, init: object = None, protocol: Subprotocol = MODERN, **how: Any) -> AsyncIterator[Ear]:
    """A socket whose connection was acknowledged; `init` False says nothing first."""
    async with connect(url, subprotocols=[protocol], max_size=2**22, **how) as socket:
        made = Ear(socket)
        if init is not False:
            await made.say(type="connection_init", payload=init or {})
            assert (await made.hear())["type"] == "connection_ack"
        yield made


async def counted(service: Service, metric: str) -> int:
    text = (await service.http.get("/metrics")).text
    return int(float(re.findall(rf"^{metric} (\S+)$", text, re.MULTILINE)[0]))


async def listeners(service: Service) -> int:
    """How many have begun to hear the feed."""
    return await counted(service, "websocket_subscriptions_total")


@asynccontextmanager
async def beginning(service: Service, count: int = 1) -> AsyncIterator[None]:
    """What is subscribed to within has begun to hear the feed afterwards."""
    before = await listeners(service)
    yield
    async with asyncio.timeout(20):
        while await listeners(service) < before + count:
            await asyncio.sleep(0.02)


async def begun(service: Service, ear: Ear, query: str, id_: str = "1", **variables: Any) -> None:
    async with beginning(service):
        await ear.subscribe(query, id_, **variables)


@pytest.mark.parametrize("path", ["/graphql", "/graphql/ws"])
async def test_a_new_incident_is_heard_at_either_address(service: Service, path: str) -> None:
    async with ear(address(service, path)) as it:
        await begun(service, it, NEW)
        id_ = await service.incident(severity="P1", affected_services=["chat"])
        while (found := (await it.next())["newIncidents"])["id"] != id_:
            pass
        assert (found["severity"], found["state"], found["affectedResources"]) == ("P1", "NEW", ["chat"])


async def test_everything_about_one_incident_in_order(service: Service) -> None:
    query = """subscription($f: IncidentFilterInput) { incidentEvents(filter: $f) {
        cursor updateType event { seq eventType actor { name } reason } incident { id status } } }"""
    source = f"s{uuid4().hex}"
    async with ear(address(service)) as it:
        await begun(service, it, query, f={"sources": [source]})
        id_ = await service.incident(source=source)
        await service.http.post(f"/api/v1/incidents/{id_}/acknowledge", json={"actor": "alice"})
        await service.http.post(f"/api/v1/incidents/{id_}/resolve", json={"resolved_by": "alice", "notes": "done"})
        heard: list[dict[str, Any]] = []
        while not heard or heard[-1]["event"]["eventType"] != "RESOLVED":
            heard.append((await it.next())["incidentEvents"])
        assert [event["event"]["seq"] for event in heard] == list(range(1, len(heard) + 1))
        assert heard[0]["updateType"] == "CREATED"
        assert (heard[-1]["event"]["actor"]["name"], heard[-1]["event"]["reason"]) == ("alice", "done")
        cursor = heard[0]["cursor"]
    query = query.replace("($f: Inc", "($a: String, $f: Inc").replace("(filter", "(after: $a, filter")
    async with ear(address(service)) as later:
        await later.subscribe(query, a=cursor, f={"sources": [source]})
        again = [(await later.next())["incidentEvents"]["event"]["seq"]]
        while again[-1] != heard[-1]["event"]["seq"]:
            again.append((await later.next())["incidentEvents"]["event"]["seq"])
        assert again[-(len(heard) - 1) :] == [event["event"]["seq"] for event in heard[1:]]


async def test_state_changes_name_both_states_and_who(service: Service) -> None:
    id_ = await service.incident()
    query = """subscription($id: ID) { incidentStateChanges(incidentId: $id) {
        incidentId oldState newState changedBy timestamp } }"""
    async with ear(address(service)) as it:
        await begun(service, it, query, id=id_)
        for command_ in ("acknowledge", "unacknowledge", "start", "resolve", "reopen", "close"):
            answer = await service.http.post(f"/api/v1/incidents/{id_}/{command_}", json={"actor": "bob"})
            assert answer.status_code == 200, answer.text
        seen: list[tuple[str, str]] = []
        while len(seen) < 6:
            change = (await it.next())["incidentStateChanges"]
            if change["changedBy"] == "bob":
                seen.append((change["oldState"], change["newState"]))
        changes = dict(seen)
        assert changes["ACKNOWLEDGED"] == "NEW"
        assert changes["IN_PROGRESS"] == "RESOLVED"
        assert seen[-2:] == [("RESOLVED", "NEW"), (seen[-1][0], "CLOSED")]


async def test_of_many_subscriptions_on_one_socket_each_hears_its_own(service: Service) -> None:
    source = f"s{uuid4().hex}"
    async with ear(address(service)) as it:
        await it.subscribe(
            f'subscription {{ alerts(sources: ["{source}"]) {{ title source deduplicated }} }}', "alerts"
        )
        await it.subscribe(
            f'subscription {{ incidents(filter: {{source: "{source}", severity: ["P0"]}}) {{ id }} }}', "p0"
        )
        await it.subscribe("subscription { criticalIncidents { id } }", "critical")
        await asyncio.sleep(0.2)
        id_ = await service.incident(source=source, severity="P0", title="the first")
        heard: dict[str, list[Any]] = {"alerts": [], "p0": [], "critical": []}
        while not all(heard.values()):
            message = await it.hear()
            heard[message["id"]].append(message["payload"]["data"])
        assert heard["alerts"] == [{"alerts": {"title": "the first", "source": source, "deduplicated": False}}]
        assert heard["p0"][0] == {"incidents": {"id": id_}}
        assert {"criticalIncidents": {"id": id_}} in heard["critical"]
        await it.say(id="alerts", type="complete")
        await it.subscribe("{ version { version } }", "alerts")
        while (message := await it.hear())["id"] != "alerts" or "version" not in message["payload"]["data"]:
            pass


async def test_a_mistake_ends_one_subscription_not_the_socket(service: Service) -> None:
    async with ear(address(service)) as it:
        await it.subscribe("subscription { nonsense }", "wrong")
        error = await it.hear()
        assert (error["type"], error["id"]) == ("error", "wrong")
        assert error["payload"][0]["extensions"]["code"] == "VALIDATION_ERROR"
        await it.subscribe('subscription { incidentEvents(after: "x") { cursor } }', "cursor")
        error = await it.hear()
        assert "after: is not a cursor" in json.dumps(error)
        await it.subscribe("{ version { version } }", "right")
        while (await it.hear())["id"] != "right":
            pass


async def test_the_older_protocol_is_understood(service: Service) -> None:
    source = f"s{uuid4().hex}"
    async with ear(address(service), protocol=LEGACY) as it:
        query = f'subscription {{ alerts(sources: ["{source}"]) {{ title }} }}'
        async with beginning(service):
            await it.say(id="1", type="start", payload={"query": query})
        await service.incident(source=source, title="old but heard")
        message = await it.hear()
        assert (message["type"], message["payload"]) == ("data", {"data": {"alerts": {"title": "old but heard"}}})
        await it.say(id="1", type="stop")
        assert (await it.hear())["type"] == "complete"


async def test_pings_are_answered(service: Service) -> None:
    async with ear(address(service)) as it:
        await it.say(type="ping")
        assert (await it.hear())["type"] == "pong"


@pytest.mark.parametrize("protocol", [MODERN, LEGACY])
@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('{"type": "nonsense"', 4400),
        ("[]", 4400),
        ('{"id": 1}', 4400),
        ('{"type": "subscribe", "id": "1"}', 4400),
        ('{"type": "start", "id": "1", "payload": null}', 4400),
        ('{"type": "connection_init", "payload": {"a": NaN}}', 4400),
    ],
)
async def test_what_is_no_message_ends_the_connection(
    service: Service, protocol: Subprotocol, message: str, code: int
) -> None:
    async with ear(address(service), init=False, protocol=protocol) as it:
        await it.socket.send(message)
        if protocol is MODERN or (not message.startswith('{"type": "nonsense"') and "NaN" not in message):
            assert (await it.closes())[0] == code
        else:  # the older library passes over what it can't read
            await it.say(type="connection_init", payload={})
            assert (await it.hear())["type"] == "connection_ack"


@pytest.mark.parametrize("protocol", [MODERN, LEGACY])
async def test_nobody_subscribes_before_saying_who_it_is(service: Service, protocol: Subprotocol) -> None:
    async with ear(address(service), init=False, protocol=protocol) as it:
        kind = "subscribe" if protocol is MODERN else "start"
        await it.say(id="1", type=kind, payload={"query": NEW})
        assert (await it.closes())[0] == 4401


async def test_a_message_that_is_too_large_ends_the_connection(service: Service) -> None:
    async with ear(address(service)) as it:
        await it.socket.send(json.dumps({"type": "ping", "payload": {"x": "x" * 262_144}}))
        assert (await it.closes())[0] == 1009


async def test_another_protocol_is_not_spoken(service: Service) -> None:
    async with connect(address(service)) as socket:
        assert (await Ear(socket).closes())[0] == 4406


async def test_a_page_of_somebody_else_may_not_listen(service: Service) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(address(service), subprotocols=[MODERN], origin="http://evil.example"):  # type: ignore[arg-type]
            pass
    assert refused.value.response.status_code == 403


async def test_pythons_gql_listens(service: Service) -> None:
    source = f"s{uuid4().hex}"
    transport = WebsocketsTransport(url=address(service), init_payload={"Authorization": "Bearer none"})
    query = gql(
        "subscription($s: [Severity!]) { incidentUpdates(severities: $s, activeOnly: true)"
        " { updateType incidentId timestamp } }"
    )
    query.variable_values = {"s": ["P0", "P1"]}
    async with Client(transport=transport) as session:
        updates = session.subscribe(query)
        async with beginning(service):
            first = asyncio.ensure_future(anext(updates))
        await service.incident(source=source, severity="P0")
        async with asyncio.timeout(20):
            assert (await first)["incidentUpdates"]["updateType"] == "CREATED"
        await updates.aclose()


@dataclass(frozen=True)
class Guarded(Service):
    """A gateway of its own that asks for a key. Nothing happens to incidents: there is no worker."""

    pid: int
    keys: Keys
    key: str

    @property
    def who(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


@asynccontextmanager
async def guarded(database_url: str, **settings: str) -> AsyncIterator[Guarded]:
    port = free_port()
    async with another_database(database_url) as url, pool(url, 2) as connections:
        keys = Keys(KeyStore(connections))
        key = await keys.create("ada", Role.RESPONDER)
        environment = os.environ | {
            "DATABASE_URL": url, "TEMPORAL_ADDRESS": NOBODY_THERE, "API_PORT": "0", "GRPC_PORT": "0",
            "LLM_IM__SERVER__HTTP_PORT": str(port), "LLM_IM__SERVER__METRICS_PORT": "0", **settings,
        }  # fmt: skip
        address_ = f"http://127.0.0.1:{port}"
        async with (
            process("serve", environment, port, "/health") as pid,
            httpx.AsyncClient(base_url=address_, headers={"X-API-Key": key}) as client,
        ):
            yield Guarded(address_, environment, client, pid, keys, key)


async def test_keys_are_asked_for_and_watched(database_url: str) -> None:
    async with guarded(database_url, LLM_IM__GRAPHQL__INIT_TIMEOUT_SECS="1") as service:
        key = service.key
        for init in ({}, {"Authorization": "Bearer wrong"}):
            async with ear(address(service), init=False) as it:
                await it.say(type="connection_init", payload=init)
                code, reason = await it.closes()
                assert (code, bool(reason)) == (4401, True)
        async with ear(address(service), init=False, protocol=LEGACY) as it:
            await it.say(type="connection_init", payload={"Authorization": "Bearer wrong"})
            assert (await it.hear())["type"] == "connection_error"
            assert (await it.closes())[0] == 4401
        for payload, headers in (
            ({"Authorization": f"Bearer {key}"}, {}), ({"authToken": key}, {}), ({}, {"X-API-Key": key}),
        ):  # fmt: skip
            async with ear(address(service), init=payload, additional_headers=headers) as it:
                await it.subscribe("{ me { name role } }")
                assert (await it.next())["me"] == {"name": "ada", "role": "RESPONDER"}
        for protocol in (MODERN, LEGACY):
            async with ear(address(service), init=False, protocol=protocol) as it:
                assert (await it.closes())[0] == 4408


async def test_a_revoked_key_closes_the_connections_it_opened(database_url: str) -> None:
    async with (
        guarded(database_url, LLM_IM__GRAPHQL__RECHECK_SECS="0.2") as service,
        ear(address(service), init=service.who) as it,
    ):
        await service.keys.revoke("ada")
        code, reason = await it.closes()
        assert (code, "revoked" in reason) == (4401, True)


async def test_a_token_that_runs_out_closes_the_connection(database_url: str) -> None:
    secret = "s" * 32
    issuers = json.dumps([{"issuer": "https://issuer.example", "audience": AUDIENCE, "secret": secret}])
    async with guarded(database_url, LLM_IM__AUTH__ISSUERS=issuers) as service:
        soon = int(time.time()) + 2
        token = jwt.encode(claims("https://issuer.example", exp=soon, roles=["viewer"]), secret, "HS256")
        async with ear(address(service), init={"Authorization": f"Bearer {token}"}) as it:
            await it.subscribe("{ me { name role } }")
            assert (await it.next())["me"]["role"] == "VIEWER"
            code, reason = await it.closes()
            assert (code, "expired" in reason) == (4401, True)
            assert soon <= time.time() < soon + 5


async def test_a_listener_that_does_not_keep_up_is_dropped_and_the_others_are_not(database_url: str) -> None:
    settings = {"LLM_IM__GRAPHQL__MAX_WAITING": "20", "LLM_IM__GRAPHQL__MAX_CONNECTIONS": "2"}
    async with guarded(database_url, **settings) as service:
        query = "subscription { alerts { title description } }"
        async with (
            ear(address(service), init=service.who) as brisk,
            ear(address(service), init=service.who, max_queue=1) as slow,
        ):
            with pytest.raises(InvalidStatus) as refused:
                await connect(address(service), subprotocols=[MODERN])
            assert refused.value.response.status_code == 503
            await begun(service, brisk, query)
            await slow.subscribe(query)
            await slow.subscribe("{ version { version } }", "probe")
            while (await slow.hear()).get("id") != "probe":
                pass
            body = {"source": "s", "title": "large", "description": "x" * 65_000}
            for _ in range(100):  # 64 KiB each, until the kernel holds no more for who doesn't read
                answers = await asyncio.gather(*(service.http.post("/api/v1/alerts", json=body) for _ in range(10)))
                assert {answer.status_code for answer in answers} == {200}
                assert [(await brisk.next())["alerts"]["title"] for _ in range(10)] == ["large"] * 10
                if await counted(service, "websocket_send_errors_total"):
                    break
            assert (await slow.closes())[0] == 1013


async def test_a_gateway_that_ends_says_that_it_will_be_back(database_url: str) -> None:
    async with guarded(database_url) as service, ear(address(service), init=service.who) as it:
        await it.subscribe(NEW)
        os.kill(service.pid, signal.SIGTERM)
        assert (await it.closes())[0] == 1012

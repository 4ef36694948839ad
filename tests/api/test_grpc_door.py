"""Who gets in over gRPC, what a refusal looks like, how long calls may take, and how all of it ends."""

import asyncio
import contextlib
import logging
import re
import shlex
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import httpx
import jwt
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from app.api import errors as rest
from app.api.grpc import door, errors, health, streams
from app.api.grpc.pb import alerts_pb2 as alerts
from app.api.grpc.pb import incidents_pb2 as pb
from app.child import CannotStart
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
from app.domain.vocabulary import Role
from app.runtime import Gateway
from app.stack import free_port
from app.telemetry import metrics
from tests.api.conftest import Service, process
from tests.contracts.test_metrics import value
from tests.support import protos
from tests.support.databases import another_database
from tests.support.grpc import Client, House, client, house, refused
from tests.support.issuer import AUDIENCE, claims

S = grpc.StatusCode
ASKED = pb.ListIncidentsRequest()
BIN = Path(sys.executable).parent
DOCUMENTED = Path(__file__).parents[2] / "docs" / "grpc.md"


@pytest.fixture(scope="module")
async def home(database_url: str) -> AsyncIterator[House]:
    async with another_database(database_url) as url, house(url) as made:
        yield made


@pytest.fixture(scope="module")
async def caller(home: House) -> AsyncIterator[Client]:
    async with client(home.address) as made:
        yield made


@pytest.fixture
async def locked(database_url: str) -> AsyncIterator[House]:
    """A gateway with a database of its own, so that its first key is its own too, and its end."""
    async with another_database(database_url) as url, house(url) as made:
        yield made


@pytest.fixture
async def visitor(locked: House) -> AsyncIterator[Client]:
    async with client(locked.address) as made:
        yield made


def test_the_generated_code_is_of_today() -> None:
    assert protos.stale() == []


# — who gets in —


async def test_the_first_key_closes_the_door(locked: House, visitor: Client) -> None:
    await visitor.incidents.ListIncidents(ASKED)
    key = await locked.gateway.keys.create("ops", Role.ADMIN)
    no = await refused(visitor.incidents.ListIncidents(ASKED))
    assert (no.status, no.code) == (S.UNAUTHENTICATED, "AUTHENTICATION_ERROR")
    assert (await refused(visitor.incidents.StreamIncidents(pb.StreamIncidentsRequest()))).status is S.UNAUTHENTICATED
    for shown in (("x-api-key", key), ("authorization", f"Bearer {key}"), ("authorization", f"bearer {key}")):
        await visitor.incidents.ListIncidents(ASKED, metadata=(shown,))
    no = await refused(visitor.incidents.ListIncidents(ASKED, metadata=(("x-api-key", "im" + "x" * 30),)))
    assert no.status is S.UNAUTHENTICATED


@pytest.mark.parametrize(("role", "sends", "reads", "acks"), [
    (Role.INGEST, S.OK, S.PERMISSION_DENIED, S.PERMISSION_DENIED),
    (Role.VIEWER, S.PERMISSION_DENIED, S.OK, S.PERMISSION_DENIED),
    (Role.RESPONDER, S.OK, S.OK, S.NOT_FOUND),
    (Role.ADMIN, S.OK, S.OK, S.NOT_FOUND),
])  # fmt: skip
async def test_a_role_may_do_what_it_is_for(
    locked: House, visitor: Client, role: Role, sends: grpc.StatusCode, reads: grpc.StatusCode, acks: grpc.StatusCode
) -> None:
    key = (("x-api-key", await locked.gateway.keys.create("somebody", role)),)
    calls: list[Any] = [
        visitor.ingestion.SubmitAlert(alerts.CreateAlertRequest(name="down", source="tests"), metadata=key),
        visitor.incidents.ListIncidents(ASKED, metadata=key),
        visitor.incidents.UpdateIncident(pb.UpdateIncidentRequest(incident_id=str(uuid4()), status="x"), metadata=key),
    ]
    assert [await calls[0].code(), await calls[1].code()] == [sends, reads]
    ask = pb.ResolveIncidentRequest(incident_id=str(uuid4()))
    assert await visitor.incidents.ResolveIncident(ask, metadata=key).code() is acks


async def test_a_key_that_may_only_send_hears_the_incidents_id(locked: House, visitor: Client) -> None:
    key = (("x-api-key", await locked.gateway.keys.create("agent", Role.INGEST)),)
    made = await visitor.incidents.CreateIncident(pb.CreateIncidentRequest(title="down"), metadata=key)
    assert made.incident == pb.Incident(id=made.incident.id)
    sent = await visitor.ingestion.SubmitAlert(alerts.CreateAlertRequest(name="up", source="x"), metadata=key)
    assert (sent.alert.name, sent.alert.status) == ("up", "FIRING")
    stream = visitor.ingestion.StreamAlerts(iter([alerts.AlertMessage(name="down")]), metadata=key)
    assert [ack.status async for ack in stream] == [alerts.ACK_STATUS_ERROR]  # it has no source
    viewer = (("x-api-key", await locked.gateway.keys.create("eyes", Role.VIEWER)),)
    message = alerts.AlertMessage(name="down", source="x")
    no = await refused(visitor.ingestion.StreamAlerts(iter([message]), metadata=viewer))
    assert no.status is S.PERMISSION_DENIED


async def test_a_door_to_other_machines_stays_shut_until_there_is_a_key(database_url: str) -> None:
    async with (
        another_database(database_url) as url,
        house(url, grpc_host="0.0.0.0") as made,
        client(made.address) as c,
    ):
        assert (await refused(c.incidents.ListIncidents(ASKED))).status is S.UNAUTHENTICATED


async def test_a_token_is_as_good_as_a_key(database_url: str) -> None:
    secret, name = "s" * 32, "https://id.example.com"
    issuer = {"issuer": name, "audience": AUDIENCE, "secret": secret}
    good = jwt.encode(claims(name, roles=["viewer"]), secret, "HS256")
    forged = jwt.encode(claims(name), "x" * 32, "HS256")
    async with (
        another_database(database_url) as url, house(url, {"auth": {"issuers": [issuer]}}) as made,
        client(made.address) as caller,
    ):  # fmt: skip
        await caller.incidents.ListIncidents(ASKED, metadata=(("authorization", f"Bearer {good}"),))
        for metadata in ((("authorization", f"Bearer {forged}"),), ()):
            assert (await refused(caller.incidents.ListIncidents(ASKED, metadata=metadata))).status is S.UNAUTHENTICATED


async def test_a_stream_ends_with_its_key(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LOOKS_AGAIN_SECS", 0.05)
    async with (
        another_database(database_url) as url, house(url) as made, client(made.address) as caller,
    ):  # fmt: skip
        keys, open_ones = made.gateway.keys, []
        for name in ("leaves", "stays"):
            metadata = (("x-api-key", await keys.create(name, Role.VIEWER)),)
            open_ones.append(caller.alerts.StreamAlerts(alerts.StreamAlertsRequest(), metadata=metadata))
        await caller.health.Check(HealthCheckRequest())
        await keys.revoke("leaves")
        assert (await refused(open_ones[0])).status is S.UNAUTHENTICATED
        assert not open_ones[1].done()
        open_ones[1].cancel()


async def test_each_key_has_its_limit_and_hears_of_it(database_url: str) -> None:
    limits = {"rate_limits": {"ingest_per_minute": 3, "viewer_per_minute": 2}}
    async with (
        another_database(database_url) as url, house(url, limits) as made, client(made.address) as caller,
    ):  # fmt: skip
        made.gateway.limits.now = lambda: 6010.5  # ten seconds into a minute
        eyes = (("x-api-key", await made.gateway.keys.create("eyes", Role.VIEWER)),)
        call = caller.incidents.ListIncidents(ASKED, metadata=eyes)
        assert {"x-ratelimit-limit": "2", "x-ratelimit-remaining": "1", "x-ratelimit-reset": "50"}.items() <= dict(
            await call.trailing_metadata()
        ).items()
        await caller.incidents.ListIncidents(ASKED, metadata=eyes)
        no = await refused(caller.incidents.ListIncidents(ASKED, metadata=eyes))
        assert (no.status, no.code, no.retry_secs) == (S.RESOURCE_EXHAUSTED, "RATE_LIMIT_EXCEEDED", 50)
        agent = (("x-api-key", await made.gateway.keys.create("agent", Role.INGEST)),)
        many = [alerts.AlertMessage(name=f"down {n}", source="x") for n in range(4)]
        acks = [ack.status async for ack in caller.ingestion.StreamAlerts(iter(many), metadata=agent)]
        assert acks == [alerts.ACK_STATUS_ACCEPTED] * 2 + [alerts.ACK_STATUS_RATE_LIMITED] * 2


# — what a refusal looks like —


@pytest.mark.parametrize(("refusal", "status", "retry_secs"), [
    (Invalid.field("title", "is required"), S.INVALID_ARGUMENT, None),
    (Unauthenticated("Who is there?"), S.UNAUTHENTICATED, None),
    (Forbidden("Not you."), S.PERMISSION_DENIED, None),
    (NotFound("incident", "1"), S.NOT_FOUND, None),
    (Conflict("Too late."), S.ABORTED, None),
    (InvalidTransition("CLOSED", "ACKNOWLEDGED", ["NEW"]), S.FAILED_PRECONDITION, None),
    (TooLarge("Less."), S.RESOURCE_EXHAUSTED, None),
    (RateLimited("Slower."), S.RESOURCE_EXHAUSTED, 1),
    (Unavailable("database", "PostgreSQL is away.", retry_after=2), S.UNAVAILABLE, 2),
    (Refused("No."), S.INTERNAL, None),
    (Invalid.fields([{"field": "f" * 100, "message": "é" * 900}] * 20), S.INVALID_ARGUMENT, None),
    (Invalid.field("a\ud800", "is no \udfff"), S.INVALID_ARGUMENT, None),
])  # fmt: skip
async def test_each_refusal_has_its_status_and_details(
    home: House, caller: Client, refusal: Refused, status: grpc.StatusCode, retry_secs: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async def no(*_: object) -> None:
        raise refusal

    monkeypatch.setattr(type(home.gateway.incidents), "list", no)
    said = await refused(caller.incidents.ListIncidents(ASKED))
    assert (said.status, said.code, said.retry_secs) == (status, refusal.code, retry_secs)
    assert refusal.message.startswith(said.message) or "\\u" in said.message or "\\x" in said.message
    if isinstance(refusal, Invalid):
        assert said.fields


def test_no_refusal_is_without_a_status() -> None:
    assert errors.STATUS.keys() == rest.STATUS.keys()


async def test_a_bug_is_logged_and_not_shown(
    home: House, caller: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("the secret is 42aa42")

    monkeypatch.setattr(type(home.gateway.incidents), "list", broken)
    with caplog.at_level(logging.ERROR):
        no = await refused(caller.incidents.ListIncidents(ASKED))
        streamed = await refused(caller.incidents.StreamIncidents(pb.StreamIncidentsRequest()))
    assert (no.status, no.code) == (streamed.status, streamed.code) == (S.INTERNAL, "INTERNAL_ERROR")
    assert "42aa42" not in no.message + streamed.message
    told = [record for record in caplog.records if record.name == "app.api.grpc.door"]
    assert [record.getMessage() for record in told] == [
        "incidents.IncidentService/ListIncidents failed", "incidents.IncidentService/StreamIncidents failed",
    ]  # fmt: skip
    assert "42aa42" in str(told[0].exc_info)


# — how much, how long —


async def test_a_message_that_is_too_large_is_not_read(database_url: str) -> None:
    async with house(database_url, max_body_bytes=10_000) as made, client(made.address) as caller:
        large = pb.CreateIncidentRequest(title="large", description="x" * 10_000)
        call = caller.incidents.CreateIncident(large)
        assert await call.code() is S.RESOURCE_EXHAUSTED


async def test_a_call_whose_time_is_over_stops_its_work(
    home: House, caller: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = asyncio.Event()

    async def slow(*_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    monkeypatch.setattr(type(home.gateway.incidents), "list", slow)
    for timeout, status in ((0.2, S.DEADLINE_EXCEEDED), (None, S.CANCELLED)):
        stopped.clear()
        call = caller.incidents.ListIncidents(ASKED, timeout=timeout)
        if timeout is None:
            await asyncio.sleep(0.1)
            call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            assert await call.code() is status
        await asyncio.wait_for(stopped.wait(), 5)


async def test_what_takes_too_long_is_answered_unavailable(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(*_: object) -> None:
        await asyncio.Event().wait()

    async with house(database_url, request_timeout_secs=0.1) as made, client(made.address) as caller:
        monkeypatch.setattr(type(made.gateway.incidents), "list", slow)
        no = await refused(caller.incidents.ListIncidents(ASKED))
    assert (no.status, no.retry_secs) == (S.UNAVAILABLE, 1)
    assert no.message == "No answer within 0.1 s; it may still take effect."


async def test_a_reader_that_does_not_keep_up_is_dropped(
    home: House, caller: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "READS_WITHIN_SECS", 0.3)
    large = [alerts.AlertMessage(name=f"large {n}", source="x", description="x" * 60_000) for n in range(200)]
    assert len([ack async for ack in caller.ingestion.StreamAlerts(iter(large))]) == len(large)
    call = aiter(caller.incidents.StreamIncidents(pb.StreamIncidentsRequest()))
    await anext(call)
    await ended(home, S.RESOURCE_EXHAUSTED)
    no = await refused(call)
    assert (no.status, no.code) == (S.RESOURCE_EXHAUSTED, "RATE_LIMIT_EXCEEDED")


async def ended(home: House, status: grpc.StatusCode) -> None:
    """When a stream of incidents has come to this end."""
    counted = metrics.GRPC_REQUESTS.labels("incidents.IncidentService/StreamIncidents", status.name)
    before = counted._value.get()
    async with asyncio.timeout(20):
        while counted._value.get() == before:
            await asyncio.sleep(0.05)


async def test_calls_are_counted_by_what_became_of_them(home: House, caller: Client) -> None:
    def shown(name: str, **labels: str) -> float:
        return value(metrics.exposition()[0].decode(), f"llm_incident_manager_grpc_{name}", labels) or 0

    listing = {"method": "incidents.IncidentService/ListIncidents"}
    before = [shown("requests_total", status=s, **listing) for s in ("OK", "INVALID_ARGUMENT")]
    timed = shown("request_duration_seconds_count", **listing)
    await caller.incidents.ListIncidents(ASKED)
    await refused(caller.incidents.ListIncidents(pb.ListIncidentsRequest(page=-1)))
    after = [shown("requests_total", status=s, **listing) for s in ("OK", "INVALID_ARGUMENT")]
    assert after == [each + 1 for each in before]
    assert shown("request_duration_seconds_count", **listing) == timed + 2
    watching = caller.health.Watch(HealthCheckRequest())
    await watching.read()
    assert shown("streams_active") == 1
    watching.cancel()
    async with asyncio.timeout(5):
        while shown("streams_active"):
            await asyncio.sleep(0.01)


# — health, reflection, the end —


async def test_health_follows_the_parts(service: Service, home: House, caller: Client) -> None:
    async with client(service.grpc) as well:
        for name in ("", "incidents.IncidentService", "alerts.AlertIngestion", "incident_manager.v1.IncidentService"):
            assert (await well.health.Check(HealthCheckRequest(service=name))).status == HealthCheckResponse.SERVING
        no = await refused(well.health.Check(HealthCheckRequest(service="nobody")))
        assert no.status is S.NOT_FOUND
    for name, status in (("", "NOT_SERVING"), ("alerts.AlertIngestion", "SERVING")):  # Temporal is away
        found = await caller.health.Check(HealthCheckRequest(service=name))
        assert HealthCheckResponse.ServingStatus.Name(found.status) == status


async def test_health_is_watched(locked: House, visitor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LOOKS_EVERY_SECS", 0.05)
    heard = aiter(visitor.health.Watch(HealthCheckRequest(service="alerts.AlertIngestion")))
    async with asyncio.timeout(20):
        assert (await anext(heard)).status == HealthCheckResponse.SERVING
        pool = locked.gateway.health.pool
        await pool.connections.close()
        assert (await anext(heard)).status == HealthCheckResponse.NOT_SERVING
    unknown = visitor.health.Watch(HealthCheckRequest(service="nobody"))
    assert (await unknown.read()).status == HealthCheckResponse.SERVICE_UNKNOWN


async def told(*command: str) -> str:
    running = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(running.communicate(), 30)
    assert running.returncode == 0, said.decode()
    return said.decode()


async def test_buf_curl_needs_no_schema(home: House) -> None:
    url = f"http://{home.address}"
    buf = (str(BIN / "buf"), "curl", "--protocol", "grpc", "--http2-prior-knowledge")
    methods = await told(*buf, "--list-methods", url)
    assert {"incidents.IncidentService/AddNote", "alerts.AlertService/GetAlert"} <= set(methods.split())
    made = await told(
        *buf, "-d", '{"title": "slow", "severity": "P1"}', f"{url}/incident_manager.v1.IncidentService/CreateIncident"
    )
    assert '"severity":"P1"' in re.sub(r"\s", "", made)


async def test_the_documented_commands_work(service: Service, home: House) -> None:
    text = DOCUMENTED.read_text("utf-8").replace("\\\n", " ")
    commands = [line for line in text.splitlines() if line.startswith("buf curl") and "Ctrl-C" not in line]
    assert len(commands) == 7
    incident = await service.incident(severity="P1")
    for line in commands:
        here = line.replace("localhost:50051", service.grpc).replace("ID", incident)
        said = await told(str(BIN / "buf"), *shlex.split(here)[1:])
        assert "error" not in said.lower() or "ACK_STATUS_ERROR" in said


@pytest.mark.skipif(shutil.which("grpcurl") is None, reason="grpcurl is not installed")
async def test_grpcurl_needs_no_schema(home: House) -> None:
    assert "alerts.AlertIngestion" in await told("grpcurl", "-plaintext", home.address, "list")
    data = '{"name": "slow", "source": "me"}'
    made = await told("grpcurl", "-plaintext", "-d", data, home.address, "alerts.AlertIngestion/SubmitAlert")
    assert "A new incident was opened." in made


@pytest.mark.parametrize(("settings", "reflects"), [({}, True), ({"grpc_reflection": False}, False)])
async def test_reflection_can_be_switched_off(database_url: str, settings: dict[str, Any], reflects: bool) -> None:
    async with house(database_url, **settings) as made, grpc.aio.insecure_channel(made.address) as channel:
        call = ServerReflectionStub(channel).ServerReflectionInfo(iter([ServerReflectionRequest(list_services="")]))
        if reflects:
            [answer] = [each async for each in call]
            names = {each.name for each in answer.list_services_response.service}
            assert "incident_manager.v1.IncidentService" in names
        assert await call.code() is (S.OK if reflects else S.UNIMPLEMENTED)


async def test_the_end_waits_for_calls_and_tells_streams(
    locked: House, visitor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, may = asyncio.Event(), asyncio.Event()
    listing = locked.gateway.incidents.list

    async def slow(self: object, *arguments: Any) -> Any:
        asked.set()
        await may.wait()
        return await listing(*arguments)

    async def quiet() -> AsyncIterator[alerts.AlertMessage]:
        yield alerts.AlertMessage(name="down", source="tests")
        await asyncio.Event().wait()

    live = visitor.alerts.StreamAlerts(alerts.StreamAlertsRequest())
    sending = aiter(visitor.ingestion.StreamAlerts(quiet()))
    watching = aiter(visitor.health.Watch(HealthCheckRequest()))
    await anext(sending)
    await anext(watching)
    monkeypatch.setattr(type(locked.gateway.incidents), "list", slow)
    under_way = visitor.incidents.ListIncidents(ASKED)
    await asyncio.wait_for(asked.wait(), 5)
    locked.leave.set()
    for stream in (live, sending, watching):
        no = await refused(stream)
        assert (no.status, no.message) == (S.UNAVAILABLE, "The gateway is being stopped: connect again.")
    async with client(locked.address) as late:
        assert await late.incidents.ListIncidents(ASKED, timeout=5).code() is S.UNAVAILABLE
    may.set()
    assert await under_way.code() is S.OK


async def test_a_busy_port_is_named(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            CannotStart, match=rf"port {port} on 127.0.0.1 \(server.grpc_port, GRPC_PORT\) cannot be had"
        ):
            async with house(database_url, grpc_port=port):
                pass


async def test_no_grpc_is_a_setting(database_url: str) -> None:
    async with house(database_url, grpc_port=0) as made:
        assert isinstance(made.gateway, Gateway)


async def test_rest_and_grpc_end_together(service: Service, database_url: str) -> None:
    """SIGTERM, with a stream open that would go on for ever; `process` sees that it ends within 10 s, with 0."""
    http, port = free_port(), free_port()
    environment = service.environment | {"LLM_IM__SERVER__HTTP_PORT": str(http), "GRPC_PORT": str(port)}
    async with client(f"127.0.0.1:{port}") as caller, httpx.AsyncClient() as web:
        async with process("serve", environment, http, "/health/live"):
            await service.incident()
            stream = aiter(caller.incidents.StreamIncidents(pb.StreamIncidentsRequest()))
            await anext(stream)
            assert (await web.get(f"http://127.0.0.1:{http}/health/live")).status_code == 200
        assert (await refused(stream)).message == "The gateway is being stopped: connect again."

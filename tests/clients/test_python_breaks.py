"""What the Python client does when something breaks: nothing lost, nothing twice."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import cycle
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from app.stack import free_port
from llm_incident_manager_client import (
    Conflict,
    Event,
    IncidentEvent,
    IncidentManagerClient,
    RateLimited,
    Unauthenticated,
    Unavailable,
    Unreachable,
)
from llm_incident_manager_client.live import REMEMBERED, Heard
from tests.support.databases import another_database
from tests.support.receivers import SILENCE, HttpReceiver, Inbox, Reply, http_receiver
from tests.support.service import NOBODY_THERE, ROOT, Service, command, process

JSON = {"content-type": "application/json"}
TAKEN = Reply(body=b'{"status": "Accepted", "message": "", "outcome": "created", "incident_id": "i", "alert_id": "a"}')


@asynccontextmanager
async def client_of(receiver: HttpReceiver, retry_for_secs: float = 10) -> AsyncIterator[IncidentManagerClient]:
    endpoint = f"http://127.0.0.1:{receiver.port}"
    async with IncidentManagerClient(endpoint, retry_for_secs=retry_for_secs, timeout_secs=0.5) as client:
        yield client


async def test_a_write_is_tried_until_it_is_answered_with_one_key() -> None:
    async with http_receiver() as receiver, client_of(receiver) as client:
        receiver.replies += [Reply(502), Reply(429), SILENCE, Reply(503, {"retry-after": "1"})]
        receiver.usually = TAKEN
        assert (await client.submit_alert(source="x", title="y")).incident_id == "i"
        keys = {request.headers["idempotency-key"] for request in receiver.items}
        assert (len(receiver.items), len(keys)) == (5, 1)
        await client.submit_alert(source="x", title="y")
        assert receiver.items[-1].headers["idempotency-key"] not in keys


async def test_it_is_tried_while_the_server_comes_up() -> None:
    async with http_receiver() as receiver, client_of(receiver) as client:
        receiver.usually = TAKEN
        await receiver.goes_down()
        trying = asyncio.create_task(client.submit_alert(source="x", title="y"))
        await asyncio.wait([trying], timeout=0.3)
        assert not trying.done()
        await receiver.comes_up()
        assert (await trying).outcome == "created"


async def test_patience_ends() -> None:
    async with http_receiver() as receiver:
        receiver.usually = Reply(503, JSON, b'{"error": {"code": "SERVICE_UNAVAILABLE", "message": "away"}}')
        async with client_of(receiver, retry_for_secs=0.5) as client:
            with pytest.raises(Unavailable, match="away"):
                await client.submit_alert(source="x", title="y")
        assert len(receiver.items) > 1
        receiver.usually = Reply(429, {"retry-after": "60"}, b"{}")
        async with client_of(receiver) as client:
            with pytest.raises(RateLimited) as limited:
                await asyncio.wait_for(client.get("i"), 1)  # a minute is more than its patience: it says so at once
            assert limited.value.retry_after == 60
        await receiver.goes_down()
        async with client_of(receiver, retry_for_secs=0.5) as client:
            with pytest.raises(Unreachable, match="does not answer"):
                await client.get("i")


async def test_what_would_not_be_harmless_is_not_tried_again() -> None:
    async with http_receiver() as receiver, client_of(receiver) as client:
        for lost in (Reply(504), SILENCE):
            receiver.replies += [lost]
            with pytest.raises((Unavailable, Unreachable)):
                await client.put_document("services", "chat", {"name": "Chat"}, version=3)
        assert len(receiver.items) == 2
        receiver.usually = Reply(409, JSON, b'{"error": {"code": "CONFLICT", "message": "no", "details": [1]}}')
        with pytest.raises(Conflict) as refused:
            await client.acknowledge("i")
        assert (refused.value.details, len(receiver.items)) == ([1], 3)


async def whole(reader: asyncio.StreamReader) -> bytes:
    """One request or answer. Raises: IncompleteReadError when there is none."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return head + await reader.readexactly(int(length[1]) if length else 0)


@asynccontextmanager
async def lossy(service: Service, swallowed: list[bytes]) -> AsyncIterator[str]:
    """The address of a way to the service on which an answer gets lost whenever `swallowed` is empty."""
    host, port = service.url.removeprefix("http://").split(":")

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, ahead = await asyncio.open_connection(host, int(port))
        with suppress(asyncio.IncompleteReadError):
            while True:
                ahead.write(await whole(reader))
                answer = await whole(behind)
                if not swallowed:
                    swallowed.append(answer)
                    break
                writer.write(answer)
        ahead.close()
        writer.close()

    async with await asyncio.start_server(carry, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_what_was_done_although_the_answer_got_lost_is_not_done_twice(service: Service) -> None:
    swallowed: list[bytes] = []
    async with lossy(service, swallowed) as endpoint, IncidentManagerClient(endpoint) as client:
        source = str(uuid4())
        [taken] = await client.submit_alerts([{"source": source, "title": "once", "severity": "P3"}])
        assert b"created" in swallowed.pop()
        assert (taken.outcome, taken.status) == ("repeat", "Duplicate")
        [incident] = (await client.list(source=[source])).incidents
        assert b"once" in swallowed.pop()
        assert incident.alert_count == 1
        await client.comment(incident.id, "said once")
        assert b"said once" in swallowed.pop()
        assert [said.reason for said in await client.comments(incident.id)] == ["said once"]


async def deafen(database: str) -> None:
    """Ends the connections that listen for news, as soon as there are any."""
    connection = await asyncpg.connect(database)
    while not await connection.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE query ILIKE 'LISTEN%' AND datname = current_database() AND pid <> pg_backend_pid()"
    ):
        await asyncio.sleep(0.05)
    await connection.close()


async def test_every_event_is_heard_once_and_in_order_whatever_breaks(service: Service) -> None:
    port, source, heard = free_port(), str(uuid4()), Inbox[IncidentEvent]()
    environment = service.environment | {"LLM_IM__SERVER__HTTP_PORT": str(port), "GRPC_PORT": "0"}

    async def listen(after: str) -> None:
        async with (
            IncidentManagerClient(f"http://127.0.0.1:{port}") as client,
            aclosing(client.events(after=after, source=[source])) as events,
        ):
            async for event in events:
                await heard.take(event)

    @asynccontextmanager
    async def gateway() -> AsyncIterator[int]:
        """Has been heard through, and once more after its ear was taken from it."""
        async with process("serve", environment, port, "/health/ready") as pid:
            await heard.received(len(heard.items) + 1, within=20)
            await deafen(environment["DATABASE_URL"])
            await heard.received(len(heard.items) + 20, within=20)
            yield pid

    async with IncidentManagerClient(service.url) as steady:
        listening = asyncio.create_task(listen(await steady.cursor()))
        alerts: Any = [{"source": source, "title": f"incident {n}", "severity": "P4"} for n in range(10)]
        ids = [str(taken.incident_id) for taken in await steady.submit_alerts(alerts)]

        async def talk() -> None:
            for id_ in cycle(ids):
                await steady.comment(id_, "still looking")
                if quiet.is_set():
                    return

        talking, quiet = asyncio.create_task(talk()), asyncio.Event()
        async with gateway() as pid:
            os.kill(pid, signal.SIGTERM)
        async with gateway() as pid:
            os.kill(pid, signal.SIGKILL)
        async with gateway():
            await heard.received(200, within=20)
            quiet.set()
            await talking
            said = {id_: len(await steady.timeline(id_)) for id_ in ids}
            await heard.received(sum(said.values()), within=30)
            listening.cancel()
            await asyncio.wait([listening])

    numbers = defaultdict[str, list[int]](list)
    for event in heard.items:
        numbers[event.incident.id].append(event.event.seq)
    for id_ in ids:
        assert numbers[id_] == list(range(1, len(numbers[id_]) + 1))
        assert len(numbers[id_]) >= said[id_]


class Scripted:
    """A server of GraphQL subscriptions that sends what it is told to and then drops whoever listens, as one who lags.

    `asked` is from which cursors on.
    """

    def __init__(self, *sent: list[tuple[str, int]]) -> None:
        self.sent = deque(sent)
        self.asked: list[str] = []

    async def __call__(self, socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send('{"type": "connection_ack"}')
        self.asked.append(json.loads(await socket.recv())["payload"]["variables"]["after"])
        for cursor, seq in self.sent.popleft():
            await socket.send(json.dumps({"id": "1", "type": "next", "payload": {"data": {"incidentEvents": {
                "cursor": cursor, "update_type": "UPDATED", "incident": INCIDENT, "newer": "unknown to this client",
                "event": {"seq": seq, "incident_id": "i", "event_type": "PAGED", "timestamp": "2026-01-01T00:00:00Z",
                          "actor": {"name": "system", "type": "SYSTEM"}},
            }}}}))  # fmt: skip
        await socket.close(1013 if self.sent else 4401, "Too many events wait for this listener.")


INCIDENT = {
    "id": "i", "severity": "P1", "status": "NEW", "title": "t", "source": "s", "incident_type": "DATA",
    "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
}  # fmt: skip


async def test_who_is_dropped_goes_on_where_it_was_and_hears_nothing_twice() -> None:
    server = Scripted([("b", 1), ("b", 2)], [], [("b", 1), ("b", 2), ("b", 3), ("c", 4)], [("d", 5)])
    async with serve(server, "127.0.0.1", 0, subprotocols=[Subprotocol("graphql-transport-ws")]) as listening:
        [listener] = listening.sockets
        async with IncidentManagerClient(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            events = client.events(after="a")
            heard = [await anext(events) for _ in range(5)]
            with pytest.raises(Unauthenticated, match="Too many"):
                await anext(events)
    assert [event.event.seq for event in heard] == [1, 2, 3, 4, 5]
    assert heard[0].event.event_type == "paged"
    assert heard[0].raw["newer"] == "unknown to this client"
    assert server.asked == ["a", "b", "b", "c"]


def test_it_remembers_no_more_than_it_may() -> None:
    heard = Heard()
    assert all(heard.first("i", seq) for seq in range(REMEMBERED + 10))
    assert not heard.first("i", REMEMBERED)
    assert heard.first("i", 1)


@asynccontextmanager
async def guarded(database_url: str) -> AsyncIterator[tuple[str, str, int]]:
    """A gateway that lets in whoever has the key: its address, the key, its pid."""
    async with another_database(database_url) as url:
        port = free_port()
        environment = os.environ | {
            "DATABASE_URL": url, "TEMPORAL_ADDRESS": NOBODY_THERE, "LLM_IM__SERVER__HTTP_PORT": str(port),
            "API_PORT": "0", "GRPC_PORT": "0", "LLM_IM__SERVER__METRICS_PORT": "0",
        }  # fmt: skip
        made = await command("key", "create", "--name", "ops", "--role", "responder", environment=environment)
        async with process("serve", environment, port, "/health/live") as pid:
            yield f"http://127.0.0.1:{port}", made.said.strip(), pid


async def test_a_key_that_is_refused_and_a_server_that_no_longer_answers(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with guarded(database_url) as (endpoint, key, pid):
        async with IncidentManagerClient(endpoint, api_key="wrong") as stranger:
            with pytest.raises(Unauthenticated) as refused:
                await stranger.get("i")
            assert (refused.value.code, refused.value.status) == ("AUTHENTICATION_ERROR", 401)
            with pytest.raises(Unauthenticated):
                await asyncio.wait_for(anext(stranger.events()), 5)

        async with (
            IncidentManagerClient(endpoint, api_key=key, ping_secs=0.5) as client,
            aclosing(client.alerts()) as alerts,
        ):
            await heard_again(client, alerts)
            os.kill(pid, signal.SIGSTOP)
            again = asyncio.ensure_future(anext(alerts))
            async with asyncio.timeout(5):
                while "again in" not in caplog.text:
                    await asyncio.sleep(0.02)
            os.kill(pid, signal.SIGCONT)
            await heard_again(client, alerts, again)


async def heard_again(
    client: IncidentManagerClient, alerts: AsyncGenerator[Event, None], heard: asyncio.Future[Event] | None = None
) -> None:
    """Alerts are sent until one is heard."""
    heard = heard or asyncio.ensure_future(anext(alerts))
    async with asyncio.timeout(20):
        while not heard.done():
            await client.submit_alert(source="x", title=str(uuid4()))
            await asyncio.wait([heard], timeout=0.2)
    assert (await heard).source == "x"


SAMPLE = """
import asyncio
from llm_incident_manager_client import IncidentManagerClient, NewAlert, SyncIncidentManagerClient

async def main() -> str | None:
    async with IncidentManagerClient("http://localhost:8080", api_key="k") as client:
        alert: NewAlert = {"source": "s", "title": "t"}
        taken = await client.submit_alert(**alert)
        async for event in client.events(severity=["P0"]):
            reveal_type(event.incident.assigned_to)
        return taken.incident_id

with SyncIncidentManagerClient() as blocking:
    reveal_type(blocking.get("i"))
    reveal_type(next(blocking.critical_incidents()).sla)
    blocking.acknowledge("i", actor=1)
    blocking.submit_alert(title="no source")
asyncio.run(main())
"""


def test_a_program_that_uses_it_passes_mypy_strict_and_a_wrong_one_does_not(tmp_path: Path) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text(SAMPLE)
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, "--cache-dir", tmp_path, sample],
        cwd=tmp_path, env=os.environ | {"MYPYPATH": str(ROOT / "clients" / "python" / "src")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    revealed = re.findall(r'Revealed type is "(.*)"', ran.stdout)
    package = "llm_incident_manager_client.models"
    assert revealed == ["str | None", f"{package}.Incident", f"{package}.Sla | None"], ran.stdout
    errors = re.findall(r"sample.py:(\d+): error: (.*) \[", ran.stdout)
    assert [line for line, _ in errors] == ["16", "17"], ran.stdout

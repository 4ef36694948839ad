"""The Python client against a real service: every method, and the same of its twin for programs without a loop."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from llm_incident_manager_client import (
    BadAddress,
    Conflict,
    Incident,
    IncidentManagerClient,
    Invalid,
    NewAlert,
    NotFound,
    SyncIncidentManagerClient,
    Unauthenticated,
)
from tests.support.service import Service

UNLIKE = {"metrics", "sla", "resource", "resolution", "updated_at"}
"""Of an incident by GraphQL and by REST: whole records have other fields, and time goes on."""


@pytest.fixture
async def client(service: Service) -> AsyncIterator[IncidentManagerClient]:
    async with IncidentManagerClient(service.url) as made:
        yield made


def unique(words: str) -> str:
    return f"{words} {uuid4()}"


async def test_an_incident_from_the_alert_to_the_post_mortem(client: IncidentManagerClient) -> None:
    title = unique("the model hallucinates")
    taken = await client.submit_alert(source="python", title=title, severity="P1", labels={"team": "ml"})
    assert (taken.status, taken.outcome) == ("Accepted", "created")
    id_ = str(taken.incident_id)
    again = await client.submit_alert(source="python", title=title, severity="P1", labels={"team": "ml"})
    assert (again.status, again.incident_id) == ("Duplicate", id_)
    assert [alert.deduplicated for alert in await client.alerts_of(id_)] == [True, False]

    incident = await client.get(id_)
    assert (incident.severity, incident.open, incident.tags["team"], incident.alert_count) == ("P1", True, "ml", 2)
    assert incident.sla is not None
    assert incident.sla.acknowledgment_deadline - incident.created_at == timedelta(minutes=15)

    assert (await client.acknowledge(id_, actor="ann", notes="mine")).status == "ACKNOWLEDGED"
    assert (await client.acknowledge(id_, actor="ann", notes="mine")).acknowledged_by == "ann"
    assert (await client.assign(id_, user="bob", team="ml")).assigned_to == "bob"
    changed = await client.update(id_, assigned_to=None, severity="P2", tags={"seen": "yes"})
    assert (changed.assigned_to, changed.assigned_team, changed.severity) == (None, "ml", "P2")
    assert (await client.escalate(id_, reason="nobody answers")).status == "ESCALATED"
    assert (await client.comment(id_, "the cache was cold", actor="ann")).reason == "the cache was cold"
    assert [said.actor.name for said in await client.comments(id_)] == ["ann"]
    assert [page.target for page in await client.notifications(id_)]

    over = await client.resolve(id_, actor="ann", root_cause="cold cache", notes="warmed it", method="Manual")
    assert over.resolution is not None
    assert (over.resolution.root_cause, over.resolution.resolved_by) == ("cold cache", "ann")
    assert over.metrics is not None
    assert over.metrics.mttr is not None
    assert (await client.close(id_, post_mortem_url="https://wiki.example.com/1")).status == "CLOSED"
    assert (await client.reopen(id_, reason="it is back")).status == "NEW"
    events = await client.timeline(id_)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert {"acknowledged", "severity_changed", "resolved", "closed", "reopened"} <= {e.event_type for e in events}


async def test_an_escalation_is_held_and_let_go(client: IncidentManagerClient) -> None:
    reported = await client.create_incident(title=unique("GPU lost"), severity="P2", incident_type="Infrastructure")
    assert reported.created
    assert reported.incident is not None
    id_ = reported.incident.id
    assert (await client.pause(id_, reason="known")).escalation_paused
    assert not (await client.resume(id_)).escalation_paused
    assert (await client.snooze(id_, minutes=5)).escalation_paused
    assert (await client.snooze(id_, until=datetime.now(UTC) + timedelta(hours=1))).escalation_paused
    same = await client.create_incident(title=reported.incident.title, severity="P2", incident_type="Infrastructure")
    assert not same.created
    assert same.incident is not None
    assert same.incident.id == id_


async def test_every_incident_is_found_by_the_page(client: IncidentManagerClient) -> None:
    source = unique("pages")
    alerts: list[NewAlert] = [{"source": source, "title": f"problem {n}", "severity": "P3"} for n in range(5)]
    taken = await client.submit_alerts(alerts)
    found = [one.id async for one in client.iterate(source=[source], severity=["P3", "P4"], page_size=2, order="asc")]
    assert found == [one.incident_id for one in taken]
    page = await client.list(source=[source], start_date=datetime.now(UTC) - timedelta(hours=1), page_size=2)
    assert (len(page.incidents), page.total, page.next_cursor is not None) == (2, 5, True)
    assert not (await client.list(source=[source], tags={"no": "such"}, active_only=True)).incidents


async def test_more_alerts_than_the_server_takes_at_once(client: IncidentManagerClient) -> None:
    source = unique("flood")
    alerts: list[NewAlert] = [{"source": source, "title": f"problem {n % 3}", "severity": "P4"} for n in range(1001)]
    alerts[500] = {"source": source, "title": "bad", "severity": "P9"}
    taken = await client.submit_alerts(iter(alerts))
    assert len(taken) == 1001
    assert [at for at, one in enumerate(taken) if one.status == "Rejected"] == [500]
    assert "severity" in str(taken[500].error)
    assert len({one.incident_id for one in taken} - {None}) == 3
    assert sum(one.alert_count for one in (await client.list(source=[source])).incidents) == 1000


async def test_events_are_kept_whole(client: IncidentManagerClient) -> None:
    source, event_id = unique("sentinel"), str(uuid4())
    taken = await client.submit_event(
        source=source, event_id=event_id, title="drift", description="", severity="P3", category="performance",
        event_type="drift", timestamp=datetime.now(UTC), payload={"psi": 0.4},
    )  # fmt: skip
    event = await client.get_event(event_id)
    assert (event.incident_id, event.payload) == (taken.incident_id, {"psi": 0.4})
    assert [one.id for one in (await client.list_events(source=[source], limit=1)).events] == [event.id]


async def test_configuration_is_documents(client: IncidentManagerClient) -> None:
    id_ = f"svc-{uuid4()}"
    made = await client.put_document("services", id_, {"name": "Chat", "tier": 1}, version=0)
    assert made.version == 1
    changed = await client.put_document("services", id_, {"name": "Chat", "tier": 2}, version=1)
    with pytest.raises(Conflict):
        await client.put_document("services", id_, {"name": "Chat"}, version=1)
    assert (await client.document("services", id_)).raw["tier"] == changed.raw["tier"] == 2
    assert [one.version for one in await client.document_versions("services", id_)] == [1, 2]
    assert id_ in [one.id for one in await client.documents("services")]
    await client.delete_document("services", id_)
    with pytest.raises(NotFound):
        await client.document("services", id_)


async def test_the_server_and_its_policies(client: IncidentManagerClient) -> None:
    assert (await client.health()).status == "healthy"
    played = await client.simulate(
        "default", severity="P1", at="2026-12-24T03:00:00Z", assume=[{"after_secs": 60, "ack": "ann"}]
    )
    assert [line.event for line in played.timeline if line.actor == "ann"] == ["acknowledged"]
    assert (await client.lint()).errors >= 0
    assert (await client.request("GET", "api", "v1", "ml", "stats"))["enabled"] is True


async def test_a_refusal_says_what_is_allowed(client: IncidentManagerClient) -> None:
    with pytest.raises(NotFound) as nobody:
        await client.get("no-such-id")
    assert (nobody.value.code, nobody.value.status) == ("NOT_FOUND", 404)
    with pytest.raises(Invalid) as bad:
        await client.submit_alert(source="x", title="y", severity="P9")
    assert bad.value.code == "VALIDATION_ERROR"
    assert "severity" in str(bad.value.details)
    id_ = str((await client.submit_alert(source="x", title=unique("y"))).incident_id)
    await client.close(id_)
    with pytest.raises(Conflict) as wrong:
        await client.acknowledge(id_)
    assert (wrong.value.code, wrong.value.passing) == ("INVALID_STATE_TRANSITION", False)


def test_an_address_must_be_one() -> None:
    for nonsense in ("localhost:8080", "ftp://localhost", "http://[", "http://localhost:eighty", ""):
        with pytest.raises(BadAddress, match="looks like http://"):
            IncidentManagerClient(nonsense)


async def test_what_can_not_be_sent_is_refused_here(client: IncidentManagerClient) -> None:
    for key in ("schlüssel", "two\r\nlines"):
        with pytest.raises(Unauthenticated, match="ASCII"):
            IncidentManagerClient(api_key=key)
    for id_ in ("", "..", "a/../b", "ü"):
        with pytest.raises(NotFound):
            await client.get(id_)


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, str | None]:
        return {name: one.__doc__ for name, one in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"}

    both = (IncidentManagerClient, SyncIncidentManagerClient)
    asynchronous, blocking = map(methods, both)
    assert blocking.pop("disconnect")
    assert asynchronous.pop("disconnect")
    assert blocking == asynchronous
    first, second = (inspect.signature(kind) for kind in both)
    assert first == second


async def test_without_a_loop(service: Service) -> None:
    def story() -> list[str]:
        with SyncIncidentManagerClient(service.url) as client:
            after = client.cursor()
            source = unique("blocking")
            taken = client.submit_alerts([{"source": source, "title": f"t{n}", "severity": "P1"} for n in range(3)])
            assert [one.id for one in client.iterate(source=[source], order="asc")] == [t.incident_id for t in taken]
            client.acknowledge(str(taken[0].incident_id), actor="ann")
            with pytest.raises(NotFound):
                client.get("no-such-id")
            heard: list[str] = []
            for incident in client.critical_incidents(after=after):
                heard += [incident.title] if incident.source == source else []
                if len(heard) == 3:
                    break
            for change in client.state_changes(after=after, incident_id=taken[0].incident_id):
                heard.append(f"{change.previous_status} to {change.new_status} by {change.event.actor.name}")
                break
            return heard

    async with asyncio.timeout(30):
        heard = await asyncio.to_thread(story)
    assert sorted(heard) == ["NEW to ACKNOWLEDGED by ann", "t0", "t1", "t2"]


async def test_an_iterator_ends_with_its_client(service: Service) -> None:
    client = SyncIncidentManagerClient(service.url)
    alerts = client.alerts(sources=[unique("nobody")])

    def listen() -> None:
        with pytest.raises(CancelledError):
            next(alerts)

    before = await sockets(service)
    listening = asyncio.create_task(asyncio.to_thread(listen))
    async with asyncio.timeout(10):
        while await sockets(service) == before:
            await asyncio.sleep(0.02)
    await asyncio.to_thread(client.disconnect)
    await asyncio.wait_for(listening, 5)
    client.disconnect()
    with pytest.raises(RuntimeError, match="disconnected"):
        client.get("i")


async def sockets(service: Service) -> str:
    """How many WebSockets the gateway holds, in Prometheus' words."""
    metrics = (await service.http.get("/metrics")).text
    [line] = [line for line in metrics.splitlines() if line.startswith("websocket_active_connections ")]
    return line


async def test_every_subscription(client: IncidentManagerClient) -> None:
    source, after = unique("live"), await client.cursor()
    [taken] = await client.submit_alerts([{"source": source, "title": "model down", "severity": "P2"}])
    id_ = str(taken.incident_id)
    await client.update(id_, severity="P0")
    await client.resolve(id_, actor="ann")

    async with asyncio.timeout(20), aclosing(client.new_incidents(after=after, severities=["P0"])) as created:
        assert [one.id async for one in until(created, source)] == [id_]
    async with asyncio.timeout(20), aclosing(client.critical_incidents(after=after)) as critical:
        assert [one.severity async for one in until(critical, source)] == ["P0"]
    async with asyncio.timeout(20), aclosing(client.state_changes(after=after, incident_id=id_)) as changes:
        change = await anext(changes)
        assert (change.previous_status, change.new_status) == ("NEW", "RESOLVED")
    async with asyncio.timeout(20), aclosing(client.incident_updates(after=after, incident_ids=[id_])) as updates:
        kinds = [(await anext(updates)).event.event_type for _ in range(2)]
        assert kinds[0] == "incident_created"
    async with asyncio.timeout(20), aclosing(client.events(after=after, source=[source], status=["RESOLVED"])) as all_:
        whole = (await anext(all_)).incident
        rest = await client.get(id_)
        assert {name: whole.raw[name] for name in whole.raw if name not in UNLIKE} == {
            name: rest.raw[name] for name in whole.raw if name not in UNLIKE
        }
    with pytest.raises(Invalid, match="nonsense"):
        await anext(client.subscribe("subscription { nonsense }"))


async def test_what_has_no_cursor(client: IncidentManagerClient, service: Service) -> None:
    source = unique("now")
    alerts = client.alerts(sources=[source])
    titles = client.subscribe("subscription($s: JSON) { incidents(filter: $s) { title } }", {"s": {"source": source}})
    alert, title = asyncio.ensure_future(anext(alerts)), asyncio.ensure_future(anext(titles))
    async with asyncio.timeout(20):
        while not (alert.done() and title.done()):
            await service.incident(source=source, title=unique("again"))
            await asyncio.wait([alert, title], timeout=0.2)
    assert (await alert).source == source
    assert (await title)["incidents"]["title"].startswith("again")
    await alerts.aclose()
    await titles.aclose()


async def until(incidents: AsyncIterator[Incident], source: str) -> AsyncIterator[Incident]:
    """The first of this source."""
    async for incident in incidents:
        if incident.source == source:
            yield incident
            return

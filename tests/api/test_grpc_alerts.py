"""Alerts over gRPC: one by one, as a stream, and what was made of them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from app.api.grpc import alerts
from app.api.grpc.pb import alerts_pb2 as pb
from app.api.grpc.pb import incidents_pb2
from tests.api.conftest import Service
from tests.support.databases import another_database
from tests.support.grpc import Client, House, client, house, refused

ACCEPTED, DUPLICATE, ERROR = pb.ACK_STATUS_ACCEPTED, pb.ACK_STATUS_DUPLICATE, pb.ACK_STATUS_ERROR


@pytest.fixture(scope="module")
async def caller(service: Service) -> AsyncIterator[Client]:
    async with client(service.grpc) as made:
        yield made


@pytest.fixture(scope="module")
async def at_home(database_url: str) -> AsyncIterator[House]:
    """Where only the alerts count: nobody works on their incidents."""
    async with another_database(database_url) as url, house(url) as made:
        yield made


@pytest.fixture(scope="module")
async def sender(at_home: House) -> AsyncIterator[Client]:
    async with client(at_home.address) as made:
        yield made


def a_name() -> str:
    return f"TooSlow {uuid4()}"


async def acknowledged(sender: Client, *messages: pb.AlertMessage) -> list[pb.AlertAck]:
    async def all_of_them() -> AsyncIterator[pb.AlertMessage]:
        for message in messages:
            yield message

    return [ack async for ack in sender.ingestion.StreamAlerts(all_of_them())]


async def test_an_alert_keeps_what_its_rule_saw(sender: Client) -> None:
    request = pb.CreateAlertRequest(
        name=a_name(), description="p99", severity="warning", source="rules", rule_id="r-7", labels={"team": "chat"},
        annotations={"dashboard": "https://example.com"}, value=12.5, threshold_operator=">", threshold_value=2,
    )  # fmt: skip
    answer = await sender.ingestion.SubmitAlert(request)
    assert answer.message == "A new incident was opened."
    found = (await sender.alerts.GetAlert(pb.GetAlertRequest(alert_id=answer.alert.id))).alert
    assert found == answer.alert
    for name in (
        "name",
        "description",
        "source",
        "rule_id",
        "labels",
        "value",
        "threshold_operator",
        "threshold_value",
    ):
        assert getattr(found, name) == getattr(request, name)
    assert (found.severity, found.status) == ("P2", "FIRING")
    assert found.annotations["dashboard"] == "https://example.com"
    assert len(found.fingerprint) == 64
    again = await sender.alerts.CreateAlert(request)
    assert again.message == "Merged into an open incident."
    assert again.alert.annotations["incident_id"] == found.annotations["incident_id"]


async def test_a_stream_says_of_each_message_what_became_of_it(sender: Client) -> None:
    began = Timestamp()
    began.FromDatetime(datetime.now(UTC))
    first = pb.AlertMessage(id="a", name=a_name(), source="edge", severity="P1", fired_at=began)
    like_it = pb.AlertMessage(id="b", name=first.name, source="edge")
    nameless = pb.AlertMessage(id="c", source="edge")
    unborn = pb.AlertMessage(id="d", name=a_name(), source="edge", fired_at=Timestamp(seconds=10**12))
    other = pb.AlertMessage(name=a_name(), source="edge")
    acks = await acknowledged(sender, first, like_it, nameless, first, unborn, other)
    assert [ack.status for ack in acks] == [ACCEPTED, DUPLICATE, ERROR, DUPLICATE, ERROR, ACCEPTED]
    assert [ack.alert_id for ack in acks[:5]] == ["a", "b", "c", "a", "d"]
    assert acks[2].message == "name: is required"
    assert acks[3].message.startswith("This very delivery was received before")
    assert "fired_at: must lie between" in acks[4].message
    stored = (await sender.alerts.GetAlert(pb.GetAlertRequest(alert_id=acks[5].alert_id))).alert
    assert stored.name == other.name


async def test_many_messages_share_transactions_and_are_acknowledged_in_order(at_home: House, sender: Client) -> None:
    many = [pb.AlertMessage(id=str(n), name=a_name(), source="storm") for n in range(1000)]
    commits = 0
    committing = at_home.gateway.alerts.lane.commit

    async def counted(arrivals: Any) -> Any:
        nonlocal commits
        commits += 1
        return await committing(arrivals)

    at_home.gateway.alerts.lane.commit = counted
    acks = await acknowledged(sender, *many)
    at_home.gateway.alerts.lane.commit = committing
    assert [ack.alert_id for ack in acks] == [message.id for message in many]
    assert {ack.status for ack in acks} == {ACCEPTED}
    assert commits < len(many) / 4


async def test_what_is_acknowledged_is_durable(sender: Client) -> None:
    name = a_name()
    call = sender.ingestion.StreamAlerts()
    await call.write(pb.AlertMessage(name=name, source="edge", labels={"only": name}))
    ack = await call.read()
    assert isinstance(ack, pb.AlertAck)
    found = await sender.alerts.ListAlerts(pb.ListAlertsRequest(labels=[f"only={name}"]))
    assert [alert.id for alert in found.alerts] == [ack.alert_id]
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_no_more_is_read_than_may_wait_for_its_acknowledgement(at_home: House, sender: Client) -> None:
    """While nothing can be stored."""
    committing, stored = at_home.gateway.alerts.lane.commit, asyncio.Event()
    reached = 0

    async def later(arrivals: Any) -> Any:
        await stored.wait()
        return await committing(arrivals)

    async def endless() -> AsyncIterator[pb.AlertMessage]:
        nonlocal reached
        while not stored.is_set():
            reached += 1
            yield pb.AlertMessage(name=name, source="edge", description="x" * 10_000)

    name = a_name()
    at_home.gateway.alerts.lane.commit = later
    call = sender.ingestion.StreamAlerts(endless())
    async with asyncio.timeout(20):
        waiting = at_home.gateway.alerts.lane.waiting
        while len(waiting) < alerts.UNACKNOWLEDGED - 1:
            await asyncio.sleep(0.01)
        seen = -1
        while seen != reached:
            seen = reached
            await asyncio.sleep(0.2)
    assert len(waiting) == alerts.UNACKNOWLEDGED - 1  # and one that is being stored
    stored.set()
    at_home.gateway.alerts.lane.commit = committing
    assert len([ack async for ack in call]) == reached


async def test_alerts_are_listed_by_what_they_are(sender: Client) -> None:
    source = uuid4().hex
    for severity, team in (("P1", "chat"), ("P3", "chat"), ("P3", "search")):
        await sender.alerts.CreateAlert(
            pb.CreateAlertRequest(name=a_name(), source=source, severity=severity, labels={"team": team})
        )

    async def found(**what: Any) -> list[tuple[str, str]]:
        answer = await sender.alerts.ListAlerts(pb.ListAlertsRequest(source=source, **what))
        return [(alert.severity, alert.labels["team"]) for alert in answer.alerts]

    assert await found() == [("P3", "search"), ("P3", "chat"), ("P1", "chat")]
    assert await found(severity="low", labels=["team=chat"]) == [("P3", "chat")]
    assert await found(page=2, page_size=2) == [("P1", "chat")]
    assert await found(status="firing", to_time=Timestamp(seconds=1)) == []
    assert await found(status="RESOLVED") == []
    no = await refused(sender.alerts.ListAlerts(pb.ListAlertsRequest(status="on fire")))
    assert (no.status, list(no.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, ["status"])
    assert "'FIRING', 'ACKNOWLEDGED' or 'RESOLVED'" in no.message


async def test_to_take_and_resolve_an_alert_is_to_take_and_resolve_its_incident(caller: Client) -> None:
    made = (await caller.alerts.CreateAlert(pb.CreateAlertRequest(name=a_name(), source="edge"))).alert
    incident_id = made.annotations["incident_id"]
    taken = await caller.alerts.AcknowledgeAlert(
        pb.AcknowledgeAlertRequest(alert_id=made.id, acknowledged_by="ada", note="on it")
    )
    assert (taken.alert.status, taken.alert.acknowledged_by) == ("ACKNOWLEDGED", "ada")
    assert taken.message == f"Incident {incident_id} is ACKNOWLEDGED."
    over = await caller.alerts.ResolveAlert(
        pb.ResolveAlertRequest(alert_id=made.id, resolved_by="ada", resolution_note="restarted")
    )
    assert (over.alert.status, over.alert.resolved_by) == ("RESOLVED", "ada")
    incident = await caller.incidents.GetIncident(incidents_pb2.GetIncidentRequest(incident_id=incident_id))
    assert incident.incident.resolution.summary == "restarted"
    listed = await caller.alerts.ListAlerts(pb.ListAlertsRequest(status="RESOLVED", page_size=1))
    assert [alert.id for alert in listed.alerts] == [made.id]


async def test_alerts_are_heard_as_they_come_in(sender: Client) -> None:
    source = uuid4().hex
    wanted = pb.StreamAlertsRequest(sources=[source], severities=["P1"], label_filters={"team": "chat"})
    call = sender.alerts.StreamAlerts(wanted)

    async def hear() -> pb.AlertUpdate:
        return await anext(aiter(call))

    heard = asyncio.create_task(hear())
    sent = 0
    async with asyncio.timeout(20):
        while not heard.done():  # it begins to listen at some moment
            sent += 1
            for severity, team in (("P2", "chat"), ("P1", "search"), ("P1", "chat")):
                await sender.alerts.CreateAlert(
                    pb.CreateAlertRequest(
                        name=f"{severity} {sent}", source=source, severity=severity, labels={"team": team}
                    )
                )
    update = heard.result()
    call.cancel()
    assert (update.update_type, update.alert.severity, update.alert.status) == ("received", "P1", "FIRING")
    assert (update.alert.labels["team"], update.alert_id) == ("chat", update.alert.id)


async def test_rules_are_evaluated_elsewhere(sender: Client) -> None:
    no = await refused(sender.alerts.EvaluateRules(pb.EvaluateRulesRequest(rule_ids=["a"])))
    assert no.status is grpc.StatusCode.UNIMPLEMENTED
    assert "Prometheus" in no.message


async def test_an_alert_nobody_knows(sender: Client) -> None:
    for id_ in (str(uuid4()), "7"):
        for call in (
            sender.alerts.GetAlert(pb.GetAlertRequest(alert_id=id_)),
            sender.alerts.AcknowledgeAlert(pb.AcknowledgeAlertRequest(alert_id=id_)),
        ):
            no = await refused(call)
            assert no.status is grpc.StatusCode.NOT_FOUND
            assert "alert" in no.message
    no = await refused(sender.alerts.GetAlert(pb.GetAlertRequest()))
    assert list(no.fields) == ["alert_id"]


async def test_the_health_of_what_takes_alerts_in(caller: Client, sender: Client) -> None:
    well = await caller.ingestion.HealthCheck(pb.HealthCheckRequest())
    assert (well.status, well.message) == (pb.HEALTH_STATUS_HEALTHY, "Every part answers.")
    less = await sender.ingestion.HealthCheck(pb.HealthCheckRequest())
    assert less.status == pb.HEALTH_STATUS_DEGRADED
    assert "Temporal" in less.message

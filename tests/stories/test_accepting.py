"""Alerts at the door: one incident per problem, nothing counted twice, nothing lost."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.access import ANYBODY_ON_THIS_MACHINE
from app.domain.alert import Alert, AlertStatus
from app.domain.dedup import Outcome
from app.domain.vocabulary import Severity
from app.service.alerts import Alerts
from app.store.alerts import AlertStore
from app.store.database import Pool, pool
from tests.support.databases import another_database

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
async def connections(database_url: str) -> AsyncIterator[Pool]:
    """To a database of its own, from which no dispatcher takes anything."""
    async with another_database(database_url) as url, pool(url, 20) as opened:
        yield opened


@pytest.fixture
def door(connections: Pool) -> Alerts:
    return Alerts(AlertStore(connections, timedelta(seconds=900)), lambda: None)


def alert(**changes: object) -> Alert:
    return Alert.model_validate({"source": "tests", "title": "model is slow", "severity": "P2"} | changes)


async def incident(connections: Pool, incident_id: str | None) -> dict[str, object]:
    row = await connections.fetchrow("SELECT * FROM incidents WHERE id = $1::uuid", incident_id)
    assert row is not None
    return dict(row.items())


async def send(door: Alerts, *alerts: Alert) -> list[tuple[str | None, Outcome]]:
    return [(one.incident_id, one.outcome) for one in await door.ingest(ANYBODY_ON_THIS_MACHINE, alerts)]


async def test_a_thousand_equal_alerts_at_once_are_one_incident(connections: Pool) -> None:
    """Through four doors, each a gateway of its own, as one process's group commit would make it too easy."""
    doors = [Alerts(AlertStore(connections, timedelta(seconds=900)), lambda: None) for _ in range(4)]
    same = alert(title=f"storm {uuid.uuid4()}")
    answers = await asyncio.gather(*(doors[n % 4].ingest(ANYBODY_ON_THIS_MACHINE, [same]) for n in range(1000)))
    ids = {one.incident_id for [one] in answers}
    assert len(ids) == 1
    assert [one.outcome for [one] in answers].count(Outcome.CREATED) == 1
    found = await incident(connections, ids.pop())
    assert found["alert_count"] == 1000
    assert await connections.fetchval("SELECT count(*) FROM alerts WHERE incident_id = $1", found["id"]) == 1000
    assert await connections.fetchval("SELECT count(*) FROM outbox WHERE incident_id = $1", found["id"]) == 1


async def test_two_gateways_merge_into_the_same_incidents_without_starting_over(
    connections: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for the other's lock finds the incident as the other left it, not none."""
    doors = [Alerts(AlertStore(connections, timedelta(seconds=900)), lambda: None) for _ in range(2)]
    known = [alert(title=f"shared {n} {uuid.uuid4()}") for n in range(100)]
    opened = {id_ for id_, _ in await send(doors[0], *known)}
    monkeypatch.setattr("app.store.alerts.ATTEMPTS", 1)
    for _ in range(10):
        answers = await asyncio.gather(*(send(door, *known) for door in doors))
        assert {outcome for answer in answers for _, outcome in answer} == {Outcome.MERGED}
    counts = await connections.fetch("SELECT alert_count FROM incidents WHERE id = ANY($1::uuid[])", list(opened))
    assert [row["alert_count"] for row in counts] == [21] * 100


async def test_what_has_become_worse_is_called_as_it_is_now_unless_a_person_has_named_it(
    door: Alerts, connections: Pool
) -> None:
    key = f"outage {uuid.uuid4()}"
    minor = alert(identity=key, title="Minor outage", description="3 errors", severity="P2")
    major = alert(identity=key, title="Major outage", description="30 errors", severity="P1")
    [(id_, _)] = await send(door, minor)
    await send(door, major, minor)
    found = await incident(connections, id_)
    assert (found["title"], found["description"], found["severity"]) == ("Major outage", "30 errors", "P2")
    await connections.execute("UPDATE incidents SET title = 'Ours' WHERE id = $1::uuid", id_)
    await send(door, alert(identity=key, title="Everything is out", severity="P0"))
    found = await incident(connections, id_)
    assert (found["title"], found["description"], found["reported_severity"]) == ("Ours", "30 errors", "P0")
    at_once = f"at once {uuid.uuid4()}"
    [(other, _), _] = await send(
        door, minor.model_copy(update={"identity": at_once}), major.model_copy(update={"identity": at_once})
    )
    assert (await incident(connections, other))["title"] == "Major outage"


async def test_the_highest_severity_and_all_labels_stay(door: Alerts, connections: Pool) -> None:
    title = f"labels {uuid.uuid4()}"
    [(id_, _)] = await send(door, alert(title=title, severity="P3", labels={"a": "1"}))
    await send(door, alert(title=title, severity="P1", labels={"b": "2"}), alert(title=title, severity="P4"))
    found = await incident(connections, id_)
    assert found["reported_severity"] == Severity.P1
    assert found["tags"] == {"a": "1", "b": "2"}
    assert await connections.fetchval("SELECT count(*) FROM outbox WHERE incident_id = $1", found["id"]) == 2


async def test_the_same_delivery_twice_changes_nothing(door: Alerts, connections: Pool) -> None:
    once = alert(title=f"retry {uuid.uuid4()}", delivery="delivery-1" + str(uuid.uuid4()))
    first = await send(door, once)
    assert [outcome for _, outcome in await send(door, once, once)] == [Outcome.REPEAT] * 2
    assert (await incident(connections, first[0][0]))["alert_count"] == 1


async def test_a_delivery_sent_to_every_gateway_at_once_counts_once(connections: Pool) -> None:
    doors = [Alerts(AlertStore(connections, timedelta(seconds=900)), lambda: None) for _ in range(8)]
    once = alert(title=f"retry {uuid.uuid4()}", delivery=str(uuid.uuid4()))
    answers = await asyncio.gather(*(door.ingest(ANYBODY_ON_THIS_MACHINE, [once]) for door in doors))
    assert sorted(one.outcome for [one] in answers) == [Outcome.CREATED] + [Outcome.REPEAT] * 7
    assert (await incident(connections, answers[0][0].incident_id))["alert_count"] == 1


async def test_a_source_resolves_when_its_last_alert_does(door: Alerts, connections: Pool) -> None:
    identity = str(uuid.uuid4())
    a, b = (alert(identity=identity, external_id=name, starts_at=NOON) for name in "ab")
    [(id_, _), _] = await send(door, a, b)
    over = {"status": AlertStatus.RESOLVED}
    assert await send(door, a.model_copy(update=over)) == [(id_, Outcome.MERGED)]
    assert (await incident(connections, id_))["source_resolved_at"] is None
    assert await send(door, b.model_copy(update=over)) == [(id_, Outcome.RESOLVED)]
    assert (await incident(connections, id_))["source_resolved_at"] is not None


async def test_a_late_resolve_of_an_earlier_episode_is_ignored(door: Alerts) -> None:
    now = alert(identity=str(uuid.uuid4()), starts_at=NOON)
    await send(door, now)
    before = now.model_copy(update={"status": AlertStatus.RESOLVED, "starts_at": NOON - timedelta(hours=1)})
    assert await send(door, before) == [(None, Outcome.IGNORED)]


@pytest.mark.parametrize(("minutes", "outcome"), [(14, Outcome.REOPENED), (16, Outcome.CREATED)])
async def test_a_problem_that_comes_back_soon_reopens_its_incident(
    door: Alerts, connections: Pool, minutes: int, outcome: Outcome
) -> None:
    problem = alert(title=f"flap {uuid.uuid4()}")
    [(id_, _)] = await send(door, problem)
    resolved_at = datetime.now(UTC) - timedelta(minutes=minutes)
    await connections.execute(
        "UPDATE incidents SET status = 'RESOLVED', collecting = false, resolved_at = $2 WHERE id = $1::uuid",
        id_, resolved_at,
    )  # fmt: skip
    again = await send(door, problem, problem)
    assert [found for _, found in again] == [outcome, Outcome.MERGED]
    assert (again[0][0] == id_) == (outcome is Outcome.REOPENED)
    assert (await incident(connections, again[0][0]))["flap_count"] == (outcome is Outcome.REOPENED)


async def test_an_alert_nobody_can_store_does_not_take_others_along(door: Alerts) -> None:
    poison = Alert.model_construct(**(alert().model_dump() | {"title": "NUL \x00", "identity": str(uuid.uuid4())}))
    good = [alert(title=f"good {uuid.uuid4()}") for _ in range(5)]
    answers = await asyncio.gather(
        *(door.ingest(ANYBODY_ON_THIS_MACHINE, [one]) for one in [*good[:3], poison, *good[3:]]), return_exceptions=True
    )
    assert [isinstance(answer, Exception) for answer in answers] == [False, False, False, True, False, False]

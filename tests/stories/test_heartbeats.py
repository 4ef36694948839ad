"""A job that stops pinging is an incident and pages; one that pings again ends it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from activities.watching import Watch, Watched
from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.alert import Alert
from app.domain.heartbeat import Pulse
from app.domain.vocabulary import Severity, Status
from tests.support.world import Story, World
from workflows import names
from workflows.upkeep import WatchWorkflow

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
OF_HEARTBEAT = "SELECT id FROM incidents WHERE external_id = $1 ORDER BY created_at"


@pytest.fixture(autouse=True)
async def nothing_left(world: World) -> AsyncIterator[None]:
    yield
    for kept in await world.gateway.documents.list(ME, "heartbeats"):
        await world.gateway.documents.delete(ME, "heartbeats", kept.id)
    await watched(world, datetime.now(UTC) + 60 * MINUTE)


@pytest.fixture(scope="module", autouse=True)
async def policy(world: World) -> AsyncIterator[None]:
    levels = [{"targets": [{"type": "user", "id": "alice"}], "escalate_after_secs": 300}]
    body = {"name": "Heartbeats", "conditions": {"source": ["heartbeat"]}, "levels": levels, "priority": 10}
    await world.gateway.documents.put(ME, "escalation-policies", "heartbeats", body)
    yield
    await world.gateway.documents.delete(ME, "escalation-policies", "heartbeats")


async def written(world: World, id_: str, **more: object) -> datetime:
    """A heartbeat that somebody watches; when."""
    body = {"name": f"The job {id_}", "every_secs": 600, "grace_secs": 60, "severity": "P1", "service": "rag"} | more
    await world.gateway.documents.put(ME, "heartbeats", id_, body)
    await world.gateway.health.pool.execute("DELETE FROM facts WHERE name = 'watched'")
    now = datetime.now(UTC)
    await watched(world, now)
    return now


async def watched(world: World, at: datetime) -> Watched:
    return await world.gateway.heartbeats.watching.watch(Watch(at=at))


async def watched_until(world: World, at: datetime, until: datetime) -> None:
    while at < until:
        at = min(at + MINUTE, until)
        await watched(world, at)


async def incidents(world: World, id_: str) -> list[Story]:
    rows = await world.gateway.health.pool.fetch(OF_HEARTBEAT, f"heartbeat:{id_}")
    return [Story(world, str(row["id"]), Alert(source="heartbeat", title=id_)) for row in rows]


async def test_a_missed_heartbeat_pages_once_and_a_ping_ends_it(world: World) -> None:
    began = await written(world, "reindex", incident_class="rag.staleness")
    await world.gateway.heartbeats.ping(ME, "reindex")
    await watched_until(world, began, began + 11 * MINUTE)
    assert await incidents(world, "reindex") == []
    await watched_until(world, began + 11 * MINUTE, began + 13 * MINUTE)
    [story] = await incidents(world, "reindex")
    await story.becomes_known()
    assert await story.told() == ["alice"]
    view = await world.gateway.incidents.get(ME, story.id)
    assert (view.title, view.severity, view.affected_resources) == (
        "No heartbeat: The job reindex",
        Severity.P1,
        ["rag"],
    )
    assert (view.tags["class"], view.tags["heartbeat"]) == ("rag.staleness", "reindex")
    status = await world.gateway.heartbeats.status(ME, "reindex")
    assert (status.status, status.failing_since) == (Pulse.ALIVE, began + 12 * MINUTE)  # by the real clock
    pinged = await world.gateway.heartbeats.ping(ME, "reindex")
    assert (pinged.status, pinged.failing_since) == (Pulse.ALIVE, None)
    await story.becomes(Status.RESOLVED)
    assert await story.told() == []
    assert await world.gateway.health.pool.fetch("SELECT * FROM episodes") == []


async def test_one_that_never_pings_is_missed_too_until_it_is_deleted(world: World) -> None:
    began = await written(world, "backup")
    await watched_until(world, began, began + 12 * MINUTE)
    [story] = await incidents(world, "backup")
    assert "It has never pinged" in (await world.gateway.incidents.get(ME, story.id)).description
    await world.gateway.documents.delete(ME, "heartbeats", "backup")
    assert (await watched(world, began + 12 * MINUTE + SECOND)).overdue == 0
    await story.becomes(Status.RESOLVED)


async def test_one_that_is_switched_off_is_not_missed(world: World) -> None:
    began = await written(world, "nightly")
    await watched_until(world, began, began + 12 * MINUTE)
    body = {"name": "The job nightly", "every_secs": 600, "grace_secs": 60, "enabled": False}
    await world.gateway.documents.put(ME, "heartbeats", "nightly", body)
    assert (await watched(world, began + 12 * MINUTE + SECOND)).overdue == 0
    [story] = await incidents(world, "nightly")
    await story.becomes(Status.RESOLVED)


async def test_what_is_open_stays_open_when_nobody_watched_for_a_while(world: World) -> None:
    began = await written(world, "tired")
    await watched_until(world, began, began + 12 * MINUTE)
    assert (await watched(world, began + 60 * MINUTE)).overdue == 1
    status = await world.gateway.heartbeats.status(ME, "tired")
    assert status.failing_since is not None
    [story] = await incidents(world, "tired")
    assert (await world.gateway.incidents.get(ME, story.id)).status is not Status.RESOLVED


async def test_one_that_is_switched_on_again_is_not_missed_for_the_time_it_was_off(world: World) -> None:
    began = await written(world, "weekend")
    await world.gateway.heartbeats.ping(ME, "weekend")
    body = {"name": "The job weekend", "every_secs": 600, "grace_secs": 60}
    await world.gateway.documents.put(ME, "heartbeats", "weekend", body | {"enabled": False})
    await watched_until(world, began, began + 60 * MINUTE)
    await world.gateway.documents.put(ME, "heartbeats", "weekend", body)
    await watched_until(world, began + 60 * MINUTE, began + 70 * MINUTE)
    assert await incidents(world, "weekend") == []
    assert (await watched(world, began + 71 * MINUTE)).overdue == 1


async def test_one_that_cannot_be_read_leaves_the_others_watched(world: World) -> None:
    began = await written(world, "alright")
    await written(world, "broken")
    pool, of_class = world.gateway.health.pool, "UPDATE documents SET body = body || $1::jsonb WHERE id = 'broken'"
    assert await pool.execute(of_class, {"incident_class": "no.more"}) == "UPDATE 1"
    try:
        await watched_until(world, began, began + 12 * MINUTE)
        assert (len(await incidents(world, "alright")), await incidents(world, "broken")) == (1, [])
    finally:
        await pool.execute(of_class, {"incident_class": "rag.staleness"})


async def test_a_clock_that_was_years_ahead_does_not_end_the_watch(world: World) -> None:
    began = await written(world, "patient")
    await watched(world, began + 400 * 24 * 60 * MINUTE)
    await watched_until(world, began + MINUTE, began + 14 * MINUTE)
    assert (await watched(world, began + 14 * MINUTE)).overdue == 1


async def test_the_schedule_s_workflow_looks_by_itself(world: World) -> None:
    now = datetime.now(UTC)
    await written(world, "ticker", every_secs=10, grace_secs=0)
    await world.gateway.health.pool.execute("DELETE FROM facts WHERE name = 'watched'")
    await watched(world, now - 90 * SECOND)
    await world.gateway.health.pool.execute("UPDATE beats SET since = $1", now - 80 * SECOND)
    found = await world.skipper.client.execute_workflow(
        WatchWorkflow.run, id="watch-by-hand", task_queue=names.WATCHING
    )
    assert found.overdue == 1
    [story] = await incidents(world, "ticker")
    await world.gateway.heartbeats.ping(ME, "ticker")
    await story.becomes(Status.RESOLVED)

"""Tools that never say that something is over: after a silence it is, and whoever was paged hears of it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from activities.watching import Watch
from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.taxonomy import OUTAGE
from app.domain.vocabulary import Severity, Status
from tests.support.world import Story, World, world_of_its_own

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
AGO = "UPDATE incidents SET last_seen_at = last_seen_at - $2::interval WHERE id = $1"


@pytest.fixture(scope="module")
async def world(database_url: str) -> AsyncIterator[World]:
    async with world_of_its_own(database_url, "alice") as made:
        yield made


async def opens(world: World, source: str, **more: object) -> Story:
    """An incident that resembles no other."""
    alike = uuid4().hex
    more = {"title": f"{alike[:8]} {alike[8:16]}", "affected_services": (alike,)} | more
    story = await world.opens(["alice"], policy={"conditions": {"source": [source]}}, source=source, **more)
    assert await story.told() == ["alice"]
    return story


async def quiet(world: World, time: timedelta) -> int:
    """How many incidents end where nothing is heard for so long."""
    return (await world.gateway.heartbeats.watching.watch(Watch(at=datetime.now(UTC) + time))).quiet


async def test_what_litellm_says_no_more_of_is_over_after_a_day(world: World) -> None:
    story = await opens(world, "litellm")
    assert await quiet(world, 24 * HOUR - MINUTE) == 0
    assert (await world.gateway.incidents.get(ME, story.id)).status is Status.NEW
    assert await quiet(world, 24 * HOUR + MINUTE) == 1
    await story.becomes(Status.RESOLVED)
    assert [message.kind.page for message in await story.messages()] == [False], "who was paged is told"
    assert await quiet(world, 48 * HOUR) == 0
    [last, _], _ = await world.gateway.alerts.store.of_incident(UUID(story.id), 10, 0)
    assert (last.status, last.source) == ("resolved", "litellm")
    assert "litellm itself says no end" in last.description
    await story.fires_again()
    await story.becomes(Status.NEW)
    assert await story.told() == ["alice"]
    assert await quiet(world, 49 * HOUR) == 1
    await story.becomes(Status.RESOLVED)


async def test_an_outage_that_litellm_repeats_while_it_lasts_is_over_after_an_hour(world: World) -> None:
    outage = await opens(world, "litellm", labels={"class": OUTAGE, "provider": "openai"}, identity="outage")
    other = await opens(world, "litellm", labels={"class": "cost.budget"}, identity="budget")
    assert await quiet(world, HOUR + MINUTE) == 1
    await outage.becomes(Status.RESOLVED)
    assert (await world.gateway.incidents.get(ME, other.id)).status is Status.NEW
    assert await quiet(world, 25 * HOUR) == 1


async def test_what_a_person_has_named_is_called_so_through_a_silent_end_and_whatever_comes_after(world: World) -> None:
    story = await opens(world, "opik", severity="P3")
    await world.gateway.health.pool.execute("UPDATE incidents SET title = 'Ours' WHERE id = $1", UUID(story.id))
    assert await quiet(world, 25 * HOUR) == 1
    await story.becomes(Status.RESOLVED)
    assert await story.fires_again(severity=Severity.P1) == story.id
    view = await story.becomes(Status.NEW)
    assert view.title == "Ours"
    assert await quiet(world, 51 * HOUR) == 1


async def test_whoever_took_it_a_short_while_ago_is_at_it(world: World) -> None:
    story = await opens(world, "opik")
    await world.gateway.health.pool.execute(AGO, UUID(story.id), 25 * HOUR)
    await story.acknowledge()
    assert await quiet(world, MINUTE) == 0
    assert await quiet(world, 25 * HOUR) == 1
    await story.becomes(Status.RESOLVED)


async def test_all_alerts_of_an_incident_end_together(world: World) -> None:
    story = await opens(world, "opik", external_id="a")
    await story.fires_again(external_id="b")
    assert await quiet(world, 25 * HOUR) == 1
    await story.becomes(Status.RESOLVED)


async def test_what_says_when_it_is_over_is_waited_for(world: World) -> None:
    story = await opens(world, "alertmanager")
    assert await quiet(world, 1000 * HOUR) == 0
    assert (await world.gateway.incidents.get(ME, story.id)).status is Status.NEW


async def test_an_alert_that_comes_in_the_moment_of_the_end_is_not_lost(world: World) -> None:
    story = await opens(world, "litellm")
    pool = world.gateway.health.pool
    async with pool.transaction() as ingest:
        await ingest.execute(AGO, UUID(story.id), -25 * HOUR)
        ending = asyncio.ensure_future(quiet(world, 25 * HOUR))
        while not await pool.fetchval(WAITS):
            await asyncio.sleep(0.02)
    assert await ending == 0
    assert (await world.gateway.incidents.get(ME, story.id)).status is Status.NEW

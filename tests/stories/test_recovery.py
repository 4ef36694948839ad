"""What survives when Temporal itself has lost everything."""

from datetime import timedelta

from app.domain.incident import CommandKind
from app.domain.notification import Undelivered
from app.domain.vocabulary import Status
from app.store.database import pool
from tests.support.world import Story, World, database, time_skipping, world_on


async def test_a_temporal_that_lost_its_data_gets_every_open_incident_again() -> None:
    async with database() as url, pool(url, 10) as connections:
        async with time_skipping() as skipper, world_on(url, connections, skipper) as before:
            await before.hires("alice", "bob", "carol")
            open_ = await before.opens(["alice"], ["bob"], ["carol"])
            assert await open_.after(minutes=6) == ["alice", "bob"]
            over = await before.opens(["alice"])
            await over.ask(CommandKind.RESOLVE)
        async with time_skipping() as skipper, world_on(url, connections, skipper) as anew:
            story = Story(anew, open_.id, open_.alert)
            await story.runs()
            assert await story.told() == []
            state = await story.state()
            assert state is not None
            assert (state.level, state.rung) == (2, 2)
            assert await story.after(minutes=11) == ["carol"]
            assert not await Story(anew, over.id, over.alert).known_to_temporal()


async def test_a_page_is_sent_though_postgresql_was_told_otherwise_by_a_worker_that_died(world: World) -> None:
    """It had written an acknowledge there that Temporal never heard of."""
    await world.hires("flaky")
    world.pigeon.troubles["user:flaky"] = [Undelivered("down", timedelta(seconds=30))]
    story = await world.opens(["flaky"], ["bob"])
    assert await story.told() == []
    pool = world.gateway.incidents.store.pool
    await pool.execute("UPDATE incidents SET status = 'ACKNOWLEDGED' WHERE id = $1::uuid", story.id)
    await pool.execute("UPDATE deliveries SET status = 'cancelled' WHERE incident_id = $1::uuid", story.id)
    assert await story.after(minutes=1) == ["flaky"]
    await story.becomes(Status.NEW)

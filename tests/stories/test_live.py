"""What happens is heard as it happens: in order, once, by everybody who listens, whatever falls in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import asyncpg
import pytest

from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.access import Principal
from app.domain.errors import Forbidden, Invalid
from app.domain.incident import CommandKind
from app.domain.representation import LiveEvent
from app.domain.sla import Targets
from app.domain.timeline import EventType
from app.domain.vocabulary import Role, Status
from app.service.live import Lagging, Live
from app.store.database import Pool
from app.store.feed import FeedStore, Snapshot
from tests.support.world import Story, World

T = TypeVar("T")


@asynccontextmanager
async def listening(connections: Pool, most_behind: int = 2000) -> AsyncIterator[Live]:
    """A gateway's ear."""
    made = Live(FeedStore(connections, Targets()), most_behind)
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@pytest.fixture
async def ear(connections: Pool) -> AsyncIterator[Live]:
    async with listening(connections) as made:
        yield made


@asynccontextmanager
async def noting(heard: AsyncIterator[T]) -> AsyncIterator[list[T]]:
    """What was heard so far."""
    notes: list[T] = []

    async def note() -> None:
        async for event in heard:
            notes.append(event)

    writing = asyncio.create_task(note())
    await asyncio.sleep(0)
    try:
        yield notes
    finally:
        writing.cancel()
        with suppress(asyncio.CancelledError):
            await writing


async def begun(ear: Live, listeners: int = 1) -> None:
    async with asyncio.timeout(10):
        while len(ear.incidents.followers) < listeners:
            await asyncio.sleep(0.01)


def of(story: Story, heard: list[LiveEvent]) -> list[tuple[int, EventType]]:
    return [(event.entry.seq, event.entry.event_type) for event in heard if event.incident.id == story.id]


async def all_of(story: Story, heard: list[LiveEvent]) -> list[tuple[int, EventType]]:
    """What was heard of the incident, once its whole timeline was."""
    async with asyncio.timeout(20):
        while True:
            told = [(entry.seq, entry.event_type) for entry in await story.timeline()]
            if told and of(story, heard)[-1:] == told[-1:]:
                return told
            await asyncio.sleep(0.02)


async def test_two_gateways_hear_the_whole_timeline_in_order(world: World, connections: Pool, ear: Live) -> None:
    async with (
        listening(connections) as other, noting(ear.follow(ME)) as here, noting(other.follow(ME)) as there,
    ):  # fmt: skip
        await begun(ear)
        await begun(other)
        story = await world.opens(["alice"], ["bob"])
        await story.acknowledge()
        await story.ask(CommandKind.COMMENT, reason="looking")
        await story.ask(CommandKind.RESOLVE, reason="restarted")
        told = await all_of(story, here)
        await all_of(story, there)
        assert of(story, here) == of(story, there) == told
        assert [seq for seq, _ in told] == list(range(1, len(told) + 1))
        mine = [event for event in here if event.incident.id == story.id]
        assert mine[-1].incident.status is Status.RESOLVED
        [comment] = [event for event in mine if event.entry.event_type is EventType.COMMENT_ADDED]
        assert (comment.entry.reason, comment.entry.actor.name) == ("looking", "alice")


async def test_from_a_cursor_on_nothing_is_missed_even_what_was_written_but_not_committed_then(
    world: World, connections: Pool, database_url: str, ear: Live
) -> None:
    before = await world.opens(["alice"])
    await before.settled()
    slow = await asyncpg.connect(database_url)  # began before the cursor, is committed after what comes later
    transaction = slow.transaction()
    await transaction.start()
    await slow.execute(
        "INSERT INTO timeline (incident_id, seq, type, at, actor_name, actor_type)"
        " VALUES ($1, 1000, 'comment_added', now(), 'slow', 'user')",
        before.id,
    )
    late = (1000, EventType.COMMENT_ADDED)
    cursor = await ear.cursor(ME)
    missed = await world.opens(["alice"])
    await missed.acknowledge()
    told = [(entry.seq, entry.event_type) for entry in await missed.timeline()]
    async with noting(ear.follow(ME, cursor)) as heard:
        await begun(ear)
        assert of(missed, heard) == told
        assert late not in of(before, heard)
        later = heard[-1].cursor
        await transaction.commit()
        await slow.close()
        await missed.ask(CommandKind.RESOLVE)
        await all_of(missed, heard)
        assert of(before, heard).count(late) == 1
    async with noting(ear.follow(ME, later)) as again:
        await begun(ear)
        assert of(before, again).count(late) == 1
        assert of(missed, again)[-1][1] is EventType.RESOLVED
    await connections.execute("DELETE FROM timeline WHERE incident_id = $1 AND seq = 1000", before.id)


async def test_whoever_goes_on_from_any_event_hears_all_that_came_after_it(world: World, ear: Live) -> None:
    async with noting(ear.follow(ME)) as heard:
        await begun(ear)
        story = await world.opens(["alice"], ["bob"])
        await story.acknowledge()
        await story.ask(CommandKind.RESOLVE)
        told = await all_of(story, heard)
    for event in [event for event in heard if event.incident.id == story.id]:
        async with noting(ear.follow(ME, event.cursor)) as rest:
            await begun(ear)
            after = [entry for entry in told if entry[0] > event.entry.seq]
            assert of(story, rest)[-len(after) :] == after or not after


async def test_a_lost_connection_costs_no_event(world: World, connections: Pool, ear: Live) -> None:
    async with noting(ear.follow(ME)) as heard:
        await begun(ear)
        story = await world.opens(["alice"])
        await all_of(story, heard)
        await connections.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query LIKE 'LISTEN%' AND datname = current_database()"
        )
        await story.acknowledge()
        await story.ask(CommandKind.RESOLVE)
        told = await all_of(story, heard)
        assert of(story, heard) == told


async def test_who_does_not_keep_up_is_dropped_and_hears_the_rest_from_its_cursor(
    world: World, connections: Pool, ear: Live
) -> None:
    start = await ear.cursor(ME)
    async with noting(ear.follow(ME)) as brisk, listening(connections, most_behind=3) as other:
        slow = other.follow(ME)
        first = asyncio.create_task(slow.__anext__())
        await begun(ear)
        await begun(other)
        story = await world.opens(["alice"])
        await first
        await story.acknowledge()
        await story.ask(CommandKind.RESOLVE)
        told = await all_of(story, brisk)
        with pytest.raises(Lagging):
            await slow.__anext__()
        await slow.aclose()
    async with noting(ear.follow(ME, start)) as rest:
        await begun(ear)
        assert of(story, rest) == told


async def test_alerts_are_heard_as_they_are_accepted(world: World, ear: Live) -> None:
    async with noting(ear.alerts(ME)) as heard:
        async with asyncio.timeout(10):
            while not ear.incoming.followers:
                await asyncio.sleep(0.01)
        story = await world.opens(["alice"])
        for _ in range(3):
            await story.fires_again()
        async with asyncio.timeout(10):
            while len([alert for alert in heard if alert.incident_id == story.id]) < 4:
                await asyncio.sleep(0.02)
        mine = [alert for alert in heard if alert.incident_id == story.id]
        assert [alert.deduplicated for alert in mine] == [False, True, True, True]


async def test_nobody_listens_and_nothing_is_read(connections: Pool, ear: Live) -> None:
    heard = ear.follow(ME)
    waiting = asyncio.create_task(heard.__anext__())
    await begun(ear)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    ear.fresh.set()
    async with asyncio.timeout(10):
        while ear.wanted.is_set():
            await asyncio.sleep(0.01)
    assert not ear.incidents.followers


async def test_who_may_not_read_may_not_listen(ear: Live) -> None:
    prometheus = Principal(name="prometheus", role=Role.INGEST)
    with pytest.raises(Forbidden, match="read"):
        ear.follow(prometheus)
    with pytest.raises(Forbidden, match="read"):
        ear.alerts(prometheus)


@pytest.mark.parametrize(
    "cursor", ["", "1", "1:2", "0:0:", "5:4:", "1:2:9", "a:b:", "1:2:1,", "9" * 30 + ":1:", "1:2:\n"]
)
async def test_what_is_no_cursor_is_refused(ear: Live, cursor: str) -> None:
    with pytest.raises(Invalid, match="after"):
        ear.follow(ME, cursor)


async def test_a_cursor_from_the_future_is_of_another_database(ear: Live) -> None:
    now = Snapshot.parse(await ear.cursor(ME))
    with pytest.raises(Invalid, match="begin with a list"):
        await anext(ear.follow(ME, f"{now.xmax + 10**9}:{now.xmax + 10**9}:"))

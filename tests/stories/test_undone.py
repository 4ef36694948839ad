"""Steps that Temporal undid, because something came in just then or because their worker died."""

import asyncio

from app.domain.incident import CommandKind
from app.domain.timeline import EventType
from app.domain.vocabulary import Status
from tests.support.world import Story, World

PHANTOMS = """
INSERT INTO timeline (incident_id, seq, type, at, actor_name, actor_type, data, version_time, version_seq)
SELECT incident_id, seq + n, 'acknowledged', at, actor_name, actor_type, data, version_time, version_seq + n
FROM timeline, generate_series(1, 3) AS n
WHERE incident_id = $1::uuid AND seq = (SELECT max(seq) FROM timeline WHERE incident_id = $1::uuid)
"""


async def test_a_close_is_carried_out_though_the_page_is_being_taken_at_that_moment(world: World) -> None:
    async def closed_early(_: int) -> Story:
        story = await world.opens(["alice"])
        assert (await story.ask(CommandKind.CLOSE)).status is Status.CLOSED
        return story

    for story in await asyncio.gather(*map(closed_early, range(10))):
        told = [event for event in await story.events() if event is EventType.NOTIFICATION_SENT]
        assert len(told) == len(await story.told())


async def test_what_a_dead_worker_wrote_on_the_timeline_is_taken_back(world: World) -> None:
    story = await world.opens(["alice"], ["bob"])
    assert await story.told() == ["alice"]
    before = await story.timeline()
    await world.gateway.incidents.store.pool.execute(PHANTOMS, story.id)
    await story.ask(CommandKind.COMMENT, reason="looking")
    after = await story.timeline()
    assert after[:-1] == before
    assert after[-1].event_type is EventType.COMMENT_ADDED

"""What must never happen. Elsewhere: a timer lost by a restart and a page lost or doubled by a kill (test_kills), a
rotation an hour off after a clock change (test_oncall), a success recorded of what was only queued and a send dropped
because it took ten seconds (test_delivering)."""

import asyncio
import uuid

from app.domain.incident import CommandKind
from app.domain.vocabulary import Status
from tests.support.world import Story, World

RACES = 30


async def test_a_page_after_an_acknowledge_whatever_races(world: World) -> None:
    """Thirty incidents are acknowledged in the very moment in which their second level falls due."""
    await world.hires("first", "second")
    stories = [await world.opens(["first"], ["second"], identity=str(uuid.uuid4())) for _ in range(RACES)]

    async def raced(story: Story) -> None:
        assert await story.after(minutes=4, seconds=20) == ["first"]
        await asyncio.gather(story.world.skipper.fast_forward(story.handle, 40.5), story.acknowledge())

    for n in range(0, RACES, 10):
        await asyncio.gather(*(raced(story) for story in stories[n : n + 10]))
    for story in stories:
        assert await story.told() in ([], ["second"])
        assert (await story.becomes(Status.ACKNOWLEDGED)).acknowledged_by == "alice"
        assert await story.after(hours=9) == []
        timeline = [event.event_type.value for event in await story.timeline()]
        assert "paged" not in timeline[timeline.index("acknowledged") :]


async def test_a_repeat_that_clears_an_acknowledge(world: World) -> None:
    repeat = {"max_repeats": 5, "interval_secs": 60}
    story = await world.opens(["alice"], ["bob"], policy={"repeat": repeat})
    assert await story.after(minutes=7) == ["alice", "bob", "alice"]
    await story.acknowledge(actor="carol")
    assert await story.after(hours=9) == []
    view = await story.becomes(Status.ACKNOWLEDGED)
    assert view.acknowledged_by == "carol"
    await story.ask(CommandKind.RESOLVE)

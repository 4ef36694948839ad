"""An incident that outlives one history goes on in the next: nothing is lost, nobody is told twice."""

from datetime import timedelta

from app.domain.incident import CommandKind
from app.domain.notification import Undelivered
from app.domain.timeline import EventType
from app.domain.vocabulary import Status
from tests.replay.lives import run_id, talked_into_a_new_run
from tests.support.world import World


async def test_the_ladder_goes_on_where_it_was(hasty: World) -> None:
    story = await hasty.opens(["alice"], ["bob"], ["carol"])
    assert await story.after(minutes=2) == ["alice"]
    await talked_into_a_new_run(story)
    assert await story.after(minutes=2, seconds=50) == []
    assert await story.after(seconds=15) == ["bob"]
    await talked_into_a_new_run(story)
    assert await story.after(minutes=5) == ["carol"]
    assert await story.after(hours=9) == []
    timeline = await story.timeline()
    assert [event.seq for event in timeline] == list(range(1, len(timeline) + 1))


async def test_a_page_on_its_way_is_waited_for(hasty: World) -> None:
    """Taking it back from its provider's hands could tell it twice."""
    hasty.pigeon.troubles["user:flaky"] = [Undelivered("down", timedelta(minutes=1)) for _ in range(2)]
    story = await hasty.opens(["flaky"], ["bob"])
    before = await run_id(story)
    for _ in range(20):
        await story.ask(CommandKind.COMMENT, reason="looking")
    assert await run_id(story) == before
    assert await story.after(minutes=4) == ["flaky"]
    await talked_into_a_new_run(story)
    assert (await story.events()).count(EventType.NOTIFICATION_SENT) == 1
    assert await story.after(minutes=2) == ["bob"]


async def test_an_acknowledge_holds_in_the_next_run(hasty: World) -> None:
    story = await hasty.opens(["alice"], ["bob"])
    assert await story.told() == ["alice"]
    await story.acknowledge()
    await talked_into_a_new_run(story)
    assert await story.after(hours=9) == []
    await story.ask(CommandKind.RESOLVE)
    assert (await story.becomes(Status.RESOLVED)).acknowledged_by == "alice"


async def test_the_same_command_in_the_next_run_is_the_same_command(hasty: World) -> None:
    story = await hasty.opens(["alice"])
    await story.ask(CommandKind.COMMENT, reason="once", key="k")
    await talked_into_a_new_run(story)
    before = await story.events()
    await story.ask(CommandKind.COMMENT, reason="once", key="k")
    assert await story.events() == before

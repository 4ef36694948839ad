"""What comes and goes pages for a while, then nobody, and again once it stays."""

from prometheus_client import REGISTRY

from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.incident import CommandKind, HoldReason
from app.domain.vocabulary import Severity, Status
from tests.support.world import Story, World

REOPENINGS = 4


def counted(reason: HoldReason) -> float:
    return REGISTRY.get_sample_value("incident_manager_suppressed_incidents_total", {"reason": reason}) or 0


async def comes_and_goes(story: Story) -> list[str]:
    """Whom that pages."""
    await story.ask(CommandKind.RESOLVE)
    await story.fires_again()
    await story.becomes(Status.NEW)
    return await story.told()


async def test_what_comes_and_goes_is_held_until_it_stays(world: World) -> None:
    story = await world.opens(["alice"], ["bob"])
    assert await story.told() == ["alice"]
    for _ in range(REOPENINGS - 1):
        assert await comes_and_goes(story) == ["alice"]
    before = counted(HoldReason.FLAPPING)
    assert await comes_and_goes(story) == []
    assert counted(HoldReason.FLAPPING) == before + 1
    [hold] = (await world.gateway.incidents.get(ME, story.id)).suppression
    assert hold.reason is HoldReason.FLAPPING
    assert await story.after(minutes=14) == []
    assert await story.after(minutes=2) == ["alice"]
    assert await story.after(minutes=6) == ["bob"]


async def test_the_most_urgent_pages_every_time(world: World) -> None:
    story = await world.opens(["alice"], severity=Severity.P0)
    assert await story.told() == ["alice"]
    for _ in range(REOPENINGS + 1):
        assert await comes_and_goes(story) == ["alice"]


async def test_who_is_held_for_flapping_and_goes_away_pages_nobody(world: World) -> None:
    story = await world.opens(["alice"])
    assert await story.told() == ["alice"]
    for _ in range(REOPENINGS):
        await comes_and_goes(story)
    await story.ask(CommandKind.RESOLVE)
    assert await story.after(minutes=10) == []

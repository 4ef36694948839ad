"""Who is paged when, and who sleeps on."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.errors import Conflict, InvalidTransition
from app.domain.incident import CommandKind
from app.domain.notification import Undelivered
from app.domain.representation import TimelineEvent
from app.domain.timeline import EventType
from app.domain.vocabulary import Severity, Status
from tests.support.world import Story, World

LADDER = (["alice"], ["bob"], ["carol"])


async def test_the_next_person_is_paged_when_the_first_does_not_answer(world: World) -> None:
    story = await world.opens(*LADDER)
    assert await story.told() == ["alice"]
    assert await story.after(minutes=4, seconds=55) == []
    assert await story.after(seconds=10) == ["bob"]
    assert await story.after(minutes=5) == ["carol"]
    assert await story.after(hours=9) == []
    assert (await story.becomes(Status.ESCALATED)).escalation_level == 3


async def test_nobody_else_is_woken_once_somebody_takes_it(world: World) -> None:
    story = await world.opens(*LADDER)
    assert await story.after(minutes=1) == ["alice"]
    view = await story.acknowledge()
    assert (view.status, view.acknowledged_by) == (Status.ACKNOWLEDGED, "alice")
    assert await story.after(hours=9) == []


async def test_a_pause_freezes_what_was_left(world: World) -> None:
    story = await world.opens(*LADDER)
    assert await story.after(minutes=2) == ["alice"]
    await story.ask(CommandKind.PAUSE)
    assert await story.after(hours=3) == []
    await story.ask(CommandKind.RESUME)
    assert await story.after(minutes=2, seconds=50) == []
    assert await story.after(seconds=15) == ["bob"]


async def test_a_snooze_ends_by_itself(world: World) -> None:
    story = await world.opens(*LADDER)
    assert await story.told() == ["alice"]
    await story.ask(CommandKind.SNOOZE, until=datetime.now(UTC) + timedelta(minutes=30))
    assert await story.after(minutes=29) == []
    assert await story.after(minutes=6, seconds=5) == ["bob"]


async def test_a_level_without_patience_takes_the_next_along(world: World) -> None:
    now = {"targets": [{"type": "user", "id": "alice"}], "escalate_after_secs": 0}
    then = {"targets": [{"type": "user", "id": "bob"}], "escalate_after_secs": 60}
    story = await world.opens(policy={"levels": [now, then]})
    assert sorted(await story.told()) == ["alice", "bob"]


async def test_the_ladder_is_climbed_again(world: World) -> None:
    story = await world.opens(["alice"], ["bob"], policy={"repeat": {"max_repeats": 1, "interval_secs": 600}})
    assert await story.after(minutes=6) == ["alice", "bob"]
    assert await story.after(minutes=8) == []
    assert await story.after(minutes=7) == ["alice", "bob"]
    assert await story.after(hours=9) == []


async def test_whoever_cannot_be_reached_costs_no_time(world: World) -> None:
    await world.gateway.documents.put(ME, "users", "ghost", {"name": "Ghost"})
    story = await world.opens(["ghost"], ["bob"])
    assert await story.told() == ["bob"]
    assert EventType.NOBODY_REACHED in await story.events()


async def test_a_page_that_will_never_arrive_costs_no_time_either(world: World) -> None:
    await world.hires("mute")
    world.pigeon.troubles["user:mute"] = [Undelivered("no such mailbox")]
    story = await world.opens(["mute"], ["bob"])
    await story.eventually(EventType.NOTIFICATION_FAILED)
    assert await story.told() == ["bob"]


async def test_a_receiver_that_was_down_gets_its_page_when_it_is_back(world: World) -> None:
    await world.hires("slow")
    world.pigeon.troubles["user:slow"] = [Undelivered("down", timedelta(seconds=30)) for _ in range(3)]
    story = await world.opens(["slow"], ["bob"])
    assert await story.told() == []
    assert await story.after(minutes=3) == ["slow"]


async def test_no_retry_goes_out_after_an_acknowledge(world: World) -> None:
    await world.hires("flaky")
    world.pigeon.troubles["user:flaky"] = [Undelivered("down", timedelta(seconds=30))]
    story = await world.opens(["flaky"], ["bob"])
    assert await story.told() == []
    await story.acknowledge()
    assert await story.after(hours=9) == []
    [notification] = await world.gateway.incidents.deliveries.of_incident(story.id)
    assert notification.status == "cancelled"


async def test_escalating_twice_from_the_same_level_escalates_once(world: World) -> None:
    story = await world.opens(*LADDER)
    assert await story.told() == ["alice"]
    await story.ask(CommandKind.ESCALATE, at_level=1)
    await story.ask(CommandKind.ESCALATE, at_level=1)
    assert await story.told() == ["bob"]
    await story.acknowledge()
    await story.ask(CommandKind.ESCALATE)
    assert await story.told() == ["carol"]
    with pytest.raises(Conflict):
        await story.ask(CommandKind.ESCALATE)


async def test_given_back_it_starts_again(world: World) -> None:
    story = await world.opens(*LADDER)
    assert await story.told() == ["alice"]
    await story.acknowledge()
    await story.ask(CommandKind.UNACKNOWLEDGE)
    assert await story.told() == ["alice"]


async def test_an_acknowledge_that_comes_too_late_does_not_reopen(world: World) -> None:
    story = await world.opens(*LADDER)
    await story.ask(CommandKind.RESOLVE, reason="turned it off and on again")
    with pytest.raises(InvalidTransition) as refused:
        await story.acknowledge()
    assert "RESOLVED" in refused.value.message
    assert "ACKNOWLEDGED" in refused.value.message
    assert (await story.becomes(Status.RESOLVED)).resolution is not None


async def test_the_same_command_twice_is_one(world: World) -> None:
    story = await world.opens(*LADDER)
    for _ in range(2):
        await story.ask(CommandKind.COMMENT, reason="looking", key="once")
    assert (await story.events()).count(EventType.COMMENT_ADDED) == 1
    with pytest.raises(Conflict):
        await story.ask(CommandKind.COMMENT, reason="something else", key="once")


async def test_a_worse_alert_raises_the_incident(world: World) -> None:
    story = await world.opens(*LADDER, severity="P3")
    await story.fires_again(severity=Severity.P1)
    assert EventType.SEVERITY_CHANGED in await story.eventually(EventType.SEVERITY_CHANGED)
    assert (await world.gateway.incidents.store.get(story.id)).severity is Severity.P1


async def test_the_timeline_has_no_gap(world: World) -> None:
    story = await world.opens(*LADDER)
    await story.after(minutes=6)
    await story.acknowledge(reason="on it")
    await has(story, 8)
    await story.ask(CommandKind.RESOLVE)
    timeline = await has(story, 10)
    assert [event.seq for event in timeline] == list(range(1, len(timeline) + 1))
    assert [event.event_type for event in timeline] == [
        EventType.INCIDENT_CREATED, EventType.PAGED, EventType.NOTIFICATION_SENT, EventType.ESCALATED,
        EventType.PAGED, EventType.NOTIFICATION_SENT, EventType.ACKNOWLEDGED, EventType.NOTIFICATION_SENT,
        EventType.RESOLVED, EventType.NOTIFICATION_SENT,
    ]  # fmt: skip
    assert timeline[6].reason == "on it"
    assert timeline[6].actor.name == "alice"


async def has(story: Story, events: int) -> list[TimelineEvent]:
    """The timeline, once it has so many events."""
    async with asyncio.timeout(20):
        while len(timeline := await story.timeline()) < events:
            await asyncio.sleep(0.02)
    return timeline

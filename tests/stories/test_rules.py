"""People's own rules, teams that take turns, levels that go on, notices: what reaches whom, and what does not."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.errors import Invalid
from app.domain.incident import CommandKind
from app.domain.notification import Undelivered
from app.domain.timeline import EventType
from app.domain.vocabulary import ChannelName, MessageKind, Severity
from tests.support.receivers import SILENCE, http_receiver
from tests.support.world import Story, World

MAIL_THEN_SMS = {"default": [{"channel": "email"}, {"wait_secs": 120}, {"channel": "sms"}]}


async def hired(world: World, **more: object) -> str:
    """Somebody new with a mail address and a telephone."""
    person = f"p-{uuid.uuid4()}"
    body = {"name": person, "email": f"{person}@example.com", "phone": "+4930123456"}
    await world.gateway.documents.put(ME, "users", person, body | more)
    return person


async def paging(
    world: World, person: str, *later: str, policy: dict[str, Any] | None = None, **alert: object
) -> Story:
    return await world.opens([person], *([other] for other in later), policy=policy, **alert)


async def heard(story: Story, channel: ChannelName = ChannelName.EMAIL) -> list[MessageKind]:
    """The kinds of everything a channel has ever carried for the incident, in order."""
    await story.settled()
    return [m.kind for m in story.world.flock[channel].carried if m.incident_id == story.id]


async def test_the_second_channel_is_used_only_when_nobody_takes_it_in_time(world: World) -> None:
    alice = await hired(world, notification_preferences={"rules": MAIL_THEN_SMS})
    story = await paging(world, alice)
    assert await heard(story, ChannelName.SMS) == []
    await story.after(minutes=1, seconds=50)
    assert await heard(story, ChannelName.SMS) == []
    await story.after(seconds=15)
    assert await heard(story, ChannelName.SMS) == [MessageKind.CREATED]
    other = await paging(world, alice)
    await other.acknowledge()
    await other.after(hours=9)
    assert await heard(other, ChannelName.SMS) == []


async def test_a_channel_that_fails_brings_the_next_forward(world: World) -> None:
    alice = await hired(world, notification_preferences={"rules": MAIL_THEN_SMS})
    world.pigeon.troubles[f"user:{alice}"] = [Undelivered("no such mailbox")]
    story = await paging(world, alice)
    assert EventType.FAILOVER in await story.eventually(EventType.FAILOVER)
    await story.eventually(EventType.NOTIFICATION_SENT)
    assert await heard(story, ChannelName.SMS) == [MessageKind.CREATED]
    assert await story.after(hours=9) == []


async def test_a_channel_that_does_not_confirm_in_time_brings_the_next_forward(world: World) -> None:
    rules = {"default": [{"channel": "webhook"}, {"wait_secs": 600}, {"channel": "sms"}]}
    async with http_receiver() as receiver:
        receiver.usually = SILENCE
        alice = await hired(world, webhook_url=receiver.url, notification_preferences={"rules": rules})
        ladder = [{"targets": [{"type": "user", "id": alice}]}]
        # Temporal's clock cannot be moved while a message is in somebody's hands: this is a real second.
        story = await paging(world, alice, policy={"levels": ladder, "failover_after_secs": 1})
        assert EventType.FAILOVER in await story.eventually(EventType.FAILOVER)
        await story.eventually(EventType.NOTIFICATION_SENT)
        assert await heard(story, ChannelName.SMS) == [MessageKind.CREATED]
        await story.acknowledge()


async def test_sleep_is_kept_for_what_can_wait(world: World) -> None:
    quiet = {"quiet_hours": {"start": "00:00", "end": "00:00"}}
    alice = await hired(world, notification_preferences=quiet)
    asleep = await paging(world, alice, severity="P3")
    assert await asleep.told() == []
    [paged] = [e for e in await asleep.timeline() if e.event_type is EventType.PAGED]
    assert set(paged.data["later"]) == {f"user:{alice} by email", f"user:{alice} by sms"}  # type: ignore[call-overload]
    awake = await paging(world, alice, severity="P1")
    assert await awake.told() == [alice]


async def test_sleep_ends_when_it_becomes_important(world: World) -> None:
    rules = {"default": [{"channel": "email"}, {"wait_secs": 120}, {"channel": "sms"}]}
    now = datetime.now(UTC)
    hours = {"start": f"{now - timedelta(hours=1):%H}:00", "end": f"{now + timedelta(hours=3):%H}:00"}
    quiet = {"quiet_hours": hours, "rules": rules}
    alice = await hired(world, notification_preferences=quiet)
    story = await paging(world, alice, severity="P3")
    assert await story.told() == []
    await story.fires_again(severity=Severity.P1)
    await story.eventually(EventType.NOTIFICATION_SENT)
    assert await story.told() == [alice]
    assert await heard(story, ChannelName.SMS) == []
    await story.after(minutes=2, seconds=10)
    assert await heard(story, ChannelName.SMS) == [MessageKind.CREATED]


async def test_a_level_that_an_acknowledge_does_not_stop_goes_out_all_the_same(world: World) -> None:
    oncall, lead, boss = [await hired(world) for _ in range(3)]
    policy = {"levels": [*levels(oncall, lead), *levels(boss, stop_on_ack=False)]}
    story = await paging(world, oncall, policy=policy)
    assert await story.told() == [oncall]
    await story.acknowledge()
    assert await story.after(minutes=9) == []
    assert await story.after(minutes=2) == [boss]
    over = await paging(world, oncall, policy=policy)
    assert await over.told() == [oncall]
    await over.ask(CommandKind.RESOLVE)
    assert await over.after(hours=9) == []


async def test_an_acknowledge_without_progress_is_reminded_of_and_lapses(world: World) -> None:
    oncall, lead = [await hired(world) for _ in range(2)]
    policy = {
        "levels": levels(oncall, lead), "acknowledge_timeout_secs": 1800, "acknowledge_reminder_secs": 300,
    }  # fmt: skip
    story = await paging(world, oncall, policy=policy)
    assert await story.told() == [oncall]
    await story.acknowledge(actor=oncall)
    assert await story.after(minutes=24) == []
    assert await heard(story) == [MessageKind.CREATED]
    await story.after(minutes=2)
    assert await heard(story) == [MessageKind.CREATED, MessageKind.REMINDER]
    assert await story.after(minutes=5) == [oncall]
    assert EventType.UNACKNOWLEDGED in await story.events()


async def test_progress_keeps_an_acknowledge_alive(world: World) -> None:
    oncall = await hired(world)
    story = await paging(world, oncall, policy={"levels": levels(oncall), "acknowledge_timeout_secs": 1800})
    await story.acknowledge(actor=oncall)
    await story.after(minutes=20)
    await story.ask(CommandKind.COMMENT, reason="found the bad deploy")
    await story.told()
    assert await story.after(minutes=20) == []
    assert EventType.UNACKNOWLEDGED not in await story.events()


async def test_those_who_were_paged_hear_that_it_is_taken_and_over(world: World) -> None:
    oncall, lead, boss = [await hired(world) for _ in range(3)]
    story = await paging(world, oncall, lead, boss)
    await story.after(minutes=6)
    await story.messages()
    await story.acknowledge(actor=oncall)
    assert {(m.target, m.kind) for m in await story.messages()} == {(f"user:{lead}", MessageKind.ACKNOWLEDGED)}
    await story.ask(CommandKind.RESOLVE, actor="somebody")
    told = {(m.target, m.kind, m.by) for m in await story.messages()}
    assert told == {(f"user:{who}", MessageKind.RESOLVED, "somebody") for who in (oncall, lead)}
    assert await story.after(hours=1) == []


async def test_a_team_takes_turns(world: World) -> None:
    team = [await hired(world) for _ in range(3)]
    await world.gateway.documents.put(ME, "teams", f"t-{team[0]}", {"name": "team", "members": team})
    target = {"type": "team", "id": f"t-{team[0]}", "mode": "round_robin"}
    policy = {"levels": [{"targets": [target], "channels": ["email"]}]}
    told = [await (await paging(world, team[0], policy=policy)).told() for _ in range(4)]
    assert told == [[team[0]], [team[1]], [team[2]], [team[0]]]


async def test_the_least_loaded_of_a_team_is_paged(world: World) -> None:
    team = [await hired(world) for _ in range(2)]
    await world.gateway.documents.put(ME, "teams", f"t-{team[0]}", {"name": "team", "members": team})
    target = {"type": "team", "id": f"t-{team[0]}", "mode": "load_balanced"}
    policy = {"levels": [{"targets": [target], "channels": ["email"]}]}
    stories = [await paging(world, team[0], policy=policy) for _ in range(2)]
    assert [await story.told() for story in stories] == [[team[0]], [team[1]]]
    await stories[1].ask(CommandKind.RESOLVE)
    assert await (await paging(world, team[0], policy=policy)).told() == [team[1]]


async def test_whoever_is_on_duty_when_the_page_goes_out_gets_it(world: World) -> None:
    early, late = [await hired(world) for _ in range(2)]
    schedule = f"s-{early}"
    layer = {"name": "days", "users": [early], "rotation": "daily", "start_date": "2026-01-01"}
    body: dict[str, Any] = {"name": "schedule", "timezone": "UTC", "layers": [layer]}
    await world.gateway.documents.put(ME, "schedules", schedule, body)
    level = {"targets": [{"type": "on_call", "id": schedule}], "channels": ["email"], "escalate_after_secs": 300}
    story = await paging(world, early, policy={"levels": [level, level]})
    assert await story.told() == [early]
    body["layers"][0]["users"] = [late]
    await world.gateway.documents.put(ME, "schedules", schedule, body)
    assert await story.after(minutes=6) == [late]


async def test_nobody_on_duty_costs_no_time_and_is_said(world: World) -> None:
    lead = await hired(world)
    schedule = f"s-{lead}"
    await world.gateway.documents.put(ME, "schedules", schedule, {"name": "empty", "timezone": "UTC", "layers": []})
    policy = {"levels": [{"targets": [{"type": "on_call", "id": schedule}]}, *levels(lead)]}
    story = await paging(world, lead, policy=policy)
    assert await story.told() == [lead]
    [said] = [e for e in await story.timeline() if e.event_type is EventType.NOBODY_REACHED]
    assert said.reason == f"on_call:{schedule} has nobody on duty"


async def test_escalating_to_a_chosen_level_leaves_out_those_between(world: World) -> None:
    people = [await hired(world) for _ in range(4)]
    story = await world.opens(*([person] for person in people))
    assert await story.told() == [people[0]]
    await story.ask(CommandKind.ESCALATE, to_level=3)
    assert await story.told() == [people[2]]
    await story.ask(CommandKind.ESCALATE, to_level=2)
    assert await story.told() == []
    with pytest.raises(Invalid):
        await story.ask(CommandKind.ESCALATE, to_level=5)
    assert await story.after(minutes=6) == [people[3]]


async def test_a_pause_holds_peoples_own_rules_up_too(world: World) -> None:
    alice = await hired(world, notification_preferences={"rules": MAIL_THEN_SMS})
    story = await paging(world, alice)
    await story.after(minutes=1)
    await story.ask(CommandKind.PAUSE)
    await story.after(hours=3)
    assert await heard(story, ChannelName.SMS) == []
    await story.ask(CommandKind.RESUME)
    await story.after(seconds=50)
    assert await heard(story, ChannelName.SMS) == []
    await story.after(seconds=15)
    assert await heard(story, ChannelName.SMS) == [MessageKind.CREATED]


async def test_a_policy_for_the_night_is_for_the_night(world: World) -> None:
    day, night = [await hired(world) for _ in range(2)]
    source = f"night-{day}"
    hours = {"start": "00:00", "end": "00:00", "timezone": "Asia/Kolkata"}
    conditions: dict[str, Any] = {"source": [source], "time_of_day": hours}
    put = world.gateway.documents.put
    body: dict[str, Any] = {"name": "night", "priority": 50, "levels": levels(night), "conditions": conditions}
    await put(ME, "escalation-policies", f"n-{day}", body)
    story = await paging(world, day, policy={"conditions": {"source": [source]}, "priority": 10}, source=source)
    assert await story.told() == [night]
    conditions["time_of_day"] = hours | {"days": ["monday"], "timezone": "UTC", "start": "00:00", "end": "00:01"}
    await put(ME, "escalation-policies", f"n-{day}", body)
    other = await paging(
        world, day, policy={"conditions": {"source": [source]}, "priority": 10}, source=source, identity="other"
    )
    assert await other.told() == [day]


async def test_more_severe_is_more_important(world: World) -> None:
    rules = {"default": [{"channel": "email"}], "important": [{"channel": "sms"}]}
    alice = await hired(world, notification_preferences={"rules": rules})
    story = await paging(world, alice, alice, severity="P3")
    assert await heard(story, ChannelName.SMS) == []
    await story.fires_again(severity=Severity.P1)
    await story.eventually(EventType.SEVERITY_CHANGED)
    await story.after(minutes=6)
    assert await heard(story, ChannelName.SMS) == [MessageKind.ESCALATED]


async def test_a_template_that_fails_on_an_incident_loses_no_page(world: World) -> None:
    alice = await hired(world)
    name = f"t-{alice}"
    wording = {"text": "{{ incident.tags.service }} is ill"}
    body = {"name": name, "type": "custom", "channels": {"email": wording}}
    await world.gateway.documents.put(ME, "notification-templates", name, body)
    named = [level | {"template": name, "channels": ["email"]} for level in levels(alice)]
    story = await paging(world, alice, policy={"levels": named})
    [said] = await story.messages()
    assert said.text is None
    [shown] = await world.gateway.incidents.notifications(ME, story.id)
    assert shown.status == "sent"
    assert "service" in (shown.last_error or "")
    well = await paging(world, alice, policy={"levels": named}, labels={"service": "gateway"})
    assert [message.text for message in await well.messages()] == ["gateway is ill"]


def levels(*people: str, stop_on_ack: bool = True) -> Sequence[dict[str, Any]]:
    return [
        {"targets": [{"type": "user", "id": person}], "escalate_after_secs": 300, "stop_on_ack": stop_on_ack,
         "channels": ["email", "sms"]}
        for person in people
    ]  # fmt: skip

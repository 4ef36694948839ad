"""Lives of incidents, and runs of playbooks, whose histories every later version must be able to replay."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from activities.directory import Redeliver
from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.alert import AlertStatus
from app.domain.incident import CommandKind
from app.domain.notification import Undelivered
from app.domain.playing import CancelRun
from app.domain.run import RunStatus, StepStatus
from app.domain.timeline import EventType
from app.domain.vocabulary import Severity, Status
from tests.support.receivers import Reply
from tests.support.stage import BOB, Stage
from tests.support.world import Story, World
from workflows.incident import IncidentWorkflow

LADDER = (["alice"], ["bob"], ["carol"])


async def ends(story: Story) -> Story:
    """Its problem stays away until the workflow is over."""
    await story.settled()
    await story.world.skipper.fast_forward(story.handle, timedelta(minutes=20))
    await story.handle.result()
    return story


async def run_id(story: Story) -> str | None:
    return (await story.handle.describe()).run_id


async def talked_into_a_new_run(story: Story) -> None:
    """Comments until the history is full."""
    before = await run_id(story)
    async with asyncio.timeout(30):
        while await run_id(story) == before:
            await story.ask(CommandKind.COMMENT, reason="still looking")


async def escalated_acknowledged_resolved(world: World) -> Story:
    story = await world.opens(*LADDER)
    assert await story.after(minutes=6) == ["alice", "bob"]
    await story.acknowledge()
    for kind in (CommandKind.COMMENT, CommandKind.START, CommandKind.RESOLVE):
        await story.ask(kind)
    return await ends(story)


async def paused_resumed_snoozed(world: World) -> Story:
    story = await world.opens(*LADDER)
    assert await story.after(minutes=2) == ["alice"]
    await story.ask(CommandKind.PAUSE)
    assert await story.after(hours=1) == []
    await story.ask(CommandKind.RESUME)
    await story.ask(CommandKind.SNOOZE, until=datetime.now(UTC) + timedelta(hours=2))
    assert await story.after(minutes=63) == ["bob"]
    await story.ask(CommandKind.RESOLVE)
    return await ends(story)


async def flapped(world: World) -> Story:
    story = await world.opens(*LADDER, policy={"acknowledge_timeout_secs": 600})
    assert await story.told() == ["alice"]
    await story.acknowledge()
    await story.ask(CommandKind.RESOLVE)
    await story.fires_again()
    await story.eventually(EventType.REOPENED)
    assert await story.told() == ["alice"]
    await story.acknowledge()
    assert await story.after(minutes=11) == ["alice"]
    await story.fires_again(status=AlertStatus.RESOLVED)
    await story.becomes(Status.RESOLVED)
    return await ends(story)


async def routed_anew_by_a_raise(world: World) -> Story:
    story = await world.opens(*LADDER, severity="P3")
    worse = {"name": "worse", "priority": 20, "conditions": {"source": [story.alert.source], "severity": ["P0"]}}
    levels = [{"targets": [{"type": "user", "id": "carol"}]}]
    await world.gateway.documents.put(ME, "escalation-policies", f"{story.alert.source}-p0", worse | {"levels": levels})
    assert await story.told() == ["alice"]
    await story.fires_again(severity=Severity.P0)
    await story.eventually(EventType.ROUTED)
    assert await story.told() == ["carol"]
    await story.ask(CommandKind.RESOLVE)
    return await ends(story)


async def unreachable(world: World) -> Story:
    await world.gateway.documents.put(ME, "users", "ghost", {"name": "Ghost"})
    await world.hires("mute", "slow")
    world.pigeon.troubles["user:mute"] = [Undelivered("no such mailbox")]
    world.pigeon.troubles["user:slow"] = [Undelivered("down", timedelta(seconds=30))]
    story = await world.opens(["ghost"], ["mute"], ["slow"], ["alice"])
    await story.eventually(EventType.NOTIFICATION_FAILED)
    assert await story.after(minutes=1) == ["slow"]
    await story.ask(CommandKind.RESOLVE)
    return await ends(story)


async def told_by_their_own_rules(world: World) -> Story:
    """A channel that fails, one that waits, a level that goes on, a reminder, and word to those who were paged."""
    rules = {"default": [{"channel": "email"}, {"wait_secs": 120}, {"channel": "sms"}]}
    body = {"name": "Ruth", "email": "ruth@example.com", "phone": "+4930123456"}
    for person in ("ruth", "rolf"):
        own = {"notification_preferences": {"rules": rules}}
        await world.gateway.documents.put(ME, "users", person, body | own)
    world.pigeon.troubles["user:ruth"] = [Undelivered("no such mailbox")]
    levels = [
        {"targets": [{"type": "user", "id": person}], "stop_on_ack": person == "ruth"} for person in ("ruth", "rolf")
    ]
    policy = {"levels": levels, "acknowledge_timeout_secs": 1800, "acknowledge_reminder_secs": 600}
    story = await world.opens(policy=policy)
    await story.eventually(EventType.FAILOVER)
    await story.acknowledge(actor="ruth")
    assert await story.after(minutes=21) == ["rolf"]
    await story.eventually(EventType.ACKNOWLEDGE_REMINDER)
    await story.ask(CommandKind.RESOLVE, actor="ruth")
    return await ends(story)


async def sent_again(world: World) -> Story:
    story = await world.opens(["alice"])
    assert await story.told() == ["alice"]
    [sent] = await world.gateway.incidents.deliveries.of_incident(story.id)
    again = Redeliver(key=sent.idempotency_key, by="bob", id="once")
    for _ in range(2):
        await story.handle.execute_update(IncidentWorkflow.redeliver, again)
    assert await story.told() == ["alice"]
    await story.handle.signal(IncidentWorkflow.undelivered, sent.idempotency_key)
    await story.eventually(EventType.NOTIFICATION_FAILED)
    await story.ask(CommandKind.RESOLVE)
    return await ends(story)


async def cancelled_by_a_signal(world: World) -> Story:
    await world.hires("flaky")
    world.pigeon.troubles["user:flaky"] = [Undelivered("down", timedelta(seconds=30))]
    story = await world.opens(["flaky"], ["bob"])
    assert await story.told() == []
    await story.handle.signal(IncidentWorkflow.acknowledge, "bob")
    await story.becomes(Status.ACKNOWLEDGED)
    await story.handle.signal(IncidentWorkflow.resolve, "bob")
    await story.becomes(Status.RESOLVED)
    return await ends(story)


async def silenced_and_let_go(world: World) -> Story:
    """On a world that triages: classified, looked around at, held from the start, released by time."""
    source = f"story-silenced-{uuid.uuid4()}"
    starts = datetime.now(UTC)
    silence = {
        "matchers": {"field": "source", "operator": "equals", "value": source}, "starts_at": starts.isoformat(),
        "ends_at": (starts + timedelta(hours=1)).isoformat(),
    }  # fmt: skip
    await world.gateway.documents.put(ME, "silences", source, silence)
    conditions: dict[str, object] = {"conditions": {"source": [source]}}
    story = await world.opens(["alice"], ["bob"], policy=conditions, source=source, title=source)
    assert await story.after(minutes=59) == []
    assert await story.after(minutes=2) == ["alice"]
    await story.ask(CommandKind.RESOLVE)
    return await ends(story)


async def hidden_behind_a_lead(world: World) -> Story:
    """A member of a group whose lead resolves without it; routed, raised and assigned by a rule."""
    service = f"s-{uuid.uuid4().hex[:8]}"
    rule = {
        "name": service, "conditions": {"field": "service", "operator": "equals", "value": service},
        "actions": [{"type": "SetSeverity", "severity": "P3"}, {"type": "Assign", "targets": ["bob"]}],
    }  # fmt: skip
    await world.gateway.documents.put(ME, "routing-rules", service, rule)
    alike: dict[str, Any] = {"title": f"{service} answers with errors", "affected_services": (service,)}
    lead = await world.opens(["alice"], **alike)
    story = await world.opens(["bob"], **alike)
    assert await story.after(minutes=10) == []
    await lead.ask(CommandKind.RESOLVE)
    await story.eventually(EventType.UNSUPPRESSED)
    assert await story.told() == ["bob"]
    await story.ask(CommandKind.RESOLVE)
    await story.ask(CommandKind.REOPEN)
    await story.ask(CommandKind.RESOLVE)
    return await ends(story)


async def continued(world: World) -> Story:
    """In several runs, on a Temporal that suggests a new one early."""
    story = await world.opens(["alice"], ["bob"])
    assert await story.told() == ["alice"]
    await talked_into_a_new_run(story)
    assert await story.after(minutes=6) == ["bob"]
    await story.ask(CommandKind.RESOLVE)
    return await ends(story)


ASKS_BOB = {"approvers": [{"type": "user", "id": "bob"}], "timeout": "9d", "reminder": "2d"}


async def playbook_undone_after_waits_tries_and_words(stage: Stage) -> str:
    """Every kind of step; the last fails, and what was done is taken back."""
    story = await stage.world.opens(["carol"])
    back: dict[str, Any] = {
        "undo": {"action": "http_request", "parameters": {"url": f"http://127.0.0.1:{stage.other.port}/back"}}
    }
    playbook = await stage.writes(
        {"id": "wait", "type": "wait", "seconds": "3h"},
        stage.step("flaky", retry={"max_attempts": 2, "interval": "10m"}, **back),
        {"id": "calm", "type": "decision", "test": "{{ incident.severity == 'P0' }}", "on_failure": "ask"},
        {"id": "ask", "type": "approval", "approval": ASKS_BOB},
        {"id": "both", "type": "parallel", "steps": [stage.step("left"), stage.step("right")]},
        stage.step("gone"), execution={"rollback_on_failure": True},
    )  # fmt: skip
    run = await stage.begins(playbook, story)
    await stage.reaches(run, "wait", StepStatus.RUNNING)
    stage.other.replies.append(Reply(503))
    await stage.passes(run, hours=3, minutes=1)
    await stage.other.received(1)
    await stage.passes(run, minutes=11)
    await stage.becomes(run, RunStatus.WAITING)
    await stage.passes(run, days=3)
    stage.other.replies.extend([Reply(), Reply(), Reply(404)])
    await stage.world.gateway.playbooks.decide(BOB, run, approve=True)
    view = await stage.ends(run)
    assert (view.status, stage.other.asked()[-2:]) == (RunStatus.FAILED, ["gone", "back"])
    return run


async def playbook_cancelled_while_it_waits(stage: Stage) -> str:
    story = await stage.world.opens(["carol"])
    playbook = await stage.writes(stage.step("first"), {"id": "wait", "type": "wait", "seconds": "3h"})
    run = await stage.begins(playbook, story)
    await stage.reaches(run, "wait", StepStatus.RUNNING)
    await stage.world.gateway.playbooks.cancel(BOB, run, CancelRun(undo=True))
    assert (await stage.ends(run)).status is RunStatus.CANCELLED
    return run


Lives = dict[str, Callable[[World], Awaitable[Story]]]
LIVES: Lives = {
    life.__name__: life
    for life in (
        escalated_acknowledged_resolved, paused_resumed_snoozed, flapped, routed_anew_by_a_raise, unreachable,
        cancelled_by_a_signal, told_by_their_own_rules, sent_again,
    )
}  # fmt: skip
LONG_LIVES: Lives = {"continued": continued}
TRIAGED_LIVES: Lives = {life.__name__: life for life in (silenced_and_let_go, hidden_behind_a_lead)}
RUNS: dict[str, Callable[[Stage], Awaitable[str]]] = {
    run.__name__: run for run in (playbook_undone_after_waits_tries_and_words, playbook_cancelled_while_it_waits)
}

"""Playbooks: each step once and in order; waits, words, and what was done taken back."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from activities.playbooks import Note, Playbooks
from app.actions.base import Failed
from app.actions.http_request import HttpRequest
from app.books import rendered
from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.access import Principal
from app.domain.errors import Conflict, Forbidden, Invalid
from app.domain.incident import CommandKind
from app.domain.playing import CancelRun, RunQuery, RunView, TryAgain
from app.domain.representation import TimelineEvent
from app.domain.run import RunStatus, StepStatus
from app.domain.vocabulary import Role
from app.service import playbooks as service
from app.telemetry import metrics
from tests.support.receivers import SILENCE, Reply
from tests.support.stage import ALICE, BOB, PATIENCE, Other, Stage
from tests.support.world import Story, World


@pytest.fixture
async def stage(world: World) -> AsyncIterator[Stage]:
    other = Other()
    await other.comes_up()
    yield Stage(world, other)
    await other.goes_down()


def statuses(view: RunView) -> dict[str, StepStatus]:
    return {step.step_id: step.status for step in view.steps}


async def test_ten_steps_each_once_and_in_order_and_later_ones_use_what_earlier_ones_gave(stage: Stage) -> None:
    story = await stage.world.opens(["alice"])
    numbered = [stage.step(f"s{n}") for n in range(9)]
    last = stage.step("last", "{{ steps.s3.output.body.path }}-{{ incident.severity }}-{{ run.started_by }}")
    run = await stage.begins(await stage.writes(*numbered, last), story)
    view = await stage.ends(run)
    assert view.status is RunStatus.COMPLETED, view
    assert stage.other.asked() == [*(f"s{n}" for n in range(9)), "/s3-P2-alice"]
    assert len(set(stage.other.marks())) == 10
    assert all(key.startswith(run) for key in stage.other.marks())
    assert set(statuses(view).values()) == {StepStatus.COMPLETED}
    assert view.steps[3].output == {"status": 200, "body": {"path": "/s3"}}


async def test_the_incident_says_that_a_playbook_has_begun_and_ended_and_the_metrics_that_it_ran(stage: Stage) -> None:
    story = await stage.world.opens(["alice"])
    completed = metrics.PLAYBOOK_EXECUTIONS.labels("completed")
    before = completed._value.get()
    playbook = await stage.writes(stage.step("one"))
    run = await stage.begins(playbook, story)
    rehearsed = await stage.begins(playbook, story, dry_run=True)
    for each in (run, rehearsed):
        assert (await stage.ends(each)).status is RunStatus.COMPLETED
        await stage.handle(each).result()
    comments = await stage.world.gateway.incidents.comments(ME, story.id)
    assert [(entry.actor.name, entry.reason) for entry in comments] == [
        (f"playbook:{playbook}", f"Playbook {playbook} (run {run}) has begun, by alice."),
        (f"playbook:{playbook}", f"Playbook {playbook} (run {run}) has ended: completed."),
    ]
    assert completed._value.get() - before == 2


async def test_what_the_incident_never_will_hear_stands_in_the_log(stage: Stage) -> None:
    run = await stage.begins(await stage.writes(stage.step("one")), await stage.world.opens(["alice"]))
    await stage.ends(run)

    async def nobody(*_: object) -> tuple[str, ...]:
        return ()

    mute = Playbooks(stage.world.gateway.playbooks.runs, {}, rendered, nobody, metrics.played)
    await mute.note(Note(run_id=run, ended=True))
    assert "not noted on the incident: there is no action 'add_note'" in await stage.words(run)


async def test_what_fails_is_tried_again_under_the_same_key_after_longer_and_longer(stage: Stage) -> None:
    story = await stage.world.opens(["alice"])
    retry = {"max_attempts": 3, "backoff": "exponential", "interval": "10m", "max_interval_secs": "2h"}
    run = await stage.begins(await stage.writes(stage.step("flaky", retry=retry), stage.step("after")), story)
    stage.other.replies.extend([Reply(503), Reply(503)])
    await stage.reaches(run, "flaky", StepStatus.RUNNING)
    await stage.other.received(1)
    await stage.passes(run, minutes=10, seconds=5)
    await stage.other.received(2)
    await stage.passes(run, minutes=19)
    assert len(stage.other.items) == 2
    await stage.passes(run, minutes=2)
    view = await stage.ends(run)
    assert (view.status, stage.other.asked()) == (RunStatus.COMPLETED, ["flaky", "flaky", "flaky", "after"])
    assert len(set(stage.other.marks()[:3])) == 1
    assert view.steps[0].attempts == 3


async def test_what_never_will_be_done_is_tried_once_and_the_branch_for_it_is_taken(stage: Stage) -> None:
    story = await stage.world.opens(["alice"])
    stage.other.replies.append(Reply(404))
    playbook = await stage.writes(
        stage.step("gone", retry={"max_attempts": 5}, on_failure="rescue"),
        stage.step("never"),
        stage.step("rescue", on_success="end"),
        stage.step("after"),
    )
    view = await stage.ends(await stage.begins(playbook, story))
    assert (view.status, stage.other.asked()) == (RunStatus.COMPLETED, ["gone", "rescue"])
    assert statuses(view) == {"gone": StepStatus.FAILED, "rescue": StepStatus.COMPLETED}


async def test_decisions_conditions_and_side_by_side(stage: Stage) -> None:
    story = await stage.world.opens(["alice"], severity="P1")
    playbook = await stage.writes(
        {"id": "worse", "type": "decision", "test": "{{ incident.severity in ['P0', 'P1'] }}", "on_failure": "mild"},
        stage.step("not-this", condition={"severity": ["P4"]}),
        {"id": "both", "type": "parallel", "steps": [stage.step("left"), stage.step("right")]},
        stage.step("when", when="{{ steps.left.output.status == 200 }}", on_success="end"),
        stage.step("mild"),
    )
    view = await stage.ends(await stage.begins(playbook, story))
    assert view.status is RunStatus.COMPLETED, view
    assert sorted(stage.other.asked()) == ["left", "right", "when"]
    assert statuses(view)["not-this"] is StepStatus.SKIPPED


async def test_a_wait_is_a_timer_and_an_approval_may_take_weeks(stage: Stage) -> None:
    story = await stage.world.opens(["carol"])
    approval = {"approvers": [{"type": "user", "id": "bob"}], "timeout": "60d", "reminder": "2d"}
    playbook = await stage.writes(
        {"id": "wait", "type": "wait", "seconds": "3h"}, stage.step("before"),
        {"id": "ask", "type": "approval", "approval": approval}, stage.step("after"),
    )  # fmt: skip
    run = await stage.begins(playbook, story)
    await stage.reaches(run, "wait", StepStatus.RUNNING)
    await stage.passes(run, hours=2, minutes=59)
    assert stage.other.asked() == []
    await stage.passes(run, minutes=2)
    view = await stage.becomes(run, RunStatus.WAITING)
    assert view.deciding is not None
    assert (view.deciding.step_id, view.deciding.asked) == ("ask", ("bob",))
    await stage.passes(run, days=21)
    told = [m for m in stage.world.pigeon.carried if m.notification_id == run]
    assert {message.target for message in told} == {"user:bob"}
    assert len(told) > 1
    assert {message.asks for message in told} == {f"{run}/ask"}
    assert len({message.key for message in told}) == len(told)
    assert all("/decide/" in (message.text or "") for message in told)
    assert stage.other.asked() == ["before"]
    with pytest.raises(Forbidden, match="carol was not asked; these were: bob"):
        await stage.world.gateway.playbooks.decide(Principal(name="carol", role=Role.RESPONDER), run, approve=True)
    await stage.world.gateway.playbooks.decide(BOB, run, approve=True, comment="go")
    view = await stage.ends(run)
    assert (view.status, stage.other.asked()) == (RunStatus.COMPLETED, ["before", "after"])
    assert "bob approved it: go" in await stage.words(run)
    with pytest.raises(Conflict):
        await stage.world.gateway.playbooks.decide(BOB, run, approve=True)


@pytest.mark.parametrize(
    ("on_timeout", "status", "asked"),
    [("reject", RunStatus.FAILED, []), ("proceed", RunStatus.COMPLETED, ["after"]), ("escalate", RunStatus.FAILED, [])],
)
async def test_what_a_word_that_nobody_gives_becomes(
    stage: Stage, on_timeout: str, status: RunStatus, asked: list[str]
) -> None:
    story = await stage.world.opens(["carol"])
    approval = {
        "approvers": [{"type": "user", "id": "bob"}], "timeout": "1h", "on_timeout": on_timeout,
        "escalate_to": [{"type": "user", "id": "carol"}],
    }  # fmt: skip
    playbook = await stage.writes({"id": "ask", "type": "approval", "approval": approval}, stage.step("after"))
    run = await stage.begins(playbook, story)
    await stage.becomes(run, RunStatus.WAITING)
    await stage.passes(run, hours=1, minutes=1)
    if on_timeout == "escalate":
        async with asyncio.timeout(PATIENCE):
            while (view := await stage.view(run)).deciding is None or not view.deciding.escalated:
                await asyncio.sleep(0.02)
        assert view.deciding.asked == ("bob", "carol")
        await stage.passes(run, hours=1, minutes=1)
    view = await stage.ends(run)
    assert (view.status, stage.other.asked()) == (status, asked)


async def test_several_have_to_agree_and_one_no_is_enough(stage: Stage) -> None:
    story = await stage.world.opens(["carol"])
    approval = {"approvers": [{"type": "user", "id": name} for name in ("alice", "bob", "carol")], "quorum": 2}
    playbook = await stage.writes(
        {"id": "ask", "type": "approval", "approval": approval}, stage.step("after"), execution={"four_eyes": False}
    )
    run = await stage.begins(playbook, story)
    await stage.becomes(run, RunStatus.WAITING)
    for _ in range(2):
        await stage.world.gateway.playbooks.decide(BOB, run, approve=True)
    assert (await stage.view(run)).status is RunStatus.WAITING
    await stage.world.gateway.playbooks.decide(ALICE, run, approve=True)
    assert (await stage.ends(run)).status is RunStatus.COMPLETED
    refused = await stage.begins(playbook, await stage.world.opens(["carol"]))
    await stage.becomes(refused, RunStatus.WAITING)
    await stage.world.gateway.playbooks.decide(BOB, refused, approve=False, comment="not today")
    view = await stage.ends(refused)
    assert (view.status, view.error) == (RunStatus.FAILED, "bob rejected it")


async def test_after_a_failure_what_was_done_is_taken_back_the_last_first(stage: Stage) -> None:
    story = await stage.world.opens(["alice"])
    undone = [
        stage.step(f"do{n}", undo={"action": "http_request", "parameters": stage.step(f"undo{n}")["parameters"]})
        for n in range(3)
    ]
    playbook = await stage.writes(*undone, stage.step("fails"), execution={"rollback_on_failure": True})
    stage.other.replies.extend([Reply(), Reply(), Reply(), Reply(400)])
    view = await stage.ends(await stage.begins(playbook, story))
    assert view.status is RunStatus.FAILED
    assert "400" in (view.error or "")
    assert stage.other.asked() == ["do0", "do1", "do2", "fails", "undo2", "undo1", "undo0"]
    assert {s: v for s, v in statuses(view).items() if s != "fails"} == dict.fromkeys(
        ("do0", "do1", "do2"), StepStatus.UNDONE
    )


async def test_two_people_have_to_want_what_is_destructive(stage: Stage) -> None:
    story = await stage.world.opens(["bob"])
    await story.ask(CommandKind.ASSIGN, assignee="alice")
    url = f"http://127.0.0.1:{stage.other.port}"
    step = {"id": "empty", "action": "vllm_reset_prefix_cache", "parameters": {"url": url}}
    stage.other.replies.append(Reply(404))  # it serves no description of itself
    run = await stage.begins(await stage.writes(step), story)
    view = await stage.becomes(run, RunStatus.WAITING)
    assert view.deciding is not None
    assert (view.deciding.asked, stage.other.asked()) == (("alice", "bob"), [])
    with pytest.raises(Forbidden, match="alice began this run"):
        await stage.world.gateway.playbooks.decide(ALICE, run, approve=True)
    await stage.world.gateway.playbooks.decide(BOB, run, approve=True)
    assert (await stage.ends(run)).status is RunStatus.COMPLETED
    assert stage.other.asked()[-1] == "reset_prefix_cache"


async def test_one_no_holds_for_all_that_is_destructive_side_by_side(stage: Stage) -> None:
    story = await stage.world.opens(["bob"])
    empty = {"action": "vllm_reset_prefix_cache", "parameters": {"url": f"http://127.0.0.1:{stage.other.port}"}}
    playbook = await stage.writes(
        {"id": "both", "type": "parallel", "steps": [{"id": "left"} | empty, {"id": "right"} | empty]}
    )
    run = await stage.begins(playbook, story)
    for step in ("left-agreement", "right-agreement"):
        await stage.reaches(run, step, StepStatus.RUNNING)
        await stage.becomes(run, RunStatus.WAITING)
        await stage.world.gateway.playbooks.decide(BOB, run, approve=False)
    assert (await stage.ends(run)).status is RunStatus.FAILED
    assert stage.other.asked() == []


async def test_what_was_done_is_taken_back_also_where_it_never_showed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def blind(*_: object) -> str:
        raise Failed("it does not show")

    monkeypatch.setattr(HttpRequest, "verify", blind)
    story = await stage.world.opens(["alice"])
    back = {"action": "http_request", "parameters": {"url": f"http://127.0.0.1:{stage.other.port}/back"}}
    run = await stage.begins(
        await stage.writes(stage.step("done", undo=back), execution={"rollback_on_failure": True}), story
    )
    view = await stage.ends(run)
    assert (view.status, stage.other.asked()) == (RunStatus.FAILED, ["done", "back"])
    assert statuses(view) == {"done": StepStatus.UNDONE}


async def test_a_cancel_is_answered_though_taking_back_takes_long(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "ANSWER_WITHIN", timedelta(seconds=1))
    story = await stage.world.opens(["alice"])
    back = {"action": "http_request", "parameters": {"url": f"http://127.0.0.1:{stage.other.port}/back"}}
    playbook = await stage.writes(stage.step("one", undo=back), {"id": "wait", "type": "wait", "seconds": "3h"})
    run = await stage.begins(playbook, story)
    await stage.reaches(run, "wait", StepStatus.RUNNING)
    stage.other.replies.append(SILENCE)
    view = await stage.world.gateway.playbooks.cancel(BOB, run, CancelRun(undo=True))
    assert view.status is RunStatus.RUNNING
    await stage.other.received(2)
    assert stage.other.asked() == ["one", "back"]


async def test_a_run_that_is_cancelled_in_temporal_is_shown_as_cancelled(stage: Stage) -> None:
    story = await stage.world.opens(["alice"])
    playbook = await stage.writes(stage.step("one"), {"id": "wait", "type": "wait", "seconds": "3h"})
    run = await stage.begins(playbook, story)
    await stage.reaches(run, "wait", StepStatus.RUNNING)
    await stage.handle(run).cancel()
    view = await stage.ends(run)
    assert (view.status, view.error) == (RunStatus.CANCELLED, "cancelled by Temporal")
    await stage.ends(await stage.begins(await stage.writes(stage.step("next")), story))


async def test_an_incident_that_cannot_be_considered_keeps_no_other_from_its_playbook(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    consider = service.Playbooks.consider
    odd: list[str] = []

    async def stumbles(self: service.Playbooks, event: TimelineEvent) -> None:
        if not odd or event.incident_id in odd:
            odd.append(event.incident_id)
            raise RuntimeError("nobody thought of this")
        await consider(self, event)

    monkeypatch.setattr(service.Playbooks, "consider", stumbles)
    source = f"s-{uuid4()}"
    await stage.writes(stage.step("does"), triggers=[{"type": "source", "source": source}])
    await stage.world.opens(["alice"])
    async with asyncio.timeout(PATIENCE):
        while not odd:
            await asyncio.sleep(0.02)
    await stage.world.opens(["alice"], source=source)
    await stage.other.received(1)
    assert stage.other.asked() == ["does"]


async def test_a_run_is_cancelled_between_two_tries_and_taken_back(stage: Stage) -> None:
    story = await stage.world.opens(["alice"])
    undo = {"action": "http_request", "parameters": stage.step("undo")["parameters"]}
    retry = {"max_attempts": 9, "interval": "1h"}
    playbook = await stage.writes(stage.step("done", undo=undo), stage.step("flaky", retry=retry), stage.step("never"))
    stage.other.replies.extend([Reply(), Reply(503)])
    run = await stage.begins(playbook, story)
    await stage.other.received(2)
    view = await stage.world.gateway.playbooks.cancel(BOB, run, CancelRun(undo=True))
    assert (view.status, view.error) == (RunStatus.CANCELLED, "cancelled by bob")
    assert stage.other.asked() == ["done", "flaky", "undo"]
    assert statuses(view) == {"done": StepStatus.UNDONE, "flaky": StepStatus.CANCELLED}
    again = await stage.world.gateway.playbooks.cancel(BOB, run, CancelRun())
    assert again.status is RunStatus.CANCELLED


async def test_a_run_is_cancelled_in_the_middle_of_an_action(stage: Stage) -> None:
    story = await stage.world.opens(["alice"])
    stage.other.replies.append(SILENCE)
    run = await stage.begins(await stage.writes(stage.step("hangs"), stage.step("never")), story)
    await stage.other.received(1)
    view = await stage.world.gateway.playbooks.cancel(BOB, run, CancelRun())
    assert (view.status, view.error) == (RunStatus.CANCELLED, "cancelled by bob")
    assert statuses(view) == {"hangs": StepStatus.CANCELLED}
    assert stage.other.asked() == ["hangs"]


async def test_a_run_is_tried_again_from_the_step_that_failed_with_what_those_before_it_gave(stage: Stage) -> None:
    story = await stage.world.opens(["alice"])
    playbook = await stage.writes(
        stage.step("first"), stage.step("second", "{{ steps.first.output.body.path }}/second"), stage.step("third")
    )
    stage.other.replies.extend([Reply(body=b'{"path": "kept"}'), Reply(400)])
    failed = await stage.ends(await stage.begins(playbook, story))
    assert failed.status is RunStatus.FAILED
    again = await stage.world.gateway.playbooks.try_again(BOB, failed.id, TryAgain())
    assert (again.from_run, again.from_step) == (failed.id, "second")
    assert (await stage.ends(again.id)).status is RunStatus.COMPLETED
    assert stage.other.asked() == ["first", "kept/second", "kept/second", "third"]
    with pytest.raises(Invalid, match="from_step: must be one of first, second, third"):
        await stage.world.gateway.playbooks.try_again(BOB, failed.id, TryAgain(from_step="nope"))


async def test_a_dry_run_says_what_it_would_do_and_does_nothing(stage: Stage) -> None:
    story = await stage.world.opens(["alice"])
    approval = {"approvers": [{"type": "user", "id": "bob"}]}
    playbook = await stage.writes(
        {"id": "wait", "type": "wait", "seconds": "1d"}, {"id": "ask", "type": "approval", "approval": approval},
        stage.step("would"),
    )  # fmt: skip
    run = await stage.begins(playbook, story, dry_run=True)
    assert (await stage.ends(run)).status is RunStatus.COMPLETED
    assert stage.other.asked() == []
    assert f"would: POST http://127.0.0.1:{stage.other.port}/would" in await stage.words(run)


async def test_one_run_of_a_playbook_at_a_time_on_an_incident(stage: Stage) -> None:
    story = await stage.world.opens(["alice"])
    playbook = await stage.writes({"id": "wait", "type": "wait", "seconds": "1h"})
    first = await stage.begins(playbook, story)
    with pytest.raises(Conflict, match=f"already running on this incident: run {first}"):
        await stage.begins(playbook, story)
    other = await stage.world.opens(["alice"])
    assert await stage.begins(playbook, other)
    await stage.world.gateway.playbooks.cancel(ME, first, CancelRun())
    assert await stage.begins(playbook, story)


async def runs_on(stage: Stage, story: Story, count: int) -> list[RunView]:
    """The runs on an incident, once there are so many, the oldest first."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = (await stage.world.gateway.playbooks.list(ME, RunQuery(incident_id=UUID(story.id)))).runs
            if len(found) >= count:
                return found[::-1]
            await asyncio.sleep(0.05)


async def test_incidents_begin_playbooks_and_what_a_playbook_does_does_not_begin_it_again(stage: Stage) -> None:
    team = f"t-{uuid4()}"
    mine = {"field": "tags.team", "operator": "equals", "value": team}
    new = await stage.writes(stage.step("new"), triggers=[{"type": "incident_created", "conditions": mine}])
    worst = await stage.writes(
        stage.step("worst"), triggers=[{"type": "severity", "values": ["P0"], "conditions": mine}]
    )
    over = await stage.writes(
        stage.step("over"), triggers=[{"type": "status_changed", "to": ["RESOLVED"], "conditions": mine}],
        execution={"cooldown_secs": 0},
    )  # fmt: skip
    off = await stage.writes(stage.step("off"), triggers=[{"type": "incident_created"}], enabled=False)
    story = await stage.world.opens(["alice"], labels={"team": team})
    [first] = await runs_on(stage, story, 1)
    assert (first.playbook_id, first.cause, first.by_hand) == (new, "trigger incident_created", False)
    await story.ask(CommandKind.RESOLVE)
    assert [run.playbook_id for run in await runs_on(stage, story, 2)] == [new, over]
    terrible = await stage.world.opens(["alice"], labels={"team": team}, severity="P0")
    assert {run.playbook_id for run in await runs_on(stage, terrible, 2)} == {new, worst}
    elsewhere = await stage.world.opens(["alice"])
    for run in [*await runs_on(stage, story, 2), *await runs_on(stage, terrible, 2)]:
        await stage.ends(run.id)
    await elsewhere.settled()
    assert await runs_on(stage, elsewhere, 0) == []
    assert off not in {run.playbook_id for run in await runs_on(stage, story, 2)}
    for id_ in (new, worst, over, off):
        await stage.world.gateway.documents.delete(ME, "playbooks", id_)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"steps": []}, "steps: "),
        ({"steps": [{"id": "a"}]}, "steps[0]: is a step of type action: needs call"),
        ({"steps": [{"id": "a", "action": "nope"}]}, "steps[0].call.action: there is no action 'nope' here; there are"),
        ({"steps": [{"id": "a", "action": "http_request", "parameters": {}}]}, "steps[0].call.parameters.url"),
        (
            {"steps": [{"id": "a", "action": "http_request", "parameters": {"url": "{{ 1 +"}}]},
            "steps[0].call.parameters.url: line 1",
        ),
        ({"steps": [{"id": "a", "type": "wait", "seconds": "3w"}]}, "steps[0].seconds"),
        ({"steps": [{"id": "a", "type": "wait", "seconds": 1, "on_success": "b"}]}, "there is no step 'b'"),
        ({"steps": [{"id": "a", "type": "wait", "seconds": 1}] * 2}, "the id 'a' is given twice"),
        ({"steps": [{"id": "a", "type": "approval", "approval": {"approvers": []}}]}, "steps[0].approval.approvers"),
        (
            {"steps": [{"id": "a", "type": "approval", "approval": {"approvers": [{"type": "user", "id": "nobody"}]}}]},
            "steps[0].approval.approvers[0].id: there is no user 'nobody'",
        ),
        ({"steps": [{"id": "a", "type": "wait", "seconds": 1}], "triggers": [{"type": "severity"}]}, "triggers[0]"),
    ],
)
async def test_what_can_not_be_is_refused_with_its_path(world: World, body: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid) as refused:
        await world.gateway.documents.put(ME, "playbooks", "wrong", {"name": "wrong"} | body)
    assert says in refused.value.message


async def test_a_hundred_at_once_hold_up_no_page(stage: Stage) -> None:
    playbook = await stage.writes(stage.step("one"), stage.step("two"))
    stories = [await stage.world.opens(["alice"]) for _ in range(20)]
    others = [await stage.writes(stage.step("one"), stage.step("two")) for _ in range(4)] + [playbook]
    runs = [await stage.begins(each, story) for each in others for story in stories]
    late = await stage.world.opens(["bob"])
    assert await late.told() == ["bob"]
    views = [await stage.ends(run) for run in runs]
    assert {view.status for view in views} == {RunStatus.COMPLETED}
    assert len(stage.other.items) == 200
    assert len(set(stage.other.marks())) == 200

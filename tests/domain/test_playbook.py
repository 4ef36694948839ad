"""Playbooks as values: what is written is read again, what follows what, who has to agree."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import Conflict, Forbidden
from app.domain.playbook import Approval, Backoff, OnTimeout, Playbook, Retry
from app.domain.run import (
    Aborted,
    Plan,
    Run,
    RunStatus,
    StepStatus,
    asks,
    decided,
    people_missing,
    planned,
    reminder_after,
)

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
BOB = Approval.model_validate({"approvers": [{"type": "user", "id": "bob"}], "timeout": "1h"})
NONE: frozenset[str] = frozenset()


def step(id_: str, **more: Any) -> dict[str, Any]:
    return {"id": id_, "action": "http_request"} | more


def book(*steps: dict[str, Any], **more: Any) -> Playbook:
    return Playbook.model_validate({"id": "p", "name": "P", "steps": list(steps)} | more)


def plan(*steps: dict[str, Any], **more: Any) -> Plan:
    return planned(book(*steps, **more), NONE, NONE, dry_run=False)


def begun(by: str = "alice", *, by_hand: bool = True) -> Run:
    return Run(id="r", started_by=by, by_hand=by_hand, started_at=NOW, wanted_by=(by,) if by_hand else ())


@pytest.mark.parametrize(
    "triggers",
    [
        [{"type": "incident_created"}], [{"type": "manual"}], [{"type": "severity", "severity": ["P0", "P1"]}],
        [{"type": "severity", "values": ["P0"], "conditions": {"environment": ["production"]}}],
        [{"type": "type", "incident_type": "Security"}], [{"type": "source", "source": "litellm"}],
        [{"type": "status_changed", "to": ["RESOLVED"]}],
    ],
)  # fmt: skip
def test_what_is_written_is_read_again(triggers: list[dict[str, Any]]) -> None:
    written = book(
        step("a", retry={"max_attempts": 3, "interval": "2s"}, timeout="10m", when="{{ true }}"),
        {"id": "b", "type": "wait", "seconds": "21d"},
        {"id": "c", "type": "approval", "approval": {"approvers": [{"type": "on_call", "id": "s"}]}},
        {"id": "d", "type": "decision", "test": "{{ 1 == 1 }}"},
        {"id": "e", "type": "parallel", "steps": [step("f"), step("g")]},
        step("h", undo={"action": "http_request"}),
        triggers=triggers,
    )
    assert Playbook.model_validate(written.model_dump(mode="json")) == written


@pytest.mark.parametrize(
    ("text", "secs"), [("5s", 5), ("10m", 600), ("1h", 3600), ("21d", 1_814_400), ("250ms", 0.25), (7, 7)]
)
def test_spans_as_people_write_them(text: str | int, secs: float) -> None:
    assert book({"id": "a", "type": "wait", "seconds": text}).steps[0].seconds == secs


@given(st.integers(1, 50), st.sampled_from(Backoff), st.floats(0.1, 100), st.floats(0.1, 1000))
def test_pauses_never_shrink_and_never_exceed_their_most(
    attempt: int, backoff: Backoff, interval: float, most: float
) -> None:
    retry = Retry(backoff=backoff, interval_secs=interval, max_interval_secs=most)
    assert 0 < retry.pause(attempt) <= retry.pause(attempt + 1) <= most


def test_what_follows_what() -> None:
    it = plan(
        step("a"),
        step("b", on_success="d", on_failure="c"),
        step("c", on_failure="continue"),
        step("d", on_success="end"),
    )
    a, b, c, d = it.steps
    assert it.after(a, succeeded=True) == "b"
    with pytest.raises(Aborted):
        it.after(a, succeeded=False)
    assert (it.after(b, succeeded=True), it.after(b, succeeded=False)) == ("d", "c")
    assert (it.after(c, succeeded=True), it.after(c, succeeded=False)) == ("d", "d")
    assert it.after(d, succeeded=True) is None


def test_a_no_of_a_decision_ends_quietly_unless_it_leads_somewhere() -> None:
    it = plan({"id": "ask", "type": "decision", "test": "{{ false }}"}, step("a"))
    assert it.after(it.steps[0], succeeded=False) is None


def test_a_word_counts_once_and_only_of_whom_was_asked() -> None:
    waiting = asks(begun("carol"), "ask", BOB.model_copy(update={"quorum": 2}), ("bob", "dan"), NOW)
    with pytest.raises(Forbidden, match="eve was not asked"):
        decided(waiting, "eve", True, may_anyway=False, four_eyes=True)
    once = decided(waiting, "bob", True, may_anyway=False, four_eyes=True)
    assert decided(once, "bob", True, may_anyway=False, four_eyes=True) == once
    assert once.deciding is not None
    assert not once.deciding.granted
    twice = decided(once, "dan", True, may_anyway=False, four_eyes=True)
    assert twice.deciding is not None
    assert twice.deciding.granted
    assert twice.wanted_by == ("carol", "bob", "dan")


def test_whoever_began_it_does_not_agree_with_themselves() -> None:
    waiting = asks(begun("bob"), "ask", BOB, ("bob",), NOW)
    with pytest.raises(Forbidden, match="somebody else"):
        decided(waiting, "bob", True, may_anyway=True, four_eyes=True)
    assert decided(waiting, "bob", False, may_anyway=False, four_eyes=True).deciding is not None
    assert decided(waiting, "bob", True, may_anyway=False, four_eyes=False).deciding is not None


def test_nobody_decides_what_nobody_waits_for() -> None:
    with pytest.raises(Conflict):
        decided(begun(), "bob", True, may_anyway=True, four_eyes=True)


def test_something_destructive_is_wanted_by_two() -> None:
    it = planned(book(step("a")), frozenset({"http_request"}), NONE, dry_run=False)
    assert it.steps[0].destructive
    assert people_missing(begun("alice"), it) == 1
    assert people_missing(begun("trigger", by_hand=False), it) == 2
    agreed = decided(asks(begun("alice"), "x", BOB, ("bob",), NOW), "bob", True, may_anyway=False, four_eyes=True)
    assert people_missing(agreed, it) == 0
    relaxed = planned(book(step("a"), execution={"four_eyes": False}), frozenset({"http_request"}), NONE, dry_run=False)
    assert people_missing(begun("trigger", by_hand=False), relaxed) == 0


def test_what_may_have_been_done_is_undone_the_last_first_and_nothing_else() -> None:
    undo = {"action": "http_request"}
    it = plan(step("a", undo=undo), step("b", undo=undo), step("c"), step("d", undo=undo), step("e", undo=undo))
    run = begun()
    for id_, status in (
        ("a", StepStatus.COMPLETED), ("b", StepStatus.COMPLETED), ("c", StepStatus.COMPLETED), ("d", StepStatus.FAILED),
        ("e", StepStatus.SKIPPED),
    ):  # fmt: skip
        run = run.begins(id_, NOW).ended(id_, status, NOW)
    assert run.to_undo(it) == ("d", "b", "a")


def test_a_decision_has_a_time_and_says_what_then() -> None:
    waiting = asks(begun(), "ask", BOB, ("bob",), NOW)
    assert waiting.status is RunStatus.WAITING
    assert waiting.deciding is not None
    assert waiting.deciding.due_at == NOW + timedelta(hours=1)
    assert waiting.deciding.on_timeout is OnTimeout.REJECT


@pytest.mark.parametrize(("every_secs", "most"), [(900, 35), (60, 40), (172_800, 15)])
def test_who_is_asked_for_weeks_is_reminded_less_and_less_often_but_daily(every_secs: float, most: int) -> None:
    approval = BOB.model_copy(update={"reminder_secs": every_secs})
    gone, count = timedelta(), 0
    while gone < timedelta(days=28):
        pause = reminder_after(approval, count)
        assert timedelta(seconds=every_secs) <= pause <= timedelta(seconds=max(every_secs, 86_400))
        gone, count = gone + pause, count + 1
    assert count <= most

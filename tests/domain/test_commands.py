"""What may be asked of an incident when, and what a page after an acknowledge would need."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import lifecycle, paging
from app.domain.errors import Conflict, Invalid, InvalidTransition
from app.domain.incident import REMEMBERED_COMMANDS, CommandKind, Incident
from app.domain.vocabulary import Severity, Status
from tests.domain.incidents import START, after, asked, command, heard, opened, policy, refused, worked

DONE, SAME, REFUSED = "done", "same", "refused"
MAY = """
             acknowledge unacknowledge start   resolve close   reopen  escalate
NEW          done        same          done    done    done    same    done
ACKNOWLEDGED same        done          done    done    refused refused done
IN_PROGRESS  refused     refused       same    done    refused refused done
ESCALATED    done        refused       done    done    refused refused done
RESOLVED     refused     refused       refused same    done    done    refused
CLOSED       refused     refused       refused refused same    done    refused
"""
WAY_TO = {
    Status.NEW: (),
    Status.ACKNOWLEDGED: (CommandKind.ACKNOWLEDGE,),
    Status.IN_PROGRESS: (CommandKind.START,),
    Status.ESCALATED: (CommandKind.ESCALATE,),
    Status.RESOLVED: (CommandKind.RESOLVE,),
    Status.CLOSED: (CommandKind.RESOLVE, CommandKind.CLOSE),
}


def table() -> Iterator[tuple[Status, CommandKind, str]]:
    kinds, *rows = MAY.strip().splitlines()
    for row in rows:
        status, *answers = row.split()
        yield from zip([Status(status)] * len(answers), map(CommandKind, kinds.split()), answers, strict=True)


def incident_that_is(status: Status) -> Incident:
    incident, _ = worked(opened(policy()), START)
    for kind in WAY_TO[status]:
        incident, _ = worked(asked(incident, kind), START)
    assert incident.status is status
    return incident


def test_whoever_starts_has_taken_it() -> None:
    started, _ = worked(asked(opened(policy()), CommandKind.START), START)
    assert (started.acknowledged_by, started.acknowledged_at) == (command(CommandKind.START).actor.name, START)


@pytest.mark.parametrize(("status", "kind", "answer"), list(table()))
def test_what_may_be_asked_when(status: Status, kind: CommandKind, answer: str) -> None:
    incident = incident_that_is(status)
    refusal = refused(incident, kind)
    if answer == REFUSED:
        assert isinstance(refusal, InvalidTransition)
        assert f"is {status} cannot become" in refusal.message
    else:
        assert refusal is None
        assert (asked(incident, kind).seq > incident.seq) == (answer == DONE)


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("kind", [CommandKind.PAUSE, CommandKind.SNOOZE])
def test_only_what_is_open_can_be_paused(status: Status, kind: CommandKind) -> None:
    refusal = refused(incident_that_is(status), kind, until=after(60))
    assert (refusal is None) == status.open
    assert refusal is None or str(status) in refusal.message


EVENTS = ("acknowledge", "resolve", "reopen", "timer", "fires")


def test_no_order_of_acknowledge_resolve_timer_and_reopen_pages_after_an_acknowledge() -> None:
    """Every order there is, of five events each."""
    pages = sum(pages_of(order) for order in product(EVENTS, repeat=5))
    assert pages > len(EVENTS) ** 5


def pages_of(order: tuple[str, ...]) -> int:
    incident, first = worked(opened(policy()), START)
    now, taken, count = START, False, len(first)
    for event in order:
        now += timedelta(minutes=5 if event == "timer" else 0)
        before, incident = incident, happens(incident, event, now)
        if event in ("acknowledge", "resolve") and not incident.status.waits_for_somebody:
            taken = True
        elif before.ended_at is not None and incident.status is Status.NEW:
            taken = False
        incident, pages = worked(incident, now)
        assert not (taken and pages), order
        count += len(pages)
    return count


def happens(incident: Incident, event: str, now: datetime) -> Incident:
    if event == "timer":
        return incident
    if event == "fires":
        return lifecycle.hear(incident, heard(Severity.P0, now + timedelta(microseconds=1)), now)[0]
    kind = CommandKind(event)
    return incident if refused(incident, kind, now) else asked(incident, kind, now)


@given(st.lists(st.tuples(st.integers(0, 300_000_000), st.integers(1, 10**12), st.booleans()), max_size=8))
def test_a_pause_keeps_what_was_left_to_the_microsecond(naps: list[tuple[int, int, bool]]) -> None:
    incident, _ = worked(opened(policy()), START)
    now, left = START, timedelta(minutes=5)
    for awake, asleep, snoozes in naps:
        if timedelta(microseconds=awake) >= left:
            break
        now += timedelta(microseconds=awake)
        left -= timedelta(microseconds=awake)
        wakes = now + timedelta(microseconds=asleep)
        incident = asked(incident, CommandKind.SNOOZE if snoozes else CommandKind.PAUSE, now, until=wakes)
        assert worked(incident, wakes - timedelta(microseconds=1)) == (incident, [])
        now = wakes
        incident = worked(incident, now)[0] if snoozes else asked(incident, CommandKind.RESUME, now)
    assert worked(incident, now + left - timedelta(microseconds=1))[1] == []
    [page] = worked(incident, now + left)[1]
    assert page.number == 2


def test_an_acknowledge_without_progress_lapses_and_a_word_of_progress_holds_it_up() -> None:
    incident, _ = worked(opened(policy(acknowledge_timeout_secs=600)), START)
    incident = asked(incident, CommandKind.ACKNOWLEDGE)
    assert worked(incident, after(599))[1] == []
    incident = asked(incident, CommandKind.COMMENT, after(599))
    assert worked(incident, after(1198))[1] == []
    incident, [page] = worked(incident, after(1199))
    assert (incident.status, page.cycle, page.number) == (Status.NEW, 1, 1)


def test_who_sleeps_through_a_snooze_is_not_woken_by_a_lapsing_acknowledge() -> None:
    incident, _ = worked(opened(policy(acknowledge_timeout_secs=600)), START)
    incident = asked(incident, CommandKind.ACKNOWLEDGE)
    incident = asked(incident, CommandKind.SNOOZE, until=after(8 * 3600))
    assert worked(incident, after(8 * 3600 - 1)) == (incident, [])
    incident, _ = worked(incident, after(8 * 3600))
    assert worked(incident, after(8 * 3600 + 599))[1] == []
    assert len(worked(incident, after(8 * 3600 + 600))[1]) == 1


def test_a_comment_after_a_new_route_does_not_end_the_acknowledge() -> None:
    incident, _ = worked(opened(policy(acknowledge_timeout_secs=600)), START)
    incident = asked(incident, CommandKind.ACKNOWLEDGE)
    incident, _ = paging.rerouted(incident, policy(id="night"), after(1))
    incident = asked(incident, CommandKind.COMMENT, after(2))
    assert worked(incident, after(10**6))[1] == []


def test_escalating_after_a_new_route_begins_with_its_first_level() -> None:
    incident, _ = worked(opened(policy()), after(0))
    incident, _ = worked(incident, after(300))
    incident = asked(incident, CommandKind.ACKNOWLEDGE, after(301))
    incident, _ = paging.rerouted(incident, policy(id="night"), after(302))
    _, [page] = worked(asked(incident, CommandKind.ESCALATE, after(303)), after(303))
    assert (page.rung, page.number) == (0, 1)


@pytest.mark.parametrize("between", [CommandKind(kind) for kind in ("acknowledge", "start", "pause", "escalate")])
def test_an_escalation_goes_out_once_whatever_came_between_asking_and_asking_again(between: CommandKind) -> None:
    incident, _ = worked(opened(policy()), START)
    for kind in (CommandKind.ESCALATE, between, CommandKind.ESCALATE):
        incident = asked(incident, kind)
    assert [page.number for page in worked(incident, START)[1]] == [2]


def test_there_is_nothing_to_escalate_to_after_the_last_level() -> None:
    incident = opened(policy())
    for minutes in (0, 5, 10):
        incident, _ = worked(incident, after(60 * minutes))
    assert isinstance(refused(incident, CommandKind.ESCALATE, after(3600)), Conflict)


def test_what_a_command_lacks_is_named() -> None:
    incident = opened(policy())
    for kind, field in ((CommandKind.SEVERITY, "severity"), (CommandKind.SNOOZE, "until")):
        refusal = refused(incident, kind)
        assert isinstance(refusal, Invalid)
        assert refusal.details == [{"field": field, "message": refusal.message.split(": ", 1)[1]}]


def test_the_last_commands_are_remembered_and_no_more() -> None:
    incident = opened(policy())
    for number in range(REMEMBERED_COMMANDS + 1):
        incident, _ = lifecycle.apply(incident, command(CommandKind.COMMENT, str(number)), START)
    assert len(incident.commands) == REMEMBERED_COMMANDS
    assert lifecycle.apply(incident, command(CommandKind.COMMENT, "1"), START) == (incident, ())

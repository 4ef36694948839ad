"""What an incident makes of what its alerts say, and of who could be told."""

from app.domain import lifecycle, paging
from app.domain.incident import CommandKind, Heard, Incident
from app.domain.reach import Unreached
from app.domain.timeline import Entry, EventType
from app.domain.vocabulary import Severity, Status
from tests.domain.incidents import after, asked, heard, message, opened, policy, worked

GHOST = Unreached(target="user:ghost", reason="has no address on any channel of this level")


def types(entries: tuple[Entry, ...]) -> list[EventType]:
    return [entry.type for entry in entries]


def hears(incident: Incident, said: Heard, seconds: float = 1) -> tuple[Incident, list[EventType]]:
    incident, entries = lifecycle.hear(incident, said, after(seconds))
    return incident, types(entries)


def test_a_worse_alert_raises_the_incident_and_the_timeline_says_from_what_to_what() -> None:
    raised, [entry] = lifecycle.hear(opened(policy()), heard(Severity.P0), after(1))
    assert raised.severity is Severity.P0
    assert (entry.type, entry.data) == (EventType.SEVERITY_CHANGED, {"from": Severity.P2, "to": Severity.P0})
    assert entry.actor.name == "grafana"


def test_what_somebody_has_lowered_rises_only_with_something_worse_than_was_known() -> None:
    lowered = asked(opened(policy()), CommandKind.SEVERITY, severity=Severity.P4)
    same, told = hears(lowered, heard(Severity.P2))
    assert (same.severity, told) == (Severity.P4, [])
    raised, told = hears(lowered, heard(Severity.P1))
    assert (raised.severity, told) == (Severity.P1, [EventType.SEVERITY_CHANGED])


def test_what_somebody_has_raised_is_not_lowered_by_an_alert() -> None:
    raised = asked(opened(policy()), CommandKind.SEVERITY, severity=Severity.P0)
    same, told = hears(raised, heard(Severity.P1))
    assert (same.severity, told) == (Severity.P0, [])


def test_a_word_of_the_source_counts_once() -> None:
    incident, told = hears(opened(policy()), heard(source_resolved_at=after(1)))
    assert (incident.status, incident.resolved_by, told) == (Status.RESOLVED, "grafana", [EventType.RESOLVED])
    reopened = asked(incident, CommandKind.REOPEN, after(2))
    assert hears(reopened, heard(source_resolved_at=after(1)), 3) == (reopened, [])
    again, told = hears(reopened, heard(source_resolved_at=after(4)), 5)
    assert (again.status, told) == (Status.RESOLVED, [EventType.RESOLVED])


def test_so_does_its_acknowledge() -> None:
    incident, told = hears(opened(policy()), heard(source_acknowledged_at=after(1)))
    assert (incident.acknowledged_by, told) == ("grafana", [EventType.ACKNOWLEDGED])
    given_back = asked(incident, CommandKind.UNACKNOWLEDGE, after(2))
    assert hears(given_back, heard(source_acknowledged_at=after(1)), 3) == (given_back, [])


def test_a_younger_alert_reopens_what_was_resolved_and_an_older_one_does_not() -> None:
    incident = asked(opened(policy()), CommandKind.RESOLVE, after(10))
    assert hears(incident, heard(at=after(10)), 11) == (incident, [])
    reopened, told = hears(incident, heard(at=after(10.000001)), 11)
    assert (reopened.status, reopened.cycle, told) == (Status.NEW, 1, [EventType.REOPENED])
    assert [page.number for page in worked(reopened, after(11))[1]] == [1]


def test_a_flap_that_is_over_before_anybody_looks_pages_nobody() -> None:
    incident = asked(opened(policy()), CommandKind.RESOLVE, after(10))
    incident, told = hears(incident, heard(at=after(11), source_resolved_at=after(12)), 13)
    assert told == [EventType.REOPENED, EventType.RESOLVED]
    assert worked(incident, after(10**6))[1] == []


def test_without_a_policy_somebody_is_told_that_nobody_is() -> None:
    _, entries = lifecycle.opened("1", heard(), None, opened_at=after(0), now=after(0))
    assert types(entries) == [EventType.INCIDENT_CREATED, EventType.NOBODY_REACHED]


def test_a_level_that_reaches_nobody_costs_no_time() -> None:
    incident, page, _ = paging.climb(opened(policy()), after(0))
    assert page is not None
    incident, entries = paging.paged(incident, page, [], [GHOST], after(1))
    assert types(entries) == [EventType.NOBODY_REACHED]
    assert incident.wakes_at == after(1)
    paused = asked(incident, CommandKind.PAUSE, after(1))
    resumed = asked(paused, CommandKind.RESUME, after(100))
    assert [page.number for page in worked(resumed, after(100))[1]] == [2]


def test_a_level_that_reaches_somebody_has_its_time_and_names_who_it_missed() -> None:
    incident, page, _ = paging.climb(opened(policy()), after(0))
    assert page is not None
    incident, entries = paging.paged(incident, page, [message(page)], [GHOST], after(1))
    assert types(entries) == [EventType.PAGED, EventType.NOBODY_REACHED]
    assert (entries[0].data["told"], entries[1].data["targets"]) == (["user:alice by email"], ["user:ghost"])
    incident, going = paging.due(incident, after(1))
    assert [outgoing.target for outgoing in going] == ["user:alice"]
    assert incident.wakes_at == after(300)


def test_the_timeline_tells_each_step_of_a_climb_once() -> None:
    incident, told = opened(policy()), []
    for seconds, asks in ((0, False), (1, True), (301, False)):
        incident = asked(incident, CommandKind.ESCALATE, after(seconds)) if asks else incident
        incident, page, climbed = paging.climb(incident, after(seconds))
        assert page is not None
        incident, paged = paging.paged(incident, page, [message(page)], [], after(seconds))
        told.append(types(climbed + paged))
    assert told == [
        [EventType.PAGED],
        [EventType.PAGED],
        [EventType.ESCALATED, EventType.PAGED, EventType.ESCALATION_ENDED],
    ]

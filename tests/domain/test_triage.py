"""What triage makes of an incident, and that nobody is paged for one that is held."""

from datetime import timedelta

from app.domain import lifecycle, triage
from app.domain.grouping import Grouped
from app.domain.incident import CommandKind, Hold, HoldReason, Incident, Standing
from app.domain.timeline import EventType
from app.domain.triage import Classified, Routed, Triaged, enriched, stands, triaged
from app.domain.vocabulary import Severity, Status
from tests.domain.incidents import START, after, asked, heard, level, opened, policy, worked

NIGHT = Hold(reason=HoldReason.SILENCE, by="night", until=after(3600))
LEAD = Hold(reason=HoldReason.GROUP, by="7")


def told(incident: Incident, made: Triaged) -> tuple[Incident, list[EventType]]:
    incident, entries = triaged(incident, made, START)
    assert [entry.seq for entry in entries] == list(range(incident.seq - len(entries) + 1, incident.seq + 1))
    return incident, [entry.type for entry in entries]


def held(incident: Incident, *holds: Hold, at: float = 0, look_again: float | None = None) -> Incident:
    later = after(look_again) if look_again is not None else None
    return stands(incident, Standing(holds=holds, look_again_at=later), after(at))[0]


def test_nothing_to_say_says_nothing() -> None:
    incident, events = told(opened(policy()), Triaged())
    assert events == []
    assert (incident.triaged, incident.due_at) == (True, START)


def test_a_model_that_is_followed_is_named_on_the_timeline() -> None:
    said = Classified(severity=Severity.P3, applied=True, confidence=0.83, model_version=4, reason="seen before")
    incident, events = told(opened(policy(), Severity.P1), Triaged(classified=said))
    assert events == [EventType.CLASSIFIED, EventType.SEVERITY_CHANGED]
    assert (incident.severity, incident.heard_severity) == (Severity.P3, Severity.P3)


def test_a_model_that_abstains_changes_nothing() -> None:
    said = Classified(severity=Severity.P1, reason="12 labels of 100")
    incident, events = told(opened(policy(), Severity.P1), Triaged(classified=said))
    assert (events, incident.severity) == ([], Severity.P1)


def test_rules_say_what_they_did() -> None:
    routed = Routed(severity=Severity.P0, rules=("llm",), assigned_to="alice", labels=("team",), playbooks=("roll",))
    incident, events = told(opened(policy()), Triaged(routed=routed))
    assert events == [EventType.ROUTED, EventType.SEVERITY_CHANGED, EventType.ASSIGNED]
    assert (incident.severity, incident.assigned_to) == (Severity.P0, "alice")


def test_an_alert_that_says_the_same_again_does_not_undo_what_the_rules_decided() -> None:
    lowered, _ = told(opened(policy(), Severity.P1), Triaged(routed=Routed(severity=Severity.P4, rules=("quiet",))))
    assert lifecycle.hear(lowered, heard(Severity.P4), START) == (lowered, ())
    worse, _ = lifecycle.hear(lowered, heard(Severity.P0), START)
    assert worse.severity is Severity.P0


def test_what_was_skipped_is_said() -> None:
    incident, events = told(
        opened(policy()), Triaged(skipped=("classify",), grouped=Grouped(group_id="1", lead_id="2"))
    )
    assert events == [EventType.CORRELATED, EventType.TRIAGE_INCOMPLETE]
    assert incident.due_at == START


def test_the_first_page_waits_for_what_is_looked_up_but_not_for_long() -> None:
    waiting, _ = told(opened(policy()), Triaged(page_wait_secs=2))
    assert waiting.due_at == after(2)
    assert worked(waiting, after(1))[1] == []
    assert len(worked(waiting, after(2))[1]) == 1
    known, entries = enriched(waiting, ("service",), ("prometheus",), after(0.1))
    assert known.due_at == after(0.1)
    assert [entry.data["missed"] for entry in entries] == [("prometheus",)]


def test_late_knowledge_hurries_no_second_level() -> None:
    paged, pages = worked(told(opened(policy()), Triaged(page_wait_secs=2))[0], after(2))
    assert [page.number for page in pages] == [1]
    assert enriched(paged, ("service",), (), after(9))[0].due_at == paged.due_at


def test_nobody_is_paged_for_a_held_incident_until_it_is_released() -> None:
    incident = held(opened(policy()), NIGHT, look_again=3600)
    assert worked(incident, after(3599))[1] == []
    assert incident.wakes_at == after(3600)
    released = held(incident, at=3600)
    assert [page.number for page in worked(released, after(3600))[1]] == [1]


def test_what_became_due_in_the_meantime_goes_out_once() -> None:
    paged, _ = worked(opened(policy(level(), level(), level())), START)
    silenced = held(paged, NIGHT, at=10)
    assert worked(silenced, after(3000))[1] == []
    _, pages = worked(held(silenced, at=3000), after(3000))
    assert [page.number for page in pages] == [2]


def test_the_last_reason_to_go_releases_it() -> None:
    incident = held(opened(policy()), NIGHT, LEAD)
    still = held(incident, LEAD, at=60)
    assert (still.held, worked(still, after(60))[1]) == (True, [])
    assert not held(still, at=61).held


def test_the_same_reasons_are_told_once() -> None:
    incident, first = stands(opened(policy()), Standing(holds=(NIGHT,)), START)
    longer = NIGHT.model_copy(update={"until": after(7200)})
    incident, again = stands(incident, Standing(holds=(longer,)), START)
    assert ([entry.type for entry in first], again) == ([EventType.SUPPRESSED], ())
    assert incident.holds == (longer,)


def test_whoever_escalates_by_hand_is_heard_in_a_silence() -> None:
    incident = asked(held(opened(policy()), NIGHT), CommandKind.ESCALATE)
    assert not incident.held
    assert [page.number for page in worked(incident, START)[1]] == [1]
    again = asked(asked(asked(incident, CommandKind.ACKNOWLEDGE), CommandKind.UNACKNOWLEDGE), CommandKind.COMMENT)
    assert again.held


def test_a_hold_does_not_stop_an_acknowledge() -> None:
    incident = asked(held(opened(policy()), NIGHT), CommandKind.ACKNOWLEDGE)
    assert incident.status is Status.ACKNOWLEDGED
    assert asked(incident, CommandKind.RESOLVE).wakes_at is None


def test_where_nobody_could_look_a_hold_still_ends_at_its_time() -> None:
    incident = held(opened(policy()), NIGHT, LEAD, look_again=3600)
    assert stands(incident, None, after(60)) == (incident, ())
    left, entries = stands(incident, None, after(3600))
    assert left.holds == (LEAD,)
    assert left.look_again_at == after(3600) + triage.AFTER_A_FAILURE
    assert [entry.type for entry in entries] == [EventType.SUPPRESSED]


def test_a_moment_that_has_passed_spins_nobody() -> None:
    incident = held(opened(policy()), NIGHT, at=60, look_again=0)
    assert incident.look_again_at == after(60) + timedelta(seconds=1)


def test_a_class_that_was_stated_is_told_in_the_taxonomys_name_with_the_reason() -> None:
    why = "performance.latency, reported as P2; a tier 1 service is affected: one step up"
    said = Classified(
        severity=Severity.P1, applied=True, incident_class="performance.latency", reason=why, stated=True
    )  # fmt: skip
    incident, entries = triaged(opened(policy(), Severity.P2), Triaged(classified=said), START)
    assert [(entry.type, entry.actor.name) for entry in entries] == [
        (EventType.CLASSIFIED, "taxonomy"), (EventType.SEVERITY_CHANGED, "taxonomy"),
    ]  # fmt: skip
    assert (incident.severity, entries[0].data["reason"]) == (Severity.P1, why)

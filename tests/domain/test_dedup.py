"""Which alerts are one problem, and what each makes of the incident."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from app.domain import lifecycle
from app.domain.alert import Alert, AlertStatus
from app.domain.dedup import Known, Outcome, Received, alert_key, delivery_id, fingerprint, receive
from app.domain.incident import CommandKind, Heard, Incident
from app.domain.vocabulary import Environment, IncidentType, Severity, Status
from tests.domain.incidents import START, after, asked, policy, refused

WINDOW = timedelta(minutes=15)
MICROSECOND = timedelta(microseconds=1)
severities = st.sampled_from(Severity)
words = st.text("abcXYZäÉß0 ", min_size=1, max_size=4).filter(str.strip)


def alert(**more: Any) -> Alert:
    return Alert.model_validate({"source": "grafana", "title": "checkout is slow"} | more)


def firing(**more: Any) -> Alert:
    return alert(status="firing", **more)


def resolved(**more: Any) -> Alert:
    return alert(status="resolved", **more)


@dataclass
class Door:
    """Where the alerts of one fingerprint arrive, one after the other."""

    known: Known | None = None
    auto_resolve: bool = True
    created: int = field(default=0, init=False)

    def takes(self, alert: Alert, at: datetime = START) -> Received:
        received = receive(
            self.known, alert, fingerprint(alert), candidate=f"incident {self.created}", at=at, window=WINDOW,
            auto_resolve=self.auto_resolve,
        )  # fmt: skip
        self.known = received.incident or self.known
        self.created += received.outcome is Outcome.CREATED
        return received

    @property
    def incident(self) -> Known:
        assert self.known is not None
        return self.known

    def is_resolved(self, at: datetime) -> None:
        self.known = self.incident._replace(status=Status.RESOLVED, collecting=False, resolved_at=at)


@given(st.lists(words, max_size=4), st.randoms(), words)
def test_order_case_and_blanks_do_not_make_another_problem(services: list[str], random: Any, title: str) -> None:
    shuffled = [f"  {service.swapcase() if service.isascii() else service}\t" for service in services * 2]
    random.shuffle(shuffled)
    one = alert(title=title, affected_services=services, source="Grafana")
    other = alert(title=f" {title.replace(' ', '  ')} ".upper(), affected_services=shuffled, source="grafana ")
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize(
    "more",
    [
        {"title": "checkout is fast"},
        {"source": "datadog"},
        {"incident_type": IncidentType.SECURITY},
        {"environment": Environment.STAGING},
        {"affected_services": ["checkout", "cart"]},
        {"affected_services": ["checkoutc", "art"]},
        {"affected_services": ["checkout cart"]},
        {"identity": "checkout is slow"},
    ],
)
def test_what_makes_another_problem(more: dict[str, object]) -> None:
    others = [alert(), alert(affected_services=["check", "outcart"]), alert(environment=Environment.QA)]
    assert fingerprint(alert(**more)) not in [fingerprint(other) for other in others]


@pytest.mark.parametrize(
    "more", [{"severity": "P0"}, {"description": "?"}, {"labels": {"a": "b"}}, {"starts_at": START}]
)
def test_what_does_not(more: dict[str, object]) -> None:
    assert fingerprint(alert(**more)) == fingerprint(alert())


@given(st.text("ab", min_size=3, max_size=6), st.data())
def test_parts_never_run_into_each_other(text: str, data: st.DataObject) -> None:
    cuts = st.integers(1, len(text) - 1)
    here, there = data.draw(cuts), data.draw(cuts)
    mine = fingerprint(alert(source=text[:here], identity=text[here:]))
    yours = fingerprint(alert(source=text[:there], identity=text[there:]))
    assert (mine == yours) == (here == there)


def test_what_a_source_calls_a_problem_counts_within_the_source_alone() -> None:
    assert fingerprint(alert(identity="a", title="x")) == fingerprint(alert(identity="a", title="y"))
    assert fingerprint(alert(identity="a")) != fingerprint(alert(identity="a", source="datadog"))


def test_the_same_delivery_is_told_by_its_id_or_else_by_episode_and_status() -> None:
    def delivery(**more: object) -> str | None:
        return delivery_id(alert(**more), fingerprint(alert(**more)))

    assert delivery() is None
    assert delivery(delivery="1") == delivery(delivery="1", title="renamed") != delivery(delivery="2")
    assert delivery(starts_at=START) == delivery(starts_at=START, severity="P0")
    fresh: tuple[dict[str, object], ...]
    fresh = ({}, {"status": "resolved"}, {"starts_at": after(1)}, {"external_id": "2"}, {"title": "other"})
    assert len({delivery(**{"starts_at": START} | more) for more in fresh}) == len(fresh)


def test_more_of_the_same_is_counted_and_only_a_worse_one_is_heard() -> None:
    door = Door()
    severities = ("P2", "P3", "P2", "P0", "P1")
    answers = [door.takes(firing(severity=one), after(at)) for at, one in enumerate(severities)]
    assert [answer.outcome for answer in answers] == [Outcome.CREATED] + [Outcome.MERGED] * 4
    assert [answer.hear for answer in answers] == [True, False, False, True, False]
    assert (door.incident.severity, door.incident.alert_count, door.incident.flaps) == (Severity.P0, 5, 0)
    assert door.incident.last_seen_at == door.incident.last_firing_at == after(4)


def test_who_comes_late_sets_no_clock_back() -> None:
    door = Door()
    for at, one in ((10, firing()), (5, firing()), (4, alert(status="acknowledged")), (3, resolved())):
        door.takes(one, after(at))
    assert door.incident.last_seen_at == door.incident.last_firing_at == after(10)


@pytest.mark.parametrize(
    ("later", "outcome"),
    [(timedelta(0), Outcome.REOPENED), (WINDOW, Outcome.REOPENED), (WINDOW + MICROSECOND, Outcome.CREATED)],
)
def test_an_incident_reopens_within_the_window_and_not_a_microsecond_after(later: timedelta, outcome: Outcome) -> None:
    door = Door()
    door.takes(firing())
    door.is_resolved(after(60))
    received = door.takes(firing(), after(60) + later)
    assert (received.outcome, received.hear, door.incident.collecting) == (outcome, True, True)
    assert (door.incident.id, door.incident.flaps) == (("incident 0", 1) if later <= WINDOW else ("incident 1", 0))


def test_a_closed_incident_does_not_reopen() -> None:
    door = Door()
    door.takes(firing())
    door.known = door.incident._replace(status=Status.CLOSED, collecting=False, resolved_at=START)
    assert door.takes(firing()).outcome is Outcome.CREATED


def test_an_alert_whose_clock_is_behind_the_resolve_reopens_for_the_workflow_too() -> None:
    door = Door()
    door.takes(firing())
    door.is_resolved(after(60))
    assert door.takes(firing(), after(59)).outcome is Outcome.REOPENED
    assert door.incident.last_firing_at > after(60)


def test_the_last_firing_alert_resolves_the_incident() -> None:
    door = Door()
    for one in ("a", "b"):
        door.takes(firing(identity="down", external_id=one))
    first = door.takes(resolved(identity="down", external_id="a"), after(1))
    assert (first.outcome, first.hear, door.incident.source_resolved_at) == (Outcome.MERGED, False, None)
    assert door.takes(resolved(identity="down", external_id="a"), after(2)).outcome is Outcome.IGNORED
    last = door.takes(resolved(identity="down", external_id="b"), after(3))
    assert (last.outcome, last.hear, door.incident.source_resolved_at) == (Outcome.RESOLVED, True, after(3))
    door.takes(firing(identity="down", external_id="a"), after(4))
    assert door.incident.source_resolved_at is None


def test_a_source_that_does_not_resolve_by_itself() -> None:
    door = Door(auto_resolve=False)
    door.takes(firing())
    received = door.takes(resolved(), after(1))
    assert (received.outcome, received.hear, door.incident.source_resolved_at) == (Outcome.MERGED, False, None)


@pytest.mark.parametrize("older_came", ["first", "last"])
def test_a_late_resolve_of_an_earlier_episode_is_ignored(older_came: str) -> None:
    door = Door()
    episodes = (START, after(60)) if older_came == "first" else (after(60), START)
    for starts_at in episodes:
        door.takes(firing(starts_at=starts_at), after(70))
    assert door.takes(resolved(starts_at=START), after(80)).outcome is Outcome.IGNORED
    assert door.takes(resolved(starts_at=after(60)), after(90)).outcome is Outcome.RESOLVED


@pytest.mark.parametrize("status", [AlertStatus.RESOLVED, AlertStatus.ACKNOWLEDGED])
def test_a_word_about_nothing_we_know_is_ignored(status: AlertStatus) -> None:
    door = Door()
    assert door.takes(alert(status=status)) == (None, Outcome.IGNORED, False)
    door.takes(firing())
    door.is_resolved(after(1))
    assert door.takes(alert(status=status), after(2)) == (None, Outcome.IGNORED, False)


def test_a_source_may_acknowledge() -> None:
    door = Door()
    door.takes(firing())
    received = door.takes(alert(status="acknowledged"), after(1))
    assert (received.outcome, received.hear) == (Outcome.MERGED, True)
    assert (door.incident.source_acknowledged_at, door.incident.alert_count) == (after(1), 1)


class Ingest(RuleBasedStateMachine):
    """Alerts of one problem and commands on its incident, in any order, by clocks that do not agree.

    Ingest learns of the workflow's decisions late (`shown`), the workflow of the alerts late (`told`).
    """

    @initialize()
    def begins(self) -> None:
        self.door, self.now = Door(), START
        self.incident: Incident | None = None
        self.count = self.flaps = 0
        self.pending = False
        self.shown = 0

    @rule(seconds=st.sampled_from([0, 1, 60, 899, 901]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(severity=severities, key=st.sampled_from("ab"), skew=st.sampled_from([-2, 0, 2]), soon=st.booleans())
    def fires(self, severity: Severity, key: str, skew: int, soon: bool) -> None:
        before = self.door.known
        one = firing(identity="down", severity=severity, external_id=key)
        received = self.door.takes(one, self.now + timedelta(seconds=skew))
        fresh = received.outcome is Outcome.CREATED
        worst = severity if fresh or before is None else min(severity, before.severity)
        self.count, self.flaps = (1, 0) if fresh else (self.count + 1, self.flaps + (received.outcome == "reopened"))
        assert (self.door.incident.severity, self.door.incident.alert_count) == (worst, self.count)
        assert self.door.incident.flaps == self.flaps
        assert alert_key(one, "") in self.door.incident.firing
        if fresh:
            self.incident, self.shown = None, 0
        self.pending |= received.hear
        self.is_told_and_shown(soon)

    @rule(key=st.sampled_from("ab"), soon=st.booleans())
    def stops_firing(self, key: str, soon: bool) -> None:
        was_firing = self.door.known is not None and self.door.known.collecting and key in self.door.known.firing
        received = self.door.takes(resolved(identity="down", external_id=key), self.now)
        assert (received.incident is not None) == was_firing
        assert received.hear == (received.outcome is Outcome.RESOLVED)
        self.pending |= received.hear
        self.is_told_and_shown(soon)

    @rule(kind=st.sampled_from([CommandKind.RESOLVE, CommandKind.REOPEN]), soon=st.booleans())
    def is_asked(self, kind: CommandKind, soon: bool) -> None:
        if self.incident is not None and not refused(self.incident, kind, self.now):
            self.incident = asked(self.incident, kind, self.now)
            self.is_told_and_shown(soon)

    def is_told_and_shown(self, soon: bool) -> None:
        if self.door.known is None or not soon:
            return
        while self.pending or self.incident is None:
            self.pending = False
            self._told()
            self._shown()
        self._shown()

    def _told(self) -> None:
        known = self.door.incident
        heard = Heard(
            severity=known.severity, last_firing_at=known.last_firing_at, source_resolved_at=known.source_resolved_at
        )
        if self.incident is None:
            self.incident, _ = lifecycle.opened(known.id, heard, policy(), opened_at=self.now, now=self.now)
        self.incident, _ = lifecycle.hear(self.incident, heard, self.now)

    def _shown(self) -> None:
        """The rule of the projection: what has fired since the end goes on collecting, and is heard of."""
        assert self.incident is not None
        if self.incident.seq == self.shown:
            return
        self.shown = self.incident.seq
        ended, known = self.incident.ended_at, self.door.incident
        collecting = ended is None or known.last_firing_at > ended
        self.door.known = known._replace(
            status=self.incident.status, resolved_at=self.incident.resolved_at, collecting=collecting
        )
        self.pending = ended is not None and collecting

    @invariant()
    def nothing_is_swallowed(self) -> None:
        """Once everybody has heard of everything, alerts are only collected by an incident that is open."""
        if self.incident is not None and not self.pending and self.incident.status is self.door.incident.status:
            assert self.door.incident.collecting == self.incident.status.open


Ingest.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
TestIngest = Ingest.TestCase

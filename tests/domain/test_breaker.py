"""A circuit breaker: when it opens, whom it lets probe, and who closes it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.domain.breaker import Breaker, Config, Recovery, Standing, State, Ticket, adopted

T0 = datetime(2026, 11, 29, 12, tzinfo=UTC)
CONFIG = Config(
    failure_threshold=3, success_threshold=2, volume_threshold=10, error_percentage=50, half_open_max=2,
    half_open_timeout_secs=30, recovery=Recovery(initial_secs=20),
)  # fmt: skip


def after(secs: float) -> datetime:
    return T0 + timedelta(seconds=secs)


def given(breaker: Breaker, at: datetime, at_latest: timedelta | None = None) -> tuple[Breaker, Ticket]:
    breaker, ticket = breaker.asked(at, at_latest)
    assert ticket is not None
    return breaker, ticket


def refused(breaker: Breaker, at: datetime, at_latest: timedelta | None = None) -> bool:
    return breaker.asked(at, at_latest)[1] is None


def failed(breaker: Breaker, *at: datetime) -> Breaker:
    for one in at:
        breaker, ticket = given(breaker, one)
        breaker = breaker.failed(ticket, one)
    return breaker


def succeeded(breaker: Breaker, *at: datetime) -> Breaker:
    for one in at:
        breaker, ticket = given(breaker, one)
        breaker = breaker.succeeded(ticket, one)
    return breaker


OPENED = failed(Breaker(CONFIG), T0, T0, T0)


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not() -> None:
    assert OPENED.state is State.OPEN
    assert succeeded(failed(Breaker(CONFIG), T0, T0), T0).state is State.CLOSED
    assert failed(succeeded(failed(Breaker(CONFIG), T0, T0), T0), T0, T0).state is State.CLOSED


def test_every_other_call_failing_opens_it_once_there_were_enough() -> None:
    breaker = Breaker(CONFIG)
    for n in range(4):
        breaker = failed(succeeded(breaker, after(n)), after(n))
    assert breaker.state is State.CLOSED
    breaker = failed(succeeded(breaker, after(5)), after(5))
    assert breaker.state is State.OPEN


def test_what_is_longer_ago_than_the_window_does_not_count() -> None:
    breaker = Breaker(CONFIG)
    for n in range(20):
        breaker = failed(succeeded(breaker, after(20 * n)), after(20 * n))
        assert breaker.state is State.CLOSED
        assert breaker.recently[0] <= 8


def test_open_it_gives_no_leave_until_its_time_has_come_and_then_to_so_many_at_once() -> None:
    assert refused(OPENED, after(19.9))
    assert OPENED.due(after(5)) == after(20)
    probing, _ = given(OPENED, after(20))
    assert probing.state is State.HALF_OPEN
    probing, _ = given(probing, after(20))
    assert refused(probing, after(20))
    assert probing.due(after(20)) == after(21)
    assert probing.due(after(24)) == after(28)


def test_who_is_urgent_may_probe_sooner_but_not_against_somebodys_word() -> None:
    soon = timedelta(seconds=5)
    assert refused(OPENED, after(4.9), soon)
    assert OPENED.due(after(1), soon) == after(5)
    assert not refused(OPENED, after(5), soon)
    assert refused(OPENED.forced_open(after(1)), after(1000), soon)


def test_enough_probes_that_succeed_close_it_and_one_that_fails_opens_it_again() -> None:
    once = succeeded(OPENED, after(20))
    assert once.state is State.HALF_OPEN
    assert succeeded(once, after(21)).state is State.CLOSED
    again = failed(once, after(21))
    assert (again.state, again.until) == (State.OPEN, after(41))


def test_a_probe_that_was_called_off_gives_its_slot_back() -> None:
    one, first = given(OPENED, after(20))
    both, second = given(one, after(20))
    assert not refused(both.cancelled(second), after(20))
    assert refused(both.cancelled(second).cancelled(second).asked(after(20))[0], after(20))
    assert both.cancelled(first).cancelled(second).state is State.HALF_OPEN


def test_a_probe_of_which_nobody_hears_frees_its_slot_in_the_end_and_counts_if_it_ends_after_all() -> None:
    one, first = given(OPENED, after(20))
    both, _ = given(one, after(20))
    assert refused(both, after(49.9))
    third, _ = given(both, after(50))
    assert third.succeeded(first, after(51)).streak == 1


def test_a_call_from_before_says_nothing_about_now() -> None:
    early, ticket = given(Breaker(CONFIG), T0)
    opened = failed(early, T0, T0, T0)
    assert opened.failed(ticket, after(1)) is opened
    probing, _ = given(opened, after(20))
    assert probing.succeeded(ticket, after(21)) is probing
    assert probing.failed(ticket, after(21)) is probing


def test_opened_by_hand_it_stays_so_until_it_is_closed_by_hand() -> None:
    forced = Breaker(CONFIG).forced_open(T0)
    assert refused(forced, after(1e6))
    assert forced.forced_open(after(5)) is forced
    assert forced.closed(after(5)).state is State.CLOSED
    assert not forced.reset(after(5)).forced


@pytest.mark.parametrize(("recovery", "waits"), [
    (Recovery(type="fixed", initial_secs=20), [20, 20, 20, 20]),
    (Recovery(type="linear", initial_secs=120, increment_secs=60, max_secs=300), [120, 180, 240, 300, 300]),
    (Recovery(type="exponential", initial_secs=60, multiplier=2, max_secs=300), [60, 120, 240, 300, 300]),
    (Recovery(type="adaptive", initial_secs=30, max_secs=300), [30, 60, 120, 240, 300, 300]),
])  # fmt: skip
def test_each_recovery_waits_as_it_says(recovery: Recovery, waits: list[float]) -> None:
    assert [recovery.secs(n) for n in range(1, len(waits) + 1)] == waits
    assert recovery.secs(10_000) == waits[-1]


def test_only_an_adaptive_one_remembers_how_long_it_took_the_last_time() -> None:
    def waits(kind: str) -> list[timedelta | None]:
        recovery = Recovery.model_validate({"type": kind, "initial_secs": 10})
        breaker, at = Breaker(CONFIG.model_copy(update={"recovery": recovery})), T0
        found: list[timedelta | None] = []
        for probe in (failed, failed, failed, succeeded):
            breaker = probe(breaker, at, at, at) if breaker.state is State.CLOSED else probe(breaker, at)
            found.append(breaker.until - at if breaker.until else None)
            at = breaker.until or at
        breaker = failed(succeeded(breaker, at), at, at, at)
        return [*found[:3], breaker.until - at if breaker.until else None]

    secs = [timedelta(seconds=n) for n in (10, 20, 40)]
    assert waits("adaptive") == [*secs, timedelta(seconds=20)]
    assert waits("exponential") == [*secs, timedelta(seconds=10)]


def test_what_another_process_has_made_of_it_goes_before() -> None:
    said = Standing(name="slack", state=State.OPEN, since=T0, until=after(20), openings=1)
    there = adopted(failed(Breaker(CONFIG), T0, T0), said)
    assert (there.state, there.until, there.streak) == (State.OPEN, after(20), 0)
    probing, ticket = given(there, after(20))
    known = adopted(probing, said.model_copy(update={"state": State.HALF_OPEN, "since": after(19)}))
    assert known.probes == probing.probes
    assert known.succeeded(ticket, after(21)).streak == 1


class Life(RuleBasedStateMachine):
    """Calls that begin, end, are called off or never heard of, while time goes by and people lay hands on it."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(CONFIG)
        self.now = T0
        self.tickets: list[Ticket] = []
        self.by_hand = False

    @rule(secs=st.sampled_from([0.0, 0.5, 5.0, 20.0, 30.0, 100.0]))
    def time_goes_by(self, secs: float) -> None:
        self.now += timedelta(seconds=secs)

    @rule()
    def is_asked(self) -> None:
        before = self.breaker
        self.breaker, ticket = before.asked(self.now)
        if before.state is State.OPEN and (before.forced or (before.until and self.now < before.until)):
            assert ticket is None
            assert self.breaker is before
        if ticket is not None:
            self.tickets.append(ticket)
        if before.state is State.CLOSED:
            assert ticket is not None

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), end=st.sampled_from(["succeeded", "failed", "cancelled", "twice"]))
    def ends(self, data: st.DataObject, end: str) -> None:
        ticket = self.tickets.pop(data.draw(st.integers(0, len(self.tickets) - 1)))
        if end in ("cancelled", "twice"):
            self.breaker = self.breaker.cancelled(ticket)
        if end != "cancelled":
            self.breaker = (self.breaker.failed if end == "failed" else self.breaker.succeeded)(ticket, self.now)

    @rule()
    def is_opened_by_hand(self) -> None:
        self.breaker, self.by_hand = self.breaker.forced_open(self.now), True

    @rule(how=st.sampled_from(["closed", "reset"]))
    def is_closed_by_hand(self, how: str) -> None:
        self.breaker, self.by_hand = getattr(self.breaker, how)(self.now), False

    @invariant()
    def never_more_probes_than_allowed(self) -> None:
        young = [at for _, at in self.breaker.probes if self.now < at + timedelta(seconds=30)]
        assert len(young) <= CONFIG.half_open_max
        assert self.breaker.state is State.HALF_OPEN or not self.breaker.probes

    @invariant()
    def a_hand_goes_before(self) -> None:
        assert self.breaker.forced == self.by_hand
        assert not self.by_hand or self.breaker.state is State.OPEN

    @invariant()
    def open_it_knows_when_it_ends(self) -> None:
        assert (self.breaker.until is not None) == (self.breaker.state is State.OPEN and not self.by_hand)


Life.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestLife = Life.TestCase

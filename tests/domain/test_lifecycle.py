"""Whatever is asked of an incident, in whatever order: what never happens, and what always does."""

from datetime import datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.domain import lifecycle, paging, triage
from app.domain.errors import Conflict, Invalid, InvalidTransition, Refused
from app.domain.escalation import Level, Policy, Repeat
from app.domain.incident import (
    TRANSITIONS,
    Command,
    CommandKind,
    Heard,
    Hold,
    HoldReason,
    Incident,
    Page,
    Standing,
)
from app.domain.notification import Outgoing
from app.domain.reach import Unreached
from app.domain.timeline import SYSTEM, Entry, EventType
from app.domain.vocabulary import ChannelName, Severity, Status
from tests.domain.incidents import ALICE, START, command, level, message, opened

BECOMES = {
    CommandKind.ACKNOWLEDGE: Status.ACKNOWLEDGED,
    CommandKind.UNACKNOWLEDGE: Status.NEW,
    CommandKind.START: Status.IN_PROGRESS,
    CommandKind.RESOLVE: Status.RESOLVED,
    CommandKind.CLOSE: Status.CLOSED,
    CommandKind.REOPEN: Status.NEW,
    CommandKind.ESCALATE: Status.ESCALATED,
}
TELLS = {
    EventType.ACKNOWLEDGED: Status.ACKNOWLEDGED,
    EventType.UNACKNOWLEDGED: Status.NEW,
    EventType.STATE_CHANGED: Status.IN_PROGRESS,
    EventType.RESOLVED: Status.RESOLVED,
    EventType.CLOSED: Status.CLOSED,
    EventType.REOPENED: Status.NEW,
    EventType.ESCALATED: Status.ESCALATED,
}
TAKES = {EventType.ACKNOWLEDGED, EventType.STATE_CHANGED, EventType.RESOLVED, EventType.CLOSED}
GIVES_BACK = {EventType.UNACKNOWLEDGED, EventType.REOPENED}
SAYS_SOMETHING_NEW = (CommandKind.COMMENT, CommandKind.EDIT)

severities = st.sampled_from(Severity)
durations = st.sampled_from([0, 0.000001, 1, 59.999999, 60, 300, 600, 3600, 86400]).map(lambda s: timedelta(seconds=s))
levels: st.SearchStrategy[Level] = st.builds(level, st.sampled_from([0, 60, 300]), stop_on_ack=st.booleans())
policies = st.builds(
    Policy,
    id=st.sampled_from(["day", "night", "weekend"]),
    name=st.just("a policy"),
    levels=st.lists(levels, min_size=1, max_size=3).map(tuple),
    repeat=st.builds(Repeat, max_repeats=st.integers(0, 2), interval_secs=st.sampled_from([0, 120])),
    acknowledge_timeout_secs=st.sampled_from([0, 600]),
    failover_after_secs=st.sampled_from([0, 30]),
).map(lambda policy: policy.model_copy(update={"acknowledge_reminder_secs": policy.acknowledge_timeout_secs // 2}))


def beyond_memory(incident: Incident) -> Incident:
    """The incident without the ids of the commands it remembers."""
    return incident.with_(commands=())


class Life(RuleBasedStateMachine):
    """`taken` and `climbed` are what the timeline and the pages alone say; the incident must agree."""

    @initialize(policy=st.none() | policies, severity=severities)
    def opens(self, policy: Policy | None, severity: Severity) -> None:
        self.now = START
        self.heard = Heard(severity=severity, last_firing_at=START, source="grafana")
        self.asked = 0
        self.taken = False
        self.climbed: dict[int, int] = {}
        self.pages: list[Page] = []
        self.handed_out: set[str] = set()
        self.flying: list[Outgoing] = []
        self.silent_until: datetime | None = None
        self.incident = opened(policy, severity)

    @rule(passes=durations)
    def time_passes(self, passes: timedelta) -> None:
        self.now += passes

    @rule(
        kind=st.sampled_from(list(BECOMES)), at_level=st.none() | st.integers(0, 3),
        to_level=st.none() | st.integers(1, 3),
    )  # fmt: skip
    def moves(self, kind: CommandKind, at_level: int | None, to_level: int | None) -> None:
        self.asks(kind, at_level=at_level, to_level=to_level)

    @rule(kind=st.sampled_from([CommandKind.PAUSE, CommandKind.SNOOZE, CommandKind.RESUME]), snoozed_for=durations)
    def sleeps(self, kind: CommandKind, snoozed_for: timedelta) -> None:
        self.asks(kind, until=self.now + snoozed_for)

    @rule(
        kind=st.sampled_from([CommandKind.ASSIGN, CommandKind.SEVERITY, *SAYS_SOMETHING_NEW]),
        severity=severities,
        assignee=st.sampled_from(["alice", "bob", None]),
    )
    def says(self, kind: CommandKind, severity: Severity, assignee: str | None) -> None:
        self.asks(kind, severity=severity, assignee=assignee, fields=("title", "assignee"))

    def asks(self, kind: CommandKind, **more: object) -> None:
        self.asked += 1
        ask = command(kind, f"c{self.asked}", **more)
        try:
            after, entries = lifecycle.apply(self.incident, ask, self.now)
        except Refused as refusal:
            self.refused(ask, refusal)
            return
        assert lifecycle.apply(after, ask, self.now) == (after, ())
        if kind in BECOMES and (ask.at_level, ask.to_level) == (None, None):
            assert after.status is BECOMES[kind]
            assert not (after.paused and kind is CommandKind.ESCALATE)
        if kind not in SAYS_SOMETHING_NEW:
            again, told = lifecycle.apply(after, ask.model_copy(update={"id": "again"}), self.now)
            assert (beyond_memory(again), told) == (beyond_memory(after), ())
        assert entries or beyond_memory(after) == beyond_memory(self.incident)
        assert all(entry.command == ask.id and entry.actor == ALICE for entry in entries)
        self.becomes(after, entries)

    def refused(self, ask: Command, refusal: Refused) -> None:
        if isinstance(refusal, InvalidTransition):
            wanted = BECOMES.get(ask.kind, "paused")
            assert self.incident.status in refusal.message
            assert wanted in refusal.message
            assert ask.kind in BECOMES or not self.incident.status.open
        elif isinstance(refusal, Conflict):
            policy = self.incident.policy
            assert ask.kind is CommandKind.ESCALATE
            assert policy is None or self.incident.rung == policy.rungs
        elif ask.kind is CommandKind.ESCALATE:
            assert isinstance(refusal, Invalid)
            assert self.incident.policy is not None
            assert (ask.to_level or 0) > len(self.incident.policy.levels)
        else:
            assert isinstance(refusal, Invalid)
            assert (ask.kind, ask.until) == (CommandKind.SNOOZE, self.now)

    @rule(severity=severities)
    def fires(self, severity: Severity) -> None:
        worst = min(severity, self.heard.severity)
        self.heard = self.heard.model_copy(
            update={"severity": worst, "last_firing_at": self.now, "source_resolved_at": None}
        )

    @rule()
    def source_resolves(self) -> None:
        self.heard = self.heard.model_copy(update={"source_resolved_at": self.now})

    @rule()
    def source_acknowledges(self) -> None:
        self.heard = self.heard.model_copy(update={"source_acknowledged_at": self.now})

    @rule()
    def listens(self) -> None:
        after, entries = lifecycle.hear(self.incident, self.heard, self.now)
        assert lifecycle.hear(after, self.heard, self.now) == (after, ())
        self.becomes(after, entries)

    @rule(lasts=st.none() | durations)
    def is_silenced(self, lasts: timedelta | None) -> None:
        """For a while, or (None) no longer."""
        self.silent_until = self.now + lasts if lasts is not None else None
        self.looks()

    def looks(self) -> None:
        until = self.silent_until if self.silent_until is not None and self.silent_until > self.now else None
        holds = (Hold(reason=HoldReason.SILENCE, by="night", until=until),) if until else ()
        standing = Standing(holds=holds, look_again_at=until)
        after, entries = triage.stands(self.incident, standing, self.now)
        assert triage.stands(after, standing, self.now) == (after, ())
        self.becomes(after, entries)

    @rule(luck=st.lists(st.sampled_from(["told", "told later", "nobody"]), min_size=1, max_size=30))
    def works(self, luck: list[str]) -> None:
        """Does what the time asks for, until there is nothing left to do."""
        for number in range(300):
            if self.incident.looks_again(self.now):
                self.looks()
            ticked = lifecycle.tick(self.incident, self.now)
            self.becomes(*ticked)
            paged = self.climbs(luck[number % len(luck)])
            late = paging.unconfirmed(self.incident, self.now)
            self.becomes(*late)
            if not self.hands_out() and not paged and not ticked[1] and not late[1]:
                break
        else:
            pytest.fail("time alone keeps the incident busy for ever")
        assert self.incident.wakes_at is None or self.incident.wakes_at > self.now

    def climbs(self, luck: str) -> bool:
        before = self.incident
        after, page, entries = paging.climb(before, self.now)
        if page is None:
            assert (after, entries) == (before, ())
            return False
        assert before.status.waits_for_somebody or not page.level.stop_on_ack, f"paged while {before.status}"
        assert before.status.open
        assert not before.paused, "paged while paused"
        assert not before.held, "paged while silenced"
        assert not self.taken or not page.level.stop_on_ack, "paged although somebody had taken it"
        assert page.rung >= self.climbed.get(page.cycle, 0), "a rung gone twice"
        assert before.policy is not None
        assert page.rung < before.policy.rungs, "paged beyond the end of the ladder"
        assert after.level == page.number == page.rung % len(before.policy.levels) + 1
        self.climbed[page.cycle] = page.rung + 1
        self.pages.append(page)
        self.becomes(after, entries)
        soon = self.now + timedelta(seconds=90)
        messages = [] if luck == "nobody" else [message(page, due_at=soon if luck == "told later" else None)]
        if luck == "told":
            messages.append(message(page, due_at=soon, channel=ChannelName.WEBHOOK, key=f"{page.cycle}/{page.rung}/2"))
        nobody = [] if messages else [Unreached(target="user:alice", reason="is asleep")]
        self.becomes(*paging.paged(after, page, messages, nobody, self.now))
        return True

    def hands_out(self) -> bool:
        after, going = paging.due(self.incident, self.now)
        for outgoing in going:
            assert after.wants(outgoing), "a page after an acknowledge"
            assert not after.paused, "a page while paused"
            assert not after.held, "a page while silenced"
            assert outgoing.key not in self.handed_out, "the same message twice"
            self.handed_out.add(outgoing.key)
        self.flying += going
        self.becomes(after, ())
        return bool(going)

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), arrives=st.booleans())
    def hears_of_a_message(self, data: st.DataObject, arrives: bool) -> None:
        outgoing = data.draw(st.sampled_from(self.flying))
        self.flying.remove(outgoing)
        if arrives:
            self.becomes(*paging.sent(self.incident, outgoing, self.now))
            assert any(told.target == outgoing.target for told in self.incident.told)
        else:
            self.becomes(*paging.failed(self.incident, outgoing, "no such mailbox", self.now))
        assert outgoing.key not in {o.key for o in self.incident.flying}
        assert outgoing.key not in {a.outgoing.key for a in self.incident.awaited}

    @precondition(lambda self: self.pages)
    @rule(data=st.data())
    def a_level_is_passed_over(self, data: st.DataObject) -> None:
        page = data.draw(st.sampled_from(self.pages))
        after = paging.at_once(self.incident, page.cycle, page.rung, self.now)
        if page != self.pages[-1]:
            assert after == self.incident, "a page of the past hurries the present"
        self.becomes(after, ())

    @rule(policy=st.none() | policies)
    def is_routed(self, policy: Policy | None) -> None:
        before = self.incident
        self.becomes(*paging.rerouted(before, policy, self.now))
        if self.incident.policy != before.policy and self.incident.status.open:
            assert (self.incident.rung, self.incident.level) == (0, 0), "another policy starts its own climb"

    def becomes(self, after: Incident, entries: tuple[Entry, ...]) -> None:
        before, self.incident = self.incident, after
        assert [entry.seq for entry in entries] == list(range(before.seq + 1, after.seq + 1))
        status = before.status
        for entry in entries:
            assert entry.at == self.now
            following = TELLS.get(entry.type, status)
            assert following is status or following in TRANSITIONS[status], f"{status} became {following}"
            status = following
            self.taken = (self.taken or entry.type in TAKES) and not self.gives_back(entry)
        assert status is after.status, "the status changed without a word on the timeline"

    def gives_back(self, entry: Entry) -> bool:
        return entry.type in GIVES_BACK or (entry.type is EventType.ESCALATED and entry.actor != SYSTEM)

    @invariant()
    def a_due_moment_has_a_deed(self) -> None:
        wakes_at = self.incident.wakes_at
        if wakes_at is not None and wakes_at <= self.now:
            _, page, _ = paging.climb(self.incident, self.now)
            late = paging.unconfirmed(self.incident, self.now)[0]
            deeds = (
                page,
                self.incident.looks_again(self.now),
                lifecycle.tick(self.incident, self.now)[1],
                late != self.incident,
            )
            assert any(deeds) or paging.due(self.incident, self.now)[0] != self.incident, "it wakes up for nothing"

    @invariant()
    def nobody_is_forgotten(self) -> None:
        incident, policy = self.incident, self.incident.policy
        left = policy is not None and incident.rung < policy.rungs
        waits = incident.status.waits_for_somebody and left
        due = incident.due_at is not None or incident.paused_left is not None
        assert due == waits or (due and incident.status.taken)
        assert not (due and incident.status.taken) or (policy and not policy.level(incident.rung).stop_on_ack)
        assert incident.due_at is None or not incident.paused
        assert incident.paused_left is None or (incident.paused and incident.paused_left >= timedelta(0))
        assert (incident.paused_at is not None) == incident.paused

    @invariant()
    def a_silence_with_an_end_is_looked_at_then(self) -> None:
        incident = self.incident
        if incident.holds and incident.status.open:
            assert incident.wakes_at is not None
            assert incident.wakes_at <= max(hold.until or self.now for hold in incident.holds) + triage.SOONEST

    @invariant()
    def an_acknowledge_lapses_only_where_the_policy_says_so(self) -> None:
        incident = self.incident
        counts = incident.status is Status.ACKNOWLEDGED and not incident.paused
        lapses = counts and incident.policy is not None and incident.policy.acknowledge_timeout_secs > 0
        assert (incident.acknowledge_expires_at is not None) == lapses
        assert incident.acknowledge_reminder_at is None or lapses

    @invariant()
    def what_has_ended_is_quiet(self) -> None:
        if not self.incident.status.open:
            assert self.incident.wakes_at is None
            assert not self.incident.paused
            assert (self.incident.plan, self.incident.flying, self.incident.awaited) == ((), (), ())


Life.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase

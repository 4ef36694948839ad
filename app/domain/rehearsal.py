"""Routing rules tried on incidents that have been: what would have been different, and how many pages."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta

from app.domain.escalation import Level, Policy, Target
from app.domain.matching import Subject
from app.domain.reach import People, Reach, candidates, pick, reach
from app.domain.record import Record
from app.domain.routing import Decision, policy_of
from app.domain.vocabulary import ChannelName, Severity

METHOD = (
    "Before: what happened; pages are the messages that were sent. After: an incident whose policy stays keeps its"
    " pages. One that is suppressed until after it was over has none. Where the policy changes, or an incident is no"
    " longer suppressed, the levels it had reached are counted with today's policies, directory and duty, one page for"
    " every channel a person is told through at first. Whoever is told by a rule only before, or only after, is taken"
    " off or counted the same way. What silences, groups and people would have changed is not looked at."
)


class Went(Record):
    """An incident as it came (`subject`), and what happened to it: `paged` are the targets of its pages."""

    id: str
    subject: Subject
    ended_at: datetime | None
    severity: Severity
    policy_id: str | None
    level: int
    rules: tuple[str, ...]
    notify: tuple[str, ...]
    suppressed: bool
    paged: tuple[str, ...]


class Outcome(Record):
    severity: Severity
    policy_id: str | None
    suppressed: bool
    rules: tuple[str, ...]
    pages: int


class Difference(Record):
    """One incident, as it went and as it would have gone."""

    incident_id: str
    title: str
    before: Outcome
    after: Outcome


class Totals(Record):
    """Over all incidents. `raised` and `lowered` are by the severity after; `unrouted`: no rule matches any more."""

    incidents: int = 0
    changed: int = 0
    pages_before: int = 0
    pages_after: int = 0
    raised: dict[Severity, int] = {}
    lowered: dict[Severity, int] = {}
    other_policy: int = 0
    suppressed: int = 0
    unsuppressed: int = 0
    routed: int = 0
    unrouted: int = 0
    unpaged: int = 0


class Rehearsal:
    """Judges incidents one by one. `policies`, `people` and `channels` are today's, `now` is the moment of asking."""

    def __init__(
        self,
        policies: tuple[Policy, ...],
        default: str,
        people: People,
        channels: Collection[ChannelName],
        now: datetime,
    ) -> None:
        self.policies = policies
        self.default = default
        self.people = people
        self.channels = channels
        self.now = now
        self.sizes: dict[tuple[str, int, Severity], int] = {}

    def compare(self, went: Went, decision: Decision) -> Difference:
        before = Outcome(
            severity=went.severity, policy_id=went.policy_id, suppressed=went.suppressed, rules=went.rules,
            pages=len(went.paged),
        )  # fmt: skip
        policy = policy_of(decision, self.policies, self.default)
        after = Outcome(
            severity=decision.subject.severity, policy_id=policy.id if policy else None,
            suppressed=bool(decision.suppress), rules=decision.rules, pages=self._pages(went, decision, policy),
        )  # fmt: skip
        return Difference(incident_id=went.id, title=went.subject.title, before=before, after=after)

    def _pages(self, went: Went, decision: Decision, policy: Policy | None) -> int:
        until = max((minutes for _, minutes in decision.suppress), default=0)
        over = (went.ended_at or self.now) <= went.subject.at + timedelta(minutes=until)
        if policy is None or (until and over):
            return 0
        severity = decision.subject.severity
        told = {target.label: target for target in decision.targets}
        extra = [target for label, target in told.items() if label not in went.notify]
        if policy.id == went.policy_id and (until or not went.suppressed):
            gone = set(went.notify) - told.keys()
            return sum(target not in gone for target in went.paged) + self._told(extra, decision.channels, severity)
        levels = range(min(max(went.level, 1), len(policy.levels)))
        pages = sum(self._size(policy, rung, severity) for rung in levels)
        return pages + self._told(list(told.values()), decision.channels, severity)

    def _size(self, policy: Policy, rung: int, severity: Severity) -> int:
        """How many pages a level is."""
        key = (policy.id, rung, severity)
        if key not in self.sizes:
            found = reached(policy.levels[rung], severity, self.people, self.channels, self.now)
            self.sizes[key] = at_first(found)
        return self.sizes[key]

    def _told(self, targets: list[Target], channels: tuple[ChannelName, ...], severity: Severity) -> int:
        if not targets:
            return 0
        level = Level(targets=tuple(targets), channels=channels or tuple(ChannelName))
        return at_first(reached(level, severity, self.people, self.channels, self.now))


def reached(
    level: Level, severity: Severity, people: People, channels: Collection[ChannelName], at: datetime,
    standing: Mapping[str, tuple[str | None, Mapping[str, int]]] | None = None,
) -> Reach:  # fmt: skip
    """Whom a level would reach. `standing` says of teams that take turns who was last, and who has how many."""
    allowed = [channel for channel in level.channels if channel in channels]
    turns: dict[str, str] = {}
    for id_, mode in level.in_turns.items():
        if (team := people.teams.get(id_)) is not None:
            last, load = (standing or {}).get(id_, (None, {}))
            turn = pick(mode, team.members, candidates(team, severity, people, allowed, at), last, load)
            turns |= {id_: turn} if turn is not None else {}
    return reach(level, severity, people.model_copy(update={"turns": turns}), channels, at)


def at_first(found: Reach) -> int:
    """The messages everybody is told by first: what their own rules put off may never be needed."""
    due: defaultdict[str, Counter[datetime]] = defaultdict(Counter)
    for message in found.messages:
        due[message.target][message.due_at] += 1
    return sum(moments[min(moments)] for moments in due.values())


def changed(difference: Difference) -> bool:
    """Whether anything but the names of the rules is different."""
    before, after = difference.before, difference.after
    return before.model_copy(update={"rules": after.rules}) != after or bool(before.rules) != bool(after.rules)


def added(totals: Totals, difference: Difference) -> Totals:
    """The totals with one more incident."""
    before, after = difference.before, difference.after
    raised, lowered = dict(totals.raised), dict(totals.lowered)
    if after.severity is not before.severity:
        moved = raised if after.severity.worse_than(before.severity) else lowered
        moved[after.severity] = moved.get(after.severity, 0) + 1
    return Totals(
        incidents=totals.incidents + 1, changed=totals.changed + changed(difference),
        pages_before=totals.pages_before + before.pages, pages_after=totals.pages_after + after.pages,
        raised=raised, lowered=lowered, other_policy=totals.other_policy + (before.policy_id != after.policy_id),
        suppressed=totals.suppressed + (after.suppressed and not before.suppressed),
        unsuppressed=totals.unsuppressed + (before.suppressed and not after.suppressed),
        routed=totals.routed + (bool(after.rules) and not before.rules),
        unrouted=totals.unrouted + (bool(before.rules) and not after.rules),
        unpaged=totals.unpaged + (after.policy_id is None),
    )  # fmt: skip


def summary(totals: Totals) -> str:
    """The totals in a sentence, like `12 fewer pages, 3 incidents raised to P1, 2 unrouted`."""
    return ", ".join(_said(totals)) or "nothing would change"


def _said(totals: Totals) -> Iterator[str]:
    less = totals.pages_before - totals.pages_after
    if less:
        yield f"{_many(abs(less), 'fewer' if less > 0 else 'more', 'page')}"
    for verb, moved in (("raised", totals.raised), ("lowered", totals.lowered)):
        for severity, number in sorted(moved.items()):
            yield f"{_many(number, '', 'incident')} {verb} to {severity}"
    for number, words in (
        (totals.other_policy, "with another policy"), (totals.suppressed, "suppressed"),
        (totals.unsuppressed, "no longer suppressed"), (totals.routed, "newly routed"),
        (totals.unrouted, "unrouted"), (totals.unpaged, "without any policy"),
    ):  # fmt: skip
        if number:
            yield f"{number} {words}"


def _many(number: int, which: str, noun: str) -> str:
    return " ".join(filter(None, (str(number), which, noun if number == 1 else f"{noun}s")))

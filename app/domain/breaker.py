"""Circuit breakers: whether somebody who does not answer is asked at all, decided from how they have answered.

Source of the pattern: M. Nygard, Release It!, §5.2. Nothing here waits or looks at a clock: `now` is aware and given.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, NamedTuple

from app.domain.record import Record

SPANS = 10
"""Parts of the window in which calls are counted: as each one passes, so much is forgotten."""
MOMENT = timedelta(seconds=1)
"""When to ask again, at the soonest, while all probes are under way (chosen)."""
FORCED_AGAIN = timedelta(seconds=30)
"""When to ask again while somebody keeps it open by hand: their word has no end of its own (chosen)."""


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Recovery(Record):
    """How long an open breaker stays so, the more often it has opened in a row.

    fixed: always `initial_secs`. linear: `increment_secs` longer each time. exponential: `multiplier` times longer.
    adaptive: twice as long after each probe that fails, and remembered: half of it when it opens the next time.
    All but fixed end at `max_secs`.
    """

    type: Literal["fixed", "linear", "exponential", "adaptive"] = "fixed"
    initial_secs: float = 60
    max_secs: float = 300
    increment_secs: float = 60
    multiplier: float = 2

    def secs(self, openings: int) -> float:
        """Seconds, at the `openings`th time in a row, from 1."""
        again = min(openings - 1, 64)
        match self.type:
            case "fixed":
                return self.initial_secs
            case "linear":
                longer = self.initial_secs + self.increment_secs * again
            case "exponential":
                longer = self.initial_secs * self.multiplier**again
            case "adaptive":
                longer = self.initial_secs * 2.0**again
        return max(min(longer, self.max_secs), self.initial_secs)

    def remembered(self, openings: int) -> int:
        """How many openings are still counted once it has closed."""
        return max(openings - 2, 0) if self.type == "adaptive" else 0


class Config(Record):
    """It opens at `failure_threshold` failures in a row, or at `error_percentage` of at least `volume_threshold` calls

    within `window_secs`. Half-open, `half_open_max` probes are under way at most, each for `half_open_timeout_secs`;
    `success_threshold` of them close it, one that fails opens it again.
    """

    failure_threshold: int = 5
    success_threshold: int = 2
    volume_threshold: int = 10
    error_percentage: float = 50
    window_secs: float = 60
    half_open_timeout_secs: float = 30
    half_open_max: int = 3
    recovery: Recovery = Recovery()


class Ticket(NamedTuple):
    """Leave to ask, given in the `epoch`th time of one state; of a probe its number, else 0."""

    epoch: int
    probe: int = 0


class Span(NamedTuple):
    """Calls of one part of the window."""

    number: int
    calls: int
    failures: int


@dataclass(frozen=True, slots=True)
class Breaker:
    """Frozen: every event gives a new one. `since`: when it came to its state. `until`: when it may be probed.

    `forced`: somebody opened it by hand, and only a hand closes it. `streak` counts failures in a row while closed,
    probes that succeeded while half-open.
    """

    config: Config = field(default_factory=Config)
    state: State = State.CLOSED
    since: datetime | None = None
    until: datetime | None = None
    forced: bool = False
    openings: int = 0
    epoch: int = 0
    streak: int = 0
    window: tuple[Span, ...] = ()
    probes: tuple[tuple[int, datetime], ...] = ()
    probed: int = 0

    def asked(self, now: datetime, at_latest: timedelta | None = None) -> tuple["Breaker", Ticket | None]:
        """With leave to ask, or without. `at_latest` after it opened this caller may probe, whatever its recovery."""
        if self.state is State.CLOSED:
            return self, Ticket(self.epoch)
        if self.state is State.OPEN:
            if self.forced or now < self.due(now, at_latest):
                return self, None
            return self._turned(State.HALF_OPEN, now).asked(now)
        patience = timedelta(seconds=self.config.half_open_timeout_secs)
        probes = tuple(probe for probe in self.probes if now < probe[1] + patience)
        if len(probes) >= self.config.half_open_max:
            return self, None
        number = self.probed + 1
        return replace(self, probes=(*probes, (number, now)), probed=number), Ticket(self.epoch, number)

    def due(self, now: datetime, at_latest: timedelta | None = None) -> datetime:
        """When whoever was given no leave should ask again.

        While probes are under way, when they have taken twice as long: many who wait don't ask all the time.
        """
        if self.state is not State.OPEN:
            oldest = min((at for _, at in self.probes), default=now)
            return now + max(MOMENT, now - oldest)
        if self.forced or self.until is None:
            return now + FORCED_AGAIN
        if at_latest is not None and self.since is not None:
            return min(self.until, self.since + at_latest)
        return self.until

    def succeeded(self, ticket: Ticket, now: datetime) -> "Breaker":
        if ticket.epoch != self.epoch:
            return self
        if self.state is State.CLOSED:
            return replace(self, streak=0, window=self._counted(now, failures=0))
        back = self.cancelled(ticket)
        if back.streak + 1 >= self.config.success_threshold:
            return back.closed(now)
        return replace(back, streak=back.streak + 1)

    def failed(self, ticket: Ticket, now: datetime) -> "Breaker":
        if ticket.epoch != self.epoch:
            return self
        if self.state is not State.CLOSED:
            return self.opened(now)
        failed = replace(self, streak=self.streak + 1, window=self._counted(now, failures=1))
        return failed.opened(now) if failed.tripped else failed

    def cancelled(self, ticket: Ticket) -> "Breaker":
        """Nothing was learned: a probe's slot is free again."""
        if ticket.epoch != self.epoch or not ticket.probe:
            return self
        return replace(self, probes=tuple(probe for probe in self.probes if probe[0] != ticket.probe))

    @property
    def tripped(self) -> bool:
        calls, failures = self.recently
        enough = calls >= self.config.volume_threshold
        return self.streak >= self.config.failure_threshold or (
            enough and 100 * failures >= self.config.error_percentage * calls
        )

    @property
    def recently(self) -> tuple[int, int]:
        """Calls and failures within the window, as of the last call."""
        return sum(span.calls for span in self.window), sum(span.failures for span in self.window)

    def opened(self, now: datetime) -> "Breaker":
        openings = self.openings + 1
        until = now + timedelta(seconds=self.config.recovery.secs(openings))
        return replace(self._turned(State.OPEN, now), openings=openings, until=until)

    def forced_open(self, now: datetime) -> "Breaker":
        return self if self.forced else replace(self._turned(State.OPEN, now), forced=True)

    def closed(self, now: datetime) -> "Breaker":
        """By its probes or by hand; counting begins anew."""
        if self.state is State.CLOSED:
            return self
        kept = self.config.recovery.remembered(self.openings)
        return replace(self._turned(State.CLOSED, now), openings=kept)

    def reset(self, now: datetime) -> "Breaker":
        """As if it were new."""
        return replace(self._turned(State.CLOSED, now), openings=0)

    def _turned(self, state: State, now: datetime) -> "Breaker":
        return Breaker(self.config, state, now, openings=self.openings, epoch=self.epoch + 1)

    def _counted(self, now: datetime, failures: int) -> tuple[Span, ...]:
        number = int(now.timestamp() * SPANS / self.config.window_secs)
        if self.window and self.window[-1].number == number:
            *before, last = self.window
            return (*before, Span(number, last.calls + 1, last.failures + failures))
        recent = (span for span in self.window if number - SPANS < span.number <= number)
        return (*recent, Span(number, 1, failures))


class Standing(Record):
    """What all processes know of one breaker. Each transition has a version of its own, and one process makes it.

    `by` is who opened, closed or reset it by hand, and `reason` what they said; None: it did so by itself.
    """

    name: str
    state: State = State.CLOSED
    since: datetime | None = None
    until: datetime | None = None
    forced: bool = False
    openings: int = 0
    by: str | None = None
    reason: str | None = None
    version: int = 0


def adopted(own: Breaker, said: Standing) -> Breaker:
    """The breaker as another process has left it. In the same state, what was counted here goes on counting."""
    known = replace(own, since=said.since, until=said.until, forced=said.forced, openings=said.openings)
    if own.state is said.state:
        return known
    return replace(known, state=said.state, epoch=own.epoch + 1, streak=0, window=(), probes=(), probed=0)

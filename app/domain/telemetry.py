"""Telemetry as series: what is counted of what, minute by minute."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from math import fsum
from typing import NamedTuple

from app.domain.inbound import Sample, Signal
from app.domain.record import Record

OLDEST = timedelta(hours=48)
"""What happened longer ago says nothing any more."""
MOST = 10**9
"""Of one sample: nobody's post can make the sums of a minute overflow."""
SESSION = "session_id"
SINGLE = frozenset({SESSION, "end_user"})
"""What there are many of: whoever counts these counts all of them together as well."""


class Detector(StrEnum):
    """What is looked for in a series; each series has one."""

    ERRORS = "errors"
    RATE_LIMITS = "rate_limits"
    GUARDRAILS = "guardrails"
    GUARDRAIL_FAILURES = "guardrail_failures"
    EVALUATIONS = "evaluations"
    BLOCKS = "blocks"
    SESSION_SPEND = "session_spend"
    KEY_SPEND = "key_spend"
    NO_DATA = "no_data"


ALWAYS_BAD = frozenset({Signal.RATE_LIMITS, Signal.BLOCKS})
"""Of these, tools tell the bad ones only: that there are none is no reason to worry."""


class Series(Record):
    """What samples add up to; `labels` only come along.

    A series of `no_data` counts, by the time they came, the samples of a whole service.
    """

    detector: Detector
    signal: Signal
    source: str
    subject: dict[str, str] = {}
    service: str | None = None
    environment: str | None = None
    labels: dict[str, str] = {}

    @classmethod
    def of(cls, sample: Sample) -> "Series":
        """The series that a sample counts in."""
        detector = Detector.KEY_SPEND if sample.signal is Signal.SPEND else None
        if detector is not None and SESSION in sample.subject:
            detector = Detector.SESSION_SPEND
        return cls.model_construct(
            detector=detector or Detector(sample.signal.value), signal=sample.signal, source=sample.source,
            subject=dict(sample.subject), service=sample.service, environment=sample.environment,
            labels=dict(sample.labels),
        )  # fmt: skip

    @cached_property
    def id(self) -> str:
        """32 hex digits, the same for the same series everywhere."""
        return self._id(self.detector, self.subject)

    @cached_property
    def parent(self) -> str | None:
        """Of a session: the id of what its key spends as a whole, by which it is compared with others."""
        if self.detector is not Detector.SESSION_SPEND:
            return None
        left = {name: value for name, value in self.subject.items() if name != SESSION}
        return self._id(Detector.KEY_SPEND, left)

    def _id(self, detector: Detector, subject: Mapping[str, str]) -> str:
        said = [detector, self.signal, self.source, sorted(subject.items()), self.service, self.environment]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]

    @property
    def single(self) -> bool:
        """It is about one session or user of many, whom another series counts as well."""
        return bool(SINGLE & self.subject.keys())

    @property
    def presence(self) -> "Series | None":
        """The series that tells whether anything comes at all; None where nothing need come."""
        if self.signal in ALWAYS_BAD:
            return None
        return self._but(detector=Detector.NO_DATA, subject={})

    @property
    def lump(self) -> "Series":
        """The series of everything of its kind that there was no room for."""
        return self._but(subject={}, service=None, environment=None)

    def _but(self, **changes: object) -> "Series":
        # A copy would keep the id.
        return Series.model_validate(self.model_dump() | changes)


class Counted(NamedTuple):
    """`bad` of `total` went wrong; `amount` is in US dollars."""

    total: int
    bad: int
    amount: float


Minutes = Mapping[datetime, Counted]


class Tally(NamedTuple):
    """What a post adds to each series, by id, in each minute; `late` samples are too old to count."""

    series: dict[str, Series]
    minutes: dict[str, Minutes]
    late: int = 0


def tallied(samples: Iterable[Sample], at: datetime) -> Tally:
    """The samples of a post that came `at` a moment, summed up per series and minute, in whatever order they stand."""
    groups: dict[tuple[object, ...], list[Sample]] = defaultdict(list)
    for sample in samples:
        subject = tuple(sorted(sample.subject.items()))
        groups[sample.signal, sample.source, subject, sample.service, sample.environment].append(sample)
    series: dict[str, Series] = {}
    found: dict[tuple[str, datetime], list[Counted]] = defaultdict(list)
    late = 0
    for group in groups.values():
        one = Series.of(group[0])
        fresh = [(moment, sample) for sample in group if (moment := _moment(sample, at)) >= at - OLDEST]
        late += len(group) - len(fresh)
        for moment, sample in fresh:
            series[one.id] = one
            found[one.id, _minute(moment)].append(_counted(sample))
        if fresh and (presence := one.presence) is not None:
            series[presence.id] = presence
            found[presence.id, _minute(at)].append(Counted(len(fresh), 0, 0.0))
    return Tally(series, _by_series({key: _sum(counts) for key, counts in found.items()}), late)


def made_to_fit(tally: Tally, known: Collection[str], room: int, spared: int = 0) -> tuple[Tally, int]:
    """The tally with no more than `room` series that aren't known yet, and how many had to give way.

    A session or user leaves `spared` of the room to others, and gives way to what counts it anyway; everything else
    goes together into one series of its kind.
    """
    new = sorted(tally.series.keys() - set(known), key=lambda id_: (*_less_needed(tally.series[id_]), id_))
    excess = {id_ for n, id_ in enumerate(new) if n >= room - (spared if tally.series[id_].single else 0)}
    if not excess:
        return tally, 0
    series = {id_: one for id_, one in tally.series.items() if id_ not in excess}
    found = {
        (id_, minute): [counted] for id_ in series for minute, counted in tally.minutes[id_].items()
    }  # fmt: skip
    for id_ in excess:
        if tally.series[id_].single:
            continue
        lump = tally.series[id_].lump
        series[lump.id] = lump
        for minute, counted in tally.minutes[id_].items():
            found.setdefault((lump.id, minute), []).append(counted)
    return Tally(series, _by_series({key: _sum(counts) for key, counts in found.items()}), tally.late), len(excess)


def _less_needed(series: Series) -> tuple[bool, bool]:
    return series.single, series.detector is not Detector.NO_DATA


def _moment(sample: Sample, at: datetime) -> datetime:
    """When it happened; a clock that is ahead is not believed."""
    if sample.at is None:
        return at
    happened = sample.at if sample.at.tzinfo is not None else sample.at.replace(tzinfo=UTC)
    return min(happened, at)


def _minute(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(second=0, microsecond=0)


def _counted(sample: Sample) -> Counted:
    bad = min(sample.bad, MOST)
    return Counted(max(min(sample.total, MOST), bad), bad, min(sample.amount, float(MOST)))


def _sum(counts: Collection[Counted]) -> Counted:
    # An exact sum: the same in every order.
    return Counted(sum(c.total for c in counts), sum(c.bad for c in counts), fsum(c.amount for c in counts))


def _by_series(counted: Mapping[tuple[str, datetime], Counted]) -> dict[str, Minutes]:
    minutes: dict[str, dict[datetime, Counted]] = defaultdict(dict)
    for (id_, minute), count in counted.items():
        minutes[id_][minute] = count
    return dict(minutes)

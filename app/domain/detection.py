"""Whether a series of telemetry is an incident. Pure: numbers of a window, a rule and the time give a verdict.

Every detector has hysteresis: it fires at its threshold, and is over at less than half of it, or when there has been
no traffic for a while. Rates of spend and interventions have a baseline, the same series' last 24 hours or, where that
is more, the same time a day ago: what runs every night is usual at night. While one fires, the threshold that was
passed stands, so that an incident that lasts doesn't become its own baseline.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from app.domain.inbound import Signal
from app.domain.record import Record
from app.domain.taxonomy import KINDS
from app.domain.telemetry import Detector, Series
from app.domain.vocabulary import Severity

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LEARNED = HOUR
"""A series that is younger has no baseline yet (chosen)."""
SLOT = timedelta(minutes=5)
"""What comes steadily comes in each of these."""
USUALLY = 18
"""Of the 24 slots of two hours a day ago: what came in fewer may be silent at this time of day (chosen)."""
OTHERS_LEAST = 3
"""Sessions that make a baseline for another one (chosen)."""
SEVERE_SPEND = 10
"""Times the baseline: more urgent from there on."""
SEVERE_LEAST = 5
"""Times the least that is an incident: below that nothing is more urgent, however little is usual (chosen)."""


class Ratio(Record):
    """Fires when `least` were counted in the window and at least `share` of them, and `least_bad`, are bad.

    `severe_share`: from there on it is P1. `of_bad`: `least` counts the bad ones, for tools that tell of no others.
    """

    window_secs: float
    least: int
    share: float
    least_bad: int = 5
    severe_share: float | None = None
    of_bad: bool = False
    enabled: bool = True


class Burst(Record):
    """Fires at `least` bad ones in the window, if that is `times` what is usual as well (0 = whatever is usual)."""

    window_secs: float
    least: int
    times: float = 0
    enabled: bool = True


class Spend(Record):
    """Fires at `least_usd` in the window, where that is `times` the baseline, too; never without a baseline."""

    window_secs: float
    least_usd: float
    times: float
    enabled: bool = True


class Silence(Record):
    """Fires when something came in every five minutes of `window_secs`, and then nothing for `silent_secs`.

    Not at a time of day at which it was silent the day before, too: whose users sleep is not broken.
    """

    window_secs: float
    silent_secs: float
    enabled: bool = True


Rule = Ratio | Burst | Spend | Silence
Rules = Mapping[Detector, Rule]


class Measured(NamedTuple):
    """What a window holds, and what was before it: `known` is how much of the 24 hours before it was seen.

    `day_…` is of the hours around this one a day ago: from one window before its end then to one after. `others`
    sessions of the same key spent `others_mean` US dollars each; `slots` of the window's five minutes had any, and
    `day_slots` of those from 25 to 23 hours ago (None: not known). `good`: not all that was ever heard of went wrong.
    """

    last_at: datetime
    total: int = 0
    bad: int = 0
    amount: float = 0.0
    before_bad: int = 0
    before_amount: float = 0.0
    day_bad: int = 0
    day_amount: float = 0.0
    known: timedelta = timedelta(0)
    others: int = 0
    others_mean: float = 0.0
    slots: int = 0
    day_slots: int | None = None
    good: bool = True


class Firing(NamedTuple):
    """How a series that fires stands: how severely, and above what."""

    severity: Severity
    threshold: float


class Verdict(Record):
    """It fires with this severity or, with None, is over. `numbers` are for people."""

    severity: Severity | None = None
    why: str
    threshold: float = 0.0
    numbers: dict[str, int | float] = {}


class _Reading(NamedTuple):
    """What is compared with what (None: nothing to compare), whether it is enough to fire, and how severe that is."""

    value: float | None
    threshold: float | None
    enough: bool
    severity: Severity
    why: str
    numbers: dict[str, int | float]


def look_back(detector: Detector, rule: Rule) -> timedelta:
    """How much of the time before the window makes the baseline."""
    if isinstance(rule, Burst):
        return DAY if rule.times else timedelta(0)
    return DAY if detector is Detector.KEY_SPEND else timedelta(0)


def judged(
    series: Series, rule: Rule, seen: Measured, firing: Firing | None, now: datetime, quiet: timedelta
) -> Verdict | None:
    """What changes: it begins to fire, fires more severely, or is over. None: nothing does.

    `quiet`: how long without a sample means that it is over; of a longer window its whole length, one hour at most.
    """
    if not rule.enabled:
        return Verdict(why="This detector was switched off.") if firing else None
    if isinstance(rule, Silence):
        return _silent(series, rule, seen, firing, now)
    quiet = max(quiet, min(timedelta(seconds=rule.window_secs), HOUR))
    if firing and now - seen.last_at >= quiet:
        return Verdict(why=f"There is no more traffic: nothing for {_span(now - seen.last_at)}.")
    read = _read(series, rule, seen, firing)
    if read.value is None or read.threshold is None:
        return None
    if firing and read.value < read.threshold / 2:
        return Verdict(why=f"It is over: {read.why}", numbers=read.numbers)
    if not read.enough or read.value < read.threshold or (firing and not read.severity.worse_than(firing.severity)):
        return None
    return Verdict(severity=read.severity, why=read.why, threshold=read.threshold, numbers=read.numbers)


def _silent(series: Series, rule: Silence, seen: Measured, firing: Firing | None, now: datetime) -> Verdict | None:
    silent, steady = now - seen.last_at, timedelta(seconds=rule.window_secs)
    if silent.total_seconds() < rule.silent_secs:
        return Verdict(why="It reports again.") if firing else None
    if firing or seen.slots < steady // SLOT or (seen.day_slots is not None and seen.day_slots < USUALLY):
        return None
    what = f"{series.source} sent {WORDS[series.signal].of}"
    return Verdict(
        severity=_base(series),
        why=f"{what} in every five minutes of {_span(steady)}, and none for {_span(silent)}.",
        threshold=rule.silent_secs,
        numbers={"silent_secs": round(silent.total_seconds())},
    )


def _read(series: Series, rule: Ratio | Burst | Spend, seen: Measured, firing: Firing | None) -> _Reading:
    if isinstance(rule, Ratio):
        return _share(series, rule, seen)
    return _burst(series, rule, seen, firing) if isinstance(rule, Burst) else _spend(series, rule, seen, firing)


def _share(series: Series, rule: Ratio, seen: Measured) -> _Reading:
    words, share = WORDS[series.signal], seen.bad / seen.total if seen.total else 0.0
    # Of tools that tell of failures only, the share is not known.
    severe = rule.severe_share is not None and share > rule.severe_share and seen.good
    severity = _raised(_base(series), severe)
    why = (
        f"{seen.bad:,} of {seen.total:,} {words.of} {words.bad} in {_span(timedelta(seconds=rule.window_secs))} "
        f"({share:.0%}; the limit is {rule.share:.0%})."
    )
    numbers: dict[str, int | float] = {"total": seen.total, "bad": seen.bad, "share": round(share, 4)}
    if rule.of_bad:
        least = max(float(rule.least), rule.share * seen.total)
        return _Reading(float(seen.bad), least, True, severity, why, numbers)
    enough = seen.total >= rule.least and seen.bad >= rule.least_bad
    return _Reading(share if seen.total else None, rule.share, enough, severity, why, numbers)


def _burst(series: Series, rule: Burst, seen: Measured, firing: Firing | None) -> _Reading:
    usual = _usual(rule, seen, seen.before_bad, seen.day_bad) if rule.times else None
    threshold = firing.threshold if firing else max(float(rule.least), rule.times * (usual or 0.0))
    words, window = WORDS[series.signal], _span(timedelta(seconds=rule.window_secs))
    why = f"{seen.bad:,} {words.of} {words.bad} in {window}; {_known(usual)}the limit is {threshold:,.0f}."
    numbers: dict[str, int | float] = {"total": seen.total, "bad": seen.bad, "usual": round(usual or 0.0, 4)}
    return _Reading(float(seen.bad), threshold, True, _base(series), why, numbers)


def _spend(series: Series, rule: Spend, seen: Measured, firing: Firing | None) -> _Reading:
    if series.detector is Detector.SESSION_SPEND:
        usual = seen.others_mean if seen.others >= OTHERS_LEAST else None
    else:
        usual = _usual(rule, seen, seen.before_amount, seen.day_amount)
    threshold = None if usual is None else max(rule.least_usd, rule.times * usual)
    if firing:
        threshold = firing.threshold
    severe = usual is not None and seen.amount >= max(SEVERE_SPEND * usual, SEVERE_LEAST * rule.least_usd)
    window = _span(timedelta(seconds=rule.window_secs))
    why = f"${seen.amount:,.2f} in {window}; {_known(usual, '$')}the limit is ${threshold or 0:,.2f}."
    numbers: dict[str, int | float] = {"amount_usd": round(seen.amount, 4), "usual_usd": round(usual or 0.0, 4)}
    return _Reading(seen.amount, threshold, True, _raised(_base(series), severe), why, numbers)


def _usual(rule: Burst | Spend, seen: Measured, before: float, day: float) -> float | None:
    """What such a window usually holds: on average, or at this time of day where that is more. None: nobody knows."""
    if seen.known < LEARNED:
        return None
    return max(before * rule.window_secs / seen.known.total_seconds(), day / 2)


def _known(usual: float | None, unit: str = "") -> str:
    return "" if usual is None else f"usual is {unit}{usual:,.2f}, "


def _raised(severity: Severity, severe: bool) -> Severity:
    return Severity.P1 if severe and Severity.P1.worse_than(severity) else severity


def incident_class(series: Series) -> str:
    """The class (app/domain/taxonomy.py) of what a series' detector finds."""
    if series.detector is Detector.ERRORS:
        return "availability.provider_outage" if "provider" in series.subject else "other.application"
    return CLASSES[series.detector]


def title(series: Series) -> str:
    """What it is about, the same every time."""
    about = ", ".join(dict.fromkeys(series.subject[name] for name in sorted(series.subject)))
    about = about or series.service or series.source
    if series.detector is Detector.NO_DATA:
        about = f"{series.source}{f', {series.service}' if series.service else ''}: {WORDS[series.signal].of}"
    return f"{TITLES[series.detector]}: {about}"


def _base(series: Series) -> Severity:
    if series.detector is Detector.ERRORS:
        return Severity.P2
    if series.subject.get("rate_limit_category", "").startswith("litellm_"):
        return Severity.P4  # a limit of one's own does what it is there for
    return KINDS[incident_class(series)].severity


def _span(time: timedelta) -> str:
    minutes = round(time.total_seconds() / 60)
    return f"{minutes // 60} h" if minutes >= 60 and minutes % 60 == 0 else f"{minutes} min"


class _Words(NamedTuple):
    of: str
    bad: str


WORDS = {
    Signal.ERRORS: _Words("requests", "failed"),
    Signal.RATE_LIMITS: _Words("requests", "were refused by a rate limit"),
    Signal.SPEND: _Words("spend", "is bad"),
    Signal.GUARDRAILS: _Words("guardrail verdicts", "were interventions"),
    Signal.GUARDRAIL_FAILURES: _Words("guardrail checks", "got no answer"),
    Signal.EVALUATIONS: _Words("evaluations", "failed"),
    Signal.BLOCKS: _Words("users", "were blocked"),
}
CLASSES = {
    Detector.RATE_LIMITS: "performance.rate_limit",
    Detector.GUARDRAILS: "security.prompt_injection",
    Detector.GUARDRAIL_FAILURES: "security.guardrail_outage",
    Detector.EVALUATIONS: "quality.drop",
    Detector.BLOCKS: "security.jailbreak",
    Detector.SESSION_SPEND: "cost.runaway",
    Detector.KEY_SPEND: "cost.runaway",
    Detector.NO_DATA: "observability.blind_spot",
}
TITLES = {
    Detector.ERRORS: "Requests fail",
    Detector.RATE_LIMITS: "A rate limit refuses requests",
    Detector.GUARDRAILS: "A guardrail intervenes far too often",
    Detector.GUARDRAIL_FAILURES: "A guardrail does not answer",
    Detector.EVALUATIONS: "Evaluations fail",
    Detector.BLOCKS: "Users are blocked by their provider",
    Detector.SESSION_SPEND: "A session spends far more than others",
    Detector.KEY_SPEND: "Spend runs away",
    Detector.NO_DATA: "No telemetry any more",
}

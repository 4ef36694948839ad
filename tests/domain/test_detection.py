"""When numbers are an incident, and when that is over: every detector, and what holds of all of them."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.detectors import Detectors
from app.domain.detection import (
    DAY,
    HOUR,
    Firing,
    Measured,
    Ratio,
    Verdict,
    incident_class,
    judged,
    look_back,
    title,
)
from app.domain.inbound import Sample, Signal
from app.domain.telemetry import MOST, Detector, Series, Tally, made_to_fit, tallied
from app.domain.vocabulary import Severity

NOW = datetime(2026, 11, 23, 8, 0, 30, tzinfo=UTC)
MINUTE, QUIET = timedelta(minutes=1), timedelta(minutes=15)
RULES = Detectors().rules
P1, P2, P3, P4 = Severity.P1, Severity.P2, Severity.P3, Severity.P4
OPENAI = {"provider": "openai", "model_group": "gpt-4o"}


def series(signal: Signal, **subject: str) -> Series:
    return Series.of(Sample(signal=signal, source="litellm", subject=subject))


def verdict(one: Series, firing: Firing | None = None, *, silent: timedelta = MINUTE, **seen: Any) -> Verdict | None:
    return judged(one, RULES[one.detector], Measured(NOW - silent, **seen), firing, NOW, QUIET)


ERRORS, LIMITS = series(Signal.ERRORS, **OPENAI), series(Signal.RATE_LIMITS, rate_limit_category="vendor_rate_limit")
GUARD, SESSION = series(Signal.GUARDRAILS, guardrail_name="pii"), series(Signal.SPEND, session_id="s1", key_alias="bot")
KEY, DEAD = series(Signal.SPEND, key_alias="bot"), series(Signal.GUARDRAIL_FAILURES, guardrail_name="pii")
EVALS, BLOCKS = series(Signal.EVALUATIONS, evaluation_name="faithfulness"), series(Signal.BLOCKS)


@pytest.mark.parametrize(("one", "seen", "severity"), [
    (ERRORS, {"total": 19, "bad": 19}, None), (ERRORS, {"total": 20, "bad": 4}, None),
    (ERRORS, {"total": 20, "bad": 5}, P2), (ERRORS, {"total": 51, "bad": 5}, None),
    (ERRORS, {"total": 20, "bad": 10}, P2),
    (ERRORS, {"total": 20, "bad": 11}, P1),
    (LIMITS, {"total": 19, "bad": 19}, None), (LIMITS, {"total": 20, "bad": 20}, P2),
    (LIMITS, {"total": 1000, "bad": 40}, None), (LIMITS, {"total": 1000, "bad": 100}, P2),
    (series(Signal.RATE_LIMITS, rate_limit_category="litellm_rate_limit"), {"total": 50, "bad": 50}, P4),
    (DEAD, {"total": 20, "bad": 4}, None), (DEAD, {"total": 20, "bad": 5}, P1),
    (EVALS, {"total": 9, "bad": 9}, None), (EVALS, {"total": 10, "bad": 4}, None), (EVALS, {"total": 10, "bad": 5}, P2),
    (BLOCKS, {"total": 9, "bad": 9}, None), (BLOCKS, {"total": 10, "bad": 10}, P2),
    (GUARD, {"total": 99, "bad": 29}, None), (GUARD, {"total": 99, "bad": 30}, P2),
    (GUARD, {"bad": 30, "before_bad": 144 * 7, "known": DAY}, None),
    (GUARD, {"bad": 35, "before_bad": 144 * 7, "known": DAY}, P2),
    (GUARD, {"bad": 30, "before_bad": 10_000, "known": HOUR - MINUTE}, P2),
    (SESSION, {"amount": 500, "others": 2, "others_mean": 1}, None), (SESSION, {"amount": 4.9, "others": 3}, None),
    (SESSION, {"amount": 6, "others": 3, "others_mean": 2.1}, None),
    (SESSION, {"amount": 6, "others": 3, "others_mean": 2}, P2),
    (SESSION, {"amount": 20, "others": 9, "others_mean": 0.1}, P2),
    (SESSION, {"amount": 25, "others": 9, "others_mean": 2}, P1),
    (KEY, {"amount": 900}, None), (KEY, {"amount": 25, "before_amount": 24 * 9, "known": DAY}, None),
    (KEY, {"amount": 27, "before_amount": 24 * 9, "known": DAY}, P2), (KEY, {"amount": 19, "known": DAY}, None),
    (KEY, {"amount": 100, "before_amount": 24 * 9, "known": DAY}, P1), (KEY, {"amount": 21, "known": HOUR}, P2),
    (KEY, {"amount": 99, "before_amount": 24, "known": DAY}, P2), (KEY, {"amount": 900, "known": HOUR}, P1),
    (KEY, {"amount": 50, "before_amount": 50, "day_amount": 50, "known": DAY}, None),
    (KEY, {"amount": 76, "before_amount": 50, "day_amount": 50, "known": DAY}, P2),
    (ERRORS, {"total": 200, "bad": 200, "good": False}, P2), (ERRORS, {"total": 200, "bad": 200}, P1),
    (GUARD, {"bad": 200, "before_bad": 150, "day_bad": 150, "known": DAY}, None),
])  # fmt: skip
def test_from_its_threshold_on_it_is_an_incident(one: Series, seen: dict[str, Any], severity: Severity | None) -> None:
    found = verdict(one, **seen)
    assert (found.severity if found else None) is severity


def test_it_says_why() -> None:
    found = verdict(ERRORS, total=42, bad=37)
    assert found is not None
    assert found.why == "37 of 42 requests failed in 5 min (88%; the limit is 10%)."
    assert found.numbers == {"total": 42, "bad": 37, "share": 0.881}
    spent = verdict(KEY, amount=1200.5, before_amount=240, known=DAY)
    assert spent is not None
    assert spent.why == "$1,200.50 in 1 h; usual is $10.00, the limit is $30.00."
    assert (title(ERRORS), incident_class(ERRORS)) == ("Requests fail: gpt-4o, openai", "availability.provider_outage")
    assert incident_class(series(Signal.ERRORS, model_group="ours")) == "other.application"


@pytest.mark.parametrize(("one", "threshold", "still", "over"), [
    (ERRORS, 0.1, {"total": 100, "bad": 5}, {"total": 100, "bad": 4}), (ERRORS, 0.1, {}, {"total": 1}),
    (LIMITS, 20, {"total": 10, "bad": 10}, {"total": 9, "bad": 9}), (BLOCKS, 10, {"bad": 5}, {"bad": 4}),
    (GUARD, 100, {"bad": 50, "known": DAY}, {"bad": 49, "known": DAY}), (SESSION, 8, {"amount": 4}, {"amount": 3.9}),
    (KEY, 60, {"amount": 30, "before_amount": 9999, "known": DAY}, {"amount": 29}),
])  # fmt: skip
def test_it_is_over_at_less_than_half(
    one: Series, threshold: float, still: dict[str, Any], over: dict[str, Any]
) -> None:
    assert verdict(one, Firing(P2, threshold), **still) is None
    ended = verdict(one, Firing(P2, threshold), **over)
    assert ended is not None
    assert ended.severity is None


def test_without_traffic_it_is_over_and_says_so() -> None:
    busy: dict[str, Any] = {"total": 100, "bad": 100, "amount": 100}
    for one, quiet in ((ERRORS, QUIET), (EVALS, HOUR), (SESSION, HOUR)):
        assert verdict(one, Firing(P1, 0.1), silent=quiet - MINUTE, **busy) is None
        ended = verdict(one, Firing(P1, 0.1), silent=quiet, **busy)
        assert ended is not None
        assert (ended.severity, "no more traffic" in ended.why) == (None, True)


def test_it_gets_worse_once_and_never_better() -> None:
    worse = verdict(ERRORS, Firing(P2, 0.1), total=20, bad=20)
    assert worse is not None
    assert worse.severity is P1
    assert verdict(ERRORS, Firing(P1, 0.1), total=20, bad=20) is None
    assert verdict(ERRORS, Firing(P1, 0.1), total=20, bad=4) is None


def test_what_came_steadily_and_stops_is_a_blind_spot() -> None:
    here = EVALS.presence
    assert here is not None
    assert (verdict(here, silent=QUIET, slots=11), verdict(here, silent=QUIET - MINUTE, slots=12)) == (None, None)
    found = verdict(here, silent=QUIET, slots=12)
    assert found is not None
    assert (found.severity, found.why) == (
        P3,
        "litellm sent evaluations in every five minutes of 1 h, and none for 15 min.",
    )
    assert (
        verdict(here, silent=QUIET, slots=12, day_slots=17),
        verdict(here, silent=QUIET, slots=12, day_slots=18),
    ) == (
        None,
        found,
    )
    assert verdict(here, Firing(P3, 900), silent=DAY) is None
    back = verdict(here, Firing(P3, 900), silent=timedelta(0))
    assert back is not None
    assert (back.severity, back.why) == (None, "It reports again.")
    assert (LIMITS.presence, BLOCKS.presence) == (None, None)


def test_a_detector_that_is_switched_off_ends_what_it_found() -> None:
    off = Ratio(window_secs=300, least=1, share=0.1, enabled=False)
    seen = Measured(NOW, total=9, bad=9)
    assert judged(ERRORS, off, seen, None, NOW, QUIET) is None
    ended = judged(ERRORS, off, seen, Firing(P2, 0.1), NOW, QUIET)
    assert ended is not None
    assert ended.severity is None


def windowed(samples: Sequence[Sample], detector: Detector, now: datetime) -> Measured:
    """What the store would measure of one series."""
    tally = tallied([sample for sample in samples if sample.at and sample.at <= now], now)
    mine = [one for one in tally.series.values() if one.detector is detector]
    if not mine:
        return Measured(NOW)
    rule = RULES[detector]
    minutes = tally.minutes[mine[0].id]
    last = max(sample.at for sample in samples if sample.at and sample.at <= now)
    since = now - timedelta(seconds=rule.window_secs)
    inside = [counted for minute, counted in minutes.items() if minute > since]
    before = [counted for minute, counted in minutes.items() if since - look_back(detector, rule) < minute <= since]
    return Measured(
        last, sum(c.total for c in inside), sum(c.bad for c in inside), sum(c.amount for c in inside),
        sum(c.bad for c in before), sum(c.amount for c in before), known=max(since - min(minutes), timedelta(0)),
    )  # fmt: skip


counted = st.sampled_from([Signal.ERRORS, Signal.RATE_LIMITS, Signal.GUARDRAILS, Signal.BLOCKS, Signal.EVALUATIONS])
posts = st.lists(st.tuples(st.integers(0, 90), st.integers(1, 30), st.integers(0, 30)), min_size=1, max_size=25)


def happened(signal: Signal, what: Sequence[tuple[int, int, int]]) -> list[Sample]:
    return [
        Sample(signal=signal, source="x", at=NOW + minute * MINUTE, total=total, bad=min(bad, total))
        for minute, total, bad in what
    ]


@settings(max_examples=40)
@given(signal=counted, what=posts)
def test_an_episode_begins_once_and_ends_once(signal: Signal, what: list[tuple[int, int, int]]) -> None:
    samples = happened(signal, what)
    one = Series.of(samples[0])
    rule, firing, changes = RULES[one.detector], None, list[Severity | None]()
    for minute in range(91 + 61):
        now = NOW + minute * MINUTE
        seen = windowed(samples, one.detector, now)
        for _ in range(2):  # whoever looks twice sees nothing new
            found = judged(one, rule, seen, firing, now, QUIET)
            if found is None:
                continue
            changes.append(found.severity)
            if firing is None:
                enough = seen.bad if signal in (Signal.RATE_LIMITS, Signal.BLOCKS, Signal.GUARDRAILS) else seen.total
                assert enough >= getattr(rule, "least", 0)
            firing = None if found.severity is None else Firing(found.severity, found.threshold)
            assert judged(one, rule, seen, firing, now, QUIET) is None
    assert firing is None
    for before, after in zip([None, *changes], changes, strict=False):
        assert before is not after
        if before is not None and after is not None:
            assert after.worse_than(before)


@given(what=posts, seed=st.integers())
def test_the_order_of_samples_does_not_matter(what: list[tuple[int, int, int]], seed: int) -> None:
    samples = [
        one.model_copy(update={"amount": minute / 7, "subject": {"key_alias": str(minute % 3)}})
        for signal in (Signal.SPEND, Signal.ERRORS)
        for one, (minute, *_) in zip(happened(signal, what), what, strict=True)
    ]
    mixed = list(samples)
    random.Random(seed).shuffle(mixed)
    later = NOW + DAY
    assert tallied(samples, later) == tallied(mixed, later)


def test_every_signal_has_a_detector_and_every_detector_a_rule() -> None:
    assert {series(signal).detector for signal in Signal} | {SESSION.detector, Detector.NO_DATA} == set(RULES)


def test_a_thousand_rows_are_a_handful_of_counts() -> None:
    row = Sample(signal=Signal.ERRORS, source="litellm", subject=OPENAI, bad=1)
    tally = tallied([row] * 1000, NOW)
    assert {one.detector: list(tally.minutes[id_].values()) for id_, one in tally.series.items()} == {
        Detector.ERRORS: [(1000, 1000, 0.0)], Detector.NO_DATA: [(1000, 0, 0.0)],
    }  # fmt: skip


def test_clocks_that_are_wrong_and_numbers_that_are_mad_do_no_harm() -> None:
    ahead = Sample(signal=Signal.BLOCKS, source="x", at=NOW + DAY, total=10**30, bad=10**40, amount=1e308)
    old = Sample(signal=Signal.BLOCKS, source="x", at=datetime(2026, 11, 1))
    tally = tallied([ahead, old], NOW)
    [minutes] = tally.minutes.values()
    assert (minutes, tally.late) == ({NOW.replace(second=0): (MOST, MOST, float(MOST))}, 1)


def sessions(count: int) -> Tally:
    samples = [
        Sample(signal=Signal.SPEND, source="litellm", subject={"session_id": str(n), "key_alias": "bot"}, amount=1)
        for n in range(count)
    ]
    models = [Sample(signal=Signal.ERRORS, source="litellm", subject={"model_group": str(n)}) for n in range(count)]
    return tallied(
        [*samples, *models, Sample(signal=Signal.SPEND, source="litellm", subject={"key_alias": "bot"})], NOW
    )


def test_sessions_leave_room_for_others() -> None:
    tally = sessions(5)
    fitted, gone = made_to_fit(tally, (), 12, 4)
    left = [one.single for one in fitted.series.values()]
    assert (gone, left.count(True), left.count(False)) == (5, 0, 8)
    assert made_to_fit(tally, (), 17, 4) == (tally, 0)


def test_what_there_is_no_room_for_counts_together_and_sessions_with_their_key() -> None:
    tally = sessions(5)
    known = {id_ for id_, one in tally.series.items() if one.detector is Detector.NO_DATA}
    assert made_to_fit(tally, known, 11) == (tally, 0)
    fitted, gone = made_to_fit(tally, known, 3)
    kinds = sorted(one.detector for one in fitted.series.values() if one.id not in known)
    assert gone == 8
    assert not any(one.single for one in fitted.series.values())
    lumped = [id_ for id_, one in fitted.series.items() if one.detector is Detector.ERRORS and not one.subject]
    together = sum(fitted.minutes[id_][NOW.replace(second=0)].total for id_ in lumped)
    assert (len(kinds) <= 5, together >= 2) == (True, True)
    for one in tally.series.values():
        if one.detector is Detector.SESSION_SPEND:
            assert one.parent == KEY.id

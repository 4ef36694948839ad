"""Rules of compliance: what decides them, and that nothing else does."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.compliance import RULES, Checked, Evidence, Framework, Verdict, check, gathered, overall

AWARE = datetime(2026, 11, 1, 12, tzinfo=UTC)
SOON, LATE = AWARE + timedelta(hours=5), AWARE + timedelta(hours=80)
ALL = tuple(Framework)
WORDS = st.sampled_from([True, False, "true", "False", "yes", "NO", "1", "0", "", "perhaps", None, 7, "\0"])


def judged(rule: str, evidence: dict[str, object], now: datetime = SOON) -> Checked:
    return next(one for one in check(evidence, ALL, AWARE, now) if one.rule == rule)


def test_nothing_known_is_nothing_said() -> None:
    results = check({}, ALL, AWARE, LATE)
    assert [one.rule for one in results] == [rule.id for rule in RULES]
    assert {one.verdict for one in results} == {Verdict.UNKNOWN}
    assert all(one.missing for one in results)
    assert overall(results) == Verdict.UNKNOWN
    assert overall(()) == Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("rule", "about", "proof"),
    [(rule.id, rule.about, rule.proof) for rule in RULES if rule.id != "GDPR-001"],
)
def test_each_rule_needs_its_proof(rule: str, about: str | None, proof: str) -> None:
    applies: dict[str, object] = {about: True} if about else {}
    assert judged(rule, applies | {proof: True}).verdict == Verdict.COMPLIANT
    broken = judged(rule, applies | {proof: "false"})
    assert (broken.verdict, broken.evidence[proof]) == (Verdict.VIOLATION, "false")
    assert broken.remedy
    assert judged(rule, applies).missing == (proof,)
    assert judged(rule, applies | {proof: "perhaps"}).verdict == Verdict.UNKNOWN
    if about:
        assert judged(rule, {proof: True}).missing == (about,)
        assert judged(rule, {about: "no", proof: "no"}).verdict == Verdict.COMPLIANT


@pytest.mark.parametrize(
    ("now", "evidence", "verdict"),
    [
        (SOON, {}, Verdict.UNKNOWN),
        (LATE, {}, Verdict.UNKNOWN),
        (SOON, {"notification_sent": False}, Verdict.UNKNOWN),
        (LATE, {"notification_sent": False}, Verdict.VIOLATION),
        (SOON, {"notification_sent": True}, Verdict.COMPLIANT),
        (LATE, {"notification_sent": True}, Verdict.UNKNOWN),
        (LATE, {"notification_sent": True, "notification_sent_at": SOON.isoformat()}, Verdict.COMPLIANT),
        (LATE, {"notification_sent_at": SOON}, Verdict.COMPLIANT),
        (LATE, {"notification_sent_at": (AWARE + timedelta(hours=72)).isoformat()}, Verdict.COMPLIANT),
        (LATE, {"notification_sent_at": (AWARE + timedelta(hours=72, seconds=1)).isoformat()}, Verdict.VIOLATION),
        (SOON, {"notification_sent_at": LATE.isoformat()}, Verdict.UNKNOWN),
        (LATE, {"notification_sent": False, "notification_sent_at": SOON.isoformat()}, Verdict.VIOLATION),
        (LATE, {"notification_sent": True, "notification_sent_at": "2026-11-01 13:00"}, Verdict.UNKNOWN),
    ],
)
def test_a_breach_is_told_within_72_hours(now: datetime, evidence: dict[str, object], verdict: Verdict) -> None:
    found = judged("GDPR-001", {"contains_pii": True, **evidence}, now)
    assert found.verdict == verdict
    assert "due by 2026-11-04 12:00 UTC" in found.reason


@given(st.dictionaries(st.sampled_from(list(Evidence.model_fields)), WORDS), st.sampled_from([SOON, LATE]))
def test_no_verdict_is_better_without_evidence_that_says_so(evidence: dict[str, object], now: datetime) -> None:
    for one in check(evidence, ALL, AWARE, now):
        if one.verdict != Verdict.UNKNOWN:
            assert one.evidence
            assert set(one.evidence) <= set(evidence)
        else:
            assert one.missing
        for name in one.evidence:
            rest = {key: value for key, value in evidence.items() if key != name}
            less = judged(one.rule, rest, now)
            assert less.verdict != Verdict.COMPLIANT or one.verdict != Verdict.UNKNOWN


def test_what_is_said_now_stands_before_tags_and_these_before_the_class() -> None:
    tags = {"contains_phi": "true", "data_encrypted": "false", "team": "chat"}
    assert gathered(tags, "privacy.pii_leak", Evidence(data_encrypted=True)) == {
        "contains_pii": True, "contains_phi": "true", "data_encrypted": True,
    }  # fmt: skip
    assert gathered({"contains_pii": "false"}, "cost.budget") == {"contains_pii": "false"}
    assert gathered({"contains_pii": "yes"}, "privacy.pii_leak") == {"contains_pii": "yes"}
    assert gathered({}, "cost.budget") == {}


def test_a_leak_is_not_made_harmless_by_a_tag_but_by_who_looked_at_it() -> None:
    leak, tags = "privacy.pii_leak", {"contains_pii": "false"}
    assert judged("GDPR-003", gathered(tags, leak), SOON).verdict == Verdict.UNKNOWN
    looked = gathered(tags, leak, Evidence(contains_pii=False))
    assert judged("GDPR-003", looked, SOON).verdict == Verdict.COMPLIANT


def test_only_what_is_asked_for_is_judged() -> None:
    assert {one.framework for one in check({}, [Framework.PCI], AWARE, SOON)} == {Framework.PCI}

"""Whose severity stands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.severity import LABELS_NEEDED, Extent, Said, judged, standing
from app.domain.taxonomy import CLASSES, FLOORS
from app.domain.vocabulary import Environment, Severity

severities = st.sampled_from(Severity)


def said(severity: Severity = Severity.P3, confidence: float = 0.9, labels: int = LABELS_NEEDED, **more: str) -> Said:
    return Said.model_validate({"severity": severity, "confidence": confidence, "labels": labels} | more)


def test_a_model_that_is_sure_and_has_learned_enough_is_followed() -> None:
    stands = standing(Severity.P1, said(Severity.P3), 0.7)
    assert (stands.severity, stands.applied, stands.reason) == (Severity.P3, True, "0.90 sure")


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (None, "no model"),
        (said(confidence=0.69), "0.69 sure, 0.70 is needed"),
        (said(labels=99), "learned from 99 of the team's labels, 100 are needed"),
    ],
)
def test_else_it_abstains_and_says_why(model: Said | None, why: str) -> None:
    stands = standing(Severity.P1, model, 0.7)
    assert (stands.severity, stands.applied, stands.reason) == (Severity.P1, False, why)


def test_agreeing_is_not_following() -> None:
    assert not standing(Severity.P3, said(Severity.P3), 0.7).applied


@given(
    reported=severities, predicted=severities, sure=st.floats(0, 1), class_=st.sampled_from([*FLOORS, "cost.budget"])
)
def test_no_model_lowers_a_floor(reported: Severity, predicted: Severity, sure: float, class_: str) -> None:
    stands = standing(reported, said(predicted, sure, incident_class=class_), 0.7)
    floor = FLOORS.get(class_)
    if floor is not None and stands.applied:
        assert not floor.worse_than(stands.severity)
    assert stands.applied == (stands.severity is not reported)
    assert stands.severity in (reported, predicted, floor)


def test_leaked_data_is_never_under_p1_whatever_a_model_says() -> None:
    leak = said(Severity.P4, incident_class="privacy.pii_leak")
    assert standing(Severity.P0, leak, 0.7).severity is Severity.P0
    assert standing(Severity.P1, leak, 0.7).severity is Severity.P1
    raised = standing(Severity.P3, leak, 0.7)
    assert (raised.severity, raised.reason) == (Severity.P1, "privacy.pii_leak is never under P1")


def stands(name: str, reported: Severity, **extent: object) -> tuple[Severity, list[str]]:
    found = judged(name, reported, Extent.model_validate(extent))
    assert found.applied == (found.severity is not reported)
    first, *why = found.reason.split("; ")
    assert first == f"{name}, reported as {reported}"
    return found.severity, why


P0, P1, P2, P3, P4 = Severity
LATENCY, LEAK, GUARDRAIL = "performance.latency", "privacy.pii_leak", "security.guardrail_outage"


@pytest.mark.parametrize(
    ("name", "reported", "extent", "severity", "why"),
    [
        (LATENCY, P2, {}, P2, []),
        (LATENCY, P2, {"environment": "production", "tier": 2, "share": 0.25, "model_groups": 1}, P2, []),
        (LATENCY, P2, {"tier": 1}, P1, ["a tier 1 service is affected: one step up"]),
        (LATENCY, P2, {"share": 0.4}, P1, ["40% of the traffic: one step up"]),
        (LATENCY, P2, {"share": 0.4, "model_groups": 3}, P1, ["40% of the traffic: one step up"]),
        (LATENCY, P2, {"model_groups": 3}, P1, ["3 groups of models: one step up"]),
        (LATENCY, P2, {"absorbed": True}, P3, ["a healthy fallback serves: one step down"]),
        (LATENCY, P0, {"environment": "staging"}, P3, ["not production: never over P3"]),
        (LATENCY, P4, {"environment": "qa", "tier": 1}, P3, ["a tier 1 service is affected: one step up"]),
        (LEAK, P3, {}, P1, ["privacy.pii_leak is never under P1"]),
        (LATENCY, P3, {"exposed": True}, P1, ["what is confirmed to be exposed is never under P1"]),
        (GUARDRAIL, P2, {}, P1, ["security.guardrail_outage is never under P1"]),
        (GUARDRAIL, P2, {"fail_closed": True}, P2, []),
        (LEAK, P1, {"environment": "staging"}, P1,
         ["not production: never over P3", "privacy.pii_leak is never under P1"]),
    ],
)  # fmt: skip
def test_what_is_known_of_an_incident_moves_its_severity_and_says_so(
    name: str, reported: Severity, extent: dict[str, object], severity: Severity, why: list[str]
) -> None:
    assert stands(name, reported, **extent) == (severity, why)


extents = st.builds(
    Extent, environment=st.sampled_from([None, *Environment]), tier=st.sampled_from([None, 1, 2, 3, 4]),
    share=st.none() | st.floats(0, 1), model_groups=st.integers(0, 9), absorbed=st.booleans(), exposed=st.booleans(),
    fail_closed=st.booleans(),
)  # fmt: skip


@given(name=st.sampled_from([*CLASSES]), reported=severities, extent=extents)
def test_a_judgement_stays_on_the_scale_holds_the_floor_and_moves_one_way_at_a_time(
    name: str, reported: Severity, extent: Extent
) -> None:
    found = judged(name, reported, extent).severity
    floor = P1 if extent.exposed else None if extent.fail_closed and name == GUARDRAIL else FLOORS.get(name)
    assert found in Severity
    assert floor is None or not floor.worse_than(found)
    if extent.environment not in (None, "production"):
        assert found in (P3, P4) or (floor is not None and found is floor)
    assert judged(name, reported, extent.model_copy(update={"absorbed": True})).severity.rank >= found.rank
    assert judged(name, reported, extent.model_copy(update={"tier": 1})).severity.rank <= found.rank
    if reported is not P4:
        assert judged(name, Severity(f"P{reported.rank + 1}"), extent).severity.rank >= found.rank


@pytest.mark.parametrize(
    ("labels", "extent"),
    [
        ({}, {}),
        ({"traffic_share": "40%"}, {"share": 0.4}),
        ({"traffic_share": "0.4"}, {"share": 0.4}),
        *(({"traffic_share": word}, {}) for word in ("most", "nan", "inf", "-1", "140%", "1e400", "")),
        ({"model_groups": "chat, embeddings"}, {"model_groups": 2}),
        ({"model_groups": "3"}, {"model_groups": 3}),
        ({"model_groups": "9" * 4000}, {"model_groups": 1_000_000}),
        ({"fallback": "Healthy"}, {"absorbed": True}),
        ({"fallback": "failing", "exposure": "suspected", "fail_mode": "open"}, {}),
        ({"exposure": "confirmed", "fail_mode": "closed"}, {"exposed": True, "fail_closed": True}),
    ],
)
def test_labels_say_how_far_it_reaches_and_other_words_say_nothing(
    labels: dict[str, str], extent: dict[str, object]
) -> None:
    assert Extent.of(labels) == Extent.model_validate(extent)

"""Whose severity stands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.severity import LABELS_NEEDED, Said, standing
from app.domain.taxonomy import FLOORS
from app.domain.vocabulary import Severity

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

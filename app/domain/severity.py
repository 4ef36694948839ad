"""Whose severity stands: the reporter's, or the model's."""

from app.domain.record import Record
from app.domain.vocabulary import Severity

FIRST_MODEL = "bootstrap"
"""The request of the model that knows the incident classes before anybody has taught it anything."""
LABELS_NEEDED = 100
"""Severity is an organisation's policy: from fewer of the team's own labels nobody learns it."""
FLOORS = {
    "privacy.pii_leak": Severity.P1,
    "compliance.breach": Severity.P1,
    "security.guardrail_outage": Severity.P1,
    "security.data_poisoning": Severity.P1,
}
"""Confirmed exposure and unprotected traffic: no model says that these can wait."""


class Said(Record):
    """What a model says of an incident. `labels` is how many of the team's own it has learned from."""

    severity: Severity
    confidence: float
    labels: int
    incident_class: str | None = None


class Judged(Record):
    """The severity that stands, whether it is the model's, and why, in words."""

    severity: Severity
    applied: bool
    reason: str


def standing(reported: Severity, said: Said | None, threshold: float) -> Judged:
    """The reporter's severity, unless a model that is sure enough and has learned enough says otherwise."""
    if said is None:
        return Judged(severity=reported, applied=False, reason="no model")
    if said.labels < LABELS_NEEDED:
        why = f"learned from {said.labels} of the team's labels, {LABELS_NEEDED} are needed"
        return Judged(severity=reported, applied=False, reason=why)
    if said.confidence < threshold:
        why = f"{said.confidence:.2f} sure, {threshold:.2f} is needed"
        return Judged(severity=reported, applied=False, reason=why)
    floor = FLOORS.get(said.incident_class or "")
    severity, sure = said.severity, f"{said.confidence:.2f} sure"
    if floor is not None and floor.worse_than(severity):
        severity = reported if reported.worse_than(floor) else floor
        sure = f"{said.incident_class} is never under {floor}"
    return Judged(severity=severity, applied=severity is not reported, reason=sure)

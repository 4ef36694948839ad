"""Whose severity stands: the reporter's, the model's, or what the taxonomy's rules make of the reporter's."""

import math
from collections.abc import Mapping

from app.domain.record import Record
from app.domain.taxonomy import FLOORS
from app.domain.vocabulary import Environment, Severity

FIRST_MODEL = "bootstrap"
"""The request of the model that knows the incident classes before anybody has taught it anything."""
LABELS_NEEDED = 100
"""Severity is an organisation's policy: from fewer of the team's own labels nobody learns it."""


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


EXPOSED = Severity.P1
"""No less urgent is what has been exposed, whatever it is."""
CAP = Severity.P3
"""No more urgent is what happens outside production."""
WIDE = 0.25
"""More than this share of the traffic is not a corner of it."""
GUARDRAIL = "security.guardrail_outage"


class Extent(Record):
    """How far an incident reaches: what is known beside its class and what its reporter says.

    `tier` is that of the most important service it affects, `share` how much of the traffic it hits (0 to 1),
    `model_groups` how many groups of models. `absorbed`: a healthy fallback serves. `exposed`: it is confirmed that
    something has got out. `fail_closed`: without its guardrail nothing gets through.
    """

    environment: str | None = None
    tier: int | None = None
    share: float | None = None
    model_groups: int = 0
    absorbed: bool = False
    exposed: bool = False
    fail_closed: bool = False

    @classmethod
    def of(cls, labels: Mapping[str, str], environment: str | None = None, tier: int | None = None) -> "Extent":
        """As an alert's labels say it: `traffic_share` (0.4 or 40%), `model_groups` (names by commas, or how many),
        `fallback` (absorbing, healthy), `exposure` (confirmed), `fail_mode` (closed). Other words say nothing."""
        said = {name: labels.get(name, "").strip().lower() for name in EXTENT_LABELS}
        return cls(
            environment=environment, tier=tier, share=_share(said["traffic_share"]),
            model_groups=_several(said["model_groups"]), absorbed=said["fallback"] in ("absorbing", "healthy"),
            exposed=said["exposure"] == "confirmed", fail_closed=said["fail_mode"] in ("closed", "fail_closed"),
        )  # fmt: skip


EXTENT_LABELS = ("traffic_share", "model_groups", "fallback", "exposure", "fail_mode")


def judged(incident_class: str, reported: Severity, extent: Extent) -> Judged:
    """The severity of an incident whose class is known, and why, one sentence for each rule that took hold.

    The steps are added up first, then what caps them is asked, then what nothing goes below.
    """
    steps, why = 0, [f"{incident_class}, reported as {reported}"]
    for step, holds, said in (
        (-1, extent.tier == 1, "a tier 1 service is affected: one step up"),
        (-1, _wide(extent), f"{_reach(extent)}: one step up"),
        (1, extent.absorbed, "a healthy fallback serves: one step down"),
    ):
        if holds:
            steps += step
            why.append(said)
    severity = Severity(f"P{min(max(reported.rank + steps, 0), 4)}")
    if extent.environment not in (None, Environment.PRODUCTION) and severity.worse_than(CAP):
        severity = CAP
        why.append(f"not production: never over {CAP}")
    floor, said = _floor(incident_class, extent)
    if floor is not None and floor.worse_than(severity):
        severity = floor
        why.append(f"{said} is never under {floor}")
    return Judged(severity=severity, applied=severity is not reported, reason="; ".join(why))


def _wide(extent: Extent) -> bool:
    return (extent.share or 0) > WIDE or extent.model_groups > 1


def _reach(extent: Extent) -> str:
    share = (extent.share or 0) > WIDE
    return f"{extent.share:.0%} of the traffic" if share else f"{extent.model_groups} groups of models"


def _floor(incident_class: str, extent: Extent) -> tuple[Severity | None, str]:
    if extent.exposed:
        return EXPOSED, "what is confirmed to be exposed"
    if incident_class == GUARDRAIL and extent.fail_closed:
        return None, ""
    return FLOORS.get(incident_class), incident_class


def _share(text: str) -> float | None:
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None
    return share if math.isfinite(share) and 0 <= share <= 1 else None


def _several(text: str) -> int:
    if text.isascii() and text.isdigit():
        return min(int(text[:9]), 1_000_000)
    return len({name.strip() for name in text.split(",") if name.strip()})

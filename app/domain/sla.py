"""Service levels: by when somebody takes an incident and by when it is over, and whether that was kept."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from app.domain.record import Record
from app.domain.vocabulary import Severity

ACKNOWLEDGMENT_SECS: Mapping[Severity, float] = {
    Severity.P0: 300, Severity.P1: 900, Severity.P2: 3600, Severity.P3: 14_400, Severity.P4: 86_400,
}  # fmt: skip
"""Chosen."""
RESOLUTION_SECS: Mapping[Severity, float] = {
    Severity.P0: 900, Severity.P1: 3600, Severity.P2: 14_400, Severity.P3: 86_400, Severity.P4: 259_200,
}  # fmt: skip
"""As the first version had them."""


class Targets(Record):
    """Seconds from the opening of an incident, for every severity."""

    acknowledgment_secs: Mapping[Severity, float] = ACKNOWLEDGMENT_SECS
    resolution_secs: Mapping[Severity, float] = RESOLUTION_SECS


class SLA(Record):
    """Breached: it happened after its deadline, or hasn't happened although that is past.

    Seconds remain until it has happened (then None), and none (0) after the deadline.
    """

    acknowledgment_deadline: datetime
    resolution_deadline: datetime
    acknowledgment_breached: bool
    resolution_breached: bool
    acknowledgment_time_remaining: float | None
    resolution_time_remaining: float | None


def sla(
    severity: Severity, opened_at: datetime, taken_at: datetime | None, ended_at: datetime | None,
    targets: Targets, now: datetime,
) -> SLA:  # fmt: skip
    """How an incident of this severity stands at `now`. What ended without being taken was taken when it ended."""
    reacted_at = min((at for at in (taken_at, ended_at) if at is not None), default=None)
    acknowledge_by = opened_at + timedelta(seconds=targets.acknowledgment_secs[severity])
    resolve_by = opened_at + timedelta(seconds=targets.resolution_secs[severity])
    return SLA(
        acknowledgment_deadline=acknowledge_by, resolution_deadline=resolve_by,
        acknowledgment_breached=(reacted_at or now) > acknowledge_by,
        resolution_breached=(ended_at or now) > resolve_by,
        acknowledgment_time_remaining=_left(acknowledge_by, reacted_at, now),
        resolution_time_remaining=_left(resolve_by, ended_at, now),
    )  # fmt: skip


def _left(deadline: datetime, happened_at: datetime | None, now: datetime) -> float | None:
    return max((deadline - now).total_seconds(), 0) if happened_at is None else None

"""By when somebody is to take an incident, by when it is to be over, and when that counts as broken."""

from datetime import UTC, datetime, timedelta

import pytest

from app.config import Sla
from app.domain.sla import Targets, sla
from app.domain.vocabulary import Severity

OPENED = datetime(2026, 11, 23, 8, tzinfo=UTC)
TARGETS = Targets(acknowledgment_secs=dict.fromkeys(Severity, 60.0), resolution_secs=dict.fromkeys(Severity, 600.0))


def after(secs: float | None) -> datetime | None:
    return None if secs is None else OPENED + timedelta(seconds=secs)


@pytest.mark.parametrize(("now", "taken", "ended", "breached", "left"), [
    (0, None, None, (False, False), (60, 600)),
    (60, None, None, (False, False), (0, 540)),
    (61, None, None, (True, False), (0, 539)),
    (700, None, None, (True, True), (0, 0)),
    (700, 60, None, (False, True), (None, 0)),
    (700, 61, 600, (True, False), (None, None)),
    (700, None, 30, (False, False), (None, None)),
    (700, None, 90, (True, False), (None, None)),
    (700, 50, 601, (False, True), (None, None)),
])  # fmt: skip
def test_a_deadline_is_kept_up_to_its_last_moment(
    now: float, taken: float | None, ended: float | None, breached: tuple[bool, bool], left: tuple[float | None, ...]
) -> None:
    level = sla(Severity.P1, OPENED, after(taken), after(ended), TARGETS, OPENED + timedelta(seconds=now))
    assert (level.acknowledgment_deadline, level.resolution_deadline) == (after(60), after(600))
    assert (level.acknowledgment_breached, level.resolution_breached) == breached
    assert (level.acknowledgment_time_remaining, level.resolution_time_remaining) == left


def test_a_severity_that_is_not_named_keeps_its_target() -> None:
    said = Sla.model_validate({"resolution_secs": {"critical": 60}})
    assert said.resolution_secs == {**Sla().resolution_secs, Severity.P0: 60}
    assert Targets.model_validate(Sla().model_dump()) == Targets()

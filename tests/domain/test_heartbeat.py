"""When a heartbeat is late, and when it is missed."""

from datetime import UTC, datetime, timedelta

import pytest

from app.domain.decode import decode
from app.domain.errors import Invalid
from app.domain.heartbeat import Beats, Heartbeat, Pulse, standing
from app.domain.vocabulary import Severity

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LONG_AGO = NOON - timedelta(days=30)
NIGHTLY = {"id": "reindex", "name": "Nightly reindex", "every_secs": 86_400, "grace_secs": 1800}


def heartbeat(**more: object) -> Heartbeat:
    return decode(Heartbeat, {"id": "job", "name": "Job", "every_secs": 60, "grace_secs": 30} | more)


@pytest.mark.parametrize(("secs", "pulse"), [
    (0, Pulse.ALIVE), (59, Pulse.ALIVE), (60, Pulse.LATE), (89, Pulse.LATE), (90, Pulse.OVERDUE),
])  # fmt: skip
def test_it_is_late_after_its_time_and_missed_after_its_grace(secs: int, pulse: Pulse) -> None:
    found = standing(heartbeat(), Beats(LONG_AGO, NOON), LONG_AGO, NOON + timedelta(seconds=secs))
    assert (found.pulse, found.due_at, found.overdue_at) == (
        pulse, NOON + timedelta(seconds=60), NOON + timedelta(seconds=90),
    )  # fmt: skip


def test_before_its_first_ping_it_counts_from_when_it_was_written_down() -> None:
    assert standing(heartbeat(), Beats(NOON), LONG_AGO, NOON).pulse is Pulse.WAITING
    assert standing(heartbeat(), Beats(NOON), LONG_AGO, NOON + timedelta(seconds=90)).pulse is Pulse.OVERDUE
    assert standing(heartbeat(enabled=False), Beats(NOON), LONG_AGO, NOON + timedelta(days=9)).pulse is Pulse.OFF


def test_nobody_is_missed_because_we_were_away() -> None:
    """Pings may have been lost: who was due then gets one more period, an hour at most; who wasn't gets nothing."""
    back = NOON + timedelta(hours=5)
    assert standing(heartbeat(), Beats(LONG_AGO, NOON), back, back).due_at == back + timedelta(seconds=60)
    nightly = decode(Heartbeat, NIGHTLY)
    at_night = back - timedelta(hours=25)
    assert standing(nightly, Beats(LONG_AGO, at_night), back, back).due_at == back + timedelta(hours=1)
    assert standing(nightly, Beats(LONG_AGO, NOON), back, back).due_at == NOON + timedelta(days=1)


def test_who_fails_already_has_not_pinged_because_we_were_away() -> None:
    back = NOON + timedelta(hours=5)
    assert standing(heartbeat(), Beats(LONG_AGO, NOON), back, back, failing=True).pulse is Pulse.OVERDUE
    assert standing(heartbeat(), Beats(LONG_AGO, back), back, back, failing=True).pulse is Pulse.ALIVE


def test_one_that_is_switched_on_again_has_a_whole_period_from_then_on() -> None:
    """Its `since` has moved while it was off."""
    on = NOON + timedelta(days=2)
    assert standing(heartbeat(), Beats(on, NOON), LONG_AGO, on).due_at == on + timedelta(seconds=60)


@pytest.mark.parametrize(("more", "field"), [
    ({"every_secs": 1}, "every_secs"), ({"incident_class": "rag.stalenes"}, "incident_class"),
    ({"grace_secs": -1}, "grace_secs"), ({"every_secs": "daily"}, "every_secs"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(more: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid, match=field):
        heartbeat(**more)


def test_its_class_says_how_urgent_it_is_unless_it_says_so_itself() -> None:
    assert heartbeat(incident_class="rag.vector_db").urgency is Severity.P1
    assert heartbeat(incident_class="rag.vector_db", severity="P4").urgency is Severity.P4

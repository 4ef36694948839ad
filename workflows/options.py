"""Timeouts and retries, each with its reason."""

from datetime import timedelta

from temporalio.common import Priority, RetryPolicy

from app.domain.vocabulary import Severity
from workflows import names

TASK_TIMEOUT = timedelta(seconds=3)
"""A killed worker's workflow tasks run again after this (10 s by default: too long for a page)."""

STORE_TIMEOUT = timedelta(seconds=10)
STORE_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=5), backoff_coefficient=2
)
"""Reading and writing PostgreSQL must succeed in the end: for ever, soon after it is back."""

ENRICH_TIMEOUT = timedelta(seconds=15)
"""Longer than all look-ups together may take (10 s)."""

ENRICH_GIVE_UP = timedelta(seconds=60)
ENRICH_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=3)
"""Of no use to the first page any more, but to whoever reads the incident later."""

ACT_SLACK = timedelta(seconds=30)
"""A step ends by itself within its time; after this much more it is lost."""
ACT_HEARTBEAT = timedelta(seconds=5)
"""A step in the hands of a killed worker is done again after this."""
ACT_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10))
"""For ever: what a step itself fails with is an answer, this is about workers and PostgreSQL."""
ASK_TIMEOUT = timedelta(seconds=60)
ASK_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=5)
NOTE_GIVE_UP = timedelta(seconds=60)
"""A run's line on the timeline that could not be written by then is left out (chosen)."""
AGREEMENT_SECS = 86_400.0
"""How long an agreement is waited for where a playbook doesn't say."""
REMINDER_SECS = 1800.0

TRAINING_TIMEOUT = timedelta(minutes=30)
TRAINING_HEARTBEAT = timedelta(seconds=30)
TRAINING_RETRY = RetryPolicy(initial_interval=timedelta(seconds=10), maximum_attempts=3)
"""What fails three times fails for a reason; tomorrow it is tried again."""

POLL_TIMEOUT = timedelta(seconds=60)
"""Longer than a page may take to answer (10 s), with what PostgreSQL needs."""
POLL_RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30))
"""For ever: only PostgreSQL can be away, and what was seen is not to be lost. The next poll waits for this one."""
WATCH_TIMEOUT = timedelta(seconds=15)
WATCH_RETRY = RetryPolicy(maximum_attempts=1)
"""The next look comes soon enough, and finds what this one has left."""

SEND_TIMEOUT = timedelta(seconds=20)
"""Longer than any channel's own deadline (10 s)."""

SEND_HEARTBEAT = timedelta(seconds=4)
"""A page in the hands of a killed worker is tried again after this."""

SEND_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=10), backoff_coefficient=2
)
"""A receiver that was down gets its page within 10 s of being back. The channel's own delay goes before."""


def priority(severity: Severity) -> Priority:
    """Temporal serves 1 (P0) first, 5 (P4) last."""
    return Priority(priority_key=severity.rank + 1)


def send_queue(severity: Severity) -> str:
    return names.NOTIFY_URGENT if severity.rank <= 1 else names.NOTIFY

"""What may be posted to /api/v1/ingest/<name>, and what makes alerts of it.

The native format, Alertmanager's push API and PagerDuty's events have doors of their own.
"""

from collections.abc import Callable, Sequence

from app.domain.alert import Alert
from app.sources import alertmanager

SOURCES: dict[str, Callable[[object], Sequence[Alert]]] = {
    "alertmanager": alertmanager.webhook,
}

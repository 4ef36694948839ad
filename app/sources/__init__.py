"""What may be posted to /api/v1/ingest/<name>, and what makes alerts, changes and telemetry of it.

The native format, Alertmanager's push API and PagerDuty's events have doors of their own.
"""

from app.sources import alertmanager, email, grafana, langfuse, litellm
from app.sources.base import Source

SOURCES: dict[str, Source] = {
    "alertmanager": alertmanager.SAYS,
    "email": email.SAYS,
    "grafana": grafana.SAYS,
    "langfuse": langfuse.SAYS,
    "litellm": litellm.SAYS,
}

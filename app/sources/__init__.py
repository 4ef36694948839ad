"""What may be posted to /api/v1/ingest/<name>, and what makes alerts, changes and telemetry of it.

The native format, Alertmanager's push API and PagerDuty's events have doors of their own.
"""

from app.sources import alertmanager, anthropic, datadog, github, grafana, openai, opik, sentry, statuspage
from app.sources.base import Source

SOURCES: dict[str, Source] = {
    "alertmanager": alertmanager.SAYS,
    "grafana": grafana.SAYS,
    "statuspage": statuspage.SAYS,
    "openai": openai.SAYS,
    "anthropic": anthropic.SAYS,
    "sentry": sentry.SAYS,
    "datadog": datadog.SAYS,
    "opik": opik.SAYS,
    "github": github.SAYS,
}

"""What may be posted to /api/v1/ingest/<name>, and what makes alerts, changes and telemetry of it.

The native format, Alertmanager's push API and PagerDuty's events have doors of their own.
"""

from app.sources import alertmanager, cloudevents, evidently, garak, grafana, otlp, promptfoo, sentinel
from app.sources.base import Source

SOURCES: dict[str, Source] = {
    "alertmanager": alertmanager.SAYS,
    "grafana": grafana.SAYS,
    "cloudevents": cloudevents.SAYS,
    "evidently": evidently.SAYS,
    "garak": garak.SAYS,
    "otlp": otlp.SAYS,
    "promptfoo": promptfoo.SAYS,
    "sentinel": sentinel.SAYS,
}

"""What may be posted to /api/v1/ingest/<name>, and what makes alerts, changes and telemetry of it.

The native format, Alertmanager's push API and PagerDuty's events have doors of their own.
"""

from app.sources import (
    alertmanager,
    cloudevents,
    email,
    evidently,
    garak,
    grafana,
    langfuse,
    litellm,
    otlp,
    promptfoo,
    sentinel,
)
from app.sources.base import Source

SOURCES: dict[str, Source] = {
    "alertmanager": alertmanager.SAYS,
    "cloudevents": cloudevents.SAYS,
    "email": email.SAYS,
    "evidently": evidently.SAYS,
    "garak": garak.SAYS,
    "grafana": grafana.SAYS,
    "langfuse": langfuse.SAYS,
    "litellm": litellm.SAYS,
    "otlp": otlp.SAYS,
    "promptfoo": promptfoo.SAYS,
    "sentinel": sentinel.SAYS,
}

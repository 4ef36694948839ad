"""What may be posted to /api/v1/ingest/<name>, and what makes alerts, changes and telemetry of it.

The native format, Alertmanager's push API and PagerDuty's events have doors of their own.
"""

from app.sources import (
    alertmanager,
    anthropic,
    cloudevents,
    datadog,
    email,
    evidently,
    garak,
    github,
    grafana,
    langfuse,
    litellm,
    openai,
    opik,
    otlp,
    promptfoo,
    sentinel,
    sentry,
    statuspage,
)
from app.sources.base import Source

SOURCES: dict[str, Source] = {
    "alertmanager": alertmanager.SAYS,
    "anthropic": anthropic.SAYS,
    "cloudevents": cloudevents.SAYS,
    "datadog": datadog.SAYS,
    "email": email.SAYS,
    "evidently": evidently.SAYS,
    "garak": garak.SAYS,
    "github": github.SAYS,
    "grafana": grafana.SAYS,
    "langfuse": langfuse.SAYS,
    "litellm": litellm.SAYS,
    "openai": openai.SAYS,
    "opik": opik.SAYS,
    "otlp": otlp.SAYS,
    "promptfoo": promptfoo.SAYS,
    "sentinel": sentinel.SAYS,
    "sentry": sentry.SAYS,
    "statuspage": statuspage.SAYS,
}

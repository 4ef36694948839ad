"""Sentry's webhooks of an internal integration: alert rules, metric alerts, and what becomes of issues.

Source: https://docs.sentry.io/organization/integrations/integration-platform/webhooks/. It signs the body only, by the
integration's client secret; its timestamp header is not signed, so it proves nothing and isn't looked at.
"""

from typing import Any

from app.domain.alert import Alert, AlertStatus
from app.domain.digging import dug, listed, moment_at, text_at
from app.domain.errors import Invalid
from app.domain.inbound import Inbound
from app.domain.vocabulary import Severity
from app.sources.base import Post, Source, canonical
from app.sources.litellm_prompts import without_prompts
from app.sources.signatures import header

NAME = "sentry"
RESOURCE, REQUEST = "sentry-hook-resource", "request-id"
LEVELS = {
    "fatal": Severity.P1, "critical": Severity.P1, "error": Severity.P2, "warning": Severity.P3,
    "info": Severity.P4, "debug": Severity.P4,
}  # fmt: skip
METRIC = {"critical": Severity.P1, "warning": Severity.P2}
ISSUE = {
    "resolved": AlertStatus.RESOLVED, "archived": AlertStatus.RESOLVED, "ignored": AlertStatus.RESOLVED,
    "unresolved": AlertStatus.FIRING,
}  # fmt: skip
TAGS = ("model", "provider", "model_group", "release", "service", "region", "transaction")
"""What else Sentry's tags hold may be about its users."""


def read(post: Post) -> Inbound:
    """Nothing where somebody was assigned, a comment was written or the integration was installed. Raises: Invalid."""
    said = post.json
    data, action = dug(said, "data"), text_at(said, "action")
    delivery = post.headers.get(REQUEST)
    match post.headers.get(RESOURCE) or _resource(data):
        case "metric_alert":
            return Inbound(alerts=(_metric(data, action, delivery),))
        case "event_alert":
            return Inbound(alerts=(_event(data, delivery),))
        case "issue" if action in ISSUE:
            return Inbound(alerts=(_issue(dug(data, "issue"), ISSUE[action], delivery),))
        case None:
            raise Invalid.field(RESOURCE, "is missing: Sentry says in this header what it sends")
        case _:
            return Inbound()


def _resource(data: object) -> str | None:
    """What a body is about where the header was lost on its way."""
    known = {"metric_alert": "metric_alert", "event": "event_alert", "issue": "issue"}
    return next((name for key, name in known.items() if dug(data, key)), None)


def _required(found: object, *path: str) -> str:
    if text := text_at(found, *path):
        return text
    raise Invalid.field(f"data.{'.'.join(path)}", "is required")


def _metric(data: object, action: str, delivery: str | None) -> Alert:
    said = dug(data, "metric_alert")
    rule = _required(data, "metric_alert", "alert_rule", "id")
    title = text_at(data, "description_title") or text_at(said, "title") or text_at(said, "alert_rule", "name")
    return canonical(
        NAME, title or f"Metric alert {rule}", f"metric_alert/{rule}",
        severity=METRIC.get(action, Severity.P2),
        status=AlertStatus.RESOLVED if action == "resolved" else AlertStatus.FIRING,
        description=text_at(data, "description_text"),
        environment=text_at(said, "alert_rule", "environment"),
        labels={"rule": text_at(said, "alert_rule", "name"), "project": text_at(said, "projects", 0)},
        notes={
            "url": text_at(data, "web_url"), "episode": text_at(said, "identifier"),
            "aggregate": text_at(said, "alert_rule", "aggregate"), "query": text_at(said, "alert_rule", "query"),
        },
        delivery=delivery, starts_at=moment_at(said, "date_started"), ends_at=moment_at(said, "date_closed"),
    )  # fmt: skip


def _event(data: object, delivery: str | None) -> Alert:
    """An issue that an alert rule speaks of. Its message may hold a prompt: the title and where it was must do."""
    said, issue = dug(data, "event"), _required(data, "event", "issue_id")
    tags = _tags(said)
    return canonical(
        NAME, _title(said) or text_at(said, "metadata", "type") or f"Issue {issue}", f"issue/{issue}",
        severity=LEVELS.get(text_at(said, "level"), Severity.P2),
        description="\n".join(
            f"{name}: {text}" for name, text in {
                "Rule": text_at(data, "triggered_rule"), "Where": text_at(said, "culprit"),
            }.items() if text
        ),
        service=tags.get("service"), environment=text_at(said, "environment") or tags.get("environment"),
        labels={name: tags.get(name, "") for name in TAGS}
        | {"rule": text_at(data, "triggered_rule"), "project": text_at(said, "project")},
        notes={"url": text_at(said, "web_url"), "event_id": text_at(said, "event_id")},
        delivery=delivery, starts_at=moment_at(said, "datetime"),
    )  # fmt: skip


def _issue(said: object, status: AlertStatus, delivery: str | None) -> Alert:
    issue = text_at(said, "id")
    if not issue:
        raise Invalid.field("data.issue.id", "is required")
    return canonical(
        NAME, _title(said) or f"Issue {issue}", f"issue/{issue}",
        severity=LEVELS.get(text_at(said, "level"), Severity.P2), status=status,
        description=text_at(said, "culprit"),
        labels={"project": text_at(said, "project", "slug")},
        notes={"url": text_at(said, "web_url") or text_at(said, "permalink"), "issue": text_at(said, "shortId")},
        delivery=delivery,
    )  # fmt: skip


def _title(said: object) -> str:
    """An exception's type and the beginning of its message, which may quote what was sent to a model."""
    return without_prompts(text_at(said, "title"))


def _tags(said: Any) -> dict[str, str]:
    pairs = ((text_at(tag, 0), text_at(tag, 1)) for tag in listed(dug(said, "tags")))
    return {name: value for name, value in pairs if name}


SAYS = Source(read, header("sentry-hook-signature"))

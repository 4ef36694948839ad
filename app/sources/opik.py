"""Opik's alerts: its webhook destination, and what reaches us through its PagerDuty one.

Source: https://www.comet.com/docs/opik/production/alerts and comet-ml/opik, AlertEvent and its webhook sender. The
documentation writes camelCase, builds have sent snake_case, and one of them the alert's own secret and headers: only
what is named here is read. It sends no end: an incident of it stays open until somebody, or the quiet, closes it.
"""

from collections.abc import Iterator
from typing import Any

from app.domain.alert import Alert, ChangeEvent
from app.domain.digging import dug, listed, moment_at, text_at
from app.domain.errors import Invalid
from app.domain.inbound import Inbound
from app.domain.taxonomy import KINDS
from app.domain.vocabulary import Severity
from app.sources.base import Post, Source, canonical
from app.sources.text import cut

NAME = "opik"
GUARDRAILS = "trace:guardrails_triggered"
CLASSES = {
    "trace:errors": "other.application",
    "trace:feedback_score": "quality.drop",
    "trace_thread:feedback_score": "quality.drop",
    "trace:cost": "cost.runaway",
    "trace:latency": "performance.latency",
    GUARDRAILS: "security.prompt_injection",
}
PII = "privacy.pii_leak"
CHANGES = {
    "prompt:created": "a prompt was created", "prompt:committed": "a prompt has a new version",
    "prompt:deleted": "a prompt was deleted", "experiment:finished": "an experiment has finished",
}  # fmt: skip
SPELT = {"alert_id": "alertId", "alert_name": "alertName", "event_type": "eventType", "event_count": "eventCount",
         "created_at": "createdAt", "workspace_id": "workspaceId", "project_ids": "projectIds",
         "project_names": "projectNames", "project_name": "projectName", "metric_name": "metricName",
         "metric_value": "metricValue", "window_seconds": "windowSeconds", "feedback_scores": "feedbackScores",
         "experiment_name": "experimentName", "prompt_name": "promptName"}  # fmt: skip
DETAILS = ("name", "prompt_name", "experiment_name", "id", "version", "commit", "project_name", "feedback_scores")


def read(post: Post) -> Inbound:
    """An alert, or a change (a prompt's, an experiment that has finished). Raises: Invalid."""
    said = post.json
    kind = _word(said, "event_type") or _word(dug(said, "payload"), "event_type")
    if not kind:
        raise Invalid.field("eventType", "is required")
    if kind in CHANGES:
        return Inbound(changes=tuple(_changes(said, kind)))
    return Inbound(alerts=(_alert(said, kind),))


def through_pagerduty(alert: Alert, details: object) -> Alert:
    """An alert as it came by PagerDuty's format; where it is recognisably Opik's, with an identity that lasts.

    There Opik calls every event a problem of its own, and `info`.
    """
    rule, kind = _word(details, "alert_id"), _word(details, "event_type")
    incident_class = CLASSES.get(kind)
    if not rule or incident_class is None:
        return alert
    identity, means = f"opik/{cut(rule, 255)}/{kind}", KINDS[incident_class]
    return alert.model_copy(update={
        "identity": identity, "external_id": cut(identity, 255), "delivery": alert.identity,
        "severity": means.severity if alert.severity is Severity("info") else alert.severity,
        "incident_type": means.type, "category": means.category,
        "labels": alert.labels | {"class": incident_class, "tool": NAME},
    })  # fmt: skip


def _alert(said: object, kind: str) -> Alert:
    payload = dug(said, "payload")
    rule = _word(said, "alert_id") or _word(payload, "alert_id")
    if not rule:
        raise Invalid.field("alertId", "is required")
    metadata = dug(payload, "metadata")
    name = _word(said, "alert_name") or _word(payload, "alert_name") or f"Opik {kind}"
    projects = sorted(_texts(metadata, "project_ids"))
    count = _word(payload, "event_count")
    return canonical(
        NAME, name, "/".join((rule, kind, *projects)),
        incident_class=_class(kind, metadata),
        description="\n".join(line for line in (text_at(payload, "message"), _measured(metadata)) if line),
        labels={
            "event_type": kind, "metric": _word(metadata, "metric_name"),
            "project": ", ".join(_texts(metadata, "project_names")) or _project(metadata),
            "workspace": _word(said, "workspace_id"),
        },
        notes={"alert_id": rule, "traces": ", ".join(_traces(metadata))},
        occurrences=int(count) if count.isascii() and count.isdigit() and len(count) < 10 else 1,
        delivery=text_at(said, "id") or None, starts_at=moment_at(_said(said, "created_at")),
    )  # fmt: skip


def _class(kind: str, metadata: object) -> str:
    """Whose guardrail speaks of personal data tells of a leak."""
    broken = [one for one in listed(metadata) if text_at(one, "result").lower() != "passed"]
    if kind == GUARDRAILS and any("pii" in text_at(one, "name").lower() for one in broken):
        return PII
    return CLASSES.get(kind, "other.application")


def _measured(metadata: object) -> str:
    """The figures as they were sent: a latency comes in milliseconds, its threshold in seconds."""
    value, threshold = _word(metadata, "metric_value"), text_at(metadata, "threshold")
    if not value:
        return ""
    window = _word(metadata, "window_seconds")
    limit = f", threshold {threshold}" if threshold else ""
    return f"{_word(metadata, 'metric_name') or 'value'}: {value}{limit}{f', over {window} s' if window else ''}"


def _changes(said: object, kind: str) -> Iterator[ChangeEvent]:
    """One for each of what the event is about."""
    payload = dug(said, "payload")
    metadata = dug(payload, "metadata")
    for one in listed(metadata)[:100] or [metadata]:
        name = _word(one, "prompt_name") or _word(one, "experiment_name") or text_at(one, "name")
        details = {field: found for field in DETAILS if (found := _said(one, field)) not in (None, "")}
        yield ChangeEvent(
            source=NAME, summary=cut(f"Opik: {CHANGES[kind]}{f': {name}' if name else ''}", 1024),
            at=moment_at(_said(said, "created_at")), details=details | {"event_type": kind},
        )  # fmt: skip


def _said(found: object, name: str) -> Any:
    """What is there under a name, in whichever of the two spellings."""
    value = dug(found, name)
    return dug(found, SPELT.get(name, name)) if value is None else value


def _word(found: object, name: str) -> str:
    return text_at(_said(found, name))


def _texts(found: object, name: str) -> list[str]:
    """A list of texts, or a text that holds several, with commas."""
    value = _said(found, name)
    several = value.split(",") if isinstance(value, str) else listed(value)
    return [text for one in several[:50] if (text := text_at(one)[:255])]


def _project(metadata: object) -> str:
    return next((name for one in listed(metadata) if (name := _word(one, "project_name"))), "")


def _traces(metadata: object) -> list[str]:
    return [trace for one in listed(metadata)[:20] if (trace := text_at(one, "entity_id") or text_at(one, "trace_id"))]


SAYS = Source(read)

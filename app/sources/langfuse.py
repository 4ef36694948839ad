"""Langfuse's automations: monitors that fire and recover, prompts that change, evaluators and exports that stop.

Sources: langfuse, packages/shared/src/features/monitors, domain/webhooks.ts, server/notifications/types.ts and
encryption/signature.ts. It tries four times, and after five failed deliveries sends nothing any more.
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from app.domain.alert import Alert, AlertStatus, ChangeEvent
from app.domain.errors import Invalid
from app.domain.inbound import Inbound
from app.domain.taxonomy import KINDS
from app.domain.vocabulary import Severity
from app.sources.base import Forged, Post, Source, canonical
from app.sources.signatures import check_age, hmac_sha256
from app.sources.text import as_text, cut

SOURCE = "langfuse"
SIGNATURE = "x-langfuse-signature"
METRIC = re.compile(r"`(?P<how>\w{1,40})\((?P<view>[\w-]{1,60})\.(?P<measure>\w{1,60})\)`")
BLIND = "observability.blind_spot"
UNWATCHED = {
    "PAUSED": "is paused: nothing is watched by it until it is resumed",
    "UNKNOWN": "has not been evaluated yet",
}
"""States of a monitor that say nothing of what it watches."""
COLUMNS = ("name", "level", "environment", "model", "providedModelName", "traceName", "promptName", "release")
"""The filters that say what a monitor watches; values of others may be people's."""
LIVE = "production"


def read(post: Post) -> Inbound:
    """Its `id` names the delivery: Langfuse sends the same again until it is answered. Raises: Invalid."""
    said = post.json
    if not isinstance(said, dict):
        raise Invalid.field("body", "must be an object")
    kind, payload = said.get("type"), _dict(said.get("payload"))
    delivery = said["id"] if isinstance(said.get("id"), str) and said["id"] else None
    if kind == "monitor-alert":
        return _monitor(payload, delivery)
    if kind == "prompt-version":
        return Inbound(changes=(_prompt({**payload, **said}),), delivery=delivery)
    if kind == "project-notification":
        alert = _notification(_dict(said.get("event")) or _dict(payload.get("event")), delivery)
        return Inbound(alerts=(alert,), delivery=delivery)
    raise Invalid.field("type", "must be monitor-alert, prompt-version or project-notification")


def verify(post: Post, secrets: Sequence[str]) -> None:
    """`t=<seconds>,v1=<hex HMAC-SHA256 of t.body>`. Raises: Forged, Stale."""
    parts = [part.strip().partition("=") for part in post.headers.get(SIGNATURE, "").split(",")]
    signed_at = next((value for name, _, value in parts if name == "t"), "")
    given = [value.lower().encode("utf-8", "replace") for name, _, value in parts if name == "v1"]
    wanted = [hmac_sha256(secret, signed_at.encode() + b"." + post.body).encode() for secret in secrets]
    if not any(hmac.compare_digest(one, said) for one in wanted for said in given):
        raise Forged("The signature is missing or wrong." if given else "The signature is missing.")
    check_age(post.at, signed_at)


def _monitor(said: Mapping[str, Any], delivery: str | None) -> Inbound:
    """Each monitor is one problem: sent again while it lasts, worse or better, and ended by OK."""
    monitor, project, state = (_text(said.get(name)) for name in ("monitorId", "projectId", "severity"))
    if not monitor or not state:
        raise Invalid.field("payload", "must have monitorId and severity")
    message = _dict(said.get("message"))
    title = re.sub(r"^\[\w+\] ", "", _text(message.get("title"))) or f"Monitor {monitor}"
    at = _moment(said.get("timestamp"))
    if state in UNWATCHED:
        change = ChangeEvent(
            source=SOURCE, summary=cut(f"Monitor {title} {UNWATCHED[state]}", 1024), at=at,
            details={"monitor_id": monitor, "project_id": project, "severity": state},
        )  # fmt: skip
        return Inbound(changes=(change,), delivery=delivery)
    watched, body = _watched(said), _text(message.get("body"))
    metric = METRIC.search(body)
    blind = state == "NO_DATA"
    incident_class = BLIND if blind else _class(metric, _text(said.get("view")))
    alert = canonical(
        SOURCE, f"{title}: no data" if blind else title, f"{project}:{monitor}",
        incident_class=incident_class, severity=_severity(state, incident_class),
        status=AlertStatus.RESOLVED if state == "OK" else AlertStatus.FIRING,
        description=body, environment=watched.get("environment"), starts_at=at, ends_at=at, delivery=delivery,
        labels={"project_id": project, "monitor_id": monitor, "measure": metric and metric[0].strip("`"), **watched},
        notes={"monitor": _text(said.get("permalink")), "data": _text(said.get("dataPermalink")),
               "window": _text(said.get("window")), "langfuse_severity": state},
    )  # fmt: skip
    return Inbound(alerts=(alert,), delivery=delivery)


def _class(metric: re.Match[str] | None, view: str) -> str:
    """What is measured says it; of no class is what counts calls and errors."""
    measure = metric["measure"].lower() if metric else ""
    if any(word in measure for word in ("latency", "timeto", "timeper", "persecond")):
        return "performance.latency"
    if "cost" in measure or "token" in measure:
        return "cost.runaway"
    return "quality.drop" if (metric["view"] if metric else view).startswith("scores") else "other.application"


def _severity(state: str, incident_class: str) -> Severity:
    """What the class says; of a WARNING one step less."""
    severity = KINDS[incident_class].severity
    return Severity(f"P{min(severity.rank + 1, 4)}") if state == "WARNING" else severity


def _watched(said: Mapping[str, Any]) -> dict[str, str]:
    """The filters that are one equation each, by column."""
    filters = said.get("filters")
    return {
        one["column"]: cut(as_text(one["value"]), 255)
        for one in (filters if isinstance(filters, list) else [])
        if isinstance(one, dict) and one.get("column") in COLUMNS and one.get("operator") in ("=", "any of")
        if one.get("value")
    }


def _prompt(said: Mapping[str, Any]) -> ChangeEvent:
    """A version of a prompt as it stands after the change; its text is not kept.

    One label's move is told of both versions that it touches. Dated by the version's own `updatedAt`, so that the same
    told twice is one.
    """
    prompt = _dict(said.get("prompt"))
    name, version = _text(prompt.get("name")), _text(prompt.get("version"))
    if not name:
        raise Invalid.field("prompt.name", "must say which prompt")
    labels = [cut(label, 100) for label in _list(prompt.get("labels")) if isinstance(label, str)][:20]
    action = _text(said.get("action")) or "updated"
    live = LIVE in labels
    author, model = _text(_dict(said.get("user")).get("name")), _text(_dict(prompt.get("config")).get("model"))
    details = {
        "action": action, "prompt": name, "version": version, "labels": labels, "model": model,
        "project_id": _text(prompt.get("projectId")), "commit_message": _text(prompt.get("commitMessage")),
        "importance": "high" if live else "low",
    }  # fmt: skip
    what = "deleted" if action == "deleted" else "is in production" if live else action
    return ChangeEvent(
        source=SOURCE, summary=cut(f"Prompt {name} v{version} {what}", 1024), author=cut(author, 255) or None,
        at=_moment(prompt.get("updatedAt")) or _moment(said.get("timestamp")),
        details={field: value for field, value in details.items() if value},
    )  # fmt: skip


def _notification(said: Mapping[str, Any], delivery: str | None) -> Alert:
    """What Langfuse can't do any more: judge, or export. It doesn't say when it can again."""
    event, resource = _text(said.get("eventType")), _text(said.get("resourceName")) or _text(said.get("resourceId"))
    if not event:
        raise Invalid.field("event.eventType", "must say what happened")
    blocked, reason = event == "evaluator-blocked", _text(said.get("blockReason"))
    title = f"Evaluator {resource} is blocked" if blocked else f"{event.replace('-', ' ').capitalize()}: {resource}"
    informs = said.get("severity") == "INFO"
    return canonical(
        SOURCE, f"{title}: {reason}" if reason else title,
        ":".join((_text(said.get("projectId")), event, _text(said.get("resourceId")))),
        incident_class=BLIND, severity=Severity.P4 if informs else Severity.P2 if blocked else Severity.P3,
        description=_text(said.get("message")), delivery=delivery,
        labels={"event_type": event, "block_reason": reason, "project_id": _text(said.get("projectId"))},
        notes={"project": _text(said.get("projectName")), "url": _text(said.get("url"))},
    )  # fmt: skip


def _moment(value: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(_text(value))
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _text(value: object) -> str:
    if isinstance(value, str):
        return cut(value.strip(), 65_536)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


SAYS = Source(read, verify)

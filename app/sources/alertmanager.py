"""Prometheus Alertmanager: its webhook (version 4), and the push API that Prometheus itself sends to.

Sources: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config and
Alertmanager's api/v2/openapi.yaml. Fields we do not know are ignored: newer versions add some.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, RootModel, StrictInt

from app.domain.alert import LABELS_MAX, TEXT_MAX, TITLE_MAX, Alert, AlertStatus, Label
from app.domain.decode import Instant, decode
from app.domain.inbound import Inbound
from app.domain.taxonomy import base
from app.domain.vocabulary import Environment, Severity
from app.sources.base import Post, Source
from app.sources.strict_json import parse_json
from app.sources.text import VALUE_MAX, cut, first_said, without_nulls

SOURCE = "alertmanager"
DOORS = ("/api/v2/alerts", "/api/v1/ingest/alertmanager", "/v1/ingest/alertmanager")
ALERTS_MAX = 10_000
SERVICE_LABELS = ("service", "app", "job")
FNV_OFFSET = 0xCBF29CE484222325
FNV_PRIME = 0x100000001B3


def _open_if_year_one(moment: object) -> object:
    """Go's zero time says "not yet"."""
    return None if isinstance(moment, str) and moment.startswith("0001-01-01") else moment


When = Annotated[Instant | None, BeforeValidator(_open_if_year_one)]
Texts = Annotated[dict[Label, str], Field(max_length=LABELS_MAX)]


class Sent(BaseModel):
    """One alert as both doors have it."""

    labels: Texts
    annotations: Texts = {}
    starts_at: When = Field(None, validation_alias="startsAt")
    ends_at: When = Field(None, validation_alias="endsAt")
    generator_url: str = Field("", validation_alias="generatorURL")
    fingerprint: str = Field("", max_length=255)
    status: Literal["firing", "resolved"] | None = None


Alerts = Annotated[list[Annotated[Sent, BeforeValidator(without_nulls)]], Field(max_length=ALERTS_MAX)]


class Pushed(RootModel[Alerts]):
    """POST /api/v2/alerts."""


class Webhook(BaseModel):
    """The group that one notification is about."""

    alerts: Alerts
    status: Literal["firing", "resolved"] = "firing"
    group_key: str = Field("", validation_alias="groupKey")
    external_url: str = Field("", validation_alias="externalURL")
    truncated: StrictInt = Field(0, validation_alias="truncatedAlerts")


def webhook(obj: object) -> list[Alert]:
    """The alerts of one notification. Raises: Invalid."""
    group = decode(Webhook, without_nulls(obj), extra="ignore")
    about = {"groupKey": group.group_key, "externalURL": group.external_url}
    if group.truncated > 0:
        about["truncatedAlerts"] = str(group.truncated)
    return [
        _alert(sent, AlertStatus(sent.status or group.status), about, f"alerts[{at}]")
        for at, sent in enumerate(group.alerts)
    ]


def _read(post: Post) -> Inbound:
    return Inbound(alerts=tuple(webhook(parse_json(post.body))))


SAYS = Source(_read, strict=True, schema=Webhook)


def push(obj: object, *, now: datetime) -> list[Alert]:
    """What Prometheus pushes: an alert whose `endsAt` is not after `now` is resolved. Raises: Invalid."""

    def status(sent: Sent) -> AlertStatus:
        return AlertStatus.RESOLVED if sent.ends_at is not None and sent.ends_at <= now else AlertStatus.FIRING

    pushed = decode(Pushed, obj, extra="ignore").root
    return [_alert(sent, status(sent), {}, f"[{at}]") for at, sent in enumerate(pushed)]


def fingerprint(labels: dict[str, str]) -> str:
    """16 hex digits, the same as Alertmanager's: FNV-1a over the sorted labels that are not empty.

    Source: prometheus/common, model/signature.go; the byte 0xFF ends every name and value.
    """
    digest = FNV_OFFSET
    for name in sorted(labels):
        if labels[name]:
            for byte in b"%b\xff%b\xff" % (name.encode(), labels[name].encode()):
                digest = (digest ^ byte) * FNV_PRIME & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


def _alert(sent: Sent, status: AlertStatus, about: dict[str, str], where: str) -> Alert:
    labels, notes = sent.labels, sent.annotations
    identity = sent.fingerprint or fingerprint(labels)
    title = first_said(notes.get("summary"), notes.get("title"), labels.get("alertname"), f"Alert {identity}")
    shown = {name: text for name, text in {"generatorURL": sent.generator_url, **about}.items() if text}
    service = first_said(*(labels.get(name) for name in SERVICE_LABELS))
    fields = {
        "source": SOURCE,
        "title": cut(title, TITLE_MAX),
        "status": status,
        "severity": _severity(labels),
        "description": cut(first_said(notes.get("description"), notes.get("message")), TEXT_MAX),
        "environment": _environment(first_said(labels.get("env"), labels.get("environment"))),
        "affected_services": (cut(service, 255),) if service else (),
        "labels": {name: cut(text, VALUE_MAX) for name, text in labels.items()},
        "annotations": {name: cut(text, VALUE_MAX) for name, text in (notes | shown).items()},
        "runbook_url": notes.get("runbook_url", "")[:2048] or None,
        "external_id": identity,
        "identity": identity,
        "starts_at": sent.starts_at,
        "ends_at": sent.ends_at if status is AlertStatus.RESOLVED else None,
    }
    return decode(Alert, fields, where)


def _severity(labels: dict[str, str]) -> Severity:
    try:
        return Severity(labels.get("severity", ""))
    except ValueError:
        return base(labels)


def _environment(name: str) -> Environment | None:
    try:
        return Environment(name)
    except ValueError:
        return None

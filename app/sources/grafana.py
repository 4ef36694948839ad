"""Grafana Alerting's webhook contact point: Alertmanager's shape, and more.

Source: grafana/alerting, receivers/webhook/v1 and http/hmac.go. Its signature is the hex HMAC-SHA256 of the body, or,
where a timestamp header is configured, of `timestamp:body`; of those, two names are known here.
"""

from collections.abc import Sequence
from typing import Any

from app.domain.alert import TITLE_MAX, Alert
from app.domain.inbound import Inbound
from app.domain.taxonomy import KINDS
from app.domain.vocabulary import Severity
from app.sources import alertmanager
from app.sources.base import Post, Source, texts
from app.sources.signatures import check_age, check_hex
from app.sources.text import cut

SIGNATURE = "x-grafana-alerting-signature"
SIGNED_AT = ("x-grafana-alerting-timestamp", "x-grafana-alerting-signature-timestamp")
BLIND = {"DatasourceNoData": Severity.P4, "DatasourceError": Severity.P3}
"""What Grafana says of itself when it can't see: the label `rulename` holds the rule's own name."""
SHOWN = ("dashboardURL", "panelURL", "silenceURL", "values", "valueString", "ruleUID", "imageURL")


def read(post: Post) -> Inbound:
    """One alert for each of the group. Raises: Invalid."""
    said = post.json
    alerts = alertmanager.webhook(said)
    given = said["alerts"] if isinstance(said, dict) else []
    return Inbound(alerts=tuple(_grafana(alert, one) for alert, one in zip(alerts, given, strict=True)))


def verify(post: Post, secrets: Sequence[str]) -> None:
    """Raises: Forged, Stale."""
    signed_at = next((post.headers[name] for name in SIGNED_AT if name in post.headers), None)
    if signed_at is None:
        check_hex(post, secrets, post.headers.get(SIGNATURE), post.body)
        return
    check_hex(post, secrets, post.headers.get(SIGNATURE), signed_at.encode() + b":" + post.body)
    check_age(post.at, signed_at)


def _grafana(alert: Alert, given: dict[str, Any]) -> Alert:
    name, labels = alert.labels.get("alertname", ""), alert.labels
    shown = {field: given[field] for field in SHOWN if given.get(field)}
    changes: dict[str, object] = {"source": "grafana", "annotations": texts({**shown, **alert.annotations})}
    if name in BLIND:
        what = "no data" if name == "DatasourceNoData" else "its data source fails"
        labels = {"class": "observability.blind_spot", **{k: v for k, v in labels.items() if k != "class"}}
        changes |= {
            "title": cut(f"{labels.get('rulename', alert.title)}: {what}", TITLE_MAX),
            "severity": BLIND[name],
            "labels": texts(labels),
        }
    if kind := KINDS.get(labels.get("class", "")):
        changes |= {"incident_type": kind.type, "category": kind.category}
        if name not in BLIND and not labels.get("severity"):
            changes["severity"] = kind.severity
    return alert.model_copy(update=changes)


SAYS = Source(read, verify, schema=alertmanager.Webhook)

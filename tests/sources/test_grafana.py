"""What Grafana's webhook contact point posts, and by what it is known."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.alert import Alert, AlertStatus
from app.domain.dedup import fingerprint
from app.domain.errors import Invalid
from app.domain.vocabulary import IncidentType, Severity
from app.sources.base import Forged, Post, Stale
from app.sources.grafana import read, verify

NOW = datetime(2026, 11, 23, 3, 40, tzinfo=UTC)
SIGNED_AT = 1795405000
HELLO = b'{"hello":"world"}'
OF_BODY = "44a27e4279b34f29c0bbc5d3910ae8a45130a3878cae8b8634d2c7f70261164a"
OF_BOTH = "d197ca3ed1d96fd7e83464e3828a650f9913b91bb4c62cb8fb20f2a978969074"


def alert(status: str = "firing", labels: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "status": status, "labels": {"alertname": "TTFT high", "service": "chat", **(labels or {})},
        "annotations": {"summary": "First tokens are late", "runbook_url": "https://r/1"},
        "startsAt": "2026-11-23T03:30:00Z", "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "c6eadffa33fcdf37",
        "generatorURL": "https://g/alerting/1", "silenceURL": "https://g/silence", "dashboardURL": "https://g/d/1",
        "panelURL": "", "values": {"B": 5.2, "C": 1}, "valueString": "[ var='B' value=5.2 ]", "orgId": 1,
        **more,
    }  # fmt: skip


def told(*alerts: dict[str, Any]) -> list[Alert]:
    group = {
        "receiver": "llm", "status": "firing", "version": "1", "orgId": 1, "title": "[FIRING:1]", "state": "alerting",
        "alerts": alerts, "groupKey": "{}:{}", "externalURL": "https://g/", "truncatedAlerts": 0, "message": "…",
    }  # fmt: skip
    return list(read(Post(json.dumps(group).encode(), NOW)).alerts)


def test_each_alert_of_a_group_is_told_with_its_values() -> None:
    fired, over = told(
        alert(labels={"severity": "critical"}),
        alert("resolved", fingerprint="d7", endsAt="2026-11-23T03:39:00Z", values=None, silenceURL=None),
    )
    assert (fired.source, fired.title, fired.severity) == ("grafana", "First tokens are late", Severity.P0)
    assert (fired.affected_services, fired.runbook_url) == (("chat",), "https://r/1")
    assert json.loads(fired.annotations["values"]) == {"B": 5.2, "C": 1}
    assert fired.annotations["dashboardURL"] == "https://g/d/1"
    assert "panelURL" not in fired.annotations
    assert fired.starts_at == datetime(2026, 11, 23, 3, 30, tzinfo=UTC)
    assert (over.status, over.ends_at) == (AlertStatus.RESOLVED, datetime(2026, 11, 23, 3, 39, tzinfo=UTC))


def test_a_resolve_ends_what_fired() -> None:
    [fired], [over] = told(alert()), told(alert("resolved"))
    assert fingerprint(fired) == fingerprint(over)


@pytest.mark.parametrize(("labels", "severity", "kind"), [
    ({"class": "infrastructure.gpu_fault"}, "P1", IncidentType.INFRASTRUCTURE),
    ({"class": "infrastructure.gpu_fault", "severity": "warning"}, "P2", IncidentType.INFRASTRUCTURE),
    ({"class": "nobody.knows"}, "P2", IncidentType.UNKNOWN), ({}, "P2", IncidentType.UNKNOWN),
])  # fmt: skip
def test_a_class_says_what_it_is_and_how_urgent_where_the_rule_does_not(
    labels: dict[str, str], severity: str, kind: IncidentType
) -> None:
    [made] = told(alert(labels=labels))
    assert (made.severity, made.incident_type) == (Severity(severity), kind)


@pytest.mark.parametrize(("name", "severity", "title"), [
    ("DatasourceNoData", "P4", "TTFT high: no data"),
    ("DatasourceError", "P3", "TTFT high: its data source fails"),
])  # fmt: skip
@pytest.mark.parametrize("status", ["firing", "resolved"])
def test_a_rule_that_cannot_see_is_a_blind_spot(name: str, severity: str, title: str, status: str) -> None:
    labels = {"alertname": name, "rulename": "TTFT high", "severity": "critical", "class": "performance.latency"}
    [made] = told(alert(status, labels))
    assert (made.severity, made.title, made.labels["class"]) == (Severity(severity), title, "observability.blind_spot")
    assert made.incident_type is IncidentType.INFRASTRUCTURE


@pytest.mark.parametrize("body", [[], {}, {"alerts": None}, {"alerts": [{}]}, {"alerts": [{"labels": {"a": 1}}]}])
def test_what_is_none_of_its_posts_is_refused(body: object) -> None:
    with pytest.raises(Invalid):
        read(Post(json.dumps(body).encode(), NOW))


def test_an_alert_with_as_many_annotations_as_fit_is_taken() -> None:
    [made] = told(alert(annotations={f"a{n}": "x" for n in range(250)}))
    assert Alert.model_validate(made.model_dump()) == made


def signed(
    signature: str | None, signed_at: object = None, *, at: int = SIGNED_AT, body: bytes = HELLO,
    name: str = "x-grafana-alerting-timestamp",
) -> Post:  # fmt: skip
    headers = {"x-grafana-alerting-signature": signature, name: signed_at}
    said = {name: str(value) for name, value in headers.items() if value is not None}
    return Post(body, datetime.fromtimestamp(at, UTC), headers=said)


@pytest.mark.parametrize("post", [
    signed(OF_BODY), signed(OF_BODY.upper()), signed(OF_BOTH, SIGNED_AT),
    signed(OF_BOTH, SIGNED_AT, name="x-grafana-alerting-signature-timestamp"),
])  # fmt: skip
def test_a_signature_is_known_by_any_of_the_secrets(post: Post) -> None:
    verify(post, ["graf-secret"])
    verify(post, ["graf-next", "graf-secret"])


@pytest.mark.parametrize("post", [
    signed(None), signed(""), signed(OF_BODY[:-1] + "b"), signed(OF_BODY, SIGNED_AT), signed(OF_BOTH),
    signed(OF_BOTH, SIGNED_AT + 1), signed(OF_BODY, body=b"{}"), signed(None, SIGNED_AT),
])  # fmt: skip
def test_what_nobody_signed_is_forged(post: Post) -> None:
    with pytest.raises(Forged):
        verify(post, ["graf-secret"])


def test_a_secret_that_was_replaced_signs_nothing() -> None:
    with pytest.raises(Forged):
        verify(signed(OF_BODY), ["graf-next"])


@pytest.mark.parametrize("at", [SIGNED_AT + 301, SIGNED_AT - 301])
def test_somebody_elses_copy_is_stale(at: int) -> None:
    with pytest.raises(Stale):
        verify(signed(OF_BOTH, SIGNED_AT, at=at), ["graf-secret"])

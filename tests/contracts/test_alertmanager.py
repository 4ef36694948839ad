"""Alertmanager's two doors: its webhook, and the push API Prometheus speaks."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.domain.alert import Alert, AlertStatus
from app.domain.dedup import delivery_id
from app.domain.dedup import fingerprint as problem
from app.domain.errors import Invalid
from app.domain.vocabulary import Environment, Severity
from app.sources.alertmanager import fingerprint, push, webhook
from app.sources.strict_json import parse_json

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
WEBHOOK = rb"""{"receiver":"llm-incidents","status":"firing","alerts":[{"status":"firing",
 "labels":{"alertname":"LiteLLMDeploymentOutage","api_provider":"anthropic","model_id":"dep-1","severity":"critical",
 "service":"llm-gateway"},"annotations":{"summary":"complete outage","runbook_url":"https://r/x"},
 "startsAt":"2026-11-23T03:30:00.123456789Z","endsAt":"0001-01-01T00:00:00Z",
 "generatorURL":"http://prom:9090/graph","fingerprint":"a1f0c2d4e6b80911"}],
 "notification_reason":"first notification","groupLabels":{"alertname":"LiteLLMDeploymentOutage"},"commonLabels":{},
 "commonAnnotations":{},"routeLabels":{},"externalURL":"http://am:9093","version":"4",
 "groupKey":"{}:{alertname=\"LiteLLMDeploymentOutage\"}","truncatedAlerts":0}"""
LABELS = {"alertname": "Slow", "severity": "warning", "job": "vllm"}


def notified(*alerts: dict[str, Any], **group: Any) -> list[Alert]:
    return webhook({"version": "4", "alerts": list(alerts), **group})


def test_the_webhooks_body() -> None:
    assert webhook(parse_json(WEBHOOK)) == [
        Alert(
            source="alertmanager", title="complete outage", severity=Severity.P0, affected_services=("llm-gateway",),
            labels={
                "alertname": "LiteLLMDeploymentOutage", "api_provider": "anthropic", "model_id": "dep-1",
                "severity": "critical", "service": "llm-gateway",
            },
            annotations={
                "summary": "complete outage", "runbook_url": "https://r/x", "generatorURL": "http://prom:9090/graph",
                "groupKey": '{}:{alertname="LiteLLMDeploymentOutage"}', "externalURL": "http://am:9093",
            },
            runbook_url="https://r/x", external_id="a1f0c2d4e6b80911", identity="a1f0c2d4e6b80911",
            starts_at=datetime(2026, 11, 23, 3, 30, 0, 123456, tzinfo=UTC),
        )
    ]  # fmt: skip


@pytest.mark.parametrize(("labels", "expected"), [
    ({}, 14695981039346656037),
    ({"name": "garland, briggs", "fear": "love is not enough"}, 5799056148416392346),
    ({"first-label": "first-label-value"}, 5146282821936882169),
    ({"first-label": "first-label-value", "second-label": "second-label-value"}, 3195800080984914717),
])  # fmt: skip
def test_the_fingerprint_is_prometheus_own(labels: dict[str, str], expected: int) -> None:
    """Numbers from prometheus/common, model/signature_test.go."""
    assert fingerprint(labels) == f"{expected:016x}"


def test_an_empty_label_is_none() -> None:
    assert fingerprint(LABELS | {"zone": ""}) == fingerprint(LABELS)


def test_both_doors_lead_to_the_same_incident_and_a_resend_changes_nothing() -> None:
    started = "2026-11-23T03:30:00Z"
    [pushed] = push([{"labels": LABELS, "startsAt": started, "endsAt": "2026-11-23T04:04:00Z"}], now=NOW)
    [resent] = push([{"labels": LABELS, "startsAt": started, "endsAt": "2026-11-23T04:05:00Z"}], now=NOW)
    sent = {"status": "firing", "labels": LABELS, "startsAt": started, "fingerprint": fingerprint(LABELS)}
    [heard] = notified(sent)
    mark = problem(pushed)
    assert problem(heard) == problem(resent) == mark
    assert delivery_id(pushed, mark) == delivery_id(resent, mark) == delivery_id(heard, mark) is not None
    assert pushed.ends_at is None


@pytest.mark.parametrize(("ends_at", "status"), [
    (None, AlertStatus.FIRING),
    ("0001-01-01T00:00:00Z", AlertStatus.FIRING),
    ("2026-11-23T04:00:01Z", AlertStatus.FIRING),
    ("2026-11-23T04:00:00Z", AlertStatus.RESOLVED),
    ("2026-11-23T05:59:59+02:00", AlertStatus.RESOLVED),
])  # fmt: skip
def test_a_pushed_alert_is_over_when_its_end_has_come(ends_at: str | None, status: AlertStatus) -> None:
    [made] = push([{"labels": LABELS, "endsAt": ends_at}], now=NOW)
    assert made.status is status
    assert (made.ends_at is None) is (status is AlertStatus.FIRING)


def test_each_alert_of_a_group_has_its_own_status() -> None:
    ended = {"status": "resolved", "labels": LABELS, "endsAt": "2026-11-23T03:59:00Z"}
    one, other, third = notified({"status": "firing", "labels": LABELS}, ended, {"labels": LABELS}, status="resolved")
    assert [one.status, other.status, third.status] == ["firing", "resolved", "resolved"]
    assert other.ends_at == NOW - timedelta(minutes=1)


@pytest.mark.parametrize(("labels", "annotations", "field", "expected"), [
    ({}, {"summary": "s", "title": "t"}, "title", "s"),
    ({}, {"summary": "  ", "title": "t"}, "title", "t"),
    ({}, {}, "title", "Slow"),
    ({"alertname": ""}, {}, "title", f"Alert {fingerprint({'severity': 'warning', 'job': 'vllm'})}"),
    ({}, {"summary": "s" * 600}, "title", "s" * 499 + "…"),
    ({}, {"message": "m"}, "description", "m"),
    ({}, {"description": "d" * 9_000}, "description", "d" * 9_000),
    ({"severity": "page"}, {}, "severity", Severity.P0),
    ({"severity": "purple"}, {}, "severity", Severity.P2),
    ({"severity": ""}, {}, "severity", Severity.P2),
    ({"app": "a"}, {}, "affected_services", ("a",)),
    ({"app": "a", "service": "s"}, {}, "affected_services", ("s",)),
    ({"job": ""}, {}, "affected_services", ()),
    ({"env": "prod"}, {}, "environment", Environment.PRODUCTION),
    ({"environment": "staging"}, {}, "environment", Environment.STAGING),
    ({"env": "blue"}, {}, "environment", None),
])  # fmt: skip
def test_what_labels_and_annotations_become(
    labels: dict[str, str], annotations: dict[str, str], field: str, expected: object
) -> None:
    [made] = notified({"labels": LABELS | labels, "annotations": annotations})
    assert getattr(made, field) == expected


def test_alerts_left_out_of_a_notification_are_shown() -> None:
    [made] = notified({"labels": LABELS}, truncatedAlerts=7)
    assert made.annotations["truncatedAlerts"] == "7"


def test_a_long_annotation_is_cut_not_refused() -> None:
    [made] = notified({"labels": LABELS | {"query": "q" * 5000}, "annotations": {"stack": "x" * 5000}})
    assert made.annotations["stack"] == "x" * 4095 + "…"
    assert made.labels["query"] == "q" * 4095 + "…"


def test_null_is_the_same_as_left_out() -> None:
    nothing = {"annotations": None, "startsAt": None, "endsAt": None, "generatorURL": None, "fingerprint": None}
    assert notified({"labels": LABELS} | nothing, status=None) == notified({"labels": LABELS})


@pytest.mark.parametrize(("obj", "field"), [
    (5, "body"),
    ([], "body"),
    ({}, "alerts"),
    ({"alerts": {}}, "alerts"),
    ({"alerts": [5]}, "alerts[0]"),
    ({"alerts": [{"labels": LABELS}, {}]}, "alerts[1].labels"),
    ({"alerts": [{"labels": {"foo": 5}}]}, "alerts[0].labels.foo"),
    ({"alerts": [{"labels": {str(n): "v" for n in range(10_000)}}]}, "alerts[0].labels"),
    ({"alerts": [{"labels": LABELS, "startsAt": "soon"}]}, "alerts[0].startsAt"),
    ({"alerts": [{"labels": LABELS, "startsAt": "9999-12-31T23:59:59-14:00"}]}, "alerts[0].startsAt"),
    ({"alerts": [{"labels": LABELS, "status": "suppressed"}]}, "alerts[0].status"),
    ({"alerts": [{"labels": LABELS}], "truncatedAlerts": "many"}, "truncatedAlerts"),
])  # fmt: skip
def test_what_no_alertmanager_sends_is_refused_by_path(obj: object, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        webhook(obj)
    assert isinstance(refusal.value.details, list)
    assert refusal.value.details[0]["field"] == field


def test_the_push_apis_paths() -> None:
    with pytest.raises(Invalid) as refusal:
        push([{"labels": LABELS}, {"labels": {"foo": 1}}], now=NOW)
    assert refusal.value.details == [{"field": "[1].labels.foo", "message": "must be a string"}]
    with pytest.raises(Invalid, match="body: must be a list"):
        push({}, now=NOW)
    assert push([], now=NOW) == []

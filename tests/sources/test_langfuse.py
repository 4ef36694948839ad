"""What Langfuse's automations post, and by what they are known."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.alert import Alert, AlertStatus
from app.domain.dedup import delivery_id, fingerprint
from app.domain.errors import Invalid
from app.domain.inbound import Inbound
from app.domain.vocabulary import Environment, Severity
from app.sources.base import Forged, Post, Stale
from app.sources.langfuse import read, verify
from app.sources.signatures import hmac_sha256

NOW = datetime(2026, 11, 23, 3, 40, tzinfo=UTC)
SIGNED_AT = 1795405000
HELLO = b'{"hello":"world"}'
VECTOR = f"t={SIGNED_AT},v1=85f3013f7242e85a5232025eaf84998685896a276f377c2803bf036640e1e315"


def said(body: object) -> Inbound:
    return read(Post(json.dumps(body).encode(), NOW))


def monitor(severity: str = "ALERT", measure: str = "avg(scores-numeric.value)", **payload: Any) -> dict[str, Any]:
    return {
        "id": f"d-{severity}", "timestamp": "2026-11-23T03:40:00.000Z", "type": "monitor-alert", "apiVersion": "v1",
        "payload": {
            "monitorId": "mon_1", "projectId": "proj_1", "severity": severity, "timestamp": "2026-11-23T03:39:58.000Z",
            "permalink": "https://lf/alerts/mon_1", "dataPermalink": "https://lf/traces", "window": "1h",
            "message": {"title": f"[{severity}] Correctness", "body": f"`{measure}` is **below** `0.8`"},
            "view": "scores-numeric",
            "filters": [
                {"column": "name", "operator": "=", "value": "correctness", "type": "string"},
                {"column": "environment", "operator": "=", "value": "production", "type": "string"},
                {"column": "userId", "operator": "=", "value": "ada@example.com", "type": "string"},
            ],
            **payload,
        },
    }  # fmt: skip


def told(body: object) -> Alert:
    made = said(body)
    [alert] = made.alerts
    assert alert.delivery == made.delivery
    return alert


def test_a_monitor_is_one_problem_from_its_first_word_to_its_ok() -> None:
    warned, fired, over = told(monitor("WARNING")), told(monitor()), told(monitor("OK"))
    assert {fingerprint(one) for one in (warned, fired, over)} == {fingerprint(fired)}
    assert fired.identity == "proj_1:mon_1"
    assert [one.status for one in (warned, fired, over)] == [
        AlertStatus.FIRING, AlertStatus.FIRING, AlertStatus.RESOLVED,
    ]  # fmt: skip
    assert (warned.severity, fired.severity) == (Severity.P3, Severity.P2)
    assert (fired.title, fired.environment) == ("Correctness", Environment.PRODUCTION)
    assert fired.labels == {
        "class": "quality.drop", "project_id": "proj_1", "monitor_id": "mon_1", "measure": "avg(scores-numeric.value)",
        "name": "correctness", "environment": "production",
    }  # fmt: skip
    assert fired.annotations["monitor"] == "https://lf/alerts/mon_1"
    assert "ada@" not in fired.model_dump_json(), "whose calls a monitor watches is not kept"
    assert fired.starts_at == datetime(2026, 11, 23, 3, 39, 58, tzinfo=UTC)


def test_a_delivery_is_known_by_its_id() -> None:
    first, again = told(monitor()), told(monitor() | {"id": "d-2"})
    assert delivery_id(first, "f") == delivery_id(told(monitor()), "f")
    assert delivery_id(first, "f") != delivery_id(again, "f")


@pytest.mark.parametrize(("measure", "incident_class", "severity"), [
    ("sum(observations.totalCost)", "cost.runaway", "P2"), ("sum(observations.totalTokens)", "cost.runaway", "P2"),
    ("p95(observations.latency)", "performance.latency", "P2"),
    ("p95(observations.timeToFirstToken)", "performance.latency", "P2"),
    ("avg(observations.tokensPerSecond)", "performance.latency", "P2"),
    ("count(scores-categorical.count)", "quality.drop", "P2"),
    ("count(observations.count)", "other.application", "P2"),
])  # fmt: skip
def test_what_is_measured_says_what_kind_it_is(measure: str, incident_class: str, severity: str) -> None:
    alert = told(monitor(measure=measure))
    assert (alert.labels["class"], alert.severity) == (incident_class, Severity(severity))


def test_no_data_is_blindness_of_the_same_monitor() -> None:
    alert = told(monitor("NO_DATA"))
    assert (alert.labels["class"], alert.severity, alert.title) == (
        "observability.blind_spot", Severity.P3, "Correctness: no data",
    )  # fmt: skip
    assert alert.identity == told(monitor()).identity


@pytest.mark.parametrize(("state", "summary"), [
    ("PAUSED", "Monitor Correctness is paused: nothing is watched by it until it is resumed"),
    ("UNKNOWN", "Monitor Correctness has not been evaluated yet"),
])  # fmt: skip
def test_a_monitor_that_does_not_watch_is_a_change(state: str, summary: str) -> None:
    made = said(monitor(state))
    assert ([change.summary for change in made.changes], made.alerts) == ([summary], ())


def prompt(*labels: str, version: int = 8, **more: Any) -> dict[str, Any]:
    return {
        "id": "d-1", "timestamp": "2026-11-23T03:40:00.000Z", "type": "prompt-version", "apiVersion": "v1",
        "action": "updated", "user": {"name": "Ann", "email": "ann@example.com"},
        "prompt": {
            "id": "p-1", "name": "answer", "version": version, "projectId": "proj_1", "labels": list(labels),
            "prompt": "my secret", "config": {"model": "gpt-5", "note": "my secret"}, "commitMessage": "shorter",
            "updatedAt": "2026-11-23T03:39:59.000Z",
        },
        **more,
    }  # fmt: skip


def test_a_prompt_that_goes_into_production_is_an_important_change() -> None:
    made = said(prompt("production", "latest"))
    [change] = made.changes
    assert (change.summary, change.author, made.alerts) == ("Prompt answer v8 is in production", "Ann", ())
    assert change.at == datetime(2026, 11, 23, 3, 39, 59, tzinfo=UTC)
    assert change.details == {
        "action": "updated", "prompt": "answer", "version": "8", "labels": ["production", "latest"], "model": "gpt-5",
        "project_id": "proj_1", "commit_message": "shorter", "importance": "high",
    }  # fmt: skip
    assert "secret" not in change.model_dump_json()
    assert "ann@" not in change.model_dump_json()
    [lost] = said(prompt("latest", version=7)).changes
    assert (lost.summary, lost.details["importance"]) == ("Prompt answer v7 updated", "low")


def test_the_same_state_of_a_prompt_told_twice_is_the_same_change() -> None:
    again = prompt("production", id="d-2", timestamp="2026-11-23T03:40:09.000Z")
    assert said(again).changes == said(prompt("production")).changes


@pytest.mark.parametrize(("event", "severity", "title"), [
    ({"eventType": "evaluator-blocked", "blockReason": "LLM_CONNECTION_BILLING_EXHAUSTED", "severity": "ALERT"}, "P2",
     "Evaluator judge is blocked: LLM_CONNECTION_BILLING_EXHAUSTED"),
    ({"eventType": "blob-export-failed", "severity": "WARNING"}, "P3", "Blob export failed: judge"),
    ({"eventType": "posthog-export-failed", "severity": "INFO"}, "P4", "Posthog export failed: judge"),
])  # fmt: skip
def test_what_langfuse_cannot_do_any_more_is_a_blind_spot(event: dict[str, str], severity: str, title: str) -> None:
    about = {"projectId": "proj_1", "projectName": "Chat", "resourceId": "e-1", "resourceName": "judge", "message": "!"}
    alert = told({"id": "d-3", "type": "project-notification", "apiVersion": "v1", "event": {**about, **event}})
    assert (alert.severity, alert.title, alert.labels["class"]) == (
        Severity(severity), title, "observability.blind_spot",
    )  # fmt: skip
    assert alert.identity == f"proj_1:{event['eventType']}:e-1"


@pytest.mark.parametrize("body", [
    [], {}, {"type": "other"}, {"type": "monitor-alert", "payload": {"monitorId": "m"}}, {"type": "prompt-version"},
    {"type": "project-notification"},
])  # fmt: skip
def test_what_is_none_of_its_posts_is_refused(body: object) -> None:
    with pytest.raises(Invalid):
        said(body)


def signed(header: str | None, *, at: int = SIGNED_AT, body: bytes = HELLO) -> Post:
    return Post(body, datetime.fromtimestamp(at, UTC), headers={"x-langfuse-signature": header} if header else {})


def test_a_signature_is_known_by_any_of_the_secrets() -> None:
    verify(signed(VECTOR), ["lf-whsec_test"])
    verify(signed(VECTOR), ["lf-whsec_next", "lf-whsec_test"])
    verify(signed(f"t={SIGNED_AT}, v1={'0' * 64}, {VECTOR.partition(',')[2]}", at=SIGNED_AT + 300), ["lf-whsec_test"])


@pytest.mark.parametrize("header", [
    None, "", "nonsense", f"t={SIGNED_AT}", VECTOR.partition(",")[2], VECTOR.replace("85f3", "85f4"),
    VECTOR.replace("t=1", "t=2"), VECTOR.replace("v1=", "v0="), f"t={SIGNED_AT},v1=é",
])  # fmt: skip
def test_what_nobody_signed_is_forged(header: str | None) -> None:
    with pytest.raises(Forged):
        verify(signed(header), ["lf-whsec_test"])


def test_another_body_or_another_secret_is_forged() -> None:
    with pytest.raises(Forged):
        verify(signed(VECTOR, body=b'{"hello":"moon"}'), ["lf-whsec_test"])
    with pytest.raises(Forged):
        verify(signed(VECTOR), ["another"])


@pytest.mark.parametrize("at", [SIGNED_AT + 301, SIGNED_AT - 301])
def test_somebody_elses_copy_is_stale(at: int) -> None:
    with pytest.raises(Stale):
        verify(signed(VECTOR, at=at), ["lf-whsec_test"])


def test_a_signature_that_says_no_time_is_forged() -> None:
    with pytest.raises(Forged, match="timestamp"):
        verify(signed(f"t=soon,v1={hmac_sha256('s', b'soon.' + HELLO)}"), ["s"])

"""Sentry's alert rules, metric alerts and issues."""

import pytest

from app.domain.alert import AlertStatus
from app.domain.dedup import fingerprint
from app.domain.errors import Invalid
from app.domain.vocabulary import Environment, Severity
from tests.sources.posts import alert, inbound, nothing

EVENT = {
    "action": "triggered",
    "data": {
        "event": {
            "event_id": "e1", "issue_id": "117", "title": "RateLimitError: slow down", "level": "error",
            "culprit": "app.llm in ask", "environment": "prod", "web_url": "https://acme.sentry.io/issues/117/events/e1",
            "datetime": "2026-11-23T03:30:00Z", "project": 4, "message": "the user wrote: my name is Ada",
            "tags": [["provider", "openai"], ["user.email", "ada@example.com"], ["service", "chat"], ["odd"]],
        },
        "triggered_rule": "LLM errors",
    },
}  # fmt: skip


def metric(action: str, episode: str = "7") -> dict[str, object]:
    rule = {"id": "5", "name": "LLM errors", "aggregate": "count()", "query": "error.type:RateLimitError"}
    return {"action": action, "data": {
        "metric_alert": {"id": "1", "identifier": episode, "title": "LLM errors", "alert_rule": rule,
                         "date_started": "2026-11-23T03:30:00.5Z", "date_closed": None},
        "description_title": f"{action.title()}: LLM errors", "description_text": "120 events in 5 minutes",
        "web_url": "https://acme.sentry.io/alerts/7",
    }}  # fmt: skip


def issue(action: str) -> dict[str, object]:
    return {"action": action, "data": {"issue": {"id": "117", "title": "RateLimitError: slow down", "level": "error"}}}


@pytest.mark.parametrize(("action", "severity"), [("critical", Severity.P1), ("warning", Severity.P2)])
def test_a_metric_alert_and_its_end_are_about_the_rule(action: str, severity: Severity) -> None:
    fires = alert("sentry", metric(action), {"sentry-hook-resource": "metric_alert", "request-id": "r1"})
    over = alert("sentry", metric("resolved"), {"sentry-hook-resource": "metric_alert", "request-id": "r2"})
    assert (fires.status, fires.severity, fires.delivery) == (AlertStatus.FIRING, severity, "r1")
    assert (over.status, fires.annotations["episode"]) == (AlertStatus.RESOLVED, "7")
    assert fingerprint(fires) == fingerprint(over) == fingerprint(alert("sentry", metric(action, "8")))


def test_an_event_of_a_rule_is_about_its_issue_and_says_nothing_of_the_user() -> None:
    said = alert("sentry", EVENT, {"sentry-hook-resource": "event_alert"})
    assert (said.title, said.severity, said.environment) == (
        "RateLimitError: slow down", Severity.P2, Environment.PRODUCTION,
    )  # fmt: skip
    assert said.affected_services == ("chat",)
    assert said.labels == {"provider": "openai", "service": "chat", "rule": "LLM errors", "project": "4"}
    assert "Ada" not in said.model_dump_json()
    assert "ada@" not in said.model_dump_json()


@pytest.mark.parametrize(("action", "status"), [
    ("resolved", AlertStatus.RESOLVED), ("archived", AlertStatus.RESOLVED), ("ignored", AlertStatus.RESOLVED),
    ("unresolved", AlertStatus.FIRING),
])  # fmt: skip
def test_what_becomes_of_the_issue_closes_or_reopens_it(action: str, status: AlertStatus) -> None:
    said = alert("sentry", issue(action), {"sentry-hook-resource": "issue"})
    assert said.status is status
    assert fingerprint(said) == fingerprint(alert("sentry", EVENT))


@pytest.mark.parametrize(("resource", "body"), [
    ("issue", issue("created")), ("issue", issue("assigned")), ("comment", {"action": "created", "data": {}}),
    ("installation", {"action": "created", "data": {"installation": {}}}), ("error", {"data": {"error": {}}}),
])  # fmt: skip
def test_what_is_no_alert_is_nothing(resource: str, body: object) -> None:
    assert nothing("sentry", body, {"sentry-hook-resource": resource})


def test_what_is_missing_is_named() -> None:
    with pytest.raises(Invalid, match="issue_id"):
        inbound("sentry", {"data": {"event": {}}}, {"sentry-hook-resource": "event_alert"})
    with pytest.raises(Invalid, match="sentry-hook-resource"):
        inbound("sentry", {"data": {}})

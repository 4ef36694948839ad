"""Opik's alerts, by its webhook in both spellings, and by its PagerDuty destination."""

import json
import re
from typing import Any

import pytest

from app.domain.alert import AlertStatus
from app.domain.dedup import delivery_id, fingerprint
from app.domain.errors import Invalid
from app.domain.vocabulary import Severity
from app.sources import pagerduty
from tests.sources.posts import alert, change, inbound


def webhook(kind: str, metadata: object, event: str = "ev1", count: object = 3) -> dict[str, Any]:
    return {
        "id": event, "eventType": kind, "alertId": "al1", "alertName": "Slow answers", "workspaceId": "ws",
        "createdAt": "2026-11-23T03:30:00Z",
        "payload": {
            "alertId": "al1", "alertName": "Slow answers", "eventType": kind, "eventIds": ["1"], "eventCount": count,
            "userNames": ["ada@example.com"], "aggregationType": "consolidated", "message": "3 events",
            "metadata": metadata,
        },
    }  # fmt: skip


def snake(value: Any) -> Any:
    if isinstance(value, dict):
        return {re.sub("([A-Z])", lambda up: "_" + up[1].lower(), key): snake(inner) for key, inner in value.items()}
    return [snake(one) for one in value] if isinstance(value, list) else value


LATENCY = {
    "event_type": "trace:latency", "metric_name": "duration", "metric_value": "12000", "threshold": "5",
    "window_seconds": "300", "project_ids": "p2,p1", "project_names": "chat",
}  # fmt: skip


@pytest.mark.parametrize("spelt", ["camel", "snake"])
def test_a_metric_in_both_spellings(spelt: str) -> None:
    body = webhook("trace:latency", LATENCY)
    said = alert("opik", snake(body) if spelt == "snake" else body)
    assert (said.title, said.severity, said.occurrences) == ("Slow answers", Severity.P2, 3)
    assert (said.identity, said.delivery) == ("al1/trace:latency/p1/p2", "ev1")
    assert said.labels == {
        "class": "performance.latency", "event_type": "trace:latency", "metric": "duration", "project": "chat",
        "workspace": "ws",
    }  # fmt: skip
    assert said.description == "3 events\nduration: 12000, threshold 5, over 300 s"


@pytest.mark.parametrize(("kind", "incident_class"), [
    ("trace:errors", "other.application"), ("trace:feedback_score", "quality.drop"),
    ("trace_thread:feedback_score", "quality.drop"), ("trace:cost", "cost.runaway"), ("trace:new", "other.application"),
])  # fmt: skip
def test_each_kind_has_its_class(kind: str, incident_class: str) -> None:
    said = alert("opik", webhook(kind, {}))
    assert (said.labels["class"], said.status) == (incident_class, AlertStatus.FIRING)


def test_a_guardrail_of_personal_data_tells_of_a_leak_and_repeats_nothing_of_it() -> None:
    found = [
        {"id": "g1", "entity_id": "t1", "project_name": "chat", "name": "PII", "result": "failed", "details": "Ada"},
        {"id": "g2", "entity_id": "t2", "project_name": "chat", "name": "TOPIC", "result": "failed"},
    ]
    said = alert("opik", webhook("trace:guardrails_triggered", found))
    assert (said.labels["class"], said.severity) == ("privacy.pii_leak", Severity.P1)
    assert said.annotations["traces"] == "t1, t2"
    assert "Ada" not in said.model_dump_json()
    other = alert("opik", webhook("trace:guardrails_triggered", found[1:]))
    assert (other.labels["class"], other.severity) == ("security.prompt_injection", Severity.P2)


def test_the_alerts_own_secret_and_headers_are_not_kept() -> None:
    spilt = {"secret": "hunter2", "headers": {"authorization": "hunter2"}}
    for body in (webhook("trace:cost", LATENCY | spilt), webhook("prompt:committed", [{"name": "x"} | spilt])):
        said = inbound("opik", body | spilt).model_dump_json()
        assert "hunter2" not in said
        assert "ada@example.com" not in said


@pytest.mark.parametrize(("kind", "metadata", "summary"), [
    ("prompt:committed", [{"name": "greeting", "commit": "c1"}], "Opik: a prompt has a new version: greeting"),
    ("prompt:deleted", {}, "Opik: a prompt was deleted"),
    ("experiment:finished", [{"name": "nightly", "feedback_scores": [{"name": "ok", "value": 0.8}]}],
     "Opik: an experiment has finished: nightly"),
])  # fmt: skip
def test_prompts_and_experiments_are_changes(kind: str, metadata: object, summary: str) -> None:
    said = change("opik", webhook(kind, metadata))
    assert said.summary == summary
    assert said.at is not None


@pytest.mark.parametrize("count", ["many", None, -1, "٣", "9" * 5000, 10**30])
def test_a_count_that_is_none_counts_once(count: object) -> None:
    assert alert("opik", webhook("trace:cost", {}, count=count)).occurrences == 1


def test_what_is_missing_is_named() -> None:
    with pytest.raises(Invalid, match="eventType"):
        inbound("opik", {"id": "1"})
    with pytest.raises(Invalid, match="alertId"):
        inbound("opik", {"eventType": "trace:cost"})


def paged(event: str, **details: object) -> pagerduty.Event:
    said = {"alert_id": "al1", "event_type": "trace:latency"} | details
    payload = {"summary": "Opik alert", "source": "opik", "severity": "info", "custom_details": said}
    body = {"routing_key": "k", "event_action": "trigger", "dedup_key": event, "payload": payload}
    return pagerduty.event(json.loads(json.dumps(body)), new_key=lambda: "minted")


def test_by_pagerdutys_format_every_event_of_one_rule_is_one_problem() -> None:
    first, second = paged("ev1"), paged("ev2")
    assert fingerprint(first.alert) == fingerprint(second.alert)
    assert (first.dedup_key, first.alert.severity) == ("ev1", Severity.P2)
    assert first.alert.labels["class"] == "performance.latency"
    keys = [delivery_id(one.alert, "f") for one in (first, paged("ev1"), second)]
    assert (keys[0] == keys[1], keys[0] == keys[2]) == (True, False)
    assert fingerprint(first.alert) != fingerprint(paged("ev1", event_type="trace:cost").alert)


@pytest.mark.parametrize("details", [{"alert_id": None}, {"event_type": "deploy"}, {"event_type": ["trace:cost"]}])
def test_who_only_looks_like_opik_keeps_its_own_key(details: dict[str, object]) -> None:
    said = paged("ev1", **details)
    assert (said.alert.identity, said.alert.severity) == ("ev1", Severity("info"))

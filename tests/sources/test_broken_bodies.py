"""Bodies that are nearly right: whatever stands at one place, nothing breaks, and what is made of it can be kept."""

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.errors import Invalid
from app.sources import SOURCES
from app.sources.base import Post

NOW = datetime(2026, 11, 23, 3, 40, tzinfo=UTC)
NASTY: list[object] = [
    None, True, -1, 3, 1e308, 10**30, "", " ", "x" * 70_000, "é" * 300, "[" * 20_000, [], {}, [None], [[1]], {"a": {}},
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "\ud800\0", "`" * 5000, "Error" * 9000,
]  # fmt: skip
BODIES: list[tuple[str, Any]] = [
    ("litellm", {
        "event": "budget_crossed", "event_group": "team_member", "key_alias": "k", "token": "t", "user_id": "u",
        "team_id": "t", "team_alias": "a", "spend": 1.0, "max_budget": 1.0, "soft_budget": 1.0, "projected_spend": 2.0,
        "projected_exceeded_date": "2026-11-26", "customer_id": "c", "organization_id": "o",
    }),
    ("litellm", {"event": "spend_tracked", "key_alias": "k", "customer_id": "c", "spend": 0.1}),
    ("litellm", {"event": "key_created", "key_alias": "k", "team_alias": "t"}),
    ("litellm", {"text": "Alert type: `budget_alerts`"}),
    ("litellm", {"attachments": [{"content": {"body": [{"text": "Alert type: `x`"}]}}]}),
    ("litellm", [{
        "call_type": "acompletion", "status": "failure", "model": "m", "model_group": "g", "custom_llm_provider": "p",
        "startTime": 1.0, "endTime": 2.0, "response_cost": 1.0, "session_id": "s", "end_user": "e",
        "metadata": {"user_api_key_alias": "k", "user_api_key_hash": "h", "user_api_key_team_alias": "t"},
        "error_information": {"error_code": "500", "error_class": "c", "llm_provider": "p",
                              "error_rate_limit_category": "r"},
        "guardrail_information": [{"guardrail_name": "n", "guardrail_provider": "p", "guardrail_status": "blocked"}],
    }]),
    ("langfuse", {
        "id": "d", "timestamp": "2026-11-23T03:40:00Z", "type": "monitor-alert",
        "payload": {
            "monitorId": "m", "projectId": "p", "severity": "WARNING", "timestamp": "2026-11-23T03:40:00Z",
            "message": {"title": "[WARNING] t", "body": "`avg(scores.value)` is low"}, "view": "scores", "window": "1h",
            "filters": [{"column": "environment", "operator": "=", "value": "production"}], "permalink": "https://lf",
        },
    }),
    ("langfuse", {
        "id": "d", "timestamp": "2026-11-23T03:40:00Z", "type": "prompt-version", "action": "updated",
        "user": {"name": "n"}, "prompt": {
            "name": "n", "version": 1, "projectId": "p", "labels": ["production"], "config": {"model": "m"},
            "commitMessage": "c", "updatedAt": "2026-11-23T03:40:00Z",
        },
    }),
    ("langfuse", {
        "id": "d", "type": "project-notification", "event": {
            "eventType": "evaluator-blocked", "severity": "ALERT", "projectId": "p", "projectName": "n",
            "resourceId": "r", "resourceName": "n", "message": "m", "url": "https://lf", "blockReason": "b",
        },
    }),
    ("grafana", {"status": "firing", "alerts": [{
        "status": "firing", "labels": {"alertname": "DatasourceError", "rulename": "r", "class": "agent.loop"},
        "annotations": {"summary": "s"}, "startsAt": "2026-11-23T03:30:00Z", "fingerprint": "f", "values": {"A": 1},
        "dashboardURL": "https://g",
    }]}),
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value within."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield (*path, name)
        yield from places(one, (*path, name))


def broken(body: Any, path: tuple[Any, ...], nasty: object) -> Any:
    made = deepcopy(body)
    place = made
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = nasty
    return made


@pytest.mark.parametrize(("name", "body"), BODIES)
def test_whatever_stands_at_one_place_nothing_breaks(name: str, body: Any) -> None:
    for path in places(body):
        for nasty in NASTY:
            raw = json.dumps(broken(body, path, nasty)).encode("utf-8", "surrogatepass")
            try:
                said = SOURCES[name].read(Post(raw, NOW))
            except Invalid:
                continue
            for one in (*said.alerts, *said.changes, *said.samples):
                assert type(one).model_validate_json(one.model_dump_json()) == one, (path, nasty)
                assert "\0" not in one.model_dump_json()

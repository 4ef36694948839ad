"""Reports, events and logs that are nearly right: whatever stands at one place, what is made of it can be kept."""

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.decode import decode
from app.domain.errors import Invalid
from app.domain.mapping import Mapping
from app.sources import SOURCES, mapped
from app.sources.base import Post, Source

NOW = datetime(2026, 11, 23, 3, 40, tzinfo=UTC)
NASTY: list[object] = [
    None, True, -1, 3, 1e308, 10**30, "", " ", "x" * 70_000, "é" * 300, [], {}, [None], [[1]], {"a": {}},
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "\ud800\0", "Error" * 9000,
]  # fmt: skip
NAMES = (
    "title", "description", "severity", "status", "identity", "delivery", "service", "environment", "incident_class",
    "starts_at", "ends_at", "occurrences", "url", "runbook_url", "author",
)  # fmt: skip
FIELDS = dict.fromkeys(NAMES, "x")
ALERTS, CHANGES = (
    mapped.source(decode(Mapping, {"id": "m", "kind": kind, "fields": FIELDS, "labels": {"l": "x"}}))
    for kind in ("alert", "change")
)
BODIES: list[tuple[Source, Any]] = [
    (SOURCES["evidently"], {"tests": [{
        "id": "t", "name": "n", "description": "d", "status": "FAIL", "metric_config": {"metric_id": "m", "params": {
            "column": "c"}}, "bound_test": {"test": {"is_critical": False}}, "group": "g", "parameters": {},
    }]}),
    (SOURCES["garak"], {"entry_type": "start_run setup", "plugins.target_type": "a", "plugins.target_name": "b"}),
    (SOURCES["garak"], {"entry_type": "init", "run": "r", "start_time": "2026-11-23T02:00:00"}),
    (SOURCES["garak"], {
        "entry_type": "eval", "probe": "p", "detector": "d", "passed": 1, "fails": 9, "nones": 0, "total_evaluated": 10,
        "confidence_lower": 0.5, "confidence": "0.95",
    }),
    (SOURCES["promptfoo"], {"evalId": "e", "shareableUrl": "u", "results": {"timestamp": "2026-11-23T02:00:00Z",
        "prompts": [{"provider": "p", "label": "l", "metrics": {"testPassCount": 1, "testErrorCount": 1}}],
        "results": [{"success": False, "failureReason": 1, "provider": {"id": "p"},
                     "prompt": {"label": "l", "raw": "r"}, "metadata": {"pluginId": "x"}}]}}),
    (SOURCES["sentinel"], {"event_type": "anomaly.detected", "timestamp": "2026-11-23T02:00:00Z", "data": {
        "alert_id": "a", "timestamp": "2026-11-23T02:00:00Z", "severity": "high", "anomaly_type": "cost_anomaly",
        "service_name": "s", "model": "m", "detection_method": "z", "confidence": 0.9, "details": {"metric": "m",
        "value": 1.0}, "context": {"trace_id": "t", "user_id": "u", "sample_count": 1}, "root_cause": "c",
        "remediation": ["r"], "runbook_url": "https://r"}}),
    (SOURCES["cloudevents"], {
        "specversion": "1.0", "id": "1", "source": "s", "type": "a.failed", "subject": "s", "service": "s",
        "time": "2026-11-23T02:00:00Z", "data": {"title": "t", "severity": "P1", "class": "agent.loop", "labels": {
            "a": "b"}, "url": "https://u", "service": "s", "environment": "qa", "description": "d"},
    }),
    (SOURCES["cloudevents"], {
        "specversion": "1.0", "id": "1", "source": "s", "type": "a.deployed", "subject": "s", "time":
        "2026-11-23T02:00:00Z", "data": {"title": "t", "url": "https://u", "service": "s", "author": "a"},
    }),
    (SOURCES["otlp"], {"resourceLogs": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue":
        "s"}}]}, "scopeLogs": [{"logRecords": [{"timeUnixNano": "1795404870000000000", "severityNumber": 17,
        "eventName": "gen_ai.evaluation.result", "attributes": [
            {"key": "gen_ai.evaluation.score.label", "value": {"stringValue": "fail"}},
            {"key": "gen_ai.evaluation.name", "value": {"intValue": "3"}}]}]}]}]}),
    (ALERTS, {"x": "x"}),
    (CHANGES, {"x": "x"}),
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value within."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield (*path, name)
        yield from places(one, (*path, name))


@pytest.mark.parametrize(("source", "body"), BODIES)
def test_whatever_stands_at_one_place_nothing_breaks(source: Source, body: Any) -> None:
    for path in places(body):
        for nasty in NASTY:
            made = deepcopy(body)
            place = made
            for name in path[:-1]:
                place = place[name]
            place[path[-1]] = nasty
            post = Post(json.dumps(made).encode("utf-8", "surrogatepass"), NOW)
            try:
                said = source.read(post)
            except Invalid:
                continue
            for one in (*said.alerts, *said.changes, *said.samples):
                assert type(one).model_validate_json(one.model_dump_json()) == one, (path, nasty)
                assert "\0" not in one.model_dump_json()

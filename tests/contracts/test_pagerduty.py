"""PagerDuty's Events API v2, as its clients send it and as it answers."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.alert import Alert, AlertStatus, ChangeEvent
from app.domain.vocabulary import Severity
from app.sources.pagerduty import Event, InvalidEvent, change, event, routing_key

KEY = "R" * 32
PAYLOAD: dict[str, Any] = {"summary": "Disk full", "source": "db-1", "severity": "critical"}
TRIGGER: dict[str, Any] = {"routing_key": KEY, "event_action": "trigger", "payload": PAYLOAD}


def minted() -> str:
    return "minted"


def refused(parse: Callable[[], object]) -> list[str]:
    with pytest.raises(InvalidEvent) as refusal:
        parse()
    assert refusal.value.message == "Event object is invalid"
    return refusal.value.errors


def test_a_trigger_with_everything() -> None:
    made = event(
        TRIGGER | {
            "dedup_key": "disk/db-1", "client": "Opik", "client_url": "https://opik.example", "unknown": 1,
            "links": [{"href": "https://g/1", "text": "graph"}], "images": [{"src": "https://g/1.png", "alt": "a"}],
            "payload": PAYLOAD | {
                "timestamp": "2026-11-23T08:00:00.000+0000", "component": "postgres", "group": "prod", "class": "disk",
                "custom_details": {"alert_id": "a-1", "free": {"mb": 12}, "gone": None},
            },
        },
        new_key=minted,
    )  # fmt: skip
    assert made == Event(
        routing_key=KEY, dedup_key="disk/db-1",
        alert=Alert(
            source="pagerduty", title="Disk full", severity=Severity.P0,
            description='alert_id: a-1\nfree: {"mb":12}\ngone: null',
            affected_services=("db-1",),
            labels={"source": "db-1", "component": "postgres", "group": "prod", "class": "disk"},
            annotations={
                "custom_details.alert_id": "a-1", "custom_details.free": '{"mb":12}', "client": "Opik",
                "client_url": "https://opik.example", "links": "https://g/1 graph", "images": "https://g/1.png a",
            },
            external_id="disk/db-1", identity="disk/db-1", starts_at=datetime(2026, 11, 23, 8, tzinfo=UTC),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("absent", [{}, {"dedup_key": None}, {"dedup_key": ""}, {"dedup_key": "  "}])
def test_a_key_is_minted_where_a_trigger_has_none(absent: dict[str, object]) -> None:
    made = event(TRIGGER | absent, new_key=minted)
    assert (made.dedup_key, made.alert.identity) == ("minted", "minted")


@pytest.mark.parametrize(("action", "status"), [
    ("acknowledge", AlertStatus.ACKNOWLEDGED), ("resolve", AlertStatus.RESOLVED),
])  # fmt: skip
def test_acknowledge_and_resolve_need_only_the_key(action: str, status: AlertStatus) -> None:
    for payload in ({}, {"payload": None}, {"payload": {"summary": 5}}):
        made = event({"routing_key": KEY, "event_action": action, "dedup_key": "k", **payload}, new_key=minted)
        assert made.alert == Alert(source="pagerduty", title="k", status=status, external_id="k", identity="k")


@pytest.mark.parametrize(("severity", "expected"), [
    ("critical", Severity.P0), ("error", Severity.P1), ("warning", Severity.P2), ("info", Severity.P4),
    ("Critical", Severity.P0),
])  # fmt: skip
def test_severities(severity: str, expected: Severity) -> None:
    assert event(TRIGGER | {"payload": PAYLOAD | {"severity": severity}}, new_key=minted).alert.severity is expected


@pytest.mark.parametrize("written", [
    "2026-11-23T08:00:00Z", "2026-11-23T08:00:00+00:00Z", "2026-11-23T08:00:00+00:00", "2026-11-23T08:00:00.000+0000",
    "2026-11-23T09:00:00+01:00Z", "2026-11-23 08:00:00 UTC", "2026-11-23 08:00:00 +0000", "2026-11-23 08:00:00",
    "2026-11-23T08:00", "20261123T080000Z", "2026-11-23T08:00:00.000000000z", " 2026-11-23T08:00:00Z ",
])  # fmt: skip
def test_a_timestamp_may_be_written_sloppily(written: str) -> None:
    made = event(TRIGGER | {"payload": PAYLOAD | {"timestamp": written}}, new_key=minted)
    assert made.alert.starts_at == datetime(2026, 11, 23, 8, tzinfo=UTC)


@pytest.mark.parametrize("written", ["2026-11-23", "20261123", "", None])
def test_a_bare_day_tells_no_episodes_apart(written: str | None) -> None:
    assert event(TRIGGER | {"payload": PAYLOAD | {"timestamp": written}}, new_key=minted).alert.starts_at is None


@pytest.mark.parametrize("written", ["soon", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", 5, {}])
def test_a_timestamp_that_is_none(written: object) -> None:
    errors = refused(lambda: event(TRIGGER | {"payload": PAYLOAD | {"timestamp": written}}, new_key=minted))
    assert errors == ["'payload.timestamp' is invalid (must be an ISO 8601 date and time)"]


def test_a_long_summary_is_the_title_as_far_as_it_goes() -> None:
    made = event(TRIGGER | {"payload": PAYLOAD | {"summary": "s" * 1024}}, new_key=minted).alert
    assert made.title == "s" * 499 + "…"
    assert made.description == "s" * 1024


@pytest.mark.parametrize(
    "details", ["text", 5, [1, "x"], True, {"": 1}, {"k" * 300: "v" * 5000}, {str(n): n for n in range(500)}]
)
def test_any_custom_details_are_kept(details: object) -> None:
    made = event(TRIGGER | {"payload": PAYLOAD | {"custom_details": details}}, new_key=minted).alert
    assert made.description
    assert any(name.startswith("custom_details") for name in made.annotations)


@pytest.mark.parametrize(("obj", "errors"), [
    ({}, [
        "'routing_key' is missing or blank", "'event_action' is missing or blank", "'payload' is missing or blank",
    ]),
    (TRIGGER | {"event_action": "page"}, [
        "'event_action' is invalid (must be one of the following: 'trigger', 'acknowledge' or 'resolve')",
    ]),
    (TRIGGER | {"payload": {"summary": " ", "source": None}}, [
        "'payload.summary' is missing or blank", "'payload.source' is missing or blank",
        "'payload.severity' is missing or blank",
    ]),
    (TRIGGER | {"payload": PAYLOAD | {"severity": "P1"}}, [
        "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')",
    ]),
    (TRIGGER | {"payload": PAYLOAD | {"summary": "x" * 1025}}, [
        "'payload.summary' is invalid (must have at most 1024 characters)",
    ]),
    (TRIGGER | {"payload": PAYLOAD | {"component": 5, "class": []}}, [
        "'payload.component' is invalid (must be a string)", "'payload.class' is invalid (must be a string)",
    ]),
    (TRIGGER | {"payload": "x"}, ["'payload' is invalid (must be an object)"]),
    (TRIGGER | {"dedup_key": "x" * 256}, ["'dedup_key' is invalid (must have at most 255 characters)"]),
    (TRIGGER | {"links": [5]}, ["'links[0]' is invalid (must be an object)"]),
    ({"routing_key": KEY, "event_action": "resolve"}, ["'dedup_key' is missing or blank"]),
    ({"routing_key": KEY, "event_action": "acknowledge", "dedup_key": " "}, ["'dedup_key' is missing or blank"]),
    ([], ["'body' is invalid (must be an object)"]),
])  # fmt: skip
def test_every_problem_is_told_in_pagerdutys_words(obj: object, errors: list[str]) -> None:
    assert refused(lambda: event(obj, new_key=minted)) == errors


def test_a_change_event() -> None:
    body = {
        "routing_key": KEY, "links": [{"href": "https://ci/1", "text": "build"}],
        "payload": {
            "summary": "Deploy 42", "source": "ci", "timestamp": "2026-11-23T08:00:00Z",
            "custom_details": {"sha": "abc"},
        },
    }  # fmt: skip
    assert change(body) == ChangeEvent(
        source="ci", summary="Deploy 42", at=datetime(2026, 11, 23, 8, tzinfo=UTC), details={"sha": "abc"},
        links=({"href": "https://ci/1", "text": "build"},),
    )  # fmt: skip
    assert change({"routing_key": KEY, "payload": {"summary": "s"}}) == ChangeEvent(source="pagerduty", summary="s")
    assert routing_key(body) == KEY


def test_a_bad_change_event() -> None:
    assert refused(lambda: change({"payload": {}})) == [
        "'routing_key' is missing or blank", "'payload.summary' is missing or blank",
    ]  # fmt: skip
    assert refused(lambda: routing_key({"routing_key": ""})) == ["'routing_key' is missing or blank"]

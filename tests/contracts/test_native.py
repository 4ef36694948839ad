"""Our own format, field by field, and the bodies older clients send."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain.alert import Alert, AlertStatus
from app.domain.dedup import fingerprint
from app.domain.errors import Invalid
from app.domain.vocabulary import Category, Environment, IncidentType, Severity
from app.sources.native import Create, alert, batch, incident
from app.sources.strict_json import parse_json

README = b"""{
  "source": "monitoring",
  "title": "High CPU Usage",
  "description": "CPU usage exceeded 90% threshold",
  "severity": "P1",
  "incident_type": "Infrastructure"
}"""
MINIMAL: dict[str, Any] = {"source": "ci", "title": "model is slow"}


def refused(obj: object, **more: Any) -> list[dict[str, str]]:
    with pytest.raises(Invalid) as refusal:
        alert(obj, **more)
    details = refusal.value.details
    assert isinstance(details, list)
    return details


def test_the_readme_body() -> None:
    assert incident(parse_json(README)) == Create(
        alert=Alert(
            source="monitoring", title="High CPU Usage", description="CPU usage exceeded 90% threshold",
            severity=Severity.P1, incident_type=IncidentType.INFRASTRUCTURE, category=Category.AVAILABILITY,
        )
    )  # fmt: skip


def test_the_openapi_body() -> None:
    made = incident({
        "title": "TTFT over 5 s", "description": "p95", "severity": "high", "category": "performance",
        "impact": "checkout assistant", "environment": "prod", "tags": {"team": "ml"},
        "resource": {"type": "model", "id": "m-1", "name": "sonnet", "metadata": {"region": "eu"}},
    })  # fmt: skip
    assert made == Create(
        alert=Alert(
            source="api", title="TTFT over 5 s", description="p95", severity=Severity.P1, impact="checkout assistant",
            category=Category.PERFORMANCE, incident_type=IncidentType.PERFORMANCE, environment=Environment.PRODUCTION,
            resource={"type": "model", "id": "m-1", "name": "sonnet", "metadata": {"region": "eu"}},
            labels={"team": "ml"},
        )
    )  # fmt: skip


EVENT = {
    "event_id": "e-1", "source": "gateway", "timestamp": "2026-11-23T08:00:00Z", "event_type": "anomaly",
    "category": "security", "title": "Jailbreak", "description": "d", "severity": "critical",
    "metrics": {"score": 0.97}, "tags": {"model": "gpt"}, "labels": ["pii", "team=trust"], "payload": {"a": [1]},
    "acknowledged": False, "received_at": "2026-11-23T08:00:01Z", "resource": None,
}  # fmt: skip


def test_the_published_clients_body() -> None:
    made = incident({"event": EVENT, "options": {"force_severity": "P3", "assign_to": "alice"}})
    assert made.assign_to == "alice"
    assert made.alert.severity is Severity.P3
    assert (made.alert.external_id, made.alert.delivery) == ("e-1", "e-1")
    assert made.alert.incident_type is IncidentType.SECURITY
    assert made.alert.labels == {"model": "gpt", "pii": "", "team": "trust"}
    assert made.alert.annotations == {
        "timestamp": "2026-11-23T08:00:00Z", "event_type": "anomaly", "metrics.score": "0.97", "payload.a": "[1]",
    }  # fmt: skip


def test_skipping_deduplication_makes_a_problem_of_its_own_but_the_same_request_stays_the_same() -> None:
    body = {"event": EVENT, "options": {"skip_deduplication": True}}
    first, second = incident(body).alert, incident(body).alert
    assert fingerprint(first) != fingerprint(second)
    assert first.delivery is None
    once, again = (incident(body, headers={"idempotency-key": "k-1"}).alert for _ in range(2))
    assert fingerprint(once) == fingerprint(again)
    assert once.delivery == "k-1"


def test_every_field_of_an_alert() -> None:
    made = alert(
        {
            "external_id": "x-1", "source": "ci", "title": "  slow ", "description": "d", "severity": "warn",
            "alert_type": "Performance", "labels": {"k": "v"}, "affected_services": ["api", "web"],
            "runbook_url": "https://r/x", "fingerprint": "fp", "status": "RESOLVED", "environment": "staging",
            "starts_at": "2026-11-23T09:00:00+01:00", "ends_at": "2026-11-23T08:30:00Z", "annotations": {"n": "t"},
        },
        headers={"idempotency-key": "k-2"},
    )  # fmt: skip
    assert made == Alert(
        source="ci", title="slow", status=AlertStatus.RESOLVED, severity=Severity.P2, description="d",
        incident_type=IncidentType.PERFORMANCE, category=Category.PERFORMANCE, environment=Environment.STAGING,
        affected_services=("api", "web"), labels={"k": "v"}, annotations={"n": "t"}, runbook_url="https://r/x",
        external_id="x-1", identity="fp", delivery="k-2",
        starts_at=datetime(2026, 11, 23, 8, tzinfo=UTC), ends_at=datetime(2026, 11, 23, 8, 30, tzinfo=UTC),
    )  # fmt: skip
    assert type(made) is Alert


@pytest.mark.parametrize(("given", "incident_type", "category"), [
    ({}, IncidentType.UNKNOWN, Category.OTHER),
    ({"alert_type": "Application"}, IncidentType.APPLICATION, Category.AVAILABILITY),
    ({"alert_type": "data"}, IncidentType.DATA, Category.OTHER),
    ({"category": "Compliance"}, IncidentType.COMPLIANCE, Category.COMPLIANCE),
    ({"category": "cost"}, IncidentType.UNKNOWN, Category.COST),
    ({"category": "cost", "incident_type": "Data"}, IncidentType.DATA, Category.COST),
])  # fmt: skip
def test_type_and_category_come_from_each_other(
    given: dict[str, str], incident_type: IncidentType, category: Category
) -> None:
    made = alert(MINIMAL | given)
    assert (made.incident_type, made.category) == (incident_type, category)


def test_null_is_the_same_as_left_out() -> None:
    absent = dict.fromkeys(
        ("description", "severity", "labels", "tags", "affected_services", "runbook_url", "starts_at", "annotations")
    )
    assert alert(MINIMAL | absent) == alert(MINIMAL)


LEVELS = "must be 'P0', 'P1', 'P2', 'P3' or 'P4'"


@pytest.mark.parametrize(("given", "field", "message"), [
    ({"title": None}, "title", "is required"),
    ({"title": "  "}, "title", "must have at least 1 character"),
    ({"title": "x" * 501}, "title", "must have at most 500 characters"),
    ({"title": 5}, "title", "must be a string"),
    ({"title": ["x"]}, "title", "must be a string"),
    ({"description": "x" * 65_537}, "description", "must have at most 65536 characters"),
    ({"severity": "P9"}, "severity", LEVELS),
    ({"severity": 1.5}, "severity", LEVELS),
    ({"severity": {"a": 1}}, "severity", LEVELS),
    ({"environment": "mars"}, "environment", "must be 'production', 'staging', 'development' or 'qa'"),
    ({"status": "acknowledged"}, "status", "must be 'firing' or 'resolved'"),
    ({"labels": {"foo": 5}}, "labels.foo", "must be a string"),
    ({"labels": {"foo": "x" * 4097}}, "labels.foo", "must have at most 4096 characters"),
    ({"labels": "x"}, "labels", "must be an object"),
    ({"labels": [1]}, "labels", "must be an object, or a list of strings like team=payments"),
    ({"labels": {str(n): "v" for n in range(10_000)}}, "labels", "must have at most 256 items"),
    ({"tags": {str(n): "v" for n in range(10_000)}}, "tags", "must have at most 256 items"),
    ({"affected_services": ["ok", 7]}, "affected_services[1]", "must be a string"),
    ({"affected_services": ["a"] * 101}, "affected_services", "must have at most 100 items"),
    ({"starts_at": "2026-11-23T08:00:00"}, "starts_at", "needs a time zone, like 2026-11-23T08:00:00Z"),
    ({"starts_at": "9999-12-31T23:59:59-14:00"}, "starts_at", "must lie between the years 1 and 9999 in UTC"),
    ({"starts_at": True}, "starts_at", "must be a moment like 2026-11-23T08:00:00Z"),
    ({"starts_at": 1764000000}, "starts_at", "must be a moment like 2026-11-23T08:00:00Z"),
    ({"fingerprint": ""}, "fingerprint", "must have at least 1 character"),
    ({"delivery_id": "x" * 256}, "delivery_id", "must have at most 255 characters"),
    ({"resource": []}, "resource", "must be an object"),
])  # fmt: skip
def test_a_bad_field_is_named_with_what_it_may_be(given: dict[str, object], field: str, message: str) -> None:
    assert refused(MINIMAL | given) == [{"field": field, "message": message}]


def test_every_problem_is_told_up_to_twenty() -> None:
    told = refused({"severity": "bad", "labels": {f"l{n}": n for n in range(100)}})
    assert len(told) == 20
    assert {"source", "title", "severity", "labels.l0"} <= {problem["field"] for problem in told}


def test_an_unknown_field_is_refused_with_the_known_ones() -> None:
    [problem] = refused(MINIMAL | {"titel": "x"})
    assert problem["field"] == "titel"
    assert problem["message"].startswith("is not a field here; there are source, title, status, severity, ")
    assert "alert_type" in problem["message"]
    assert "fingerprint" in problem["message"]


@pytest.mark.parametrize("obj", [None, 5, "x", [], [MINIMAL], True])
def test_something_else_than_an_object(obj: object) -> None:
    assert refused(obj) == [{"field": "body", "message": "must be an object"}]


def test_the_idempotency_key_has_a_length() -> None:
    for key in ("", "x" * 256):
        [problem] = refused(MINIMAL, headers={"idempotency-key": key})
        assert problem["field"] == "Idempotency-Key"


def test_tags_and_labels_together_keep_to_the_limit() -> None:
    tags, labels = ({f"{name}{n}": "v" for n in range(200)} for name in "ab")
    [problem] = refused(MINIMAL | {"tags": tags, "labels": labels})
    assert problem["field"] == "labels"


def test_the_paths_in_a_published_clients_body() -> None:
    with pytest.raises(Invalid) as refusal:
        incident({"event": {"source": "s", "severity": "P1"}, "options": {"force_severity": "x"}})
    assert refusal.value.details == [
        {"field": "event.title", "message": "is required"},
        {"field": "options.force_severity", "message": LEVELS},
    ]
    with pytest.raises(Invalid, match="event: is required"):
        incident({"event": None})


def test_a_batch_answers_each_item_on_its_own() -> None:
    items = [MINIMAL, {"title": "no source"}, 5, MINIMAL | {"labels": {"foo": 1}}, MINIMAL | {"title": "other"}]
    for body in (items, {"alerts": items}):
        good, no_source, no_object, bad_label, other = batch(body)
        assert good == alert(MINIMAL)
        assert isinstance(other, Alert)
        assert isinstance(no_source, Invalid)
        assert no_source.message == "alerts[1].source: is required"
        assert isinstance(no_object, Invalid)
        assert no_object.message == "alerts[2]: must be an object"
        assert isinstance(bad_label, Invalid)
        assert bad_label.details == [{"field": "alerts[3].labels.foo", "message": "must be a string"}]


@pytest.mark.parametrize("count", [1, 1000])
def test_batches_that_are_taken(count: int) -> None:
    assert len(batch([MINIMAL] * count)) == count


@pytest.mark.parametrize(("obj", "message"), [
    ([], "alerts: must have 1 to 1000 items, not 0"),
    ([MINIMAL] * 1001, "alerts: must have 1 to 1000 items, not 1001"),
    ({"alerts": []}, "alerts: must have 1 to 1000 items, not 0"),
    ({}, "alerts: must be a list of alerts"),
    ({"alerts": MINIMAL}, "alerts: must be a list of alerts"),
    (MINIMAL, "source: is not a field here; there are alerts"),
    ("x", "alerts: must be a list of alerts"),
])  # fmt: skip
def test_batches_that_are_refused_as_a_whole(obj: object, message: str) -> None:
    with pytest.raises(Invalid) as refusal:
        batch(obj)
    assert refusal.value.message == message

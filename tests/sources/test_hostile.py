"""Posts that somebody made to cost much, or to break something: they cost what their length does, and are kept."""

import json
from datetime import UTC, datetime
from time import process_time

import pytest

from app.domain.errors import Invalid
from app.domain.inbound import Sample, Signal
from app.service.intake import Door
from app.sources import SOURCES, cloudevents, events, pagerduty, strict_json
from app.sources.base import Post
from app.sources.email import parsed, stripped
from app.sources.redaction import ALL_OUT
from app.sources.unreadable import unreadable

NOW = datetime(2026, 11, 23, 3, 40, tzinfo=UTC)
FAILED = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/a", "ce-type": "index.failed"}
SLOW = "Alert type: `llm_too_slow`\nLevel: `Low`\nTimestamp: `1`\n\nMessage: `"
MAIL = b"From: a@example.com\r\n"


@pytest.mark.parametrize(("name", "body"), [
    ("litellm", json.dumps({"text": SLOW + "1" * 60_000}).encode()),
    ("datadog", json.dumps({"title": "[P1]" * 400_000}).encode()),
    ("email", MAIL + b"Subject: " + b"re: " * 200_000 + b"\r\n\r\nx"),
    ("email", MAIL + b"Subject: " + b"OK: " * 200_000 + b"\r\n\r\nx"),
])  # fmt: skip
def test_no_text_takes_longer_than_in_proportion_to_its_length(name: str, body: bytes) -> None:
    began = process_time()
    assert SOURCES[name].read(Post(body, NOW)).alerts
    assert process_time() - began < 1.5, "it took minutes"


def test_a_moment_of_pagerduty_is_no_longer_than_moments_are() -> None:
    payload = {"summary": "s", "source": "x", "severity": "error", "timestamp": "2026" + " " * 100_000 + "x"}
    began = process_time()
    with pytest.raises(Invalid, match="invalid"):
        pagerduty.event({"routing_key": "k", "event_action": "trigger", "payload": payload}, new_key=lambda: "1")
    assert process_time() - began < 1.5, "it took minutes"


def test_an_execution_s_event_is_not_refused_over_a_long_text() -> None:
    payload = {"message": "m", "description": "x" * 70_000}
    envelope = {"source": "s", "event_type": "t", "execution_id": "e", "severity": "P2", "payload": payload}
    assert len(events.event(envelope | {"timestamp": "2026-11-23T03:40:00Z"}).description) == 65_536


@pytest.mark.parametrize("body", [
    b'{"tokens": 123456789012345678901234567890}', b'{"title": "half \\ud800"}', b'{"a":' * 5000 + b"1" + b"}" * 5000,
    b"\xff", b'{"title": NaN}', b"{",
])  # fmt: skip
def test_whatever_a_binary_event_holds_its_type_says_that_it_failed(body: bytes) -> None:
    for kind in ("application/json", "text/plain"):
        [alert] = cloudevents.read(Post(body, NOW, FAILED | {"content-type": kind})).alerts
        assert alert.identity == "/a\nindex\n"
        assert alert.delivery == "/a\n1"


def test_no_attribute_of_an_event_holds_what_postgresql_cannot() -> None:
    strange = FAILED | {"ce-source": "/a%00b", "ce-subject": "%00x", "ce-severity": "P1%00", "ce-id": "%001"}
    [alert] = cloudevents.read(Post(b"{}", NOW, strange)).alerts
    assert "\0" not in str(alert.model_dump())
    changed = cloudevents.read(Post(b"{}", NOW, strange | {"ce-type": "index.deployed"}))
    assert "\\x00" not in str(changed.changes)


def test_of_a_batch_without_end_the_beginning_counts_and_the_rest_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloudevents, "EVENTS_MAX", 2)
    events = [{"specversion": "1.0", "id": str(n), "source": "/a", "type": "index.failed"} for n in range(4)]
    *alerts, last = cloudevents.read(Post(json.dumps(events).encode(), NOW)).alerts
    assert [alert.delivery for alert in alerts] == ["/a\n0", "/a\n1"]
    assert "holds 4 events; only 2 were looked at" in last.description


def test_a_mail_of_parts_in_parts_in_parts_is_not_read() -> None:
    nested = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(101))
    with pytest.raises(Invalid, match="more than 100 parts"):
        parsed(MAIL + nested + b"\r\n" * 1000)


@pytest.mark.parametrize("odd", ["<![foo[ x ]]>", "<![ 1>", "<![endif]>", "<![<![>"])
def test_a_declaration_that_nobody_knows_hides_no_mail(odd: str) -> None:
    assert stripped(f"<p>before</p>{odd}<p>after</p>").split() == ["before", "after"]


def test_too_much_for_the_strict_parser_is_too_much_for_the_tolerant_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_json, "MOST_CONTAINERS", 3)
    with pytest.raises(Invalid, match="must not hold more than 3"):
        strict_json.tolerant_json(b"[[], [], [], []]")


def test_of_lines_without_end_none_is_read() -> None:
    with pytest.raises(Invalid, match="more than 100,000 lines"):
        SOURCES["litellm"].read(Post(b"1\n" * 100_001, NOW))


def test_what_a_body_was_made_of_tells_no_sentence() -> None:
    body = {"who is ada lovelace and where does she live": 1, "x" * 61: 2, "user.name": "ada"}
    said = unreadable("x", Post(json.dumps(body).encode(), NOW), Invalid("no")).description
    assert "ada" not in said
    assert said.endswith("(a name): 1\n(a name): 2\nuser.name: text of 3 characters")


def test_an_exception_s_title_loses_what_was_sent_to_the_model() -> None:
    title = "BadRequestError: refused. Received Messages=[{'role': 'user', 'content': 'my diagnosis'}]"
    event = {"issue_id": "1", "title": title}
    headers = {"sentry-hook-resource": "event_alert"}
    [alert] = SOURCES["sentry"].read(Post(json.dumps({"data": {"event": event}}).encode(), NOW, headers)).alerts
    assert alert.title == "BadRequestError: refused. (what the user wrote is not kept)"


def test_telemetry_loses_the_same_of_its_service_and_keys_of_other_makers_go_too() -> None:
    sample = Sample(signal=Signal.ERRORS, source="otlp", service="bot of ada@example.com")
    assert "ada" not in str(ALL_OUT.sample(sample))
    for key in ("gsk_" + "a1" * 26, "xai-" + "b2" * 40, "nvapi-" + "c3" * 32, "glpat-" + "d4" * 10):
        assert ALL_OUT.text(f"with {key}, then") == "with [key], then"
    assert ALL_OUT.text("a lsv2_pt_abc is short") == "a lsv2_pt_abc is short"


def test_an_evaluation_that_came_to_no_number_is_not_counted() -> None:
    attributes = [
        {"key": "gen_ai.evaluation.name", "value": {"stringValue": "faithfulness"}},
        {"key": "gen_ai.evaluation.score.value", "value": {"doubleValue": "NaN"}},
    ]
    record = {"eventName": "gen_ai.evaluation.result", "attributes": attributes}
    body = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
    assert SOURCES["otlp"].read(Post(json.dumps(body).encode(), NOW, {}, {"min_score": "0.5"})).samples == ()


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_what_is_no_secret_of_standard_webhooks_is_known_before_anything_comes(name: str) -> None:
    good = "whsec_" + "b2xk" * 8
    assert Door(name, SOURCES[name], (good,)).unusable is None
    for wrong in ("whsec_é", "whsec_not base64", "whsec_", "whsec_a"):
        assert Door(name, SOURCES[name], (good, wrong)).unusable
    assert Door("grafana", SOURCES["grafana"], ("plain",)).unusable is None

"""OpenTelemetry's logs: the same in both encodings, counted by minute, and no content kept."""

import json
from datetime import UTC, datetime

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from app.domain.errors import Invalid
from app.domain.inbound import Inbound, Sample, Signal
from app.sources import otlp
from app.sources.base import Post

NOW = datetime(2026, 11, 23, 3, 40, tzinfo=UTC)
AT = 1795405170000000000
MODEL: dict[str, object] = {"gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-5"}
SECRET = {"key": "gen_ai.input.messages", "value": {"stringValue": "my card is 4111"}}


def pairs(said: dict[str, object]) -> list[dict[str, object]]:
    kinds = {str: "stringValue", float: "doubleValue", int: "intValue"}
    return [{"key": key, "value": {kinds[type(value)]: value}} for key, value in said.items()]


def record(event: str, *, severity: int = 9, at: int = AT, **said: object) -> dict[str, object]:
    attributes = {"gen_ai." + name.replace("__", "."): value for name, value in said.items()}
    return {
        "timeUnixNano": str(at), "severityNumber": severity, "eventName": event,
        "attributes": [*pairs(MODEL | attributes), SECRET],
        "body": {"kvlistValue": {"values": [SECRET]}},
    }  # fmt: skip


def judged(label: str, name: str = "faithfulness", at: int = AT) -> dict[str, object]:
    return record(otlp.EVALUATION, at=at, evaluation__name=name, evaluation__score__label=label)


def logs(*records: object) -> dict[str, object]:
    resource = {"attributes": pairs({"service.name": "support", "deployment.environment.name": "production"})}
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": records}]}]}


def read(body: dict[str, object], **query: str) -> Inbound:
    """What is said, after checking that protobuf says the same."""
    message = json_format.ParseDict(body, ExportLogsServiceRequest()).SerializeToString()
    as_json = otlp.read(Post(json.dumps(body).encode(), NOW, headers={"content-type": "application/json"}, query=query))
    as_protobuf = otlp.read(Post(message, NOW, headers={"content-type": otlp.PROTOBUF}, query=query))
    assert as_json.samples == as_protobuf.samples
    assert "4111" not in str(as_json)
    return as_json


def test_evaluations_are_counted_by_what_they_are_of_and_by_minute() -> None:
    later = judged("fail", at=AT + 60 * 10**9)
    body = logs(judged("fail"), judged("pass"), judged("Failed"), judged("pass", "tone"), later)
    inbound = read(body)
    subject = {"evaluation": "faithfulness", "provider": "openai", "model": "gpt-5"}
    common = {"signal": Signal.EVALUATIONS, "source": "otlp", "service": "support", "environment": "production"}
    minute = datetime(2026, 11, 23, 3, 39, tzinfo=UTC)
    assert inbound.samples == (
        Sample.model_validate({**common, "subject": subject, "at": minute, "total": 3, "bad": 2}),
        Sample.model_validate({**common, "subject": {**subject, "evaluation": "tone"}, "at": minute}),
        Sample.model_validate({**common, "subject": subject, "at": minute.replace(minute=40), "bad": 1}),
    )
    assert inbound.delivery == read(body).delivery


def test_a_score_without_a_label_is_judged_where_the_operator_says_how() -> None:
    body = logs(record(otlp.EVALUATION, evaluation__name="faithfulness", evaluation__score__value=0.31))
    assert not read(body).samples
    assert read(body, min_score="0.5").samples[0].bad == 1
    assert read(body, min_score="0.3").samples[0].bad == 0
    with pytest.raises(Invalid, match="min_score"):
        read(body, min_score="half")


def test_failed_calls_are_errors_or_refusals_and_the_others_make_the_share() -> None:
    def failed(kind: str) -> dict[str, object]:
        one = record(otlp.EXCEPTION, severity=13)
        return {**one, "attributes": [*one["attributes"], *pairs({"exception.type": kind})]}  # type: ignore[misc]

    inbound = read(logs(
        failed("openai.RateLimitError"), failed("TimeoutError"), record(otlp.DONE), record(otlp.DONE),
        record("gen_ai.user.message"), record("my.event", severity=17),
        {"severityNumber": 21, "attributes": pairs({"http.route": "/"})},
    ))  # fmt: skip
    told = {(sample.signal, sample.total, sample.bad) for sample in inbound.samples}
    assert told == {(Signal.RATE_LIMITS, 1, 1), (Signal.ERRORS, 4, 2)}


def test_older_names_and_absent_times_are_known() -> None:
    attributes = pairs({"event.name": otlp.EXCEPTION, "gen_ai.system": "anthropic", "error.type": "500"})
    [sample] = read(logs({"attributes": attributes})).samples
    assert (sample.subject, sample.at, sample.signal) == ({"provider": "anthropic"}, None, Signal.ERRORS)
    nothing = otlp.read(Post(b'{"resourceLogs": [{"resource": null, "scopeLogs": [{"logRecords": null}]}]}', NOW))
    assert nothing.samples == ()


@pytest.mark.parametrize(("raw", "kind"), [
    (b"[]", "application/json"), (b'{"resourceLogs": 3}', "application/json"), (b"\xff\xff", otlp.PROTOBUF),
    (b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": -1}]}]}]}', "application/json"),
])  # fmt: skip
def test_what_is_no_request_is_refused(raw: bytes, kind: str) -> None:
    with pytest.raises(Invalid):
        otlp.read(Post(raw, NOW, headers={"content-type": kind}))

"""OpenTelemetry's logs over HTTP, as JSON or protobuf: the events of GenAI, which count, and whose content isn't kept.

Sources: https://opentelemetry.io/docs/specs/otlp/ and open-telemetry/semantic-conventions-genai, model/gen-ai/events.
An evaluation has failed where its label says so or, without a label, where its score is under `?min_score=`; one that
says neither is not counted. A call's details count as one that went well, unless they name an error: of that an event
of its own tells. Of what else there is, errors (severity 17 and more) that are about models count.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any, Literal, NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from pydantic import BaseModel, BeforeValidator, Field, StrictFloat, StrictInt

from app.domain.decode import decode
from app.domain.errors import Invalid
from app.domain.inbound import Inbound, Sample, Signal
from app.sources.base import Post, Source
from app.sources.text import cut, first_said, without_nulls

SOURCE, PROTOBUF, JSON = "otlp", "application/x-protobuf", "application/json"
EVALUATION, EXCEPTION = "gen_ai.evaluation.result", "gen_ai.client.operation.exception"
DONE = "gen_ai.client.inference.operation.details"
ERROR = 17
FAILED = frozenset({"fail", "failed", "false", "no", "bad", "incorrect", "not_relevant", "irrelevant", "unsafe"})
PASSED = frozenset({"pass", "passed", "true", "yes", "good", "correct", "relevant", "safe", "ok"})
LIMITED = ("ratelimit", "toomanyrequests", "throttl", "resourceexhausted", "quota", "429")
MINUTE = 60 * 10**9
Attributes = Mapping[str, str | float]
Digits = Annotated[str, Field(pattern="^-?[0-9]{1,19}$")]
"""How JSON writes an integer of 64 bits; some write a number."""
Nanos = Annotated[StrictInt, Field(ge=0, lt=2**64)] | Annotated[str, Field(pattern="^[0-9]{1,19}$")]


class AnyValue(BaseModel):
    """A plain value; lists and objects, which is what content comes as, are left where they are."""

    string: str | None = Field(None, validation_alias="stringValue")
    integer: StrictInt | Digits | None = Field(None, validation_alias="intValue")
    double: StrictFloat | Literal["NaN", "Infinity", "-Infinity"] | None = Field(None, validation_alias="doubleValue")


class KeyValue(BaseModel):
    key: str = ""
    value: Annotated[AnyValue, BeforeValidator(without_nulls)] = AnyValue()


class LogRecord(BaseModel):
    time: Nanos = Field(0, validation_alias="timeUnixNano")
    observed: Nanos = Field(0, validation_alias="observedTimeUnixNano")
    severity: StrictInt = Field(0, validation_alias="severityNumber")
    event: str = Field("", validation_alias="eventName")
    attributes: list[Annotated[KeyValue, BeforeValidator(without_nulls)]] = []


class ScopeLogs(BaseModel):
    records: list[Annotated[LogRecord, BeforeValidator(without_nulls)]] = Field([], validation_alias="logRecords")


class Resource(BaseModel):
    attributes: list[Annotated[KeyValue, BeforeValidator(without_nulls)]] = []


class ResourceLogs(BaseModel):
    resource: Annotated[Resource, BeforeValidator(without_nulls)] = Resource()
    scopes: list[Annotated[ScopeLogs, BeforeValidator(without_nulls)]] = Field([], validation_alias="scopeLogs")


class Logs(BaseModel):
    """ExportLogsServiceRequest as JSON has it."""

    resources: list[Annotated[ResourceLogs, BeforeValidator(without_nulls)]] = Field(
        [], validation_alias="resourceLogs"
    )


class Logged(NamedTuple):
    """What is looked at of one record, in either encoding; `at` in nanoseconds since 1970, 0 for unknown."""

    at: int
    severity: int
    event: str
    attributes: Attributes
    resource: Attributes


class Series(NamedTuple):
    """What is counted together: of one minute (since 1970; 0 for unknown)."""

    signal: Signal
    subject: tuple[tuple[str, str], ...]
    service: str
    environment: str
    minute: int


def read(post: Post) -> Inbound:
    """What the records count for, by minute. Raises: Invalid."""
    least = _least(post)
    records = _of_protobuf(post.body) if binary(post) else _of_json(post.json)
    total, bad = Counter[Series](), Counter[Series]()
    for record in records:
        for series, failed in _counted(record, least):
            total[series] += 1
            bad[series] += failed
    samples = tuple(_sample(series, times, bad[series]) for series, times in total.items())
    return Inbound(samples=samples, delivery=sha256(post.body).hexdigest())


def binary(post: Post) -> bool:
    """Whether it is sent, and to be answered, as protobuf."""
    return post.headers.get("content-type", "").partition(";")[0].strip().lower() == PROTOBUF


def answer(post: Post) -> tuple[bytes, str]:
    """That all was taken: a body and its Content-Type, in the encoding of the post."""
    return (ExportLogsServiceResponse().SerializeToString(), PROTOBUF) if binary(post) else (b"{}", JSON)


def _least(post: Post) -> float | None:
    try:
        said = post.query.get("min_score")
        least = float(said) if said else None
    except ValueError:
        least = math.nan
    if least is not None and not math.isfinite(least):
        raise Invalid.field("min_score", "must be a number, like 0.5")
    return least


def _of_json(said: object) -> Iterator[Logged]:
    for logs in decode(Logs, without_nulls(said), extra="ignore").resources:
        about = {pair.key: value for pair in logs.resource.attributes if (value := _plain(pair.value)) is not None}
        for record in (record for scope in logs.scopes for record in scope.records):
            pairs = {pair.key: value for pair in record.attributes if (value := _plain(pair.value)) is not None}
            at = int(record.time) or int(record.observed)
            yield Logged(at, record.severity, record.event, pairs, about)


def _plain(value: AnyValue) -> str | float | None:
    if value.string is not None:
        return value.string
    return int(value.integer) if value.integer is not None else None if value.double is None else float(value.double)


def _of_protobuf(body: bytes) -> Iterator[Logged]:
    try:
        sent = ExportLogsServiceRequest.FromString(body)
    except DecodeError:
        raise Invalid.field("body", "must be an ExportLogsServiceRequest of OpenTelemetry") from None
    for logs in sent.resource_logs:
        about = _pairs(logs.resource.attributes)
        for record in (record for scope in logs.scope_logs for record in scope.log_records):
            at = record.time_unix_nano or record.observed_time_unix_nano
            yield Logged(at, record.severity_number, record.event_name, _pairs(record.attributes), about)


def _pairs(attributes: Iterable[Any]) -> Attributes:
    kinds = ("string_value", "int_value", "double_value")
    return {
        pair.key: getattr(pair.value, kind) for pair in attributes if (kind := pair.value.WhichOneof("value")) in kinds
    }


def _counted(record: Logged, least: float | None) -> Iterator[tuple[Series, bool]]:
    """Which series a record adds to, and whether as a failure."""
    said, name = record.attributes, record.event or str(record.attributes.get("event.name", ""))
    if name == EVALUATION:
        failed = _failed(said, least)
        if failed is not None:
            yield _series(Signal.EVALUATIONS, record, evaluation=_text(said, "gen_ai.evaluation.name")), failed
    elif name == EXCEPTION:
        kind = _text(said, "exception.type", "error.type").lower().replace("_", "").replace(" ", "")
        limited = any(part in kind for part in LIMITED)
        yield _series(Signal.RATE_LIMITS if limited else Signal.ERRORS, record), True
    elif name == DONE:
        if "error.type" not in said:
            yield _series(Signal.ERRORS, record), False
    elif record.severity >= ERROR and any(key.startswith("gen_ai.") for key in said):
        yield _series(Signal.ERRORS, record), True


def _failed(said: Attributes, least: float | None) -> bool | None:
    """What an evaluation came to; None where it doesn't say."""
    label = _text(said, "gen_ai.evaluation.score.label").lower().replace(" ", "_")
    if label in FAILED | PASSED:
        return label in FAILED
    score = said.get("gen_ai.evaluation.score.value")
    known = isinstance(score, int | float) and not math.isnan(score)
    return score < least if known and least is not None else None  # type: ignore[operator]


def _series(signal: Signal, record: Logged, **about: str) -> Series:
    said, resource = record.attributes, record.resource
    subject = about | {
        "provider": _text(said, "gen_ai.provider.name", "gen_ai.system"),
        "model": _text(said, "gen_ai.response.model", "gen_ai.request.model"),
    }
    environment = _text(resource, "deployment.environment.name", "deployment.environment")
    named = tuple((name, text) for name, text in subject.items() if text)
    return Series(signal, named, _text(resource, "service.name"), environment, record.at // MINUTE)


def _sample(series: Series, total: int, bad: int) -> Sample:
    return Sample(
        signal=series.signal, source=SOURCE, subject=dict(series.subject), service=series.service or None,
        environment=series.environment or None, total=total, bad=bad,
        at=datetime.fromtimestamp(series.minute * 60, UTC) if series.minute else None,
    )  # fmt: skip


def _text(said: Attributes, *names: str) -> str:
    found = first_said(*(value for name in names if isinstance(value := said.get(name), str)))
    return cut(" ".join(found.replace("\0", "").split()), 255)


SAYS = Source(read, strict=True)

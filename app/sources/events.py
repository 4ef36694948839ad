"""Events: alerts as the published clients send them, whole, and the envelope of the first version's fork."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from app.domain.alert import TEXT_MAX, TITLE_MAX, Alert, Labels
from app.domain.decode import Instant, decode
from app.domain.errors import Invalid
from app.domain.record import Record
from app.domain.requests import Name, Text, Title
from app.domain.vocabulary import Category, Environment, Severity
from app.sources.native import IGNORED, NO_HEADERS, LabelsOrList, delivery_of, said
from app.sources.text import cut, first_said, without_nulls

SENTINEL, SHIELD = "llm-sentinel", "llm-shield"
Given = Annotated[dict[str, Any], Field(max_length=1000)]


class Resource(Record):
    """What it happened to."""

    type: Name | None = None
    id: Name | None = None
    name: Name | None = None
    metadata: Given = {}


class EventBody(Record):
    """POST /api/v1/events. null is the same as left out; a map in `labels` is taken for tags."""

    event_id: Name | None = None
    source: Name
    source_version: Name | None = None
    timestamp: Instant
    event_type: Name
    category: Category
    title: Title
    description: Text
    severity: Severity
    environment: Environment | None = None
    resource: Resource | None = None
    metrics: Given = {}
    tags: Labels = {}
    labels: LabelsOrList = {}
    correlation_id: Name | None = None
    parent_event_id: Name | None = None
    payload: Given = {}


class Envelope(Record):
    """The fork's: what some execution says of itself."""

    source: Name
    event_type: Name
    execution_id: Name
    timestamp: Instant
    severity: Severity
    payload: Given


class SentEventBody(EventBody):
    """The same at a door that knows who sends: `source` counts for nothing."""

    source: Any = None


class SentEnvelope(Envelope):
    source: Any = None


def event(obj: object, *, headers: Mapping[str, str] = NO_HEADERS, source: str | None = None) -> Alert:
    """One event as an alert. `source`: who sends it, whatever the event says. Raises: Invalid."""
    if not isinstance(obj, dict):
        raise Invalid.field("body", "must be an object")
    given = {name: without_nulls(value) for name, value in obj.items() if name not in IGNORED and value is not None}
    if source is not None:
        given["source"] = source
    key = delivery_of(headers)
    if "title" not in given and {"execution_id", "payload"} <= given.keys():
        return _of_execution(decode(Envelope, given), key)
    return _alert(decode(EventBody, given), given, key)


def _alert(body: EventBody, given: Mapping[str, object], key: str | None) -> Alert:
    return decode(Alert, {
        "source": body.source, "title": body.title, "description": body.description, "severity": body.severity,
        "category": body.category, "incident_type": body.category.incident_type, "environment": body.environment,
        "resource": given.get("resource"), "labels": body.tags | body.labels, "external_id": body.event_id,
        "delivery": key or body.event_id, "starts_at": body.timestamp, "event": said(given),
    })  # fmt: skip


def _of_execution(envelope: Envelope, key: str | None) -> Alert:
    """Titled by what the payload says of itself, else by its type."""
    texts = {name: text for name, text in envelope.payload.items() if isinstance(text, str)}
    title = first_said(texts.get("title"), texts.get("message"), envelope.event_type)
    whole = said(envelope.model_dump() | {"correlation_id": envelope.execution_id})
    once = f"{envelope.execution_id}:{envelope.event_type}:{envelope.timestamp.isoformat()}"
    return decode(Alert, {
        "source": envelope.source, "title": cut(title.strip(), TITLE_MAX), "severity": envelope.severity,
        "description": cut(texts.get("description", ""), TEXT_MAX), "delivery": key or once,
        "starts_at": envelope.timestamp, "event": whole,
    })  # fmt: skip

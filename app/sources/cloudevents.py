"""CloudEvents 1.0 over HTTP: binary, structured, and in batches.

Source: https://github.com/cloudevents/spec, v1.0.2, http-protocol-binding.md and json-format.md. What an event means
stands in the last word of its type: `com.example.index.failed` is an alert, `com.example.index.recovered` its end, and
`com.example.chat.deployed` a change, as is whatever else doesn't say in its data how bad it is.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import orjson
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import HTTPMessage, from_binary
from cloudevents.core.exceptions import BaseCloudEventException
from cloudevents.core.formats.json import JSONFormat

from app.domain.alert import Alert, AlertStatus, ChangeEvent
from app.domain.decode import printable
from app.domain.errors import Invalid
from app.domain.inbound import Inbound
from app.domain.vocabulary import Severity
from app.sources.base import Post, Source, canonical, known_environment, short
from app.sources.reports import part, word
from app.sources.strict_json import tolerant_json
from app.sources.text import cut, first_said
from app.sources.unreadable import unreadable

SOURCE, BATCH = "cloudevents", "application/cloudevents-batch+json"
EVENTS_MAX = 10_000
FIRING = frozenset({
    "failed", "failure", "failing", "error", "errored", "firing", "triggered", "degraded", "down", "unhealthy", "alert",
    "breached", "exceeded", "crashed", "timedout", "timeout", "aborted", "unavailable", "detected", "expired",
})  # fmt: skip
OVER = frozenset({
    "recovered", "resolved", "restored", "healthy", "up", "succeeded", "success", "passed", "cleared", "available",
})  # fmt: skip
WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
VERSION = re.compile(r"v?[0-9]+")


def read(post: Post) -> Inbound:
    """The events of a post. Of a batch, one that can't be read holds back no other. Raises: Invalid."""
    alerts: list[Alert] = []
    changes: list[ChangeEvent] = []
    for event in _events(post):
        if isinstance(event, Alert):
            alerts.append(event)
            continue
        status = _status(event)
        if status is None:
            changes.append(_change(event))
        else:
            alerts.append(_alert(event, status))
    return Inbound(alerts=tuple(alerts), changes=tuple(changes))


def _events(post: Post) -> Iterator[BaseCloudEvent | Alert]:
    sent_as = post.headers.get("content-type", "").partition(";")[0].strip().lower()
    if "ce-specversion" in post.headers:
        yield _binary(post)
        return
    said = post.json
    if sent_as != BATCH and not isinstance(said, list):
        yield _structured(said)
        return
    if not isinstance(said, list) or (sent_as != BATCH and not said):
        raise Invalid.field("body", "must be a list of CloudEvents")
    for number, item in enumerate(said[: EVENTS_MAX + 1]):
        try:
            if number == EVENTS_MAX:
                raise Invalid(f"holds {len(said):,} events; only {EVENTS_MAX:,} were looked at")
            yield _structured(item)
        except Invalid as why:
            if len(said) == 1:
                raise
            yield unreadable(SOURCE, Post(orjson.dumps(item), post.at), Invalid(f"[{number}] {why.message}"))


def _binary(post: Post) -> BaseCloudEvent:
    held = {name: value.replace("%00", "") for name, value in post.headers.items() if name.startswith("ce-")}
    held["content-type"] = "application/octet-stream"  # `_data` reads JSON that models' output has got into
    try:
        return from_binary(HTTPMessage(held, post.body), JSONFormat())
    except (BaseCloudEventException, ValueError, TypeError, OverflowError, RecursionError) as wrong:
        raise _none(wrong) from None


def _structured(item: object) -> BaseCloudEvent:
    if not isinstance(item, dict) or "specversion" not in item:
        raise Invalid.field("specversion", "is required: it must be a CloudEvent")
    present = {name: value for name, value in item.items() if value is not None}
    try:
        return JSONFormat().read(None, orjson.dumps(present))
    except (BaseCloudEventException, ValueError, TypeError, AttributeError, OverflowError) as wrong:
        raise _none(wrong) from None


def _none(wrong: Exception) -> Invalid:
    return Invalid.field("body", f"must be a CloudEvent: {printable(str(wrong))[:300]}")


def _status(event: BaseCloudEvent) -> AlertStatus | None:
    """None for a change."""
    last = next(reversed(_words(_type(event))), "")
    if last in OVER:
        return AlertStatus.RESOLVED
    if last in FIRING:
        return AlertStatus.FIRING
    data = _data(event)
    said = word(data.get("status")).lower()
    if said in OVER:
        return AlertStatus.RESOLVED
    return AlertStatus.FIRING if said in FIRING or word(data.get("severity")) else None


def _alert(event: BaseCloudEvent, status: AlertStatus) -> Alert:
    data, subject, type_ = _data(event), event.get_subject() or "", _type(event)
    title = first_said(*(word(data.get(name)) for name in ("title", "summary")), f"{type_} {subject}".strip())
    labels = part(data, "labels")
    return canonical(
        SOURCE, title, f"{event.get_source()}\n{_stem(type_)}\n{subject}",
        incident_class=first_said(word(data.get("class")), _extension(event, "incidentclass")) or None,
        severity=_severity(first_said(word(data.get("severity")), _extension(event, "severity"))),
        status=status,
        description=first_said(*(_text(data.get(name)) for name in ("description", "message", "reason", "error"))),
        service=first_said(word(data.get("service")), _extension(event, "service")) or None,
        environment=first_said(word(data.get("environment")), _extension(event, "environment")) or None,
        labels={**(labels if isinstance(labels, dict) else {}), "ce_source": event.get_source(), "ce_type": type_},
        notes={"ce_subject": subject, "url": word(data.get("url"))},
        delivery=f"{event.get_source()}\n{event.get_id()}",
        starts_at=_time(event),
    )  # fmt: skip


def _change(event: BaseCloudEvent) -> ChangeEvent:
    data, subject, type_ = _data(event), event.get_subject() or "", _type(event)
    title = first_said(*(word(data.get(name)) for name in ("title", "summary")), f"{type_} {subject}".strip())
    service = first_said(word(data.get("service")), _extension(event, "service"))
    url = word(data.get("url"))
    return ChangeEvent(
        source=SOURCE, summary=cut(title, 1024), at=_time(event), services=(cut(service, 255),) if service else (),
        environment=known_environment(first_said(word(data.get("environment")), _extension(event, "environment"))),
        author=cut(word(data.get("author")), 255) or None,
        details={
            "id": short(event.get_id(), 255), "source": short(event.get_source(), 255), "type": short(type_, 255),
            "subject": short(subject, 255),
        },
        links=({"href": url},) if url.startswith(("http://", "https://")) else (),
    )  # fmt: skip


def _data(event: BaseCloudEvent) -> Mapping[str, object]:
    """What it is about, where that is an object; cleaned of what PostgreSQL can't hold."""
    data = event.get_data()
    if isinstance(data, bytes | str):
        try:
            data = tolerant_json(data if isinstance(data, bytes) else data.encode("utf-8", "replace"))  # type: ignore[assignment]
        except Invalid:
            return {}
    elif isinstance(data, dict):
        data = tolerant_json(orjson.dumps(data))  # type: ignore[assignment]
    return data if isinstance(data, dict) else {}


def _type(event: BaseCloudEvent) -> str:
    return event.get_type().replace("\0", "")


def _stem(type_: str) -> str:
    """The type without the word that says how it stands: the same of what failed and of what recovered."""
    words = _words(type_)
    return ".".join(words[:-1] if words and words[-1] in FIRING | OVER else words)


def _words(type_: str) -> list[str]:
    """`com.acme.IndexFailed.v2` as com, acme, index, failed."""
    parts = (part for part in type_.split(".") if not VERSION.fullmatch(part))
    return [each.lower() for part in parts for each in WORDS.findall(part)]


def _extension(event: BaseCloudEvent, name: str) -> str:
    return word(event.get_extension(name))


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _severity(name: str) -> Severity | None:
    try:
        return Severity(name)
    except ValueError:
        return None


def _time(event: BaseCloudEvent) -> datetime | None:
    at = event.get_time()
    try:
        return at.astimezone(UTC) if at is not None else None
    except (ValueError, OverflowError):
        return None


SAYS = Source(read)

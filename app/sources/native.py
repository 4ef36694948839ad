"""Our own format: incidents and alerts as the API documents them, and the shapes of older clients."""

from collections.abc import Callable, Mapping
from typing import Annotated
from uuid import uuid4

from pydantic import AliasChoices, BeforeValidator, Field, StrictBool, WithJsonSchema

from app.domain.alert import LABELS_MAX, Alert, AlertStatus, Event, Labels, Statement
from app.domain.decode import Instant, decode, path_of
from app.domain.errors import Invalid
from app.domain.record import Record
from app.domain.requests import Name, Title
from app.domain.taxonomy import base
from app.domain.vocabulary import IncidentType, Severity
from app.sources.text import flat, without_nulls

BATCH_MAX = 1000

# Fields of the first version that have no place of their own: kept as annotations.
KEPT = frozenset({
    "timestamp", "event_type", "source_version", "metrics", "payload", "metadata", "correlation_id", "parent_event_id",
})  # fmt: skip
# Fields of the first version that were an answer, not a question.
IGNORED = frozenset({"id", "received_at", "incident_id", "deduplicated", "acknowledged", "parent_alert_id"})
NO_HEADERS: Mapping[str, str] = {}


def _state(value: object) -> AlertStatus:
    for status in (AlertStatus.FIRING, AlertStatus.RESOLVED):
        if isinstance(value, str) and value.strip().lower() == status:
            return status
    raise ValueError("must be 'firing' or 'resolved'")


def _as_map(value: object) -> object:
    """Labels come as a map or as a list of `team=payments` and bare words."""
    if not isinstance(value, list):
        return value
    if not all(isinstance(label, str) for label in value):
        raise ValueError("must be an object, or a list of strings like team=payments")
    if len(value) > LABELS_MAX:
        raise ValueError(f"must have at most {LABELS_MAX} items")
    return {name: text for name, _, text in (label.partition("=") for label in value)}


LabelsOrList = Annotated[
    Labels,
    BeforeValidator(_as_map),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "object",
                    "additionalProperties": {"type": "string", "maxLength": 4096},
                    "propertyNames": {"minLength": 1, "maxLength": 256},
                    "maxProperties": LABELS_MAX,
                },
                {
                    "type": "array",
                    "items": {"type": "string", "pattern": "^[^=]{1,256}(=[^=]{0,4096})?$"},
                    "maxItems": LABELS_MAX,
                },
            ]
        }
    ),
]


class AlertBody(Statement):
    """POST /api/v1/alerts. null is the same as left out; `tags` and `labels` are one map."""

    source: Name
    title: Title
    status: Annotated[
        AlertStatus, BeforeValidator(_state), WithJsonSchema({"type": "string", "enum": ["firing", "resolved"]})
    ] = AlertStatus.FIRING
    incident_type: IncidentType = Field(
        IncidentType.UNKNOWN, validation_alias=AliasChoices("alert_type", "incident_type")
    )
    affected_services: tuple[Name, ...] = Field(
        (), max_length=100, validation_alias=AliasChoices("affected_services", "affected_resources")
    )
    labels: LabelsOrList = {}
    tags: LabelsOrList = {}
    external_id: Name | None = Field(None, validation_alias=AliasChoices("external_id", "event_id", "source_event_id"))
    identity: str | None = Field(None, min_length=1, max_length=1024, validation_alias="fingerprint")
    delivery: Name | None = Field(None, validation_alias="delivery_id")
    starts_at: Instant | None = None
    ends_at: Instant | None = None


class IncidentBody(AlertBody):
    """POST /api/v1/incidents: an alert that somebody reports by hand."""

    source: Name = "api"
    incident_type: IncidentType = Field(
        IncidentType.UNKNOWN, validation_alias=AliasChoices("incident_type", "alert_type")
    )
    assigned_to: Name | None = None


class Options(Record):
    skip_deduplication: StrictBool = False
    force_severity: Severity | None = None
    assign_to: Name | None = None


class EventBody(Record):
    """POST /api/v1/incidents as the published clients' types have it."""

    event: IncidentBody
    options: Options = Options()


class Create(Record):
    """An alert, and whom its incident is to be assigned to when it is new."""

    alert: Alert
    assign_to: str | None = None


def alert(obj: object, *, headers: Mapping[str, str] = NO_HEADERS, prefix: str = "") -> Alert:
    """One alert. An Idempotency-Key names the delivery. Raises: Invalid."""
    return as_alert(decode(AlertBody, _tidy(obj), prefix), delivery_of(headers), prefix)


def batch(obj: object) -> list[Alert | Invalid]:
    """An array of alerts, bare or under `alerts`: for each, in order, the alert or why it is none.

    Raises: Invalid when there are none, or more than 1,000.
    """
    if isinstance(obj, dict):
        if unknown := obj.keys() - {"alerts"}:
            raise Invalid.field(path_of([min(unknown)]), "is not a field here; there are alerts")
        obj = obj.get("alerts")
    if not isinstance(obj, list):
        raise Invalid.field("alerts", "must be a list of alerts")
    if not 1 <= len(obj) <= BATCH_MAX:
        raise Invalid.field("alerts", f"must have 1 to {BATCH_MAX} items, not {len(obj)}")
    return [_alert_or_why_not(item, f"alerts[{at}]") for at, item in enumerate(obj)]


def incident(
    obj: object, *, headers: Mapping[str, str] = NO_HEADERS, new_identity: Callable[[], str] = lambda: uuid4().hex
) -> Create:
    """An incident in any of the three shapes that clients send. Raises: Invalid.

    `new_identity` is asked for when deduplication is to be skipped: a problem of its own, unless the
    same Idempotency-Key says that it is the same request again.
    """
    key = delivery_of(headers)
    if not isinstance(obj, dict) or "event" not in obj:
        body = decode(IncidentBody, _tidy(obj))
        return Create(alert=as_alert(body, key), assign_to=body.assigned_to)
    asked = without_nulls({**obj, "event": _tidy(obj["event"]), "options": without_nulls(obj.get("options"))})
    wanted = decode(EventBody, asked)
    event, options = wanted.event, wanted.options
    changes: dict[str, object] = {
        "severity": options.force_severity or event.severity, "event": said(without_nulls(obj["event"]), "event"),
    }  # fmt: skip
    if options.skip_deduplication:
        changes["identity"] = f"once:{key or new_identity()}"
    else:
        key = key or event.delivery or event.external_id
    alert = as_alert(event.model_copy(update=changes), key, "event")
    return Create(alert=alert, assign_to=options.assign_to or event.assigned_to)


def said(event: object, prefix: str = "") -> Event:
    """What a client says in an event, in its own words. Raises: Invalid."""
    given = dict(event) if isinstance(event, dict) else {}
    if isinstance(labels := given.get("labels"), dict):
        given["labels"] = [f"{name}={value}" for name, value in labels.items()]
    return decode(Event, given, prefix, extra="ignore")


def _alert_or_why_not(item: object, prefix: str) -> Alert | Invalid:
    try:
        return alert(item, prefix=prefix)
    except Invalid as refusal:
        return refusal


def as_alert(body: AlertBody, delivery: str | None, prefix: str = "") -> Alert:
    """The alert that a body means; `delivery` names this very delivery, if anything does."""
    fields = dict(body.__dict__)
    given = body.model_fields_set
    if "incident_type" not in given and "category" in given:
        fields["incident_type"] = body.category.incident_type
    elif "category" not in given:
        fields["category"] = body.incident_type.category
    if body.tags:
        fields["labels"] = body.tags | body.labels
    if "severity" not in given:
        fields["severity"] = base(fields["labels"])
    if delivery is not None:
        fields["delivery"] = delivery
    return decode(Alert, fields, prefix, extra="ignore")


def _tidy(obj: object) -> object:
    obj = without_nulls(obj)
    if not isinstance(obj, dict) or obj.keys().isdisjoint(KEPT | IGNORED):
        return obj
    left = {name: value for name, value in obj.items() if name not in KEPT and name not in IGNORED}
    annotations = left.get("annotations", {})
    if isinstance(annotations, dict):
        for name in KEPT & obj.keys():
            annotations = flat(name, obj[name]) | annotations
        left["annotations"] = annotations
    return left


def delivery_of(headers: Mapping[str, str]) -> str | None:
    """The delivery that an Idempotency-Key names. Raises: Invalid."""
    key = headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= 255:
        raise Invalid.field("Idempotency-Key", "must have 1 to 255 characters")
    return key

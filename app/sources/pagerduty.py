"""PagerDuty Events API v2: whatever can page through PagerDuty can page through us.

Source: https://developer.pagerduty.com/docs/events-api-v2-overview. Unknown fields are ignored.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, ValidationError, WithJsonSchema

from app.domain.alert import TEXT_MAX, TITLE_MAX, Alert, AlertStatus, ChangeEvent
from app.domain.decode import PROBLEMS_SHOWN, decode, path_of, problems
from app.domain.errors import Invalid
from app.domain.record import Record
from app.domain.vocabulary import Environment, Severity
from app.sources import opik
from app.sources.text import VALUE_MAX, as_text, cut, flat, without_content, without_nulls

M = TypeVar("M", bound=BaseModel)

SOURCE = "pagerduty"
DOORS = frozenset({"/v2/enqueue", "/v2/change/enqueue"})
STATUS = {
    "trigger": AlertStatus.FIRING, "acknowledge": AlertStatus.ACKNOWLEDGED, "resolve": AlertStatus.RESOLVED,
}  # fmt: skip
MOMENT_MAX = 100
MISSING = {"missing", "string_too_short", "string_pattern_mismatch"}


class InvalidEvent(Invalid):
    """`errors` are sentences as PagerDuty words them: "'payload.summary' is missing or blank"."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("Event object is invalid", errors)
        self.errors = errors


class Event(Record):
    """Whom the event is for, and the alert it makes. `dedup_key` is answered, minted or not."""

    routing_key: str
    dedup_key: str
    alert: Alert


def _moment(written: object) -> datetime | None:
    """An ISO 8601 moment as monitoring tools write it: `+00:00Z`, `+0000`, ` UTC`, none at all (UTC), a blank for T.

    A bare day names no moment.
    """
    if not isinstance(written, str) or len(written) > MOMENT_MAX:
        raise ValueError("must be an ISO 8601 date and time")
    if not written.strip():
        return None
    text = re.sub(r"\s*(UTC|GMT|Z)$", "Z", written.strip(), flags=re.IGNORECASE)
    text = re.sub(r"\s*([+-]\d\d:?\d\d)Z?$", r"\1", text)
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be an ISO 8601 date and time") from None
    return moment if ":" in text or "T" in text else None


Key = Annotated[str, StringConstraints(pattern=r"\S", max_length=255)]
Filled = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Summary = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1024)]
Level = Annotated[
    Literal["critical", "warning", "error", "info"],
    BeforeValidator(lambda level: level.strip().lower() if isinstance(level, str) else level),
]
Moment = Annotated[datetime | None, BeforeValidator(_moment), WithJsonSchema({"type": ["string", "null"]})]
Attached = Annotated[tuple[dict[str, object], ...], Field(max_length=100)]
NoNulls = BeforeValidator(without_nulls)


class Payload(BaseModel):
    summary: Summary
    source: Filled
    severity: Level
    timestamp: Moment = None
    component: str = ""
    group: str = ""
    class_: str = Field("", validation_alias="class")
    custom_details: object = None


class Addressed(BaseModel):
    routing_key: Annotated[Filled, Field(max_length=255)]


class Update(Addressed):
    """acknowledge and resolve need no more than the key of what they are about."""

    dedup_key: Key


class Trigger(Addressed):
    event_action: Literal["trigger", "acknowledge", "resolve"]
    dedup_key: Annotated[str, Field(max_length=255)] = ""
    payload: Annotated[Payload, NoNulls]
    client: str = ""
    client_url: str = ""
    links: Attached = ()
    images: Attached = ()


class ChangePayload(BaseModel):
    summary: Summary
    source: str = ""
    timestamp: Moment = None
    custom_details: object = None


class Change(Addressed):
    payload: Annotated[ChangePayload, NoNulls]
    links: Attached = ()


def event(obj: object, *, new_key: Callable[[], str]) -> Event:
    """`new_key` mints a dedup_key where a trigger has none. Raises: InvalidEvent with every problem."""
    said = without_nulls(obj)
    action = said.get("event_action") if isinstance(said, dict) else None
    if action in ("acknowledge", "resolve"):
        update = _read(Update, said)
        alert = Alert(
            source=SOURCE, title=cut(update.dedup_key, TITLE_MAX), status=STATUS[action],
            external_id=update.dedup_key, identity=update.dedup_key,
        )  # fmt: skip
        return Event(routing_key=update.routing_key, dedup_key=update.dedup_key, alert=alert)
    trigger = _read(Trigger, said)
    key = trigger.dedup_key if trigger.dedup_key.strip() else new_key()
    alert = opik.through_pagerduty(_triggered(trigger, key), trigger.payload.custom_details)
    return Event(routing_key=trigger.routing_key, dedup_key=key, alert=alert)


def change(obj: object) -> ChangeEvent:
    """A deploy, a flag, a migration: what explains incidents. Raises: InvalidEvent with every problem."""
    sent = _read(Change, without_nulls(obj))
    details = sent.payload.custom_details
    said = details if isinstance(details, dict) else {}
    return ChangeEvent(
        source=cut(sent.payload.source.strip(), 255) or SOURCE,
        summary=sent.payload.summary,
        at=sent.payload.timestamp,
        services=_services(said),
        environment=_environment(said.get("environment")),
        author=_word(said.get("author") or said.get("user")),
        details=said if said or details is None else {"custom_details": details},
        links=sent.links,
    )


def _services(details: Mapping[str, Any]) -> tuple[str, ...]:
    """What the details call `service` or `services`: text, or a list of it."""
    named = details.get("services") or details.get("service")
    words = (_word(name) for name in (named if isinstance(named, list) else [named]))
    return tuple(dict.fromkeys(word for word in words if word))[:100]


def _environment(said: object) -> Environment | None:
    try:
        return Environment(str(said))
    except ValueError:
        return None


def _word(said: object) -> str | None:
    return cut(said.strip(), 255) or None if isinstance(said, str) else None


def routing_key(obj: object) -> str:
    """Who sends the event. Raises: InvalidEvent."""
    return _read(Addressed, without_nulls(obj)).routing_key


def _triggered(trigger: Trigger, key: str) -> Alert:
    payload = trigger.payload
    labels = {
        "source": payload.source, "component": payload.component, "group": payload.group, "class": payload.class_,
    }  # fmt: skip
    notes = {
        "client": trigger.client, "client_url": trigger.client_url,
        "links": _lines(trigger.links, "href", "text"), "images": _lines(trigger.images, "src", "alt", "href"),
    }  # fmt: skip
    fields = {
        "source": SOURCE,
        "title": cut(payload.summary, TITLE_MAX),
        "severity": Severity(payload.severity),
        "description": _description(payload),
        "affected_services": (cut(payload.source, 255),),
        "labels": {name: cut(text, VALUE_MAX) for name, text in labels.items() if text},
        "annotations": flat("custom_details", payload.custom_details)
        | {name: cut(text, VALUE_MAX) for name, text in notes.items() if text},
        "external_id": key,
        "identity": key,
        "starts_at": payload.timestamp,
    }
    return decode(Alert, fields)


def _description(payload: Payload) -> str:
    """What a person is to read: the summary where the title cut it, and the details, one a line."""
    lines = [payload.summary] if len(payload.summary) > TITLE_MAX else []
    details = without_content(payload.custom_details)
    if isinstance(details, Mapping):
        lines += [f"{name}: {as_text(value)}" for name, value in details.items()]
    elif details is not None:
        lines.append(as_text(details))
    return cut("\n".join(lines), TEXT_MAX)


def _lines(attached: tuple[dict[str, object], ...], *names: str) -> str:
    return "\n".join(" ".join(as_text(item[name]) for name in names if item.get(name)) for item in attached)


def _read(model: type[M], obj: object) -> M:
    try:
        return model.model_validate(obj)
    except ValidationError as wrong:
        raise InvalidEvent(_worded(wrong)) from None


def _worded(wrong: ValidationError) -> list[str]:
    found = wrong.errors(include_url=False, include_context=False, include_input=False)
    return [_sentence(path_of(error["loc"]), error) for error in found[:PROBLEMS_SHOWN]]


def _sentence(path: str, error: Mapping[str, Any]) -> str:
    if error["type"] in MISSING:
        return f"'{path}' is missing or blank"
    [problem] = problems([error])
    allowed = problem["message"]
    if error["type"] == "literal_error":
        allowed = allowed.replace("must be ", "must be one of the following: ")
    return f"'{path}' is invalid ({allowed})"

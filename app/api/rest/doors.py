"""How the doors that alerts come in by are documented; their answers as records, though they are made by hand."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from app.api.rest.wire import IDEMPOTENT, inlined
from app.domain.dedup import Outcome
from app.domain.record import Record
from app.domain.representation import IncidentView
from app.domain.requests import Ingested
from app.service.intake import Taken
from app.sources import SOURCES


class Told(Record):
    """What became of one alert. Both ids are null when it was ignored."""

    alert_id: str | None
    incident_id: str | None
    status: Literal["Accepted", "Duplicate"]
    outcome: Outcome
    message: str


def told(answer: Ingested) -> dict[str, object]:
    return {
        "alert_id": answer.alert_id,
        "incident_id": answer.incident_id,
        "status": "Duplicate" if answer.outcome.duplicate else "Accepted",
        "outcome": answer.outcome,
        "message": answer.outcome.sentence,
    }


class Refusal(Record):
    code: str
    message: str
    details: list[dict[str, str]]


class Rejected(Record):
    """Why an alert of a batch is none."""

    alert_id: None
    incident_id: None
    status: Literal["Rejected"]
    message: str
    error: Refusal


class ToldInBatch(Told):
    index: int


class RejectedInBatch(Rejected):
    index: int


class Batch(Record):
    """`results` are in the order of the alerts."""

    accepted: int
    duplicates: int
    rejected: int
    results: list[ToldInBatch | RejectedInBatch]


class Envelope(Record):
    """What became of an incident that was reported. Of one that is known, its own fields stand beside these."""

    status: Literal["created", "duplicate", "ignored"]
    incident_id: str | None
    duplicate_of: str | None
    outcome: Outcome
    message: str
    incident: IncidentView | None


class Opened(IncidentView):
    """A new incident."""

    incident_id: str
    outcome: Literal["created"]
    message: str


class Links(Record):
    """Where the incident and the event can be read."""

    incident: str
    api: str


class EventTaken(Record):
    """What became of an event. `duplicate`: it is one more of a problem that is known, or the same once more."""

    status: Literal["accepted", "duplicate"]
    event_id: str
    alert_id: str
    incident_id: str
    duplicate_of: str | None
    outcome: Outcome
    message: str
    links: Links


class ExecutionTaken(EventTaken):
    execution_id: str


class SourceTaken(Record):
    """`results` are in the order of the alerts; `changes` and `samples` say how many were kept and counted."""

    status: Literal["ok"]
    results: list[Told]
    changes: int
    samples: int

    @classmethod
    def of(cls, taken: Taken) -> "SourceTaken":
        results = [Told.model_validate(told(answer)) for answer in taken.results]
        return cls(status="ok", results=results, changes=taken.changes, samples=taken.samples)


class Enqueued(Record):
    """PagerDuty's answer."""

    status: Literal["success"]
    message: str
    dedup_key: str


class ChangeEnqueued(Record):
    """PagerDuty's answer."""

    status: Literal["success"]
    message: str


class InvalidEvent(Record):
    """PagerDuty's refusal."""

    status: str
    message: str
    errors: list[str] = []


Answers = Mapping[HTTPStatus, type[BaseModel] | tuple[type[BaseModel], ...] | None]
Endpoint = Callable[[Request], Awaitable[Response]]


class Door(NamedTuple):
    """Where alerts come in, the body that is taken, and the answers."""

    path: str
    endpoint: Endpoint
    body: dict[str, Any]
    answers: Answers
    idempotent: bool = False


def documented(door: Door) -> dict[str, Any]:
    """The OpenAPI path item."""
    summary, _, more = (door.endpoint.__doc__ or "").partition("\n")
    operation: dict[str, Any] = {
        "tags": ["ingest"],
        "summary": summary.strip(),
        "operationId": door.endpoint.__name__ + ("_alertmanager" if door.path.endswith("/alertmanager") else ""),
        "requestBody": {"required": True, "content": {"application/json": {"schema": door.body}}},
        "responses": {str(status.value): _answer(shape) for status, shape in door.answers.items()},
        "parameters": list(IDEMPOTENT["parameters"]) if door.idempotent else [],
    }
    if more.strip():
        operation["description"] = " ".join(more.split())
    if "{source}" in door.path:
        schema = {"type": "string", "enum": [name for name, source in SOURCES.items() if not source.strict]}
        operation["parameters"].append({"name": "source", "in": "path", "required": True, "schema": schema})
    return {"post": operation}


def _answer(shape: type[BaseModel] | tuple[type[BaseModel], ...] | None) -> dict[str, Any]:
    if shape is None:
        return {"description": "Durable."}
    shapes = shape if isinstance(shape, tuple) else (shape,)
    schemas = [inlined(one.model_json_schema(mode="serialization")) for one in shapes]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {"description": "Durable.", "content": {"application/json": {"schema": schema}}}

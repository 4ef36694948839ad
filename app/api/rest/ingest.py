"""Where alerts come in. Plain Starlette routes: FastAPI's own machinery would cost 0.1 ms of every request."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NamedTuple
from uuid import uuid4

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from app.api.auth import admitted, caller, token
from app.api.rest.wire import inlined, read_json, reply, served
from app.domain.access import Principal
from app.domain.dedup import Outcome
from app.domain.errors import Forbidden, Invalid, NotFound
from app.domain.representation import IncidentView
from app.domain.requests import Ingested
from app.sources import SOURCES, alertmanager, native, pagerduty


def told(answer: Ingested) -> dict[str, object]:
    return {
        "alert_id": answer.alert_id,
        "incident_id": answer.incident_id,
        "status": "Duplicate" if answer.outcome.duplicate else "Accepted",
        "outcome": answer.outcome,
        "message": answer.outcome.sentence,
    }


async def post_alert(request: Request) -> Response:
    """One alert. It is durable when this is answered."""
    who = await caller(request)
    alert = native.alert(await read_json(request), headers=request.headers)
    [answer] = await served(request).alerts.ingest(who, [alert])
    return reply(told(answer))


async def post_batch(request: Request) -> Response:
    """1 to 1,000 alerts, each answered on its own: a bad one does not hold back the others."""
    who = await caller(request)
    items = native.batch(await read_json(request, batch=True))
    alerts = [item for item in items if not isinstance(item, Invalid)]
    answers = iter(await served(request).alerts.ingest(who, alerts) if alerts else [])
    results = [
        {"index": index, **(refused(item) if isinstance(item, Invalid) else told(next(answers)))}
        for index, item in enumerate(items)
    ]
    count = [result["status"] for result in results].count
    counts = {"accepted": count("Accepted"), "duplicates": count("Duplicate"), "rejected": count("Rejected")}
    return reply({**counts, "results": results})


def refused(why: Invalid) -> dict[str, object]:
    return {
        "alert_id": None,
        "incident_id": None,
        "status": "Rejected",
        "message": why.message,
        "error": {"code": why.code, "message": why.message, "details": why.details},
    }


async def post_incident(request: Request) -> Response:
    """201 with the new incident. 200 when it is known already: `status` is "duplicate", `state` that of the incident.

    A body with `event` is answered `{status, incident_id, duplicate_of, message, incident}`.
    """
    who = await caller(request)
    body = await read_json(request)
    wanted = native.incident(body, headers=request.headers)
    gateway = served(request)
    [answer] = await gateway.alerts.ingest(who, [wanted.alert], assignee=wanted.assign_to)
    incident: IncidentView | None = None
    if answer.incident_id is not None:
        with suppress(Forbidden):  # a key that may only send alerts hears the id
            incident = await gateway.incidents.get(who, answer.incident_id)
    created = answer.outcome is Outcome.CREATED
    shown = incident.model_dump() if incident else None
    envelope = {
        "status": "created" if created else "ignored" if answer.incident_id is None else "duplicate",
        "incident_id": answer.incident_id,
        "duplicate_of": None if created else answer.incident_id,
        "outcome": answer.outcome,
        "message": answer.outcome.sentence,
    }
    if shown is None or (isinstance(body, dict) and "event" in body):
        return reply({**envelope, "incident": shown}, HTTPStatus.CREATED if created else HTTPStatus.OK)
    if created:
        return reply({**envelope, **shown}, HTTPStatus.CREATED)
    return reply({**shown, **envelope, "incident": shown})


async def post_source(request: Request) -> Response:
    """What a monitoring system sends by itself."""
    who = await caller(request)
    name = request.path_params["source"]
    if name not in SOURCES:
        raise NotFound("source", name)
    alerts = SOURCES[name](await read_json(request, batch=True))
    answers = await served(request).alerts.ingest(who, alerts) if alerts else []
    return reply({"status": "ok", "results": [told(answer) for answer in answers]})


async def push_alerts(request: Request) -> Response:
    """Alertmanager's own API, as Prometheus uses it."""
    who = await caller(request)
    alerts = alertmanager.push(await read_json(request, batch=True), now=datetime.now(UTC))
    if alerts:
        await served(request).alerts.ingest(who, alerts)
    return Response()


async def enqueue(request: Request) -> Response:
    """PagerDuty's Events API v2."""
    who, body = await _routed(request)
    event = pagerduty.event(body, new_key=lambda: uuid4().hex)
    await served(request).alerts.ingest(who, [event.alert])
    return reply({"status": "success", "message": "Event processed", "dedup_key": event.dedup_key}, HTTPStatus.ACCEPTED)


async def enqueue_change(request: Request) -> Response:
    """PagerDuty's change events: kept, never an incident."""
    who, body = await _routed(request)
    await served(request).changes.record(who, pagerduty.change(body))
    return reply({"status": "success", "message": "Change event processed"}, HTTPStatus.ACCEPTED)


async def _routed(request: Request) -> tuple[Principal, object]:
    """Who sends a PagerDuty event, and the event. Without a header, the routing key is an API key."""
    secret = token(request)
    gateway = served(request)
    if secret is not None:
        return await admitted(gateway, secret), await read_json(request)
    body = await read_json(request)
    return await admitted(gateway, pagerduty.routing_key(body)), body


class Door(NamedTuple):
    """Where alerts come in, and how that is documented."""

    path: str
    endpoint: Callable[[Request], Awaitable[Response]]
    schema: dict[str, Any]
    status: int = HTTPStatus.OK


def schema_of(shape: type[BaseModel]) -> dict[str, Any]:
    return inlined(shape.model_json_schema())


ALERTS = {"type": "array", "items": schema_of(native.AlertBody), "minItems": 1, "maxItems": native.BATCH_MAX}
OURS = (
    Door("/alerts", post_alert, schema_of(native.AlertBody)),
    Door("/alerts/batch", post_batch, {"type": "object", "properties": {"alerts": ALERTS}, "required": ["alerts"]}),
    Door(
        "/incidents",
        post_incident,
        {"anyOf": [schema_of(native.IncidentBody), schema_of(native.EventBody)]},
        HTTPStatus.CREATED,
    ),
    Door("/ingest/{source}", post_source, schema_of(alertmanager.Webhook)),
)
VENDORS = (
    Door("/api/v2/alerts", push_alerts, schema_of(alertmanager.Pushed)),
    Door("/v2/enqueue", enqueue, schema_of(pagerduty.Trigger), HTTPStatus.ACCEPTED),
    Door("/v2/change/enqueue", enqueue_change, schema_of(pagerduty.Change), HTTPStatus.ACCEPTED),
)


def documented(door: Door) -> dict[str, Any]:
    """The OpenAPI path item."""
    operation: dict[str, Any] = {
        "tags": ["ingest"],
        "summary": door.endpoint.__name__.replace("_", " "),
        "description": door.endpoint.__doc__,
        "operationId": door.endpoint.__name__,
        "requestBody": {"required": True, "content": {"application/json": {"schema": door.schema}}},
        "responses": {str(int(door.status)): {"description": "Durable."}},
    }
    if "{source}" in door.path:
        source = {"name": "source", "in": "path", "required": True, "schema": {"enum": list(SOURCES)}}
        operation["parameters"] = [source]
    return {"post": operation}


Endpoint = Callable[[Request], Awaitable[Response]]


class Plain(Route):
    """Answers a POST without a layer of its own: what an endpoint raises is rendered where all errors are.

    Leaves itself in the scope, as FastAPI's routes do, for the metrics.
    """

    def __init__(self, path: str, endpoint: Endpoint) -> None:
        super().__init__(path, endpoint, methods=["POST"])

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            response = await endpoint(Request(scope, receive))
            await response(scope, receive, send)

        self.app = answer

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, {**found, "route": self} if found else found


ROUTES: list[BaseRoute] = [
    Plain(path, door.endpoint)
    for door, path in [
        *((door, prefix + door.path) for prefix in ("/api/v1", "/v1") for door in OURS),
        *((door, door.path) for door in VENDORS),
    ]
]
PATHS = {f"/api/v1{door.path}": documented(door) for door in OURS} | {door.path: documented(door) for door in VENDORS}

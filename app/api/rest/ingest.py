"""Where alerts come in. Plain Starlette routes: FastAPI's own machinery would cost 0.1 ms of every request."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from app.api.auth import caller, shown, signed, token
from app.api.limits import inflated, read_body
from app.api.rest.doors import (
    Batch,
    ChangeEnqueued,
    Door,
    Endpoint,
    Enqueued,
    Envelope,
    EventTaken,
    ExecutionTaken,
    InvalidEvent,
    Opened,
    SourceTaken,
    Told,
    documented,
    told,
)
from app.api.rest.wire import inlined, nullable, read_json, reply, served, taken
from app.domain.access import Principal
from app.domain.dedup import Outcome
from app.domain.errors import Forbidden, Invalid
from app.domain.representation import IncidentView
from app.runtime import public
from app.sources import SOURCES, alertmanager, events, native, otlp, pagerduty
from app.sources.base import Post


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


async def post_event(request: Request) -> Response:
    """One event, kept whole; durable when this is answered.

    The envelope of an execution (`execution_id` and `payload`, no `title`) is an event, too.
    """
    return await _take_event(request, None)


async def post_sentinel_event(request: Request) -> Response:
    """An event of LLM Sentinel, whatever source it names."""
    return await _take_event(request, events.SENTINEL)


async def post_shield_event(request: Request) -> Response:
    """An event of LLM Shield, whatever source it names."""
    return await _take_event(request, events.SHIELD)


async def _take_event(request: Request, source: str | None) -> Response:
    who = await caller(request)
    alert = events.event(await read_json(request), headers=request.headers, source=source)
    gateway = served(request)
    [answer] = await gateway.alerts.ingest(who, [alert])
    duplicate, base = answer.outcome.duplicate, f"{public(gateway.settings)}/api/v1"
    execution = alert.event.execution_id if alert.event is not None else None
    said = {
        "status": "duplicate" if duplicate else "accepted",
        "event_id": alert.external_id or answer.alert_id,
        "alert_id": answer.alert_id,
        "incident_id": answer.incident_id,
        "duplicate_of": answer.incident_id if duplicate else None,
        "outcome": answer.outcome,
        "message": answer.outcome.sentence,
        "links": {
            "incident": f"{base}/incidents/{answer.incident_id}",
            "api": f"{base}/events/{answer.alert_id}",
        },
    }  # fmt: skip
    return reply(said | ({"execution_id": execution} if execution else {}), HTTPStatus.ACCEPTED)


async def post_source(request: Request) -> Response:
    """What a tool sends by itself: alerts, changes and telemetry, in its own format, or one that a mapping knows.

    A tool that signs is known by its signature, where its secret is in the settings (intake.tools); every other one
    shows an API key, in a header or as the last part of the address.
    """
    gateway, name = served(request), request.path_params["source"]
    secret = request.path_params.get("token") or token(request)
    known = name in gateway.intake.doors or name in gateway.mappings.doors  # others are looked up for who may send
    who = None if known else await shown(request, secret)
    door = await gateway.intake.door(name)
    if who is None and not door.signed:
        who = await shown(request, secret)
    most = gateway.settings.server.max_batch_bytes
    longest = min(most, door.source.longest or most)
    post = posted(request, await read_body(request, longest))
    if who is None:
        who = await signed(request, gateway.intake.signer(door, post))
    if request.headers.get("content-encoding", "").strip().lower() == "gzip":
        post = replace(post, body=inflated(post.body, "gzip", longest))
    taken = await gateway.intake.take(who, door, post)
    results = [told(answer) for answer in taken.results]
    return reply({"status": "ok", "results": results, "changes": taken.changes, "samples": taken.samples})


def posted(request: Request, body: bytes) -> Post:
    query = {name: value.replace("\0", "") for name, value in request.query_params.items()}
    return Post(body, datetime.now(UTC), headers=request.headers, query=query)


async def post_logs(request: Request) -> Response:
    """OpenTelemetry's logs (OTLP over HTTP): its events of GenAI are counted, all else is passed over.

    JSON, or protobuf with Content-Type application/x-protobuf, and answered so; Content-Encoding may be gzip.
    """
    who, gateway = await caller(request), served(request)
    most = gateway.settings.server.max_batch_bytes
    body = inflated(await read_body(request, most), request.headers.get("content-encoding", ""), most)
    post = posted(request, body)
    if body or not otlp.binary(post):  # of protobuf, nothing is a request with nothing in it
        await gateway.intake.take(who, gateway.intake.doors[otlp.SOURCE], post)
    said, kind = otlp.answer(post)
    return Response(said, media_type=kind)


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
    if secret is not None:
        return await shown(request, secret), await read_json(request)
    body = await read_json(request)
    return await shown(request, pagerduty.routing_key(body)), body


def either(*shapes: type[BaseModel]) -> dict[str, Any]:
    return {"anyOf": [taken(shape, nulls=True) for shape in shapes]}


BATCH: dict[str, Any] = {
    "type": "object",
    "properties": {
        "alerts": {
            "type": "array",
            "items": {"description": "An alert as at /alerts; one that is none is answered so."},
            "minItems": 1,
            "maxItems": native.BATCH_MAX,
        }
    },
    "required": ["alerts"],
    "additionalProperties": False,
}
TRIGGER, UPDATE = (nullable(inlined(shape.model_json_schema())) for shape in (pagerduty.Trigger, pagerduty.Update))
TRIGGER["properties"]["event_action"] = {"type": "string", "enum": ["trigger"]}
UPDATE["properties"]["event_action"] = {"type": "string", "enum": ["acknowledge", "resolve"]}
UPDATE["required"].append("event_action")
PAGERDUTY = {"anyOf": [TRIGGER, UPDATE]}
EVENT = {HTTPStatus.ACCEPTED: (EventTaken, ExecutionTaken)}
TOOL = {"description": "What the tool sends, in its own format. What can't be read becomes an alert that says so."}
OURS = (
    Door("/alerts", post_alert, taken(native.AlertBody, nulls=True), {HTTPStatus.OK: Told}, idempotent=True),
    Door("/alerts/batch", post_batch, {"anyOf": [BATCH, BATCH["properties"]["alerts"]]}, {HTTPStatus.OK: Batch}),
    Door(
        "/incidents",
        post_incident,
        either(native.IncidentBody, native.EventBody),
        {HTTPStatus.CREATED: (Opened, Envelope), HTTPStatus.OK: Envelope},
        idempotent=True,
    ),
    Door("/events", post_event, either(events.EventBody, events.Envelope), EVENT, idempotent=True),
    Door(
        "/events/sentinel",
        post_sentinel_event,
        either(events.SentEventBody, events.SentEnvelope),
        EVENT,
        idempotent=True,
    ),
    Door(
        "/events/shield", post_shield_event, either(events.SentEventBody, events.SentEnvelope), EVENT, idempotent=True
    ),
    Door("/ingest/{source}", post_source, TOOL, {HTTPStatus.OK: SourceTaken}),
)
VENDORS = (
    Door("/v1/logs", post_logs, nullable(inlined(otlp.Logs.model_json_schema())), {HTTPStatus.OK: None}),
    Door(
        "/api/v2/alerts", push_alerts, nullable(inlined(alertmanager.Pushed.model_json_schema())), {HTTPStatus.OK: None}
    ),
    Door(
        "/v2/enqueue",
        enqueue,
        PAGERDUTY,
        {HTTPStatus.ACCEPTED: Enqueued, HTTPStatus.BAD_REQUEST: InvalidEvent},
    ),
    Door(
        "/v2/change/enqueue",
        enqueue_change,
        nullable(inlined(pagerduty.Change.model_json_schema())),
        {HTTPStatus.ACCEPTED: ChangeEnqueued, HTTPStatus.BAD_REQUEST: InvalidEvent},
    ),
)


class Plain(Route):
    """Answers a POST, or a tool's PUT, without a layer of its own: what an endpoint raises is rendered elsewhere.

    Leaves itself in the scope, as FastAPI's routes do, for the metrics.
    """

    def __init__(self, path: str, endpoint: Endpoint) -> None:
        super().__init__(path, endpoint, methods=["POST", "PUT"] if endpoint is post_source else ["POST"])

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            response = await endpoint(Request(scope, receive))
            await response(scope, receive, send)

        self.app = answer

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, {**found, "route": self} if found else found


PREFIXES = ("/api/v1", "/v1")
ROUTES: list[BaseRoute] = [
    *(Plain(prefix + door.path, door.endpoint) for prefix in PREFIXES for door in OURS),
    *(Plain(f"{prefix}/ingest/{{source}}/{{token}}", post_source) for prefix in PREFIXES),
    *(Plain(door.path, door.endpoint) for door in VENDORS),
]
STRICT = [
    Door(f"/ingest/{name}", post_source, nullable(inlined(source.schema.model_json_schema())), OURS[-1].answers)
    for name, source in SOURCES.items()
    if source.strict and source.schema
]
PATHS = {f"/api/v1{door.path}": documented(door) for door in (*OURS, *STRICT)} | {
    door.path: documented(door) for door in VENDORS
}

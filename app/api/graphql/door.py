"""GraphQL's door: POST and WebSocket at /graphql and /graphql/ws, the schema, a playground.

Sources: https://github.com/graphql/graphql-over-http, https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md,
and the older https://github.com/apollographql/subscriptions-transport-ws/blob/master/PROTOCOL.md.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, cast

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketState
from strawberry import UNSET
from strawberry.asgi import GraphQL
from strawberry.exceptions import ConnectionRejectionError
from strawberry.http.typevars import Context as AnyContext
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.subscriptions.protocols.graphql_ws.handlers import BaseGraphQLWSHandler
from strawberry.types.unset import UnsetType

from app.api.auth import admitted, caller, token
from app.api.graphql.context import Context
from app.api.graphql.limits import Limits
from app.api.graphql.schema import Schema
from app.api.limits import parse_json, read_body
from app.domain.errors import Invalid, Refused, Unauthenticated, Unavailable
from app.runtime import Gateway
from app.telemetry import metrics

log = logging.getLogger(__name__)

REPEAT = ("query", "variables", "operationName", "extensions")
LOOKS_AGAIN_SECS = 20.0
"""How often an open connection's key or token is looked at again (chosen: well under a minute)."""
TRY_AGAIN_LATER, UNAUTHORIZED = 1013, 4401
INIT_WITHIN = timedelta(seconds=10)
REASON_MAX = 120
"""Bytes of a close frame's reason, of 123 that may be."""


class Door:
    """One for each gateway: the schema, and the operations that are shared by all connections."""

    def __init__(self, gateway: Gateway) -> None:
        said = gateway.settings.graphql
        loopback = gateway.settings.server.loopback
        self.gateway = gateway
        self.schema = Schema(
            Limits(said.max_depth, said.max_aliases, said.max_tokens, said.max_complexity),
            introspection=said.introspection if said.introspection is not None else loopback,
        )
        self.sockets = Sockets(self)
        self.playground = HTMLResponse(self.sockets.graphql_ide_html.replace("location.pathname", '"/graphql"'))

    @property
    def routes(self) -> list[BaseRoute]:
        return [
            *(Route(path, self.post, methods=["POST"]) for path in ("/graphql", "/graphql/ws")),
            *(WebSocketRoute(path, self.sockets) for path in ("/graphql", "/graphql/ws")),
            Route("/graphql/schema", self.sdl, methods=["GET"]),
            Route("/graphql/playground", self.play, methods=["GET"]),
        ]

    async def post(self, request: Request) -> Response:
        """One operation. 200 with `data`, `errors` or both; what isn't GraphQL at all is answered as REST does."""
        context = Context(self.gateway, await caller(request), request.headers.get("idempotency-key"))
        body = parse_json(await read_body(request, self.gateway.settings.server.max_body_bytes))
        query, variables, name = operation(body)
        metrics.GRAPHQL_QUERIES.inc()
        with metrics.GRAPHQL_QUERY_DURATION.time():
            result = await self.schema.execute(query, variables, context, operation_name=name)
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            metrics.GRAPHQL_ERRORS.inc(len(result.errors))
            answer["errors"] = [error.formatted for error in result.errors]
        return Response(orjson.dumps(answer, default=str), media_type="application/json")

    async def sdl(self, request: Request) -> Response:
        """The schema's text."""
        await caller(request)
        return PlainTextResponse(self.schema.sdl)

    async def play(self, request: Request) -> Response:
        """GraphiQL. Its scripts come from a CDN; it sends what its headers' tab holds."""
        return self.playground


def operation(body: object) -> tuple[str, dict[str, Any] | None, str | None]:
    """Raises: Invalid."""
    if isinstance(body, list):
        raise Invalid.field("body", "must be one operation: batches are not taken")
    if not isinstance(body, dict):
        raise Invalid.field("body", "must be an object with query, variables and operationName")
    query, variables, name = body.get("query"), body.get("variables"), body.get("operationName")
    if not isinstance(query, str):
        raise Invalid.field("query", "is required, as a string")
    if variables is not None and not isinstance(variables, dict):
        raise Invalid.field("variables", "must be an object")
    if name is not None and not isinstance(name, str):
        raise Invalid.field("operationName", "must be a string")
    return query, variables, name


class Transport(BaseGraphQLTransportWSHandler[Any, Any]):
    """graphql-transport-ws."""

    async def handle_connection_init(self, message: Any) -> None:
        try:
            await super().handle_connection_init(message)
        except Refused as refusal:
            await self.websocket.close(*closing(refusal))

    async def handle(self) -> None:
        async with connected(self.context):
            await super().handle()


class Legacy(BaseGraphQLWSHandler[Any, Any]):
    """subscriptions-transport-ws, whose name on the wire is graphql-ws."""

    async def handle_connection_init(self, message: Any) -> None:
        try:
            await super().handle_connection_init(message)
        except Refused as refusal:
            await self.send_message({"type": "connection_error", "payload": {"message": refusal.message}})
            await self.websocket.close(*closing(refusal))

    async def handle(self) -> None:
        async with connected(self.context), asyncio.timeout(None) as deadline:
            deadline.reschedule(asyncio.get_running_loop().time() + INIT_WITHIN.total_seconds())
            self.context.admitted = lambda: deadline.reschedule(None)
            await super().handle()


def closing(refusal: Refused) -> tuple[int, str]:
    """The close frame's code and reason. 4401 ends the published client; after 1013 it comes back."""
    code = UNAUTHORIZED if not isinstance(refusal, Unavailable) else TRY_AGAIN_LATER
    return code, refusal.message.encode()[:REASON_MAX].decode(errors="ignore")

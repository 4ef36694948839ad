"""GraphQL's door: POST and WebSocket at /graphql and /graphql/ws, the schema, a playground.

Source: https://github.com/graphql/graphql-over-http
"""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from strawberry.http.ides import get_graphql_ide_html
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.types.graphql import OperationType

from app.api.auth import caller
from app.api.graphql.context import Context
from app.api.graphql.limits import Limits
from app.api.graphql.schema import Schema
from app.api.graphql.sockets import Sockets
from app.api.limits import read_body
from app.domain.errors import Invalid
from app.runtime import Gateway
from app.sources.strict_json import parse_json
from app.telemetry import metrics

OVER_HTTP = (OperationType.QUERY, OperationType.MUTATION)
ENCODING = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS
PATHS = ("/graphql", "/graphql/ws")


class Door:
    """One for each gateway."""

    def __init__(self, gateway: Gateway) -> None:
        said, server = gateway.settings.graphql, gateway.settings.server
        self.gateway = gateway
        self.schema = Schema(
            Limits(said.max_depth, said.max_aliases, said.max_tokens, said.max_complexity),
            introspection=server.loopback if said.introspection is None else said.introspection,
            most_behind=said.max_waiting,
        )
        self.sockets = Sockets(gateway, self.schema)

    @property
    def routes(self) -> list[BaseRoute]:
        return [
            *(Route(path, self.post, methods=["POST"]) for path in PATHS),
            *(WebSocketRoute(path, self.sockets) for path in PATHS),
            Route("/graphql/schema", self.sdl, methods=["GET"]),
            Route("/graphql/playground", self.play, methods=["GET"]),
        ]

    async def post(self, request: Request) -> Response:
        """One operation. 200 with `data`, `errors` or both; what isn't GraphQL at all is refused as REST does."""
        context = Context(self.gateway, await caller(request), request.headers.get("idempotency-key"))
        body = parse_json(await read_body(request, self.gateway.settings.server.max_body_bytes))
        query, variables, name = operation(body)
        with metrics.GRAPHQL_QUERY_DURATION.time():
            try:
                result = await self.schema.execute(
                    query, variables, context, operation_name=name, allowed_operation_types=OVER_HTTP
                )
            except InvalidOperationTypeError:
                raise Invalid.field("query", "is a subscription: those are for WebSockets") from None
            except CannotGetOperationTypeError as unclear:
                raise Invalid.field("operationName", unclear.as_http_error_reason()) from None
        metrics.GRAPHQL_QUERIES.inc()
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            metrics.GRAPHQL_ERRORS.inc(len(result.errors))
            answer["errors"] = [error.formatted for error in result.errors]
        return Response(orjson.dumps(answer, option=ENCODING), media_type="application/json")

    async def sdl(self, request: Request) -> Response:
        """The schema's text."""
        await caller(request)
        return PlainTextResponse(self.schema.sdl)

    async def play(self, request: Request) -> Response:
        """GraphiQL, whose scripts come from a CDN. The key goes into its tab of headers."""
        page = get_graphql_ide_html(graphql_ide="graphiql")
        there = 'new URL("/graphql", window.location.href).href'
        return HTMLResponse(page.replace('window.location.href.split("?")[0]', there))


def operation(body: object) -> tuple[str, dict[str, Any] | None, str | None]:
    """What is asked, its variables, and which operation of the document. Raises: Invalid."""
    if isinstance(body, list):
        raise Invalid.field("body", "must be one operation: batches are not taken")
    if not isinstance(body, dict):
        raise Invalid.field("body", "must be an object with query, variables and operationName")
    query, variables, name = body.get("query"), body.get("variables"), body.get("operationName")
    if not isinstance(query, str) or not query.strip():
        raise Invalid.field("query", "is required, as a string")
    if variables is not None and not isinstance(variables, dict):
        raise Invalid.field("variables", "must be an object")
    if name is not None and not isinstance(name, str):
        raise Invalid.field("operationName", "must be a string")
    return query, variables, name

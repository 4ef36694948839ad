"""Subscriptions over WebSocket, in the protocol of graphql-ws and in the older one of subscriptions-transport-ws.

Sources: https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md,
https://github.com/apollographql/subscriptions-transport-ws/blob/master/PROTOCOL.md
"""

import asyncio
import json
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry import UNSET
from strawberry.asgi import GraphQL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.subscriptions.protocols.graphql_ws.handlers import BaseGraphQLWSHandler
from strawberry.types.unset import UnsetType

from app.api.auth import address, admitted, token
from app.api.graphql.context import Context
from app.api.graphql.schema import Schema
from app.domain.errors import Invalid, RateLimited, Refused, Unavailable
from app.runtime import Gateway
from app.sources.strict_json import parse_json
from app.telemetry import metrics

UNAUTHORIZED, INIT_TIMEOUT, BAD_REQUEST, TRY_AGAIN_LATER = 4401, 4408, 4400, 1013
REASON_MAX = 120
"""Bytes; a close frame has 123 for it."""
KEYS = ("authorization", "authtoken", "token", "x-api-key", "apikey")
"""Where clients put their key in the payload of connection_init."""


def closing(refusal: Refused) -> tuple[int, str]:
    """The close frame. 4401 ends clients for good, after 1013 they come back."""
    code = TRY_AGAIN_LATER if isinstance(refusal, Unavailable | RateLimited) else UNAUTHORIZED
    return code, refusal.message.encode()[:REASON_MAX].decode(errors="ignore")


def secret_of(payload: Mapping[str, object]) -> str | None:
    """The key or token of a connection_init."""
    said = {str(name).lower(): value for name, value in payload.items()}
    for name in KEYS:
        value = said.get(name)
        if isinstance(value, str) and value:
            scheme, _, rest = value.partition(" ")
            return rest.strip() if scheme.lower() == "bearer" and rest else value
    return None


def well_formed(message: object) -> bool:
    """What the libraries' handlers take for granted."""
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return False
    if message["type"] in ("subscribe", "start"):
        payload = message.get("payload")
        return bool(
            isinstance(message.get("id"), str)
            and isinstance(payload, dict)
            and isinstance(payload.get("query"), str)
            and payload["query"].strip()
            and isinstance(payload.get("variables"), (dict, type(None)))
            and isinstance(payload.get("operationName"), (str, type(None)))
        )
    return message["type"] not in ("complete", "stop") or isinstance(message.get("id"), str)


class Modern(BaseGraphQLTransportWSHandler[Any, Any]):
    """graphql-transport-ws."""

    async def handle_message(self, message: Any) -> None:
        if well_formed(message):
            await super().handle_message(message)
        else:
            await self.handle_invalid_message("The message is not one of the protocol's.")

    async def handle_connection_init(self, message: Any) -> None:
        try:
            await super().handle_connection_init(message)
        except Refused as refusal:
            await self.websocket.close(*closing(refusal))


class Legacy(BaseGraphQLWSHandler[Any, Any]):
    """subscriptions-transport-ws, which calls itself graphql-ws."""

    async def handle(self) -> None:
        waiting = asyncio.create_task(self._until_acknowledged())
        try:
            await super().handle()
        finally:
            waiting.cancel()

    async def _until_acknowledged(self) -> None:
        await asyncio.sleep(self.view.connection_init_wait_timeout.total_seconds())
        if not self.connection_acknowledged:
            await self.websocket.close(INIT_TIMEOUT, "Connection initialisation timeout")

    async def handle_message(self, message: Any) -> None:
        if well_formed(message):
            await super().handle_message(message)
        else:
            await self.websocket.close(BAD_REQUEST, "The message is not one of the protocol's.")

    async def handle_connection_init(self, message: Any) -> None:
        try:
            await super().handle_connection_init(message)
        except Refused as refusal:
            await self.send_message({"type": "connection_error", "payload": {"message": refusal.message}})
            await self.websocket.close(*closing(refusal))


class Connection:
    """One socket: who it belongs to, for as long as their key or token holds."""

    def __init__(self, gateway: Gateway, socket: WebSocket) -> None:
        self.gateway = gateway
        self.socket = socket
        self.secret = token(socket)
        self.context = Context(gateway, admit=self.admit, drop=self.drop)
        self.tasks: set[asyncio.Task[None]] = set()

    async def admit(self, payload: Mapping[str, object]) -> None:
        """Raises: Unauthenticated, Forbidden, RateLimited, Unavailable."""
        self.secret = secret_of(payload) or self.secret
        self.context.who = await admitted(self.gateway, self.secret, address(self.socket))
        self.gateway.limits.spend(self.context.who, address(self.socket))
        self._do(self._watch())

    def drop(self) -> None:
        """It doesn't keep up."""
        metrics.WEBSOCKET_DROPPED.inc()
        self._do(self._close(TRY_AGAIN_LATER, "Too many events wait for this listener: come back and go on."))

    async def _watch(self) -> None:
        """Closes the socket once the key is revoked, or the token has run out."""
        again = self.gateway.settings.graphql.recheck_secs
        while self.context.who is not None:
            expires = self.context.who.expires_at
            left = (expires - datetime.now(UTC)).total_seconds() if expires else again
            await asyncio.sleep(max(0.0, min(left, again)))
            if expires is not None and expires <= datetime.now(UTC):
                await self._close(UNAUTHORIZED, "The token has expired.")
                return
            try:
                await admitted(self.gateway, self.secret, address(self.socket))
            except Unavailable:
                continue
            except Refused as refusal:
                await self._close(*closing(refusal))
                return

    async def _close(self, code: int, reason: str) -> None:
        with suppress(RuntimeError):  # it is closed already
            await self.socket.close(code, reason)

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(what)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def over(self) -> None:
        for task in self.tasks:
            task.cancel()


class Sockets(GraphQL[Context, None]):
    """Every WebSocket of this gateway."""

    graphql_transport_ws_handler_class = Modern
    graphql_ws_handler_class = Legacy

    def __init__(self, gateway: Gateway, schema: Schema) -> None:
        said = gateway.settings.graphql
        super().__init__(
            schema, graphql_ide=None, max_subscriptions_per_connection=said.max_subscriptions,
            connection_init_wait_timeout=timedelta(seconds=said.init_timeout_secs),
            allowed_origins=gateway.settings.server.cors_origins,
        )  # fmt: skip
        self.gateway = gateway
        self.most = said.max_connections
        self.open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        if self.open >= self.most:
            await socket.send_denial_response(PlainTextResponse("Too many connections.", 503))
            return
        connection = Connection(self.gateway, socket)
        self.open += 1
        metrics.WEBSOCKET_CONNECTIONS.set(self.open)
        metrics.WEBSOCKET_TOTAL.inc()
        try:
            await self.run(socket, context=connection.context)
        finally:
            self.open -= 1
            metrics.WEBSOCKET_CONNECTIONS.set(self.open)
            connection.over()

    async def on_ws_connect(self, context: Context) -> UnsetType | dict[str, object] | None:
        """Raises: what says why it may not; connection_init is then answered by closing."""
        if context.admit is not None:
            await context.admit(context.connection_params or {})
        unset: UnsetType = UNSET
        return unset

    def encode_json(self, data: object) -> str:
        metrics.WEBSOCKET_SENT.inc()
        return orjson.dumps(data, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS).decode()

    def decode_json(self, text: str | bytes) -> object:
        """Raises: JSONDecodeError, also for what JSON or PostgreSQL can't hold."""
        metrics.WEBSOCKET_RECEIVED.inc()
        try:
            return parse_json(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
        except Invalid as no:
            raise json.JSONDecodeError(no.message, "", 0) from no

"""The gateway: REST, health and metrics on one or two ports, gRPC on its own."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import time
from collections.abc import Generator, Iterator, Mapping
from types import FrameType
from typing import Any

import uvicorn
from fastapi import Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import runtime
from app.api import errors
from app.api.allowance import HEADERS, Told
from app.api.auth import Door, check_bound
from app.api.graphql.door import Door as GraphQL
from app.api.grpc.server import serving
from app.api.mail import receiving
from app.api.openapi import completed
from app.api.rest import (
    analytics,
    breakers,
    catalogue,
    changes,
    chatops,
    click,
    commands,
    correlations,
    decide,
    documents,
    enrichment,
    events,
    evidence,
    health,
    heartbeats,
    incidents,
    ingest,
    integrations,
    lint,
    mappings,
    ml,
    notifications,
    oncall,
    playbooks,
    routing,
    simulate,
    suppression,
    taxonomy,
    templates,
)
from app.api.rest.query import nothing_asked
from app.config import Server, Settings
from app.domain.errors import Unavailable
from app.listeners import NONE_INHERITED, bound, explained
from app.runtime import Gateway
from app.service.health import VERSION
from app.telemetry import metrics

ROUTERS = (
    incidents.router,
    commands.router,
    playbooks.router,
    suppression.router,  # before the documents: it knows more about a new silence
    *documents.ROUTERS,
    heartbeats.router,
    oncall.router,
    simulate.router,
    routing.router,
    catalogue.router,
    changes.router,
    enrichment.router,
    events.router,
    evidence.router,
    analytics.router,
    correlations.router,
    notifications.router,
    chatops.router,
    lint.router,
    ml.router,
    mappings.router,
    taxonomy.router,
    templates.router,
    integrations.router,
    breakers.router,
    health.router,
)
KEEP_ALIVE = 75  # seconds: longer than load balancers keep an idle connection, so that they close it, not we
CORS_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
GRACE = 5  # seconds for the requests under way when told to stop

log = logging.getLogger(__name__)


class Api(FastAPI):
    """FastAPI, plus the description of the routes it does not serve itself."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            schema = super().openapi()
            for path, item in ingest.PATHS.items():
                schema["paths"].setdefault(path, {}).update(item)
            self.openapi_schema = completed(schema)
        return self.openapi_schema


def create_app(gateway: Gateway) -> FastAPI:
    """Every route under /api/v1 and again under /v1, the vendors' own paths, health and metrics."""
    app = Api(
        title="LLM Incident Manager", version=VERSION, redoc_url=None, redirect_slashes=False,
        routes=[*ingest.ROUTES, *GraphQL(gateway).routes],
    )  # fmt: skip
    app.state.gateway = gateway
    errors.install(app)
    for prefix in ("/api/v1", "/v1"):
        for router in ROUTERS:
            app.include_router(
                router, prefix=prefix, include_in_schema=prefix == "/api/v1", dependencies=[Depends(nothing_asked)]
            )
    app.include_router(health.router)
    app.include_router(click.router)
    app.include_router(decide.router)
    server = gateway.settings.server
    app.add_middleware(Told)
    app.add_middleware(Door, keys=gateway.keys, loopback=server.loopback)
    app.add_middleware(Watched, timeout=server.request_timeout_secs)
    if server.cors_origins:  # no cookie opens anything here, so credentials stay off, and `*` gives nothing away
        app.add_middleware(
            CORSMiddleware, allow_origins=server.cors_origins, allow_headers=("*",), allow_methods=CORS_METHODS,
            expose_headers=(*HEADERS, "Retry-After", "ETag", "Location", "WWW-Authenticate"),
        )  # fmt: skip
    return app


class Watched:
    """Counts and times every request under its route's template; one that takes too long is answered 503."""

    def __init__(self, app: ASGIApp, timeout: float) -> None:
        self.app = app
        self.timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            async with asyncio.timeout(self.timeout) as deadline:
                await self.app(scope, receive, noting)
        except TimeoutError:
            if status or not deadline.expired():
                raise
            late = Unavailable("gateway", f"No answer within {self.timeout:g} s; it may still take effect.")
            await errors.response(late, scope["path"])(scope, receive, noting)
        finally:
            method, route = metrics.one_of(metrics.METHODS, scope["method"]), template(scope)
            metrics.HTTP_REQUESTS.labels(method, route, status or 500).inc()
            metrics.HTTP_REQUEST_DURATION.labels(method, route).observe(time.perf_counter() - began)


def template(scope: Scope) -> str:
    """The route's path without its prefix, like /incidents/{incident_id}; `none` when there is no such route."""
    path = getattr(scope.get("route"), "path", None)
    return str(path).removeprefix("/api/v1").removeprefix("/v1") if path else "none"


class Graceful(uvicorn.Server):
    """Ends by SIGTERM or SIGINT, and returns. uvicorn's own would die of the signal before we have tidied up.

    `ending` is set when it begins to.
    """

    def __init__(self, config: uvicorn.Config, ending: asyncio.Event) -> None:
        super().__init__(config)
        self.ending = ending

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self.ending.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def serve(settings: Settings, inherited: Mapping[int, int] = NONE_INHERITED) -> None:
    """Serves until told to stop. `inherited`: ports that somebody else listens on for us → file descriptors.

    Raises: CannotStart naming the port, or the missing key.
    """
    server = settings.server
    with listening(server, inherited) as sockets:
        async with runtime.gateway(settings) as gateway:
            await check_bound(server, gateway.keys)
            config = uvicorn.Config(
                create_app(gateway), http="httptools", ws="websockets-sansio", lifespan="off", log_config=None,
                access_log=False,
                proxy_headers=False, timeout_keep_alive=KEEP_ALIVE, timeout_graceful_shutdown=GRACE,
                ws_max_size=settings.graphql.max_message_bytes, ws_per_message_deflate=False,
            )  # fmt: skip
            ending = asyncio.Event()
            async with serving(gateway, ending), receiving(gateway):
                gc.freeze()
                await Graceful(config, ending).serve(sockets)


@contextlib.contextmanager
def listening(server: Server, inherited: Mapping[int, int] = NONE_INHERITED) -> Iterator[list[socket.socket]]:
    """The sockets of REST, open, and the metrics' port served. Raises: CannotStart."""
    ports = {server.http_port: "server.http_port"}
    if server.api_port:
        ports.setdefault(server.api_port, "server.api_port (API_PORT)")
    with contextlib.ExitStack() as held:
        sockets = [
            held.enter_context(
                socket.socket(fileno=inherited[port]) if port in inherited else bound(server.host, port, setting)
            )
            for port, setting in ports.items()
        ]
        if server.metrics_port:
            with explained(server.host, server.metrics_port, "server.metrics_port"):
                metrics_server = metrics.serve(server.host, server.metrics_port)
            held.callback(metrics_server.server_close)
            held.callback(metrics_server.shutdown)
        for each in sockets:
            host, port = each.getsockname()[:2]
            log.info("listening on http://%s:%s", f"[{host}]" if ":" in host else host, port)
        yield sockets

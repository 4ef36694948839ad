"""The gRPC server: what it serves, where it listens, how it ends."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection

from app.api.grpc import tls
from app.api.grpc.alerts import Alerts, Ingestion
from app.api.grpc.door import Door
from app.api.grpc.health import INGESTION, Checks
from app.api.grpc.incidents import Incidents, IncidentsV1
from app.api.grpc.pb.alerts_pb2_grpc import add_AlertIngestionServicer_to_server, add_AlertServiceServicer_to_server
from app.api.grpc.pb.incident_manager.v1.incident_service_pb2_grpc import (
    add_IncidentServiceServicer_to_server as add_v1_to_server,
)
from app.api.grpc.pb.incidents_pb2_grpc import add_IncidentServiceServicer_to_server
from app.child import CannotStart
from app.config import Server
from app.listeners import bound
from app.runtime import Gateway

GRACE_SECS = 5
AT_ONCE = 2000
"""Calls under way at the same time, of all connections (chosen); one more is RESOURCE_EXHAUSTED."""
SERVICES = ("incidents.IncidentService", "incident_manager.v1.IncidentService", INGESTION, "alerts.AlertService")

log = logging.getLogger(__name__)


@asynccontextmanager
async def serving(gateway: Gateway, ending: asyncio.Event) -> AsyncIterator[None]:
    """Serves gRPC until `ending` is set or the context left: calls then have 5 s, streams end at once.

    Raises: CannotStart naming the port or the file.
    """
    settings = gateway.settings.server
    if not settings.grpc_port:
        yield
        return
    door = Door(gateway)
    server = _server(gateway, door)
    address = _bind(server, settings)
    await server.start()
    log.info("listening for gRPC on %s", address)

    async def end() -> None:
        await ending.wait()
        await asyncio.gather(server.stop(GRACE_SECS), door.streams.close())

    stopped, watching = asyncio.create_task(end()), asyncio.create_task(door.streams.watch())
    try:
        yield
    finally:
        ending.set()
        await stopped
        watching.cancel()


def _server(gateway: Gateway, door: Door) -> grpc.aio.Server:
    settings = gateway.settings.server
    server = grpc.aio.server(interceptors=[door], options=_options(settings), maximum_concurrent_rpcs=AT_ONCE)
    add_IncidentServiceServicer_to_server(Incidents(gateway), server)
    add_v1_to_server(IncidentsV1(gateway), server)
    add_AlertIngestionServicer_to_server(Ingestion(gateway), server)
    add_AlertServiceServicer_to_server(Alerts(gateway), server)
    add_HealthServicer_to_server(Checks(gateway.health, SERVICES), server)
    if settings.reflects:
        reflection.enable_server_reflection((*SERVICES, "grpc.health.v1.Health", reflection.SERVICE_NAME), server)
    return server


def _options(settings: Server) -> list[tuple[str, int]]:
    """Source: https://grpc.github.io/grpc/core/group__grpc__arg__keys.html. The figures are chosen."""
    return [
        ("grpc.so_reuseport", 0),  # a port that somebody else has is an error, not shared
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_concurrent_streams", 100),  # per connection; further calls wait at the client
        ("grpc.max_connection_age_ms", 3_600_000),  # clients come back, and spread over new gateways
        ("grpc.max_connection_age_grace_ms", 300_000),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # who pings more often is sent away
        ("grpc.http2.max_ping_strikes", 2),
    ]


def _bind(server: grpc.aio.Server, settings: Server) -> str:
    """The address it listens on. Raises: CannotStart."""
    # gRPC does not say why it can't have a port: asked for and given back, the system does.
    with bound(settings.grpc_host, settings.grpc_port, "server.grpc_port, GRPC_PORT") as free:
        host = free.getsockname()[0]
    address = f"[{host}]:{settings.grpc_port}" if ":" in host else f"{host}:{settings.grpc_port}"
    credentials = _credentials(settings)
    try:
        if credentials is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, credentials)
    except RuntimeError as refusal:
        files = "server.grpc_tls_cert_path and the other grpc_tls settings"
        raise CannotStart(f"gRPC cannot listen on {address} with what {files} name: {refusal}") from refusal
    return address


def _credentials(settings: Server) -> grpc.ServerCredentials | None:
    """TLS where there is a certificate, of both sides where there is a CA for clients. Raises: CannotStart."""
    certificate, key, ca = settings.grpc_tls_cert_path, settings.grpc_tls_key_path, settings.grpc_tls_client_ca_path
    if certificate is None or key is None:
        return None
    if os.environ.get(tls.VARIABLE) != tls.useless_cipher(certificate):
        raise CannotStart("gRPC was loaded before it was told to refuse TLS 1.2: start with `llm-im serve`")
    return grpc.ssl_server_credentials(
        [(key.read_bytes(), certificate.read_bytes())],
        root_certificates=ca.read_bytes() if ca else None,
        require_client_auth=ca is not None,
    )

"""A gateway with its gRPC server in this process, and clients of it."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_status import rpc_status

from app.api.grpc.pb import alerts_pb2_grpc, incidents_pb2_grpc
from app.api.grpc.pb.incident_manager.v1 import incident_service_pb2_grpc as v1_grpc
from app.api.grpc.server import serving
from app.config import Settings
from app.runtime import Gateway, gateway
from app.stack import free_port
from tests.support.house import NOBODY_THERE

NONE: Mapping[str, object] = {}


class Client:
    """Every service behind one connection."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.incidents = incidents_pb2_grpc.IncidentServiceStub(channel)
        self.v1 = v1_grpc.IncidentServiceStub(channel)
        self.ingestion = alerts_pb2_grpc.AlertIngestionStub(channel)
        self.alerts = alerts_pb2_grpc.AlertServiceStub(channel)
        self.health = HealthStub(channel)


@asynccontextmanager
async def client(address: str, credentials: grpc.ChannelCredentials | None = None) -> AsyncIterator[Client]:
    options = [("grpc.use_local_subchannel_pool", 1)]  # channels to one address otherwise share a connection
    if credentials is None:
        channel = grpc.aio.insecure_channel(address, options)
    else:
        channel = grpc.aio.secure_channel(address, credentials, options)
    async with channel:
        yield Client(channel)


@dataclass
class House:
    """`leave` stops the server as SIGTERM does."""

    gateway: Gateway
    address: str
    leave: asyncio.Event


@asynccontextmanager
async def house(url: str, sections: Mapping[str, object] = NONE, **server: object) -> AsyncIterator[House]:
    """A gateway that has PostgreSQL, and a Temporal that is away; `sections` of the settings beside `server`."""
    port, leave = free_port(), asyncio.Event()
    settings = Settings.model_validate({
        "storage": {"connection_string": url}, "temporal": {"address": NOBODY_THERE},
        "server": {"grpc_port": port} | server, **sections,
    })  # fmt: skip
    async with gateway(settings) as made, serving(made, leave):
        yield House(made, f"127.0.0.1:{port}", leave)


class Refusal(NamedTuple):
    """How a call ended that was refused: by its status, and by google.rpc's details of it."""

    status: grpc.StatusCode
    message: str
    code: str
    fields: dict[str, str]
    retry_secs: int | None


async def refused(call: Awaitable[Any] | AsyncIterable[Any]) -> Refusal:
    """Raises: AssertionError when it was granted."""
    try:
        if isinstance(call, AsyncIterable):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as ended:
        return refusal(ended)
    raise AssertionError("it was granted")


def refusal(error: grpc.aio.AioRpcError) -> Refusal:
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    kinds = [type(kind) for detail in rpc_status.from_call(error).details for kind in (info, bad, retry)
             if detail.Unpack(kind)]  # fmt: skip
    assert kinds[0] is ErrorInfo
    fields = {each.field: each.description for each in bad.field_violations}
    retry_secs = retry.retry_delay.seconds if RetryInfo in kinds else None
    return Refusal(error.code(), error.details() or "", info.reason, fields, retry_secs)

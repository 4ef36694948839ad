"""Where alerts come in, one at a time or as a stream of any length."""

# ruff: noqa: N802 — rpcs are named in the protos
import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

from app.api.grpc import rendering
from app.api.grpc.errors import Unimplemented
from app.api.grpc.pb import alerts_pb2 as pb
from app.api.grpc.pb import alerts_pb2_grpc
from app.api.grpc.wire import CALLER, Context, fields, metadata, moment
from app.domain.access import Principal
from app.domain.errors import Invalid, RateLimited
from app.runtime import Gateway
from app.sources import protobuf

UNACKNOWLEDGED = 256
"""Messages of one stream that are read ahead (chosen: enough to share transactions, a few MB at most)."""

Acks = asyncio.Queue["asyncio.Task[pb.AlertAck] | None"]


class Ingestion(alerts_pb2_grpc.AlertIngestionServicer):
    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def SubmitAlert(self, request: pb.CreateAlertRequest, context: Context) -> pb.AlertResponse:
        return await submitted(self.gateway, request, metadata(context))

    async def StreamAlerts(
        self, request_iterator: AsyncIterator[pb.AlertMessage], context: Context
    ) -> AsyncIterator[pb.AlertAck]:
        acks: Acks = asyncio.Queue(UNACKNOWLEDGED)
        reading = asyncio.create_task(self._read(CALLER.get(), request_iterator, acks))
        try:
            while (ack := await acks.get()) is not None:
                yield await ack
            await reading
        finally:
            reading.cancel()
            while not acks.empty():
                if (left := acks.get_nowait()) is not None:
                    left.cancel()

    async def _read(self, who: Principal, messages: AsyncIterator[pb.AlertMessage], acks: Acks) -> None:
        """Begins with every message as it comes, as long as there is room for its acknowledgement."""
        try:
            async for message in messages:
                await acks.put(asyncio.create_task(self._ack(who, message)))
        finally:
            await acks.put(None)

    async def _ack(self, who: Principal, message: pb.AlertMessage) -> pb.AlertAck:
        """Raises: Forbidden, Unavailable: then nothing says that the alert is durable, and the stream ends."""
        try:
            alert = protobuf.alert(fields(message), {})
            [answer] = await self.gateway.alerts.ingest(who, [alert])
        except Invalid as wrong:
            return _ack(message.id, "ERROR", wrong.message)
        except RateLimited as limited:
            return _ack(message.id, "RATE_LIMITED", limited.message)
        status = "DUPLICATE" if answer.outcome.duplicate else "ACCEPTED"
        about = f"{answer.outcome.sentence} Incident {answer.incident_id}." if answer.incident_id else ""
        return _ack(message.id or answer.alert_id or "", status, about or answer.outcome.sentence)

    async def HealthCheck(self, request: pb.HealthCheckRequest, context: Context) -> pb.HealthCheckResponse:
        parts = await self.gateway.health.ready()
        failing = {part: said for part, said in parts.items() if said != UP}
        status = "UNHEALTHY" if "database" in failing else "DEGRADED" if failing else "HEALTHY"
        return pb.HealthCheckResponse(
            status=f"HEALTH_STATUS_{status}", message="; ".join(failing.values()) or "Every part answers."
        )


async def submitted(
    gateway: Gateway, request: pb.CreateAlertRequest, metadata: Mapping[str, str]
) -> pb.AlertResponse:
    """The alert, durable, and what became of it."""
    alert = protobuf.alert(fields(request), metadata)
    [answer] = await gateway.alerts.ingest(CALLER.get(), [alert])
    return pb.AlertResponse(alert=rendering.received(alert, answer), message=answer.outcome.sentence)


def _ack(alert_id: str, status: str, message: str) -> pb.AlertAck:
    return pb.AlertAck(
        alert_id=alert_id, status=f"ACK_STATUS_{status}", message=message, timestamp=moment(datetime.now(UTC))
    )

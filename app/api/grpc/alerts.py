"""Both alert services: where alerts come in, one by one or as a stream of any length, and what was made of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias

from google.protobuf.message import Message
from pydantic import Field

from app.api.grpc import rendering
from app.api.grpc.errors import Unimplemented
from app.api.grpc.pb import alerts_pb2 as pb
from app.api.grpc.pb import alerts_pb2_grpc
from app.api.grpc.wire import CALLER, Context, address, command, fields, metadata, moment, taken_from
from app.domain.access import Principal
from app.domain.alert import Labels, Standing
from app.domain.decode import decode
from app.domain.errors import Forbidden, Invalid, NotFound, RateLimited, Unavailable
from app.domain.incident import CommandKind
from app.domain.record import Record
from app.domain.representation import EventView
from app.domain.requests import AlertQuery, Name, Text
from app.domain.vocabulary import Severity
from app.runtime import Gateway
from app.service.health import UP
from app.sources import protobuf
from app.sources.native import LabelsOrList

UNACKNOWLEDGED = 256
"""Messages of one stream that are read ahead (chosen: enough to share transactions, a few MB at most)."""

Begin = Callable[[pb.AlertMessage], Coroutine[Any, Any, pb.AlertAck]]
Acks: TypeAlias = "asyncio.Queue[asyncio.Task[pb.AlertAck] | None]"


class Listing(AlertQuery):
    """ListAlertsRequest."""

    standing: Standing | None = Field(None, validation_alias="status")
    labels: LabelsOrList = {}


class Acknowledge(Record):
    """AcknowledgeAlertRequest, without the alert's id."""

    actor: Name | None = Field(None, validation_alias="acknowledged_by")
    reason: Text | None = Field(None, validation_alias="note")


class Resolve(Record):
    """ResolveAlertRequest, without the alert's id."""

    actor: Name | None = Field(None, validation_alias="resolved_by")
    reason: Text | None = Field(None, validation_alias="resolution_note")


class Wanted(Record):
    """StreamAlertsRequest."""

    severities: tuple[Severity, ...] = ()
    sources: tuple[Name, ...] = ()
    label_filters: Labels = {}

    def __contains__(self, event: EventView) -> bool:
        """By what an event says; its labels are the alert's to say."""
        return (not self.severities or event.severity in self.severities) and (
            not self.sources or event.source in self.sources
        )


class Ingestion(alerts_pb2_grpc.AlertIngestionServicer):
    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def SubmitAlert(self, request: pb.CreateAlertRequest, context: Context) -> pb.AlertResponse:
        return await submitted(self.gateway, request, metadata(context))

    async def StreamAlerts(
        self, request_iterator: AsyncIterator[pb.AlertMessage], context: Context
    ) -> AsyncIterator[pb.AlertAck]:
        acks: Acks = asyncio.Queue()
        room = asyncio.Semaphore(UNACKNOWLEDGED)
        begin = partial(self._ack, CALLER.get(), address(context))
        reading = asyncio.create_task(_read(request_iterator, begin, acks, room))
        try:
            while (ack := await acks.get()) is not None:
                yield await ack
                room.release()
            await reading
        finally:
            left: list[asyncio.Task[Any]] = [reading]
            while not acks.empty():
                left += filter(None, [acks.get_nowait()])
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _ack(self, who: Principal, address: str, message: pb.AlertMessage) -> pb.AlertAck:
        """Raises: Forbidden, Unavailable: then nothing says that the alert is durable, and the stream ends."""
        try:
            self.gateway.limits.spend(who, address)
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
            status=pb.HealthStatus.Value(f"HEALTH_STATUS_{status}"),
            message="; ".join(failing.values()) or "Every part answers.",
        )


class Alerts(alerts_pb2_grpc.AlertServiceServicer):
    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def CreateAlert(self, request: pb.CreateAlertRequest, context: Context) -> pb.AlertResponse:
        return await submitted(self.gateway, request, metadata(context))

    async def GetAlert(self, request: pb.GetAlertRequest, context: Context) -> pb.AlertResponse:
        found = await self.gateway.received.get(CALLER.get(), taken_from(fields(request), "alert_id"))
        return pb.AlertResponse(alert=rendering.alert(found))

    async def ListAlerts(self, request: pb.ListAlertsRequest, context: Context) -> pb.ListAlertsResponse:
        query = decode(Listing, fields(request))
        found = await self.gateway.received.page(CALLER.get(), query)
        return pb.ListAlertsResponse(
            alerts=[rendering.alert(each) for each in found.alerts], total_count=found.total_count, page=query.page,
            page_size=query.page_size,
        )  # fmt: skip

    async def AcknowledgeAlert(self, request: pb.AcknowledgeAlertRequest, context: Context) -> pb.AlertResponse:
        return await self._asked(CommandKind.ACKNOWLEDGE, Acknowledge, request, context)

    async def ResolveAlert(self, request: pb.ResolveAlertRequest, context: Context) -> pb.AlertResponse:
        return await self._asked(CommandKind.RESOLVE, Resolve, request, context)

    async def StreamAlerts(self, request: pb.StreamAlertsRequest, context: Context) -> AsyncIterator[pb.AlertUpdate]:
        who, wanted = CALLER.get(), decode(Wanted, fields(request))
        async with aclosing(self.gateway.live.alerts(who)) as incoming:
            async for event in incoming:
                if event not in wanted:
                    continue
                alert = await self.gateway.received.get(who, event.id)
                if wanted.label_filters.items() <= alert.labels.items():
                    yield pb.AlertUpdate(
                        alert_id=alert.id, update_type="received", alert=rendering.alert(alert),
                        timestamp=moment(alert.received_at),
                    )  # fmt: skip

    async def EvaluateRules(self, request: pb.EvaluateRulesRequest, context: Context) -> pb.EvaluateRulesResponse:
        raise Unimplemented("Alert rules are evaluated where the metrics are, by Prometheus for one; send what fires.")

    async def _asked(
        self, kind: CommandKind, shape: type[Record], request: Message, context: Context
    ) -> pb.AlertResponse:
        """Has the alert's incident carry out a command."""
        who, said = CALLER.get(), fields(request)
        alert_id = taken_from(said, "alert_id")
        incident_id = (await self.gateway.received.get(who, alert_id)).incident_id
        incident = await self.gateway.incidents.ask(who, incident_id, command(kind, shape, said, context))
        found = await self.gateway.received.get(who, alert_id)
        return pb.AlertResponse(alert=rendering.alert(found), message=f"Incident {incident.id} is {incident.status}.")


async def submitted(gateway: Gateway, request: pb.CreateAlertRequest, metadata: Mapping[str, str]) -> pb.AlertResponse:
    """The alert, durable, and what became of it."""
    who, alert = CALLER.get(), protobuf.alert(fields(request), metadata)
    [answer] = await gateway.alerts.ingest(who, [alert])
    shown = rendering.submitted(alert, answer)
    with suppress(Forbidden, NotFound, Unavailable):  # whoever may not read, or can't just now, hears what it sent
        shown = rendering.alert(await gateway.received.get(who, answer.alert_id or ""))
    return pb.AlertResponse(alert=shown, message=answer.outcome.sentence)


async def _read(messages: AsyncIterator[pb.AlertMessage], begin: Begin, acks: Acks, room: asyncio.Semaphore) -> None:
    """Begins with every message as it comes, while there is room for its acknowledgement; None is the end."""
    try:
        await room.acquire()
        async for message in messages:
            acks.put_nowait(asyncio.create_task(begin(message)))
            await room.acquire()
    finally:
        acks.put_nowait(None)


def _ack(alert_id: str, status: str, message: str) -> pb.AlertAck:
    return pb.AlertAck(
        alert_id=alert_id,
        status=pb.AckStatus.Value(f"ACK_STATUS_{status}"),
        message=message,
        timestamp=moment(datetime.now(UTC)),
    )

"""Both incident services: package `incidents` of the first version, and `incident_manager.v1`."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Literal

from google.protobuf.message import Message
from pydantic import Field

from app.api.grpc import rendering
from app.api.grpc.pb import incidents_pb2, incidents_pb2_grpc
from app.api.grpc.pb.incident_manager.v1 import incident_service_pb2 as v1
from app.api.grpc.pb.incident_manager.v1 import incident_service_pb2_grpc as v1_grpc
from app.api.grpc.wire import CALLER, Context, command, fields, metadata, moment, taken_from
from app.domain.alert import Labels
from app.domain.decode import decode
from app.domain.editing import Change
from app.domain.errors import Forbidden
from app.domain.incident import CommandKind
from app.domain.record import Record
from app.domain.representation import IncidentView, TimelineEvent
from app.domain.requests import IncidentQuery, Name, Text
from app.domain.vocabulary import Severity, Status
from app.runtime import Gateway
from app.sources import protobuf

SNAPSHOT = "snapshot"
PEOPLE = ("assigned_to", "assigned_team")


class Update(Change):
    """UpdateIncidentRequest, without the incident's id."""

    tags: Labels | None = Field(None, validation_alias="metadata")
    notes: Text | None = Field(None, validation_alias="note")


class Listing(Record):
    """ListIncidentsRequest."""

    status: Status | None = None
    severity: Severity | None = None
    assigned_to: Name | None = None
    page: int = Field(1, ge=1, le=1_000_000)
    page_size: int = Field(50, ge=1, le=100)
    sort_by: Literal["created_at", "updated_at", "severity", "status"] = "created_at"
    sort_order: Literal["asc", "desc"] | None = None

    def query(self) -> IncidentQuery:
        asked = {
            "status": [self.status] if self.status else [], "severity": [self.severity] if self.severity else [],
            "assigned_to": self.assigned_to, "page": self.page, "page_size": self.page_size, "sort": self.sort_by,
        }  # fmt: skip
        return decode(IncidentQuery, asked | ({"order": self.sort_order} if self.sort_order else {}))


class Resolve(Record):
    """ResolveIncidentRequest, without the incident's id."""

    actor: Name | None = Field(None, validation_alias="resolved_by")
    reason: Text | None = Field(None, validation_alias="resolution_note")


class Note(Record):
    """AddNoteRequest, without the incident's id."""

    actor: Name | None = Field(None, validation_alias="author")
    reason: Text = Field(validation_alias="note")


class Wanted(Record):
    """StreamIncidentsRequest."""

    statuses: tuple[Status, ...] = ()
    severities: tuple[Severity, ...] = ()

    def query(self, cursor: str | None) -> IncidentQuery:
        """The open ones, a page at a time."""
        return IncidentQuery(
            status=self.statuses, severity=self.severities, active_only=True, page_size=100, cursor=cursor
        )

    def __contains__(self, incident: IncidentView) -> bool:
        return (not self.statuses or incident.status in self.statuses) and (
            not self.severities or incident.severity in self.severities
        )


class Seen(Record):
    """An incident as it is now. `event` is None for one that was there already."""

    incident: IncidentView
    event: TimelineEvent | None = None


class Desk:
    """What the services of both packages do alike."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def created(self, request: Message, context: Context) -> tuple[IncidentView | str, str]:
        """The incident (only its id for whoever may not read), and what became of the request."""
        who, wanted = CALLER.get(), protobuf.incident(fields(request), metadata(context))
        [answer] = await self.gateway.alerts.ingest(who, [wanted.alert], assignee=wanted.assign_to)
        incident_id = answer.incident_id or ""
        with suppress(Forbidden):
            return await self.gateway.incidents.get(who, incident_id), answer.outcome.sentence
        return incident_id, answer.outcome.sentence

    async def told(self, incident: IncidentView) -> tuple[IncidentView, list[TimelineEvent]]:
        return incident, await self.gateway.incidents.timeline(CALLER.get(), incident.id)

    async def found(self, request: Message) -> IncidentView:
        return await self.gateway.incidents.get(CALLER.get(), taken_from(fields(request), "incident_id"))

    async def updated(self, request: Message, context: Context) -> IncidentView:
        said = fields(request)
        incident_id = taken_from(said, "incident_id")
        given = {name: value or None if name in PEOPLE else value for name, value in said.items()}
        key = metadata(context).get("idempotency-key")
        return await self.gateway.incidents.change(CALLER.get(), incident_id, decode(Update, given), key)

    async def asked(self, kind: CommandKind, shape: type[Record], request: Message, context: Context) -> IncidentView:
        said = fields(request)
        incident_id = taken_from(said, "incident_id")
        return await self.gateway.incidents.ask(CALLER.get(), incident_id, command(kind, shape, said, context))

    async def followed(self, request: Message) -> AsyncGenerator[Seen, None]:
        """The matching open incidents, then every decision about matching ones that came after."""
        who, wanted, live = CALLER.get(), decode(Wanted, fields(request)), self.gateway.live
        since = await live.cursor(who)
        known, cursor = {}, None
        while True:
            page = await self.gateway.incidents.list(who, wanted.query(cursor))
            for incident in page.incidents:
                known[incident.id] = incident.updated_at
                yield Seen(incident=incident)
            if (cursor := page.next_cursor) is None:
                break
        async with aclosing(live.follow(who, after=since)) as events:
            async for event in events:
                incident, at = event.incident, event.entry.timestamp
                if incident.id in known and at <= known[incident.id]:
                    continue  # it was shown with this done already
                known.pop(incident.id, None)
                if incident in wanted:
                    yield Seen(incident=incident, event=event.entry)


class Incidents(incidents_pb2_grpc.IncidentServiceServicer):
    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.desk = Desk(gateway)

    async def CreateIncident(
        self, request: incidents_pb2.CreateIncidentRequest, context: Context
    ) -> incidents_pb2.IncidentResponse:
        incident, message = await self.desk.created(request, context)
        if isinstance(incident, str):
            return incidents_pb2.IncidentResponse(incident=incidents_pb2.Incident(id=incident), message=message)
        return await self._response(incident, message)

    async def GetIncident(
        self, request: incidents_pb2.GetIncidentRequest, context: Context
    ) -> incidents_pb2.IncidentResponse:
        return await self._response(await self.desk.found(request))

    async def UpdateIncident(
        self, request: incidents_pb2.UpdateIncidentRequest, context: Context
    ) -> incidents_pb2.IncidentResponse:
        return await self._response(await self.desk.updated(request, context), "Updated.")

    async def ListIncidents(
        self, request: incidents_pb2.ListIncidentsRequest, context: Context
    ) -> incidents_pb2.ListIncidentsResponse:
        query = decode(Listing, fields(request)).query()
        found = await self.gateway.incidents.list(CALLER.get(), query)
        return incidents_pb2.ListIncidentsResponse(
            incidents=[rendering.incident(each) for each in found.incidents], total_count=found.total_count,
            page=query.page, page_size=query.page_size,
        )  # fmt: skip

    async def ResolveIncident(
        self, request: incidents_pb2.ResolveIncidentRequest, context: Context
    ) -> incidents_pb2.IncidentResponse:
        return await self._response(await self.desk.asked(CommandKind.RESOLVE, Resolve, request, context), "Resolved.")

    async def AddNote(self, request: incidents_pb2.AddNoteRequest, context: Context) -> incidents_pb2.IncidentResponse:
        return await self._response(await self.desk.asked(CommandKind.COMMENT, Note, request, context), "Noted.")

    async def StreamIncidents(
        self, request: incidents_pb2.StreamIncidentsRequest, context: Context
    ) -> AsyncIterator[incidents_pb2.IncidentUpdate]:
        async with aclosing(self.desk.followed(request)) as news:
            async for seen in news:
                yield incidents_pb2.IncidentUpdate(
                    incident_id=seen.incident.id, update_type=seen.event.event_type if seen.event else SNAPSHOT,
                    incident=rendering.incident(seen.incident),
                    timestamp=moment(seen.event.timestamp if seen.event else seen.incident.updated_at),
                )  # fmt: skip

    async def _response(self, incident: IncidentView, message: str = "") -> incidents_pb2.IncidentResponse:
        return incidents_pb2.IncidentResponse(
            incident=rendering.incident(*await self.desk.told(incident)), message=message
        )


class IncidentsV1(v1_grpc.IncidentServiceServicer):
    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.desk = Desk(gateway)

    async def CreateIncident(self, request: v1.CreateIncidentRequest, context: Context) -> v1.CreateIncidentResponse:
        incident, message = await self.desk.created(request, context)
        if isinstance(incident, str):
            return v1.CreateIncidentResponse(incident=v1.Incident(id=incident), message=message)
        return v1.CreateIncidentResponse(incident=await self._incident(incident), message=message)

    async def GetIncident(self, request: v1.GetIncidentRequest, context: Context) -> v1.Incident:
        return await self._incident(await self.desk.found(request))

    async def UpdateIncident(self, request: v1.UpdateIncidentRequest, context: Context) -> v1.Incident:
        return await self._incident(await self.desk.updated(request, context))

    async def StreamIncidents(self, request: v1.StreamIncidentsRequest, context: Context) -> AsyncIterator[v1.Incident]:
        async with aclosing(self.desk.followed(request)) as news:
            async for seen in news:
                yield rendering.incident_v1(seen.incident)

    async def AnalyzeCorrelations(
        self, request: v1.AnalyzeCorrelationsRequest, context: Context
    ) -> v1.CorrelationResult:
        found = await self.gateway.correlations.of(CALLER.get(), taken_from(fields(request), "incident_id"))
        return rendering.correlations(found)

    async def _incident(self, incident: IncidentView) -> v1.Incident:
        return rendering.incident_v1(*await self.desk.told(incident))

"""REST, GraphQL and gRPC are asked the same, and answer the same: what is there, and why something is refused."""

from collections.abc import AsyncIterator
from typing import Any, Protocol
from uuid import uuid4

import grpc
import httpx
import pytest

from app.api.grpc.pb import incidents_pb2 as pb
from app.api.grpc.pb.incidents_pb2_grpc import IncidentServiceStub
from app.api.graphql.schema import CODES
from tests.api.conftest import Service, serving


class Refused(Exception):
    """By its code, in REST's words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code, self.message = code, message


class Door(Protocol):
    """One way in, as a client sees it."""

    async def create(self, title: str, severity: str) -> str: ...
    async def get(self, id_: str) -> dict[str, Any]: ...
    async def change(self, id_: str, **fields: str) -> dict[str, Any]: ...
    async def resolve(self, id_: str, by: str, notes: str) -> dict[str, Any]: ...


SHOWN = ("id", "title", "severity", "status", "source")


class Rest:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def _asked(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = await self.http.request(method, f"/api/v1{path}", json=body)
        found: dict[str, Any] = answer.json()
        if not answer.is_success:
            raise Refused(found["error"]["code"], found["message"])
        return found

    async def create(self, title: str, severity: str) -> str:
        body = {"title": title, "severity": severity, "source": "doors"}
        return str((await self._asked("POST", "/incidents", body))["id"])

    async def get(self, id_: str) -> dict[str, Any]:
        return {name: (await self._asked("GET", f"/incidents/{id_}"))[name] for name in SHOWN}

    async def change(self, id_: str, **fields: str) -> dict[str, Any]:
        found = await self._asked("PATCH", f"/incidents/{id_}", fields)
        return {name: found[name] for name in SHOWN}

    async def resolve(self, id_: str, by: str, notes: str) -> dict[str, Any]:
        found = await self._asked("POST", f"/incidents/{id_}/resolve", {"resolved_by": by, "notes": notes})
        return {name: found[name] for name in SHOWN}


class GraphQL:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def _asked(self, query: str, **variables: object) -> dict[str, Any]:
        answer = (await self.http.post("/graphql", json={"query": query, "variables": variables})).json()
        if "errors" in answer:
            error = answer["errors"][0]
            code = error["extensions"].get("reason", error["extensions"]["code"])
            assert error["extensions"]["code"] == CODES.get(code, code)
            raise Refused(code, error["message"])
        found: dict[str, Any] = answer["data"]
        return found

    async def create(self, title: str, severity: str) -> str:
        query = """mutation($i: CreateIncidentInput!) { createIncident(input: $i) { incident { id } } }"""
        found = await self._asked(query, i={"title": title, "severity": severity, "source": "doors"})
        return str(found["createIncident"]["incident"]["id"])

    async def get(self, id_: str) -> dict[str, Any]:
        found = await self._asked(f"query($id: ID!) {{ incident(id: $id) {{ {' '.join(SHOWN)} }} }}", id=id_)
        if found["incident"] is None:
            raise Refused("NOT_FOUND", f"There is no incident {id_!r}.")
        return dict(found["incident"])

    async def change(self, id_: str, **fields: str) -> dict[str, Any]:
        shown = f"{{ incident {{ {' '.join(SHOWN)} }} }}"
        query = f"mutation($id: ID!, $i: UpdateIncidentInput!) {{ updateIncident(id: $id, input: $i) {shown} }}"
        return dict((await self._asked(query, id=id_, i=fields))["updateIncident"]["incident"])

    async def resolve(self, id_: str, by: str, notes: str) -> dict[str, Any]:
        shown = f"{{ incident {{ {' '.join(SHOWN)} }} }}"
        query = f"mutation($i: ResolveIncidentInput!) {{ resolveIncident(input: $i) {shown} }}"
        asked = {"incidentId": id_, "resolvedBy": by, "notes": notes}
        return dict((await self._asked(query, i=asked))["resolveIncident"]["incident"])


class Grpc:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.service = IncidentServiceStub(channel)

    async def _asked(self, call: Any) -> dict[str, Any]:
        try:
            found = (await call).incident
        except grpc.aio.AioRpcError as error:
            raise Refused(_reason(error), error.details() or "") from error
        return {name: getattr(found, name) for name in SHOWN}

    async def create(self, title: str, severity: str) -> str:
        asked = pb.CreateIncidentRequest(title=title, severity=severity, source="doors")
        return str((await self._asked(self.service.CreateIncident(asked)))["id"])

    async def get(self, id_: str) -> dict[str, Any]:
        return await self._asked(self.service.GetIncident(pb.GetIncidentRequest(incident_id=id_)))

    async def change(self, id_: str, **fields: str) -> dict[str, Any]:
        return await self._asked(self.service.UpdateIncident(pb.UpdateIncidentRequest(incident_id=id_, **fields)))

    async def resolve(self, id_: str, by: str, notes: str) -> dict[str, Any]:
        asked = pb.ResolveIncidentRequest(incident_id=id_, resolved_by=by, resolution_note=notes)
        return await self._asked(self.service.ResolveIncident(asked))

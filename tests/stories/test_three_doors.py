"""REST, GraphQL and gRPC are asked the same, and answer the same: what is there, and why something is refused."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol
from uuid import UUID, uuid4

import grpc
import httpx
import pytest

from app.api.graphql.schema import CODES
from app.api.grpc.pb import incidents_pb2 as pb
from app.api.grpc.pb.incidents_pb2_grpc import IncidentServiceStub
from tests.api.conftest import serving
from tests.support.grpc import refusal as said


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
            raise Refused(said(error).code, error.details() or "") from error
        return {name: getattr(found, name) for name in SHOWN}

    async def create(self, title: str, severity: str) -> str:
        asked = pb.CreateIncidentRequest(title=title, severity=severity, source="doors")
        return str((await self._asked(self.service.CreateIncident(asked)))["id"])

    async def get(self, id_: str) -> dict[str, Any]:
        return await self._asked(self.service.GetIncident(pb.GetIncidentRequest(incident_id=id_)))

    async def change(self, id_: str, **fields: str) -> dict[str, Any]:
        said: Any = {"incident_id": id_, **fields}
        return await self._asked(self.service.UpdateIncident(pb.UpdateIncidentRequest(**said)))

    async def resolve(self, id_: str, by: str, notes: str) -> dict[str, Any]:
        asked = pb.ResolveIncidentRequest(incident_id=id_, resolved_by=by, resolution_note=notes)
        return await self._asked(self.service.ResolveIncident(asked))


@pytest.fixture(scope="module")
async def doors(database_url: str) -> AsyncIterator[dict[str, Door]]:
    async with serving(database_url) as service, grpc.aio.insecure_channel(service.grpc) as channel:
        yield {"REST": Rest(service.http), "GraphQL": GraphQL(service.http), "gRPC": Grpc(channel)}


async def refusal(asked: Awaitable[object]) -> tuple[str, str]:
    with pytest.raises(Refused) as refused:
        await asked
    return refused.value.code, refused.value.message


@pytest.mark.parametrize("maker", ["REST", "GraphQL", "gRPC"])
async def test_what_one_door_makes_all_show_alike(doors: dict[str, Door], maker: str) -> None:
    title = f"model is slow {uuid4()}"
    id_ = await doors[maker].create(title, "P1")
    shown = [await door.get(id_) for door in doors.values()]
    assert shown[0] == {"id": id_, "title": title, "severity": "P1", "status": "NEW", "source": "doors"}
    assert shown[1:] == shown[:-1]
    for changer in doors.values():
        changed = await changer.change(id_, title=f"{title}, changed")
        assert changed["title"] == f"{title}, changed"
    for changer, severity in zip(doors.values(), ("P0", "P2", "P3"), strict=True):
        assert (await changer.change(id_, severity=severity))["severity"] == severity
        assert {(await door.get(id_))["severity"] for door in doors.values()} == {severity}
    assert (await doors[maker].resolve(id_, "alice", "done"))["status"] == "RESOLVED"
    assert {(await door.get(id_))["status"] for door in doors.values()} == {"RESOLVED"}


async def test_all_refuse_alike(doors: dict[str, Door]) -> None:
    id_ = await doors["REST"].create(f"over {uuid4()}", "P2")
    await doors["REST"].resolve(id_, "alice", "done")
    asked: list[tuple[Callable[[Door], Awaitable[object]], str]] = [
        (lambda door: door.get(str(UUID(int=1))), "NOT_FOUND"),
        (lambda door: door.change(id_, status="ACKNOWLEDGED"), "INVALID_STATE_TRANSITION"),
        (lambda door: door.change(id_, title="x" * 501), "VALIDATION_ERROR"),
        (lambda door: door.create("x" * 501, "P1"), "VALIDATION_ERROR"),
    ]
    for ask, code in asked:
        answers = {name: await refusal(ask(door)) for name, door in doors.items()}
        assert {answer[0] for answer in answers.values()} == {code}, answers
        assert len({answer[1] for answer in answers.values()}) == 1, answers


async def test_a_repeat_is_success_at_every_door(doors: dict[str, Door]) -> None:
    id_ = await doors["gRPC"].create(f"twice {uuid4()}", "P2")
    for _ in range(2):
        for door in doors.values():
            assert (await door.resolve(id_, "alice", "done"))["status"] == "RESOLVED"

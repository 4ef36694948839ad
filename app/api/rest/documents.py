"""Configuration: one CRUD for every kind of document, its schemas from the domain."""

from datetime import datetime
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response, status
from pydantic import BaseModel, create_model

from app.api.auth import Caller
from app.api.rest.wire import Served, accepts, read_json, reply
from app.domain.errors import Invalid
from app.domain.people import Slug
from app.domain.requests import Document
from app.service.documents import Documents

IF_MATCH: dict[str, Any] = {
    "parameters": [
        {
            "name": "If-Match",
            "in": "header",
            "required": False,
            "description": 'The ETag of the version to follow, like "3".',
            "schema": {"type": "string", "pattern": '^(W/)?"?[0-9]{1,9}"?$'},
        }
    ]
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "Only if there is none yet.",
    "schema": {"type": "string", "const": "*"},
}
ABSENT = 0  # the version of a document that must not exist yet
Id = Annotated[Slug, Path()]
READ_ONLY = ("version", "updated_at", "updated_by")


def router_of(kind: str, path: str) -> APIRouter:
    """GET, POST, PUT, DELETE and versions of one kind of document under `path`."""
    router = APIRouter(prefix=path, tags=[kind])
    shape: type[BaseModel] = Documents.KINDS[kind]
    version = version_of(shape)

    @router.get("", name=f"list {kind}", responses={200: {"model": list[version]}})  # type: ignore[valid-type]
    async def every(who: Caller, gateway: Served) -> list[dict[str, Any]]:
        return [shown(document) for document in await gateway.documents.list(who, kind)]

    @router.post(
        "",
        name=f"create {kind}",
        include_in_schema=kind != "silences",  # which has a route of its own
        status_code=status.HTTP_201_CREATED,
        openapi_extra=accepts(shape),
        responses=gives(version, 201),
    )
    async def create(request: Request, who: Caller, gateway: Served) -> Response:
        """409 when the id is taken."""
        body = writable(await read_json(request))
        if not isinstance(id_ := body.get("id"), str):
            raise Invalid.field("id", "is required, and a string")
        created = await gateway.documents.put(who, kind, id_, body, expected_version=ABSENT)
        return tagged(created, status.HTTP_201_CREATED)

    @router.get("/{id}", name=f"get {kind}", responses=gives(version))
    async def one(id: Id, who: Caller, gateway: Served) -> Response:  # noqa: A002
        """ETag is the version, for If-Match."""
        return tagged(await gateway.documents.get(who, kind, id))

    @router.put(
        "/{id}",
        name=f"put {kind}",
        openapi_extra=nameless(shape) | {"parameters": [*IF_MATCH["parameters"], IF_NONE_MATCH]},
        responses=gives(version),
    )
    async def put(request: Request, id: Id, who: Caller, gateway: Served) -> Response:  # noqa: A002
        """Create or replace. With If-Match only the version it names is replaced; otherwise 409."""
        body = writable(await read_json(request))
        if body.setdefault("id", id) != id:
            raise Invalid.field("id", f"is {body['id']!r}, but the address says {id!r}")
        return tagged(await gateway.documents.put(who, kind, id, body, expected_version=expected(request)))

    @router.delete("/{id}", name=f"delete {kind}", status_code=status.HTTP_204_NO_CONTENT)
    async def delete(id: Id, who: Caller, gateway: Served) -> None:  # noqa: A002
        """409 while something refers to it."""
        await gateway.documents.delete(who, kind, id)

    @router.get("/{id}/versions", name=f"versions of {kind}", responses={200: {"model": list[version]}})  # type: ignore[valid-type]
    async def versions(id: Id, who: Caller, gateway: Served) -> list[dict[str, Any]]:  # noqa: A002
        return [shown(document) for document in await gateway.documents.versions(who, kind, id)]

    return router


@cache
def version_of(shape: type[BaseModel]) -> type[BaseModel]:
    """One version of a document, as it is shown."""
    return create_model(
        f"{shape.__name__}Version",
        __base__=shape,
        version=(int, ...),
        updated_at=(datetime, ...),
        updated_by=(str, ...),
    )


def nameless(shape: type[BaseModel]) -> dict[str, Any]:
    """The body of a document whose id stands in the address, and may be left out."""
    extra = accepts(shape)
    schema = extra["requestBody"]["content"]["application/json"]["schema"]
    schema["properties"].pop("id")
    schema["required"] = [name for name in schema["required"] if name != "id"]
    return extra


def gives(shape: type[BaseModel], code: int = status.HTTP_200_OK) -> dict[int | str, dict[str, Any]]:
    """An operation's `responses` for a `tagged` answer."""
    return {code: {"model": shape, "headers": {"ETag": {"description": "The version.", "schema": {"type": "string"}}}}}


def shown(document: Document) -> dict[str, Any]:
    """The document's own fields, and what is known about this version of it."""
    return document.body | document.model_dump(mode="json", include=set(READ_ONLY))


def tagged(document: Document, code: int = status.HTTP_200_OK) -> Response:
    answer = reply(shown(document), code)
    answer.headers["etag"] = f'"{document.version}"'
    return answer


def writable(body: object) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Invalid.field("body", "must be a JSON object")
    return {name: value for name, value in body.items() if name not in READ_ONLY}


def expected(request: Request) -> int | None:
    """The version that If-Match names (`"3"`, as the ETag was); ABSENT for `If-None-Match: *`; None without either."""
    unless = request.headers.get("if-none-match")
    if unless is not None:
        if unless.strip() != "*":
            raise Invalid.field("If-None-Match", "must be *, for a document that must not exist yet")
        return ABSENT
    match = request.headers.get("if-match")
    if match is None:
        return None
    version = match.strip().removeprefix("W/").strip('"')
    if not version.isascii() or not version.isdecimal() or len(version) > 9:
        raise Invalid.field("If-Match", 'must be the ETag of a version, like "3"')
    return int(version)


ROUTERS = (
    *(router_of(kind, f"/{kind}") for kind in Documents.KINDS),
    router_of("escalation-policies", "/policies/escalation"),
)

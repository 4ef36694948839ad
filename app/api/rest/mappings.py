"""Mappings tried out: what a body would become."""

from fastapi import APIRouter, Request

from app.api.auth import Caller
from app.api.rest.documents import Id, writable
from app.api.rest.wire import Served, accepts, read, read_json
from app.domain.decode import decode
from app.domain.mapping import Mapping
from app.service.mappings import Mapped, Posted

router = APIRouter(prefix="/mappings", tags=["mappings"])


class Draft(Posted):
    """A mapping that isn't saved, and what to try it on."""

    mapping: Mapping


@router.post("/test", openapi_extra=accepts(Draft))
async def test_draft(request: Request, who: Caller, gateway: Served) -> Mapped:
    """What a body would become by a mapping that isn't saved. Nothing is kept."""
    body = writable(await read_json(request))
    if isinstance(mapping := body.get("mapping"), dict):
        body["mapping"] = {"id": "draft", **mapping}
    asked = decode(Draft, body)
    return gateway.mappings.test(who, asked.mapping, asked)


@router.post("/{id}/test", openapi_extra=accepts(Posted))
async def test_saved(request: Request, id: Id, who: Caller, gateway: Served) -> Mapped:  # noqa: A002
    """What a body would become by a saved mapping. Nothing is kept."""
    return await gateway.mappings.test_saved(who, id, await read(request, Posted))

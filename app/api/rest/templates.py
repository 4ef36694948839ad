"""Templates tried out: what would be said."""

from fastapi import APIRouter, Request

from app.api.auth import Caller
from app.api.rest.documents import Id, writable
from app.api.rest.wire import NOT_FOUND, Served, accepts, read, read_json
from app.domain.decode import decode
from app.domain.template import Template
from app.service.templates import Preview, Previewed

router = APIRouter(prefix="/notification-templates", tags=["notification-templates"])


class Unsaved(Preview):
    """A template that isn't saved, and what to try it on."""

    template: Template


@router.post("/preview", openapi_extra=accepts(Unsaved) | NOT_FOUND)
async def preview(request: Request, who: Caller, gateway: Served) -> Previewed:
    body = writable(await read_json(request))
    if isinstance(template := body.get("template"), dict):
        body["template"] = {"id": "preview", "name": "preview", **template}
    said = decode(Unsaved, body)
    return await gateway.templates.preview(who, said.template, said)


@router.post("/{id}/preview", openapi_extra=accepts(Preview, required=False))
async def preview_saved(request: Request, id: Id, who: Caller, gateway: Served) -> Previewed:  # noqa: A002
    return await gateway.templates.preview_saved(who, id, await read(request, Preview))

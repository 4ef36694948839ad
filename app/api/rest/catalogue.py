"""Services from another catalogue."""

from fastapi import APIRouter, Request

from app.api.auth import Caller
from app.api.limits import read_body
from app.api.rest.wire import Served
from app.domain.errors import Invalid
from app.service.catalogue import Imported

router = APIRouter(prefix="/services", tags=["services"])
YAML = {
    "requestBody": {
        "required": True,
        "content": {"application/yaml": {"schema": {"description": "Entities, one a document."}}},
    }
}


@router.post("/import", openapi_extra=YAML)
async def take_over(request: Request, who: Caller, gateway: Served) -> Imported:
    """Backstage's catalog-info.yaml, any number of documents. Says of every entity what was done, or why not."""
    raw = await read_body(request, gateway.settings.server.max_body_bytes)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Invalid.field("body", "must be UTF-8 text") from None
    return await gateway.catalogue.read(who, text)

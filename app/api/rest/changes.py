"""Changes come in, and can be looked at."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from fastapi import APIRouter, Request, status
from pydantic import Field, model_validator

from app.api.auth import Caller
from app.api.rest.query import asking, query
from app.api.rest.wire import Served, accepts, read
from app.domain.alert import ChangeEvent
from app.domain.change import Change
from app.domain.decode import Instant
from app.domain.people import WebAddress
from app.domain.record import Record
from app.domain.vocabulary import Environment

USUAL = timedelta(days=1)
DETAILS = 16_384

Word = Annotated[str, Field(min_length=1, max_length=255)]

router = APIRouter(prefix="/changes", tags=["changes"])


class Link(Record):
    href: WebAddress
    text: str = Field(default="", max_length=200)


class Reported(Record):
    """A change as it is reported. `services` are those it touches, by the names that alerts use for them."""

    summary: str = Field(min_length=1, max_length=1024)
    at: Instant | None = None
    source: Word = "api"
    services: tuple[Word, ...] = Field(default=(), max_length=100)
    environment: Environment | None = None
    author: Word | None = None
    details: dict[str, Any] = {}
    links: tuple[Link, ...] = Field(default=(), max_length=20)

    @model_validator(mode="after")
    def _small(self) -> Self:
        if len(str(self.details)) > DETAILS:
            raise ValueError(f"details must have at most {DETAILS} characters")
        return self


class Asked(Record):
    service: Word | None = None
    since: Instant | None = None
    limit: int = Field(default=50, ge=1, le=500)


@router.post("", status_code=status.HTTP_201_CREATED, openapi_extra=accepts(Reported))
async def report(request: Request, who: Caller, gateway: Served) -> Change:
    """Keeps a deploy, a flag, a new prompt or model, to explain incidents by."""
    sent = await read(request, Reported)
    return await gateway.changes.record(who, ChangeEvent.model_validate(sent.model_dump()))


@router.get("", openapi_extra=asking(Asked))
async def changes(request: Request, who: Caller, gateway: Served) -> list[Change]:
    """The newest first: `service`, `since` (the last day), `limit`."""
    asked = query(request, Asked)
    return await gateway.changes.list(who, asked.since or datetime.now(UTC) - USUAL, asked.service, asked.limit)

"""What may be asked of an incident: one route per command, each with the bodies older clients send."""

from datetime import timedelta
from typing import Annotated, Self

from fastapi import APIRouter, Request, status
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StrictInt, StringConstraints, model_validator

from app.api.auth import Caller
from app.api.rest.wire import IDEMPOTENT, Served, accepts, idempotency_key, read
from app.domain.decode import Instant, decode
from app.domain.incident import CommandKind
from app.domain.representation import IncidentView, TimelineEvent
from app.domain.requests import Ask, Name, Text
from app.domain.vocabulary import Severity

EXTRA = ("post_mortem_url", "playbook_used", "escalate_to")
LONGEST_SNOOZE = timedelta(days=31)

router = APIRouter(prefix="/incidents/{incident_id}", tags=["commands"])


class Said(BaseModel):
    """A command's body: who (the key's own name when left out) and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    actor: Name | None = None
    reason: Text | None = Field(None, validation_alias=AliasChoices("reason", "notes"))

    def ask(self, kind: CommandKind, key: str | None, **more: object) -> Ask:
        said = self.model_dump(exclude_none=True) | more
        extra = {name: said.pop(name) for name in EXTRA if name in said}
        return decode(Ask, {**said, "kind": kind, "key": key, "extra": extra})


class Resolve(Said):
    actor: Name | None = Field(None, validation_alias=AliasChoices("resolved_by", "actor"))
    reason: Text | None = Field(None, validation_alias=AliasChoices("notes", "resolution_notes", "reason"))
    method: Name | None = Field(None, validation_alias=AliasChoices("method", "resolution_method"))
    root_cause: Text | None = None
    playbook_used: Name | None = None


class Close(Said):
    post_mortem_url: Annotated[str, StringConstraints(max_length=2048)] | None = None


class Escalate(Said):
    """`level` is the one to go to, the next when left out. Going to one that was reached already changes nothing."""

    level: StrictInt | None = Field(None, ge=1)
    escalate_to: Name | None = None


class Assign(Said):
    """What is left out stays as it is; null takes it away."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["assigned_to"]}, {"required": ["assigned_team"]}]}
    )

    assignee: Name | None = Field(None, validation_alias=AliasChoices("assigned_to", "assignee", "user_id"))
    team: Name | None = Field(None, validation_alias=AliasChoices("assigned_team", "team", "team_id"))

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not self.model_fields_set & {"assignee", "team"}:
            raise ValueError("needs assigned_to, assigned_team or both")
        return self


class Comment(Said):
    reason: Text = Field(min_length=1, validation_alias=AliasChoices("content", "comment"))


class ChangeSeverity(Said):
    severity: Severity


class Snooze(Said):
    """One of: a moment, seconds, minutes."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [
        {"required": ["until"], "properties": {"until": {"type": "string"}}},
        {"required": ["duration_secs"], "properties": {"duration_secs": {"type": "integer"}}},
        {"required": ["minutes"], "properties": {"minutes": {"type": "integer"}}},
    ]})  # fmt: skip

    until: Instant | None = None
    duration_secs: int | None = Field(None, gt=0, le=LONGEST_SNOOZE.total_seconds())
    minutes: int | None = Field(None, gt=0, le=LONGEST_SNOOZE.total_seconds() / 60)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if [self.until, self.duration_secs, self.minutes].count(None) != 2:
            raise ValueError("needs one of until, duration_secs, minutes")
        return self

    def ask(self, kind: CommandKind, key: str | None, **more: object) -> Ask:
        plain = Said(actor=self.actor, reason=self.reason)
        if self.until is not None:
            return plain.ask(kind, key, until=self.until)
        return plain.ask(kind, key, for_secs=self.duration_secs or (self.minutes or 0) * 60)


SHAPES: dict[CommandKind, type[Said]] = {
    CommandKind.ACKNOWLEDGE: Said,
    CommandKind.UNACKNOWLEDGE: Said,
    CommandKind.START: Said,
    CommandKind.RESOLVE: Resolve,
    CommandKind.CLOSE: Close,
    CommandKind.REOPEN: Said,
    CommandKind.COMMENT: Comment,
    CommandKind.SEVERITY: ChangeSeverity,
    CommandKind.PAUSE: Said,
    CommandKind.RESUME: Said,
    CommandKind.SNOOZE: Snooze,
}


def _needed(shape: type[Said]) -> bool:
    """Whether an empty body says too little."""
    return any(field.is_required() for field in shape.model_fields.values()) or shape is Snooze


def _route(kind: CommandKind, shape: type[Said]) -> None:
    async def ask(request: Request, incident_id: str, who: Caller, gateway: Served) -> IncidentView:
        said = await read(request, shape)
        return await gateway.incidents.ask(who, incident_id, said.ask(kind, idempotency_key(request)))

    router.add_api_route(
        f"/{kind}", ask, methods=["POST"], name=kind, openapi_extra=accepts(shape, required=_needed(shape)) | IDEMPOTENT
    )


for _kind, _shape in SHAPES.items():
    _route(_kind, _shape)


@router.post("/escalate", openapi_extra=accepts(Escalate, required=False) | IDEMPOTENT)
async def escalate(request: Request, incident_id: str, who: Caller, gateway: Served) -> IncidentView:
    """Page the next level now."""
    said = await read(request, Escalate)
    key = idempotency_key(request)
    asked = said.model_copy(update={"level": None})
    return await gateway.incidents.ask(who, incident_id, asked.ask(CommandKind.ESCALATE, key, to_level=said.level))


@router.post("/assign", openapi_extra=accepts(Assign) | IDEMPOTENT)
async def assign(request: Request, incident_id: str, who: Caller, gateway: Served) -> IncidentView:
    said = await read(request, Assign)
    given = {name: getattr(said, name) for name in ("assignee", "team") if name in said.model_fields_set}
    return await gateway.incidents.ask(
        who, incident_id, said.ask(CommandKind.ASSIGN, idempotency_key(request), **given)
    )


@router.post("/comments", status_code=status.HTTP_201_CREATED, openapi_extra=accepts(Comment) | IDEMPOTENT)
async def comment(request: Request, incident_id: str, who: Caller, gateway: Served) -> TimelineEvent:
    """The comment, as it stands on the timeline."""
    said = await read(request, Comment)
    await gateway.incidents.ask(who, incident_id, said.ask(CommandKind.COMMENT, idempotency_key(request)))
    comments = await gateway.incidents.comments(who, incident_id)
    return next(event for event in reversed(comments) if event.reason == said.reason)

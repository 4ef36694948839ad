"""Routing rules as they are written: conditions, and what is done with the incidents that meet them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from app.domain.alert import Labels
from app.domain.escalation import Target
from app.domain.matching import ALWAYS, Condition
from app.domain.people import Slug
from app.domain.record import Record
from app.domain.vocabulary import ChannelName, Severity, TargetType

LONGEST_MINUTES = 30 * 24 * 60


class Strategy(StrEnum):
    """How one of an assignment's targets is chosen."""

    DIRECT = "direct"
    ON_CALL = "on_call"
    LOAD_BALANCED = "load_balanced"
    SKILL_BASED = "skill_based"


def _spelt_out(given: object) -> object:
    return {"type": "user", "id": given} if isinstance(given, str) else given


class Assignee(Record):
    """Somebody an incident may be assigned to. One of twice the `weight` has twice as many when loads are balanced."""

    type: TargetType = TargetType.USER
    id: Slug
    weight: float = Field(default=1, gt=0, le=1000)

    @field_validator("type")
    @classmethod
    def _inside(cls, type_: TargetType) -> TargetType:
        if type_ is TargetType.EXTERNAL:
            raise ValueError("must be 'user', 'team' or 'on_call'")
        return type_


class Notify(Record):
    """Tell these, too, when the first level goes out. Without `channels`, on all."""

    type: Literal["Notify"] = "Notify"
    targets: tuple[Target, ...] = Field(min_length=1, max_length=50)
    channels: tuple[ChannelName, ...] = ()


class Assign(Record):
    """Give it to one of these. `skills` are those wanted by `skill_based`; none = the incident's own words."""

    type: Literal["Assign"] = "Assign"
    targets: tuple[Annotated[Assignee, BeforeValidator(_spelt_out)], ...] = Field(
        min_length=1, max_length=50, validation_alias=AliasChoices("targets", "assignees")
    )
    strategy: Strategy = Strategy.DIRECT
    skills: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(default=(), max_length=20)


class ApplyPlaybook(Record):
    type: Literal["ApplyPlaybook"] = "ApplyPlaybook"
    playbook_id: Slug


class AddLabels(Record):
    type: Literal["AddLabels"] = "AddLabels"
    labels: Labels = Field(min_length=1)


class SetSeverity(Record):
    type: Literal["SetSeverity"] = "SetSeverity"
    severity: Severity


class Suppress(Record):
    """Nobody is paged until the incident is `duration_minutes` old."""

    type: Literal["Suppress"] = "Suppress"
    duration_minutes: int = Field(ge=1, le=LONGEST_MINUTES)


class SetPolicy(Record):
    type: Literal["SetPolicy"] = "SetPolicy"
    policy_id: Slug


AnyAction: TypeAlias = Notify | Assign | ApplyPlaybook | AddLabels | SetSeverity | Suppress | SetPolicy
ACTIONS = ("Notify", "Assign", "ApplyPlaybook", "AddLabels", "SetSeverity", "Suppress", "SetPolicy")
_NAMES = {name.lower(): name for name in ACTIONS}


def _of_its_type(given: object, handler: ValidatorFunctionWrapHandler) -> AnyAction:
    """`{"type": "SetSeverity", …}`, also written `set_severity`, or `{"SetSeverity": {…}}` as the seed stored them."""
    if isinstance(given, Mapping):
        if len(given) == 1 and isinstance(inner := next(iter(given.values())), Mapping):
            given = {**inner, "type": next(iter(given))}
        name = _NAMES.get(str(given.get("type", "")).replace("_", "").lower())
        if name is None:
            unknown = PydanticCustomError("value_error", f"must be one of {', '.join(ACTIONS)}")
            raise ValidationError.from_exception_data(
                "action", [InitErrorDetails(type=unknown, loc=("type",), input=None)]
            )
        given = {**given, "type": name}
    try:
        return handler(given)  # type: ignore[no-any-return]
    except ValidationError as wrong:  # the union puts the type into every path
        errors = wrong.errors(include_url=False)
        raise ValidationError.from_exception_data(
            "action",
            [InitErrorDetails(type=e["type"], loc=e["loc"][1:], input=None, ctx=e.get("ctx", {})) for e in errors],
        ) from None


def _plain(schema: dict[str, Any]) -> None:
    schema.pop("discriminator", None)  # it refers to definitions that don't stay where they are


Action = Annotated[AnyAction, Field(discriminator="type", json_schema_extra=_plain), WrapValidator(_of_its_type)]


class Rule(Record):
    """What is done with incidents that meet the conditions; `then: stop` keeps later rules from being asked.

    Also taken: `stop: true`; `targets` and `strategy` beside the conditions, which assign.
    """

    id: Slug
    name: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=2000)
    enabled: bool = True
    priority: int = Field(default=0, ge=-1000, le=1000)
    conditions: Condition = ALWAYS
    actions: tuple[Action, ...] = Field(min_length=1, max_length=20)
    then: Literal["continue", "stop"] = "continue"

    @model_validator(mode="before")
    @classmethod
    def _in_full(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        full = dict(given)
        if isinstance(full.get("stop"), bool) and "then" not in full:
            full["then"] = "stop" if full.pop("stop") else "continue"
        actions = full.get("actions", [])
        if "targets" in full and isinstance(actions, list | tuple):
            assign = {"type": "Assign"} | {name: full.pop(name) for name in ("targets", "strategy") if name in full}
            full["actions"] = [*actions, assign]
        return full

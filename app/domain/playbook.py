"""Playbooks as they are written: triggers, steps, and how they follow each other.

Source of the names: the seed's playbooks, §4.4 and §5.8 of its contract.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from app.domain.escalation import Target
from app.domain.matching import ALWAYS, Condition
from app.domain.people import Slug
from app.domain.record import Record
from app.domain.vocabulary import Status

STEPS_MAX = 100
LONGEST_SECS = 90 * 86_400
END = "end"
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")


def _seconds(value: object) -> object:
    """`90`, `"90s"`, `"10m"`, `"1h"`, `"21d"`."""
    found = SPAN.fullmatch(value.strip()) if isinstance(value, str) else None
    return float(found[1]) * UNITS[found[2]] if found else value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=LONGEST_SECS)]


class TriggerType(StrEnum):
    """What begins a playbook by itself; `manual` only shows that it may be begun by hand."""

    INCIDENT_CREATED = "incident_created"
    STATUS_CHANGED = "status_changed"
    ESCALATED = "escalated"
    SEVERITY = "severity"
    TYPE = "type"
    SOURCE = "source"
    MANUAL = "manual"


class Trigger(Record):
    """When it begins. `severity`, `type` and `source` are incident_created with a condition of that name.

    `to`: of status_changed, the statuses it changes to; none = any.
    """

    type: TriggerType
    conditions: Condition = ALWAYS
    to: tuple[Status, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _in_full(cls, given: object) -> object:
        """`{"type": "severity", "severity": ["P0"]}` and its like, in full."""
        if not isinstance(given, Mapping):
            return given
        full, kind = dict(given), str(given.get("type", ""))
        field = {"severity": "severity", "type": "incident_type", "source": "source"}.get(kind)
        if field is None:
            return full
        for name in (kind, f"{kind}s", "value", "values", "incident_type"):
            if name in full and not (name == "type" and full[name] == "type"):
                wanted = full.pop(name)
                test = {"field": field, "operator": "in", "value": wanted if isinstance(wanted, list) else [wanted]}
                full["conditions"] = {"and": [test, full["conditions"]]} if "conditions" in full else test
                full["type"] = kind
                return full
        if "conditions" not in full:
            raise ValueError(f"needs {kind}: the values that begin it")
        return full


class Backoff(StrEnum):
    FIXED = "fixed"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


class Retry(Record):
    """How often a step is tried in all, and how long is waited in between."""

    max_attempts: int = Field(default=1, ge=1, le=50)
    backoff: Backoff = Backoff.EXPONENTIAL
    interval_secs: Seconds = Field(5, validation_alias=AliasChoices("interval_secs", "interval"))
    max_interval_secs: Seconds = 300

    def pause(self, attempt: int) -> float:
        """Seconds after the `attempt`th try (from 1) that failed."""
        match self.backoff:
            case Backoff.FIXED:
                wanted = self.interval_secs
            case Backoff.LINEAR:
                wanted = self.interval_secs * attempt
            case Backoff.EXPONENTIAL:
                wanted = self.interval_secs * 2 ** min(attempt - 1, 30)
        return min(wanted, self.max_interval_secs)


class Call(Record):
    """An action and its parameters: texts in them are templates over `incident`, `steps` and `run`."""

    action: Slug
    parameters: dict[str, Any] = Field(default={}, validation_alias=AliasChoices("parameters", "params"))


class OnTimeout(StrEnum):
    """What a decision that nobody made becomes."""

    REJECT = "reject"
    ESCALATE = "escalate"
    PROCEED = "proceed"


class Approval(Record):
    """Who has to agree. `quorum` of them; `escalate_to` is asked when nobody has answered in time."""

    approvers: tuple[Target, ...] = Field(min_length=1, max_length=50)
    quorum: int = Field(default=1, ge=1, le=20)
    timeout_secs: Seconds = Field(3600, validation_alias=AliasChoices("timeout_secs", "timeout"))
    on_timeout: OnTimeout = OnTimeout.REJECT
    escalate_to: tuple[Target, ...] = Field(default=(), max_length=50)
    reminder_secs: Seconds = Field(900, validation_alias=AliasChoices("reminder_secs", "reminder"))
    message: str = Field(default="", max_length=2000)

    @model_validator(mode="after")
    def _somebody_else(self) -> Self:
        if self.on_timeout is OnTimeout.ESCALATE and not self.escalate_to:
            raise ValueError("on_timeout is escalate: escalate_to must say to whom")
        return self


class StepType(StrEnum):
    ACTION = "action"
    DECISION = "decision"
    NOTIFICATION = "notification"
    INTEGRATION = "integration"
    APPROVAL = "approval"
    WAIT = "wait"
    PARALLEL = "parallel"

    @property
    def acts(self) -> bool:
        return self in (StepType.ACTION, StepType.NOTIFICATION, StepType.INTEGRATION)


class Step(Record):
    """One step. `condition` (on the incident) and `when` (a template that says true) must hold, or it is passed over.

    `call` is the action of an action, notification or integration; `test` what a decision asks; `seconds` how long a
    wait waits; `steps` run side by side in a parallel. After success comes `on_success`, after failure `on_failure`:
    a step's id, `end`, `continue` (the next one), `abort`, or `undo`, which ends well and takes back what was done (it
    was meant for a time only); a decision's yes and no are its success and failure.
    `undo`: what takes it back; none = the action's own way.
    """

    id: Slug
    name: str = Field(default="", max_length=200)
    type: StepType = StepType.ACTION
    condition: Condition = ALWAYS
    when: str | None = Field(default=None, max_length=2000)
    call: Call | None = None
    test: str | None = Field(default=None, max_length=2000)
    approval: Approval | None = None
    seconds: Seconds | None = None
    steps: "tuple[Step, ...]" = Field(default=(), max_length=20)
    timeout_secs: Seconds = Field(300, validation_alias=AliasChoices("timeout_secs", "timeout"))
    retry: Retry = Retry()
    on_success: Slug | None = None
    on_failure: Slug = "abort"
    undo: Call | None = None

    @model_validator(mode="before")
    @classmethod
    def _in_full(cls, given: object) -> object:
        """What older documents have in `config`, and `timeout_ms`."""
        if not isinstance(given, Mapping):
            return given
        full = dict(given)
        config = full.pop("config", None)
        kind = str(full.get("type", full.pop("step_type", "action")))
        full["type"] = kind
        if isinstance(config, Mapping):
            said = dict(config)
            if kind in ("action", "notification", "integration"):
                full.setdefault("call", said)
            elif kind == "approval":
                full.setdefault("approval", said)
            else:
                full |= {name: value for name, value in said.items() if name not in full}
        if "action" in full and "call" not in full:
            full["call"] = {"action": full.pop("action"), "parameters": full.pop("parameters", {})}
        if kind == "decision":
            full.setdefault("on_failure", END)
        if "timeout_ms" in full:
            full["timeout_secs"] = f"{full.pop('timeout_ms')}ms"
        return full

    @model_validator(mode="after")
    def _whole(self) -> Self:
        needs = {
            StepType.DECISION: ("test", self.test), StepType.APPROVAL: ("approval", self.approval),
            StepType.WAIT: ("seconds", self.seconds), StepType.PARALLEL: ("steps", self.steps or None),
        }.get(self.type, ("call", self.call))  # fmt: skip
        if needs[1] is None:
            raise ValueError(f"is a step of type {self.type}: needs {needs[0]}")
        if any(not step.type.acts for step in self.steps):
            raise ValueError("may hold only actions, notifications and integrations side by side")
        return self


class Mode(StrEnum):
    AUTOMATIC = "automatic"
    MANUAL_APPROVAL = "manual_approval"
    DRY_RUN = "dry_run"


class Execution(Record):
    """`manual_approval`: `approval` comes before the first step. `cooldown_secs` lie between two runs on one incident

    that began by themselves. `four_eyes`: before the first step that is destructive two people want it, of whom the
    one who began it by hand is one.
    """

    mode: Mode = Mode.AUTOMATIC
    approval: Approval | None = None
    timeout_secs: Seconds = Field(LONGEST_SECS, validation_alias=AliasChoices("timeout_secs", "timeout"))
    rollback_on_failure: bool = False
    cooldown_secs: Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=LONGEST_SECS)] = 900
    four_eyes: bool = True

    @model_validator(mode="after")
    def _somebody_approves(self) -> Self:
        if self.mode is Mode.MANUAL_APPROVAL and self.approval is None:
            raise ValueError("mode is manual_approval: approval must say whose")
        return self


class Playbook(Record):
    """What is done about incidents, step by step."""

    id: Slug
    name: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=2000)
    enabled: bool = True
    triggers: tuple[Trigger, ...] = Field(default=(), max_length=20)
    steps: tuple[Step, ...] = Field(min_length=1, max_length=STEPS_MAX)
    execution: Execution = Execution()

    @model_validator(mode="after")
    def _follow(self) -> Self:
        ids = [step.id for step in self.steps]
        every = [step.id for step in self.every()]
        twice = next((id_ for id_ in every if every.count(id_) > 1), None)
        if twice is not None:
            raise ValueError(f"steps: the id {twice!r} is given twice")
        words = {END, "continue", "abort", "undo"}
        reserved = next((id_ for id_ in every if id_ in words), None)
        if reserved is not None:
            raise ValueError(f"steps: {reserved!r} is no id: it means something after on_success and on_failure")
        for number, step in enumerate(self.steps):
            for name, target in (("on_success", step.on_success), ("on_failure", step.on_failure)):
                if target is not None and target not in words and target not in ids:
                    raise ValueError(f"steps[{number}].{name}: there is no step {target!r}")
        return self

    def every(self) -> Iterator[Step]:
        """All steps, those within a parallel too."""
        for step in self.steps:
            yield step
            yield from step.steps

    def step(self, id_: str) -> Step:
        return next(step for step in self.every() if step.id == id_)

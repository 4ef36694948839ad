"""Runs of playbooks as they look from outside."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from app.domain.people import Slug
from app.domain.record import Record
from app.domain.run import Deciding, RunStatus, StepStatus


class StepView(Record):
    """One step of a run. `output` is what later steps may use."""

    step_id: str
    status: StepStatus
    attempts: int
    started_at: datetime | None
    completed_at: datetime | None
    error: str | None
    summary: str | None
    output: dict[str, object] | None


class RunView(Record):
    """One run. `cause` says what began it, `deciding` whose word is waited for; `from_run` was tried again from
    `from_step` on. A list's runs have no outputs."""

    id: str
    playbook_id: str
    playbook_version: int
    incident_id: str
    cause: str
    dry_run: bool
    started_by: str
    by_hand: bool
    from_run: str | None
    from_step: str | None
    status: RunStatus
    error: str | None
    deciding: Deciding | None
    steps: list[StepView]
    created_at: datetime
    started_at: datetime
    ended_at: datetime | None


class LogLine(Record):
    """`seq` grows; there may be gaps."""

    seq: int
    step_id: str
    text: str
    at: datetime


class RunLog(Record):
    lines: list[LogLine]


class RunQuery(Record):
    """Runs, the newest first. `cursor` is the last one's id."""

    incident_id: UUID | None = None
    playbook_id: Slug | None = None
    status: tuple[RunStatus, ...] = ()
    limit: int = Field(default=50, ge=1, le=100)
    cursor: UUID | None = None


class RunList(Record):
    runs: list[RunView]


class LogQuery(Record):
    """Lines of a run's log after one."""

    after: int = Field(default=0, ge=0)
    limit: int = Field(default=500, ge=1, le=1000)


class Execute(Record):
    """Begins a playbook on an incident."""

    incident_id: UUID
    dry_run: bool = False


class Word(Record):
    """What somebody says to a run that waits for it."""

    comment: Annotated[str, StringConstraints(max_length=2000)] = ""


class CancelRun(Record):
    """`undo`: what was done is taken back."""

    undo: bool = False


class TryAgain(Record):
    """From which step on; none = from the first one that failed."""

    from_step: Slug | None = None


class ActionView(Record):
    """An action that playbooks may use here. `parameters` is its JSON schema."""

    name: str
    description: str
    destructive: bool
    undoes: bool
    parameters: dict[str, object]

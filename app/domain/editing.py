"""Changing an incident in place: what is to be different afterwards, as the commands that make it so."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.domain.alert import Labels
from app.domain.decode import decode
from app.domain.incident import CommandKind
from app.domain.representation import IncidentView
from app.domain.requests import Ask, Name, Text, Title
from app.domain.vocabulary import Severity, Status

COMMAND_TO = {
    Status.ACKNOWLEDGED: CommandKind.ACKNOWLEDGE,
    Status.IN_PROGRESS: CommandKind.START,
    Status.ESCALATED: CommandKind.ESCALATE,
    Status.RESOLVED: CommandKind.RESOLVE,
    Status.CLOSED: CommandKind.CLOSE,
    Status.NEW: CommandKind.REOPEN,
}


class Change(BaseModel):
    """What to change; what is left out stays. `state`, `assignees` and `notes` are older names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Title | None = None
    description: Text | None = None
    tags: Labels | None = None
    severity: Severity | None = None
    status: Status | None = None
    state: Status | None = None
    assigned_to: Name | None = None
    assigned_team: Name | None = None
    assignees: tuple[Name, ...] | None = Field(None, max_length=1)
    actor: Name | None = None
    notes: Text | None = None

    def asks(self, now: IncidentView, key: str | None) -> Iterator[Ask]:
        """The commands that make the change, the one that can be refused first."""
        common: dict[str, Any] = {"actor": self.actor, "reason": self.notes}
        given = self.model_fields_set

        def ask(kind: CommandKind, **what: object) -> Ask:
            return decode(Ask, {**common, **what, "kind": kind, "key": f"{key}:{kind}" if key else None})

        wanted = self.status or self.state
        if wanted is not None and wanted is not now.status:
            undo = wanted is Status.NEW and now.status is Status.ACKNOWLEDGED
            yield ask(CommandKind.UNACKNOWLEDGE if undo else COMMAND_TO[wanted])
        if self.severity is not None:
            yield ask(CommandKind.SEVERITY, severity=self.severity)
        people = {}
        if "assigned_to" in given or self.assignees is not None:
            people["assignee"] = next(iter(self.assignees), None) if self.assignees is not None else self.assigned_to
        if "assigned_team" in given:
            people["team"] = self.assigned_team
        if people:
            yield ask(CommandKind.ASSIGN, **people)
        if edits := self.model_dump(include={"title", "description", "tags"}, exclude_none=True):
            yield ask(CommandKind.EDIT, **edits)

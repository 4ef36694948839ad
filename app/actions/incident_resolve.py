"""Resolves the incident, through its workflow."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from app.actions.base import Command, Done, Failed, Plain, Situation, Tools
from app.actions.telling import Text
from app.domain.incident import TRANSITIONS, CommandKind
from app.domain.record import Record
from app.domain.vocabulary import Status


@dataclass(frozen=True)
class IncidentResolve(Plain):
    """The step's key goes along with the command, and resolving what is resolved changes nothing.

    `notes`: what was done; `root_cause`: why it happened; each up to 3,000 characters. Undoing reopens the incident,
    which pages anew, if it was this playbook that resolved it and it is still resolved.
    """

    command: Command

    class Parameters(Record):
        notes: Text | None = None
        root_cause: Text | None = None

    undoes: ClassVar[bool] = True

    @classmethod
    def configured(cls, tools: Tools) -> Self:
        return cls(tools.command)

    async def check(self, asked: Parameters, at: Situation) -> str:
        status = at.incident.status
        if status is Status.RESOLVED:
            return "nothing: the incident is resolved already"
        if Status.RESOLVED not in TRANSITIONS[status]:
            raise Failed(f"an incident that is {status} cannot be resolved")
        return f"resolve the incident, which is {status}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        if at.incident.status is Status.RESOLVED and not ours(at):
            return Done(summary="was resolved already", output={"resolved": False})
        said = {"reason": asked.notes, "root_cause": asked.root_cause}
        playbook = at.actor.removeprefix("playbook:")
        await self.command(
            at, CommandKind.RESOLVE, method="playbook", extra={"playbook_used": playbook},
            **{name: text for name, text in said.items() if text},
        )  # fmt: skip
        return Done(summary="resolved", output={"resolved": True})

    async def undo(self, asked: Parameters, done: Done, at: Situation) -> Done:
        if not done.output.get("resolved"):
            return Done(summary="nothing was changed")
        if at.incident.status.open:
            return Done(summary=f"left alone: the incident is {at.incident.status} already")
        await self.command(replace(at, key=f"{at.key}/undo"), CommandKind.REOPEN, reason="the playbook was undone")
        return Done(summary="reopened")


def ours(at: Situation) -> bool:
    """It was resolved in this playbook's name: by an earlier try whose answer was lost."""
    resolution = at.incident.resolution
    return resolution is not None and resolution.resolved_by == at.actor

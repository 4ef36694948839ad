"""Gives the incident to a person or a team, through its workflow."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from pydantic import model_validator

from app.actions.base import Command, Done, Plain, Situation, Tools
from app.actions.base import told as listed
from app.domain.incident import CommandKind
from app.domain.record import Record
from app.domain.requests import Name


@dataclass(frozen=True)
class Assign(Plain):
    """The step's key goes along with the command, so that the workflow does it once.

    `assignee`: a user's id; `team`: a team's; one of them at least, and what isn't given stays. Undoing gives it back
    to whom it was with, unless somebody has assigned it anew meanwhile.
    """

    command: Command

    class Parameters(Record):
        assignee: Name | None = None
        team: Name | None = None

        @model_validator(mode="after")
        def _somebody(self) -> Self:
            if self.assignee is None and self.team is None:
                raise ValueError("assignee or team is needed")
            return self

        @property
        def given(self) -> dict[str, str]:
            return {name: value for name, value in (("assignee", self.assignee), ("team", self.team)) if value}

    undoes: ClassVar[bool] = True

    @classmethod
    def configured(cls, tools: Tools) -> Self:
        return cls(tools.command)

    async def check(self, asked: Parameters, at: Situation) -> str:
        return f"assign the incident: {listed(asked.given)}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        before = {name: value for name, value in holders(at).items() if name in asked.given}
        if before == asked.given:
            return Done(summary=f"is assigned already: {listed(asked.given)}")
        await self.command(at, CommandKind.ASSIGN, **asked.given)
        return Done(summary=f"assigned: {listed(asked.given)}", output={"before": before})

    async def undo(self, asked: Parameters, done: Done, at: Situation) -> Done:
        before = done.output.get("before")
        if not isinstance(before, dict):
            return Done(summary="nothing was changed")
        now = {name: value for name, value in holders(at).items() if name in asked.given}
        if now == before:
            return Done(summary="is as it was")
        if now != asked.given:
            return Done(summary=f"left alone: it was assigned anew since, {listed(now)}")
        await self.command(replace(at, key=f"{at.key}/undo"), CommandKind.ASSIGN, **before)
        return Done(summary=f"assigned as before: {listed(before) or 'to nobody'}")


def holders(at: Situation) -> dict[str, str | None]:
    return {"assignee": at.incident.assigned_to, "team": at.incident.assigned_team}

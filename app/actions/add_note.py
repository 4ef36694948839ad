"""A comment on the incident, through its workflow."""

from dataclasses import dataclass
from typing import Self

from app.actions.base import Command, Done, Plain, Situation, Tools
from app.actions.telling import Text
from app.domain.incident import CommandKind
from app.domain.record import Record


@dataclass(frozen=True)
class AddNote(Plain):
    """The step's key goes along with the command, so that the workflow adds it once.

    `text`: the comment, up to 3,000 characters. What was said stays: there is no undo.
    """

    command: Command

    class Parameters(Record):
        text: Text

    @classmethod
    def configured(cls, tools: Tools) -> Self:
        return cls(tools.command)

    async def check(self, asked: Parameters, at: Situation) -> str:
        return f"comment: {asked.text[:200]}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        await self.command(at, CommandKind.COMMENT, reason=asked.text)
        return Done(summary=f"commented: {asked.text[:100]}")

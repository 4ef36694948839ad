"""Opens or closes a circuit breaker, for all processes."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from app.actions.base import Done, Operate, Plain, Situation, Tools
from app.actions.telling import Text
from app.domain.breaker import State
from app.domain.record import Record


@dataclass(frozen=True)
class CircuitBreaker(Plain):
    """What is so already is left so: twice is once. Two people have to want it, for pages too go through breakers.

    `name`: the dependency, like sentinel or slack. `action`: open (nobody is asked until it is closed by hand) or
    close. `reason`: why, up to 3,000 characters, shown beside the breaker. Undoing closes what the step has opened,
    and leaves alone what it has closed.
    """

    operate: Operate

    class Parameters(Record):
        name: Annotated[str, Field(min_length=1, max_length=300)]
        action: Literal["open", "close"]
        reason: Text | None = None

    destructive: ClassVar[bool] = True
    undoes: ClassVar[bool] = True

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        return cls(tools.operate) if tools.operate else None

    async def check(self, asked: Parameters, at: Situation) -> str:
        return f"{asked.action} the circuit breaker {asked.name}, which is {await self.operate(at, asked.name)}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        wanted = State.OPEN if asked.action == "open" else State.CLOSED
        before = await self.operate(at, asked.name)
        after = await self.operate(at, asked.name, wanted, (asked.reason or "")[:500])
        return Done(summary=f"{asked.name} is {after}", output={"from": before, "to": after})

    async def undo(self, asked: Parameters, done: Done, at: Situation) -> Done:
        if asked.action == "close":
            return Done(summary="left alone: it closes and opens by itself")
        after = await self.operate(at, asked.name, State.CLOSED, "undone")
        return Done(summary=f"{asked.name} is {after}")

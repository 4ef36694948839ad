"""Raises or lowers the incident's severity, through its workflow."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from app.actions.base import Command, Done, Failed, Plain, Situation, Tools
from app.actions.telling import Text
from app.domain.incident import CommandKind
from app.domain.record import Record
from app.domain.vocabulary import Severity


@dataclass(frozen=True)
class ChangeSeverity(Plain):
    """The step's key goes along with the command, so that the workflow does it once.

    `to`: P0 to P4; none = one step. An incident that is as severe already (raising) or no more severe than that
    (lowering) is left alone. `reason`: why, up to 3,000 characters. Undoing restores the severity from before, unless
    somebody has changed it since; what a try has done whose answer was lost may stay.

    `step` is -1 to raise (towards P0), 1 to lower.
    """

    command: Command
    step: int

    class Parameters(Record):
        to: Severity | None = None
        reason: Text | None = None

    undoes: ClassVar[bool] = True

    @classmethod
    def raises(cls, tools: Tools) -> Self:
        return cls(tools.command, -1)

    @classmethod
    def lowers(cls, tools: Tools) -> Self:
        return cls(tools.command, 1)

    async def check(self, asked: Parameters, at: Situation) -> str:
        before, after = at.incident.severity, self._after(asked, at.incident.severity)
        return f"nothing: the incident is {before}" if after is before else f"severity from {before} to {after}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        before, after = at.incident.severity, self._after(asked, at.incident.severity)
        if after is before:
            return Done(summary=f"left alone: it is {before}")
        why = {"reason": asked.reason} if asked.reason else {}
        try:
            await self.command(at, CommandKind.SEVERITY, severity=after, **why)
        except Failed as refusal:
            before, after = await self._stepped(at, before, why, refusal)
        return Done(summary=f"severity from {before} to {after}", output={"from": before, "to": after})

    async def _stepped(
        self, at: Situation, now: Severity, why: dict[str, str], refusal: Failed
    ) -> tuple[Severity, Severity]:
        """From what to what an earlier try went whose answer was lost: the key is taken, for the severity of now."""
        if refusal.retry_after is not None:
            raise refusal
        try:
            await self.command(at, CommandKind.SEVERITY, severity=now, **why)
        except Failed:
            raise refusal from None
        return stepped(now, -self.step), now

    async def undo(self, asked: Parameters, done: Done, at: Situation) -> Done:
        if "from" not in done.output:
            return Done(summary="nothing was changed")
        before, after, now = Severity(str(done.output["from"])), Severity(str(done.output["to"])), at.incident.severity
        if now is not after:
            return Done(summary=f"left alone: it is {now}")
        await self.command(replace(at, key=f"{at.key}/undo"), CommandKind.SEVERITY, severity=before)
        return Done(summary=f"severity from {after} back to {before}")

    def _after(self, asked: Parameters, now: Severity) -> Severity:
        after = asked.to or stepped(now, self.step)
        further = after.worse_than(now) if self.step < 0 else now.worse_than(after)
        return after if further else now


def stepped(severity: Severity, step: int) -> Severity:
    return list(Severity)[min(max(severity.rank + step, 0), len(Severity) - 1)]

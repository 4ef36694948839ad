"""What an action is that changes one value in another system: look, change it, put it back.

What makes the second time harmless: it looks first, and a value that is there already is left alone. When no answer
came, it looks at once whether the change has arrived. `recall` says what was there before the step's first try, where
the other side can keep a note of it; where it can't, a process that dies between the change and our record of it leaves
an `undo` that finds nothing to put back, and says so.
"""

import json
from typing import Any, ClassVar

from app.actions.api import SOON
from app.actions.base import Done, Failed, Plain, Situation
from app.channels.base import plain


class Change(Plain):
    """`look`, `want` and `put` deal in one JSON value."""

    undoes: ClassVar[bool] = True

    def subject(self, asked: Any) -> str:
        """What is changed, for people."""
        raise NotImplementedError

    async def look(self, asked: Any, at: Situation) -> Any:
        """What is there now. Raises: Failed, also when it could not be changed."""
        raise NotImplementedError

    async def want(self, asked: Any, found: Any, at: Situation) -> Any:
        """What shall be there, given what was."""
        raise NotImplementedError

    async def put(self, asked: Any, value: Any, before: Any, at: Situation) -> None:
        """Makes it so; `before` is for the note that `recall` reads, None for none. Raises: Failed."""
        raise NotImplementedError

    async def recall(self, asked: Any, at: Situation) -> Any:
        """What was there before this step's first try; None when this is the first, or nobody remembers."""
        return None

    def same(self, found: Any, wanted: Any) -> bool:
        return bool(found == wanted)

    async def check(self, asked: Any, at: Situation) -> str:
        found = await self.look(asked, at)
        wanted = await self.want(asked, found, at)
        if self.same(found, wanted):
            return f"{self.subject(asked)}: is {shown(found)} already"
        return f"{self.subject(asked)}: {shown(found)} → {shown(wanted)}"

    async def run(self, asked: Any, at: Situation) -> Done:
        found = await self.look(asked, at)
        noted = await self.recall(asked, at)
        before = found if noted is None else noted
        wanted = await self.want(asked, before, at)
        if not self.same(found, wanted):
            await self._set(asked, wanted, before, at)
        return Done(
            summary=f"{self.subject(asked)}: {shown(before)} → {shown(wanted)}",
            output={"before": before, "after": wanted},
        )

    async def verify(self, asked: Any, done: Done, at: Situation) -> str:
        found = await self.look(asked, at)
        if not self.same(found, done.output["after"]):
            raise Failed(f"{self.subject(asked)}: is still {shown(found)}", SOON)
        return f"{self.subject(asked)}: is {shown(found)}"

    async def undo(self, asked: Any, done: Done, at: Situation) -> Done:
        """Puts the old value back, unless somebody else has changed it since: theirs stays. Raises: Failed."""
        before, after = done.output["before"], done.output["after"]
        if self.same(before, after):
            return Done(summary=f"{self.subject(asked)}: was {shown(before)} before, nothing to put back")
        found = await self.look(asked, at)
        if not self.same(found, before):
            if not self.same(found, after):
                raise Failed(f"{self.subject(asked)}: is {shown(found)} by now, which is somebody else's: it stays")
            await self._set(asked, before, None, at)
        return Done(summary=f"{self.subject(asked)}: {shown(before)} again")

    async def _set(self, asked: Any, value: Any, before: Any, at: Situation) -> None:
        try:
            await self.put(asked, value, before, at)
        except Failed as failed:
            if not failed.doubtful or not await self._arrived(asked, value, at):
                raise

    async def _arrived(self, asked: Any, value: Any, at: Situation) -> bool:
        try:
            return self.same(await self.look(asked, at), value)
        except Failed:
            return False


def shown(value: object) -> str:
    """A value in one short line, for people."""
    if isinstance(value, dict):
        return cut(", ".join(f"{name} {shown(one)}" for name, one in value.items()) or "nothing")
    if isinstance(value, list | tuple):
        return cut(", ".join(map(shown, value)) or "none")
    if value is None:
        return "none"
    return cut(value if isinstance(value, str) else json.dumps(value))


def cut(text: str) -> str:
    line = plain(text)
    return line if len(line) <= 200 else f"{line[:199]}…"

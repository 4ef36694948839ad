"""Steps of playbooks to try actions with: where they run, what they may use, and how they fail."""

import functools
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.actions import ACTIONS
from app.actions.base import Action, Done, Failed, Situation, Tools
from app.automation import Playbooks
from app.config import Settings
from app.domain.decode import decode
from app.domain.representation import IncidentView
from app.net.http import LOOPBACK, Http

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
INCIDENT = "0197a2f0-0000-7000-8000-000000000001"


def situation(step: str = "step", now: datetime = NOW) -> Situation:
    """One step of one run. Twice the same is the same try's key."""
    known: dict[str, Any] = {"id": INCIDENT}
    incident = IncidentView.model_construct(**known)
    return Situation(f"run/{step}", "run", step, "playbook:tests", incident, now)


async def nobody(at: Situation, kind: str, **said: object) -> IncidentView:
    raise AssertionError(f"{kind} was asked of an incident")


@functools.cache
def way_out(deadline_secs: float = 10) -> Http:
    """One for all tests."""
    return Http(LOOPBACK, deadline_secs=deadline_secs)


def tools(http: Http | None = None, **playbooks: object) -> Tools:
    return Tools(http or way_out(), Settings(playbooks=Playbooks.model_validate(playbooks)), nobody)


class Step:
    """An action with its parameters, as a playbook has them. `again` is the next try, ten seconds later."""

    def __init__(self, using: Tools, action: str, **parameters: object) -> None:
        made = ACTIONS[action](using)
        assert made is not None
        self.action: Action = made
        self.asked = decode(made.Parameters, parameters)
        self.at = situation()

    async def checks(self) -> str:
        return await self.action.check(self.asked, self.at)

    async def runs(self) -> Done:
        return await self.action.run(self.asked, self.at)

    async def gets_done(self) -> Done:
        """As a playbook does it: once more after what passes."""
        try:
            return await self.runs()
        except Failed as failed:
            if failed.retry_after is None:
                raise
            return await self.again()

    async def again(self) -> Done:
        return await self.action.run(self.asked, situation(now=NOW + timedelta(seconds=10)))

    async def verifies(self, done: Done) -> str:
        return await self.action.verify(self.asked, done, self.at)

    async def undoes(self, done: Done) -> Done:
        return await self.action.undo(self.asked, done, situation("step/undo", NOW + timedelta(minutes=1)))


async def failure(of: Awaitable[Any]) -> Failed:
    """How it fails."""
    with pytest.raises(Failed) as failed:
        await of
    return failed.value

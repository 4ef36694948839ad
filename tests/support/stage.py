"""A playbook's runs on the world's incidents, and somebody else's system that its steps talk to."""

import asyncio
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from temporalio.client import WorkflowHandle

from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.access import Principal
from app.domain.playing import Execute, RunView
from app.domain.run import RunStatus, StepStatus
from app.domain.vocabulary import Role
from tests.support.receivers import HttpReceiver, Reply, Request
from tests.support.world import Story, World
from workflows import names
from workflows.playbook import PlaybookWorkflow

ALICE = Principal(name="alice", role=Role.RESPONDER)
BOB = Principal(name="bob", role=Role.RESPONDER)
PATIENCE = 20.0


class Other(HttpReceiver):
    """Somebody else's system; every path tells its name."""

    def answer(self, request: Request) -> Reply:
        return Reply(body=json.dumps({"path": request.path}).encode())

    def asked(self) -> list[str]:
        return [request.path.removeprefix("/") for request in self.items]

    def marks(self) -> list[str]:
        return [request.headers["idempotency-key"] for request in self.items]


@dataclass
class Stage:
    """A playbook's runs, on the world's incidents."""

    world: World
    other: Other

    def step(self, id_: str, path: str | None = None, **more: Any) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.other.port}/{path or id_}"
        return {"id": id_, "action": "http_request", "parameters": {"url": url}} | more

    async def writes(self, *steps: dict[str, Any], **more: Any) -> str:
        id_ = f"p-{uuid4()}"
        body = {"name": id_, "steps": list(steps)} | more
        await self.world.gateway.documents.put(ME, "playbooks", id_, body)
        return id_

    async def begins(self, playbook: str, story: Story, who: Principal = ALICE, **ask: Any) -> str:
        asked = Execute(incident_id=UUID(story.id), **ask)
        return (await self.world.gateway.playbooks.execute(who, playbook, asked)).id

    def handle(self, run_id: str) -> WorkflowHandle[Any, Any]:
        return self.world.skipper.client.get_workflow_handle_for(PlaybookWorkflow.run, names.run_workflow_id(run_id))

    async def view(self, run_id: str) -> RunView:
        return await self.world.gateway.playbooks.get(ME, run_id)

    async def becomes(self, run_id: str, *wanted: RunStatus) -> RunView:
        async with asyncio.timeout(PATIENCE):
            while (view := await self.view(run_id)).status not in wanted:
                await asyncio.sleep(0.02)
        return view

    async def ends(self, run_id: str) -> RunView:
        return await self.becomes(run_id, RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)

    async def reaches(self, run_id: str, step_id: str, status: StepStatus, attempts: int = 1) -> RunView:
        async with asyncio.timeout(PATIENCE):
            while True:
                view = await self.view(run_id)
                if any(s.step_id == step_id and s.status is status and s.attempts >= attempts for s in view.steps):
                    return view
                await asyncio.sleep(0.02)

    async def passes(self, run_id: str, **time: float) -> None:
        await self.world.skipper.fast_forward(self.handle(run_id), timedelta(**time))

    async def words(self, run_id: str) -> str:
        return "\n".join(line.text for line in await self.world.gateway.playbooks.log(ME, run_id))

"""A world with the bundle for LLM teams installed, and the vendors that its playbooks change."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from pydantic import SecretStr
from temporalio.client import WorkflowHandle

from app.automation import Kubernetes, Langfuse, LiteLLM, Playbooks
from app.bundle import for_people, parts
from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.access import Principal
from app.domain.playing import RunQuery, RunView
from app.domain.run import StepStatus
from app.domain.timeline import EventType
from app.domain.vocabulary import Role
from tests.support.kubernetes import APPS, CORE, TOKEN, FakeKubernetes
from tests.support.langfuse import PUBLIC, SECRET, FakeLangfuse
from tests.support.litellm import MASTER, FakeLiteLLM
from tests.support.receivers import HttpReceiver, Request, http_receiver
from tests.support.vendor import Answered, up
from tests.support.world import Story, World, world_of_its_own
from workflows import names
from workflows.playbook import PlaybookWorkflow

ALICE, BOB = (Principal(name=name, role=Role.RESPONDER) for name in ("alice", "bob"))
PATIENCE = 20.0


class Cluster(FakeKubernetes):
    """Every rollout ends well, at once."""

    def does(self, request: Request, path: str, query: dict[str, str]) -> Answered:
        answer = super().does(request, path, query)
        if request.method == "PATCH" and "/deployments/" in path and answer[0] == 200:
            self.settles(path.removesuffix("/scale").rpartition("/")[2])
        return answer


@dataclass
class Vendors:
    """What the playbooks change. Each story has keys, prompts and deployments of its own."""

    litellm: FakeLiteLLM = field(default_factory=FakeLiteLLM)
    langfuse: FakeLangfuse = field(default_factory=FakeLangfuse)
    cluster: Cluster = field(default_factory=Cluster)
    vllm: HttpReceiver = field(default_factory=HttpReceiver)
    keys: dict[str, str] = field(default_factory=dict)

    def furnish(self) -> None:
        aliases = ("batch", "looping", "attacking", "seeing", "leaked")
        self.keys = {alias: self.litellm.issues(alias) for alias in aliases}
        self.langfuse.prompts["answer"] = {1: [], 2: ["production"]}
        for name in ("chat", "busy", "ingest"):
            self.cluster.deploys(name, f"{name}:1")
        self.cluster.releases("chat", "chat:2")
        self.cluster.keeps(f"{CORE}/pods/chat-1", {"metadata": {"name": "chat-1", "uid": "u1"}})

    def key(self, alias: str, *names: str) -> list[object]:
        return [self.litellm.keys[self.keys[alias]].get(name) for name in names]

    def fallbacks(self, model: str) -> object:
        return next((rule[model] for rule in self.litellm.settings["fallbacks"] if model in rule), [])

    def guardrail(self) -> object:
        return self.litellm.guardrails["g1"]["litellm_params"]["default_on"]

    def labels(self) -> list[int]:
        return [version for version, labels in self.langfuse.prompts["answer"].items() if "production" in labels]

    def deployment(self, name: str) -> Any:
        return self.cluster.objects[f"{APPS}/deployments/{name}"]["spec"]

    def image(self, name: str) -> object:
        return self.deployment(name)["template"]["spec"]["containers"][0]["image"]


@dataclass
class Stage:
    world: World
    vendors: Vendors

    async def alert(self, class_: str, **tags: str) -> tuple[Story, RunView]:
        """An incident of the class, and the run it begins."""
        story = await self.world.opens(["alice"], labels={"class": class_, **tags})
        return story, await self.begun(story)

    async def begun(self, story: Story) -> RunView:
        """The run that an incident begins."""
        async with asyncio.timeout(PATIENCE):
            while not (runs := await self.runs(story)):
                await asyncio.sleep(0.05)
        return runs[0]

    async def runs(self, story: Story) -> list[RunView]:
        return (await self.world.gateway.playbooks.list(ME, RunQuery(incident_id=UUID(story.id)))).runs

    async def when(self, run: RunView, holds: Callable[[RunView], bool]) -> RunView:
        async with asyncio.timeout(PATIENCE):
            while not holds(view := await self.world.gateway.playbooks.get(ME, run.id)):
                assert not view.status.over or holds(view), view
                await asyncio.sleep(0.05)
        return view

    async def ends(self, run: RunView) -> RunView:
        return await self.when(run, lambda view: view.status.over)

    async def rests(self, run: RunView, step: str) -> RunView:
        """Once it is over, or waits for time to pass in a step."""
        waits = (step, StepStatus.RUNNING)
        return await self.when(run, lambda v: v.status.over or waits in [(s.step_id, s.status) for s in v.steps])

    async def asked(self, run: RunView) -> RunView:
        return await self.when(run, lambda view: view.deciding is not None)

    async def agree(self, run: RunView, *people: Principal) -> None:
        step = (await self.asked(run)).deciding
        assert step is not None
        assert step.quorum == len(people), step
        assert step.asked == ("alice", "bob")
        for who in people:
            await self.world.gateway.playbooks.decide(who, run.id, approve=True)
        await self.when(run, lambda v: v.status.over or v.deciding is None or v.deciding.step_id != step.step_id)

    async def passes(self, run: RunView, **time: float) -> None:
        client, workflow = self.world.skipper.client, names.run_workflow_id(run.id)
        handle: WorkflowHandle[Any, Any] = client.get_workflow_handle_for(PlaybookWorkflow.run, workflow)
        await self.world.skipper.fast_forward(handle, timedelta(**time))

    async def notes(self, story: Story) -> list[str]:
        """What the playbook's steps wrote on the incident, beside that it began and ended."""
        events = await self.world.gateway.incidents.timeline(ME, story.id)
        said = [
            event.reason or ""
            for event in events
            if event.event_type is EventType.COMMENT_ADDED and event.actor.name.startswith("playbook:")
        ]
        return [text for text in said if not text.startswith("Playbook ")]


@asynccontextmanager
async def bundled(beside: str, *, triaging: bool = False) -> AsyncIterator[Stage]:
    """Alice and Bob, who are asked and paged."""
    vendors = Vendors()
    async with AsyncExitStack() as stack:
        for vendor in (vendors.litellm, vendors.langfuse, vendors.cluster):
            await stack.enter_async_context(up(vendor))
        vendors.vllm = await stack.enter_async_context(http_receiver())
        vendors.furnish()
        reach = Playbooks(
            litellm=LiteLLM(url=vendors.litellm.base, api_key=SecretStr(MASTER)),
            langfuse=Langfuse(url=vendors.langfuse.base, public_key=PUBLIC, secret_key=SecretStr(SECRET)),
            kubernetes=Kubernetes(url=vendors.cluster.base, token=SecretStr(TOKEN)),
        )
        own = world_of_its_own(beside, "alice", "bob", triaging=triaging, reach=reach)
        made = Stage(await stack.enter_async_context(own), vendors)
        for part in for_people(parts("llmops"), ["alice", "bob"]):
            await made.world.gateway.documents.put(ME, part.kind, part.id, part.body)
        yield made

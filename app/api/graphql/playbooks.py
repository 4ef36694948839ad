"""Playbooks and their runs. A run is called an execution here, as in every client's contract."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, cast

import strawberry
from strawberry.scalars import JSON

from app.api.graphql import inputs
from app.api.graphql.context import Info
from app.api.graphql.pages import Connection, whole
from app.api.graphql.people import Actor
from app.domain import timeline
from app.domain.decode import decode
from app.domain.playing import ActionView, CancelRun, Execute, RunQuery, RunView, StepView, Word
from app.domain.requests import Document
from app.domain.run import RunStatus, StepStatus
from app.domain.vocabulary import ActorType

if TYPE_CHECKING:
    from app.api.graphql.incident import Incident

ID = strawberry.ID
One = Annotated["Incident", strawberry.lazy("app.api.graphql.incident")]
KIND = "playbooks"

strawberry.enum(RunStatus, name="PlaybookExecutionStatus")
strawberry.enum(StepStatus, name="PlaybookStepStatus")


@strawberry.type
class Playbook:
    """What is done about incidents, step by step. `triggers`, `steps` and `execution` are as REST shows them."""

    version: int
    updated_at: datetime
    updated_by: str

    @strawberry.field
    def id(self, root: strawberry.Parent[Document]) -> ID:
        return ID(root.id)

    @strawberry.field
    def name(self, root: strawberry.Parent[Document]) -> str:
        return str(root.body["name"])

    @strawberry.field
    def description(self, root: strawberry.Parent[Document]) -> str:
        return str(root.body.get("description", ""))

    @strawberry.field
    def enabled(self, root: strawberry.Parent[Document]) -> bool:
        return bool(root.body.get("enabled", True))

    @strawberry.field
    def triggers(self, root: strawberry.Parent[Document]) -> JSON:
        return cast("JSON", root.body.get("triggers", []))

    @strawberry.field
    def steps(self, root: strawberry.Parent[Document]) -> JSON:
        return cast("JSON", root.body["steps"])

    @strawberry.field
    def execution(self, root: strawberry.Parent[Document]) -> JSON:
        return cast("JSON", root.body.get("execution", {}))


@strawberry.type
class PlaybookStepExecution:
    """One step of a run. `result` is what later steps may use; lists of runs don't have it."""

    step_id: str
    status: StepStatus
    attempts: int
    started_at: datetime | None
    completed_at: datetime | None
    error: str | None
    summary: str | None

    @strawberry.field
    def result(self, root: strawberry.Parent[StepView]) -> JSON | None:
        return cast("JSON | None", root.output)


@strawberry.type
class PlaybookExecution:
    """One run of a playbook on an incident. `cause` says what began it, `deciding` whose word it waits for."""

    id: ID
    playbook_id: ID
    playbook_version: int
    incident_id: ID
    status: RunStatus
    cause: str
    dry_run: bool
    by_hand: bool
    from_run: ID | None
    from_step: str | None
    error: str | None
    created_at: datetime
    started_at: datetime

    @strawberry.field
    def completed_at(self, root: strawberry.Parent[RunView]) -> datetime | None:
        return root.ended_at

    @strawberry.field
    def triggered_by(self, root: strawberry.Parent[RunView]) -> Actor:
        kind = ActorType.USER if root.by_hand else ActorType.SYSTEM
        return cast("Actor", timeline.Actor(name=root.started_by, type=kind))

    @strawberry.field
    def deciding(self, root: strawberry.Parent[RunView]) -> JSON | None:
        return cast("JSON | None", root.deciding.model_dump(mode="json") if root.deciding else None)

    @strawberry.field
    def steps_executed(self, root: strawberry.Parent[RunView]) -> list[PlaybookStepExecution]:
        return cast("list[PlaybookStepExecution]", root.steps)

    @strawberry.field
    async def playbook(self, root: strawberry.Parent[RunView], info: Info) -> Playbook | None:
        """As it is now; None once it was deleted."""
        return cast("Playbook | None", await info.context.loaders.documents.load((KIND, root.playbook_id)))

    @strawberry.field
    async def incident(self, root: strawberry.Parent[RunView], info: Info) -> One | None:
        return cast("Incident | None", await info.context.loaders.incidents.load(root.incident_id))


@strawberry.type
class PlaybookAction:
    """What steps may do here. `parameters` is a JSON schema."""

    name: str
    description: str
    destructive: bool
    undoes: bool

    @strawberry.field
    def parameters(self, root: strawberry.Parent[ActionView]) -> JSON:
        return cast("JSON", root.parameters)


def shown(run: RunView) -> PlaybookExecution:
    return cast("PlaybookExecution", run)


@strawberry.type
class Playbooks:
    """Of playbooks."""

    @strawberry.field
    async def playbook(self, info: Info, id: ID) -> Playbook | None:  # noqa: A002
        return cast("Playbook | None", await info.context.loaders.documents.load((KIND, str(id))))

    @strawberry.field
    async def playbooks(
        self, info: Info, first: int | None = None, after: str | None = None, enabled: bool | None = None
    ) -> Connection[Playbook]:
        found = await info.context.gateway.documents.list(info.context.caller, KIND)
        kept = [one for one in found if enabled is None or bool(one.body.get("enabled", True)) is enabled]
        return whole([(one.id, cast("Playbook", one)) for one in kept], first, after)

    @strawberry.field
    async def playbook_run(self, info: Info, id: ID) -> PlaybookExecution:  # noqa: A002
        return shown(await info.context.gateway.playbooks.get(info.context.caller, str(id)))

    @strawberry.field
    async def playbook_runs(
        self,
        info: Info,
        incident_id: ID | None = None,
        playbook_id: ID | None = None,
        status: list[RunStatus] | None = None,
        first: int = 50,
        after: ID | None = None,
    ) -> list[PlaybookExecution]:
        """The newest first; `after` is the last one's id."""
        asked = {
            "incident_id": incident_id, "playbook_id": playbook_id, "status": status, "limit": first, "cursor": after,
        }  # fmt: skip
        query = decode(RunQuery, {name: value for name, value in asked.items() if value is not None})
        found = await info.context.gateway.playbooks.list(info.context.caller, query)
        return [shown(run) for run in found.runs]

    @strawberry.field
    def playbook_actions(self, info: Info) -> list[PlaybookAction]:
        return cast("list[PlaybookAction]", info.context.gateway.playbooks.catalogue(info.context.caller))


@strawberry.type
class Playing:
    """What may be asked of playbooks and their runs."""

    @strawberry.mutation
    async def execute_playbook(
        self, info: Info, incident_id: ID, playbook_id: ID, dry_run: bool | None = None
    ) -> PlaybookExecution:
        """Begins a run; CONFLICT while one of the playbook is under way on the incident."""
        ask = decode(Execute, {"incident_id": str(incident_id), "dry_run": bool(dry_run)})
        return shown(await info.context.gateway.playbooks.execute(info.context.caller, str(playbook_id), ask))

    @strawberry.mutation
    async def cancel_playbook_execution(
        self, info: Info, execution_id: ID, undo: bool | None = None
    ) -> PlaybookExecution:
        """`undo`: what was done is taken back."""
        ask = CancelRun(undo=bool(undo))
        return shown(await info.context.gateway.playbooks.cancel(info.context.caller, str(execution_id), ask))

    @strawberry.mutation
    async def approve_playbook(self, info: Info, execution_id: ID, comment: str | None = None) -> PlaybookExecution:
        """One's agreement to what the run waits for."""
        return await _decided(info, execution_id, comment, approve=True)

    @strawberry.mutation
    async def reject_playbook(self, info: Info, execution_id: ID, comment: str | None = None) -> PlaybookExecution:
        return await _decided(info, execution_id, comment, approve=False)

    @strawberry.mutation
    async def upsert_playbook(self, info: Info, id: ID, input: JSON) -> Playbook:  # noqa: A002
        body = inputs.json_object(input, "input")
        return cast("Playbook", await info.context.gateway.documents.put(info.context.caller, KIND, str(id), body))

    @strawberry.mutation
    async def delete_playbook(self, info: Info, id: ID) -> bool:  # noqa: A002
        await info.context.gateway.documents.delete(info.context.caller, KIND, str(id))
        return True


async def _decided(info: Info, execution_id: ID, comment: str | None, *, approve: bool) -> PlaybookExecution:
    word = decode(Word, {"comment": comment or ""})
    decide = info.context.gateway.playbooks.decide
    return shown(await decide(info.context.caller, str(execution_id), approve=approve, comment=word.comment))


@strawberry.type
class Watching:
    @strawberry.subscription
    async def playbook_execution_updated(
        self, info: Info, incident_id: ID | None = None, playbook_id: ID | None = None
    ) -> AsyncGenerator[PlaybookExecution, None]:
        """The run as it is, whenever something became of it: one that changed twice in a moment is told of once."""
        async with aclosing(info.context.gateway.live.playbooks(info.context.caller)) as runs:
            async for run in runs:
                if incident_id in (None, run.incident_id) and playbook_id in (None, run.playbook_id):
                    yield shown(run)

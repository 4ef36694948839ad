"""Playbooks: tried out, begun, watched, decided about, ended. Written and read they are as all documents."""

import asyncio
import builtins
import logging
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import temporalio.client
from pydantic import ValidationError
from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateHandle,
    WorkflowUpdateStage,
)
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.playbooks import Begin
from app.actions.base import Action
from app.channels.sandbox import Broken, Form, say
from app.domain.access import Principal, Scope
from app.domain.decode import decode
from app.domain.errors import Conflict, Invalid, Refused, Unavailable, refusal
from app.domain.matching import Subject
from app.domain.playbook import Call, Playbook
from app.domain.playing import (
    ActionView,
    CancelRun,
    Execute,
    LogLine,
    RunList,
    RunQuery,
    RunView,
    TryAgain,
)
from app.domain.representation import TimelineEvent
from app.domain.requests import Document
from app.domain.run import StepStatus
from app.domain.triggering import cause
from app.service.documents import Documents
from app.store.database import AWAY, answering
from app.store.runs import Beginning, Kept, RunStore
from workflows import names, options
from workflows.playbook import Cancel, Decision, PlaybookWorkflow

log = logging.getLogger(__name__)

ANSWER_WITHIN = timedelta(seconds=5)
AGAIN_AFTER_SECS = 0.05
POLL_SECS = 0.5
LONGEST_WAIT_SECS = 2.0
AT_ONCE = 20
KIND = "playbooks"


@dataclass
class Playbooks:
    """`actions` are those that are set up here."""

    runs: RunStore
    documents: Documents
    temporal: Client
    actions: Mapping[str, Action]
    enabled: bool = True
    fresh: asyncio.Event = field(default_factory=asyncio.Event)

    def catalogue(self, who: Principal) -> list[ActionView]:
        """What steps may do here. Raises: Forbidden."""
        who.may(Scope.READ)
        return [
            ActionView(
                name=name, description=(type(action).__doc__ or "").strip(), destructive=action.destructive,
                undoes=action.undoes, parameters=action.Parameters.model_json_schema(),
            )
            for name, action in sorted(self.actions.items())
        ]  # fmt: skip

    def validate(self, who: Principal, body: object) -> Playbook:
        """The playbook a body describes. Raises: Forbidden; Invalid with the path of every error."""
        who.may(Scope.READ)
        given = {"id": "draft", **body} if isinstance(body, dict) else body
        playbook = decode(Playbook, given)
        checked(playbook, self.actions)
        return playbook

    async def execute(self, who: Principal, playbook_id: str, ask: Execute) -> RunView:
        """A new run. Raises: Forbidden, NotFound, Conflict while one is under way on the incident, Unavailable."""
        who.may(Scope.RESPOND)
        self._allowed()
        document = await self.documents.get(who, KIND, playbook_id)
        async with answering():
            await self.runs.incidents.get(str(ask.incident_id))
            run_id = await self.runs.add(
                Beginning(
                    playbook_id=playbook_id, version=document.version, incident_id=str(ask.incident_id),
                    cause="by hand", started_by=who.name, by_hand=True, dry_run=ask.dry_run,
                ),
                datetime.now(UTC),
            )  # fmt: skip
        self.fresh.set()
        return await self.get(who, run_id)

    async def get(self, who: Principal, run_id: str) -> RunView:
        """Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            return await self.runs.view(run_id)

    async def kept(self, who: Principal, run_id: str) -> Kept:
        """A run with its incident, and its playbook as it began. Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            return await self.runs.get(run_id)

    async def list(self, who: Principal, query: RunQuery) -> RunList:
        """Raises: Forbidden, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            return RunList(runs=await self.runs.list(query))

    async def log(self, who: Principal, run_id: str, after: int = 0, limit: int = 500) -> "builtins.list[LogLine]":
        """What the run's steps said, in order, after a line. Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            await self.runs.view(run_id)
            return await self.runs.log(run_id, after, limit)

    async def decide(
        self, who: Principal, run_id: str, *, approve: bool, comment: str = "", about: str | None = None
    ) -> RunView:
        """Somebody's word on a run that waits for it, `about` one step where that is given.

        Raises: Forbidden, NotFound, Conflict, Unavailable.
        """
        who.may(Scope.RESPOND)
        anyway = who.allowed(Scope.ADMINISTER)
        async with answering():
            before = await self.runs.view(run_id)
        said = Decision(by=who.name, approve=approve, anyway=anyway, about=about)
        await self._told(run_id, PlaybookWorkflow.decide, said)
        if before.deciding is not None:
            line = f"{who.name} {'approved' if approve else 'rejected'} it{f': {comment}' if comment else ''}"
            async with answering():
                await self.runs.say(run_id, before.deciding.step_id, line, datetime.now(UTC))
        return await self.get(who, run_id)

    async def cancel(self, who: Principal, run_id: str, ask: CancelRun) -> RunView:
        """Ends a run; what takes longer to be taken back goes on. One that is over stays as it is.

        Raises: Forbidden, NotFound, Unavailable.
        """
        who.may(Scope.RESPOND)
        run = await self.get(who, run_id)
        if not run.status.over:
            await self._told(run_id, PlaybookWorkflow.cancel, Cancel(by=who.name, undo=ask.undo), taken=True)
        return await self.get(who, run_id)

    async def try_again(self, who: Principal, run_id: str, ask: TryAgain) -> RunView:
        """A new run from a step on, with what the steps before it gave.

        Raises: Forbidden, NotFound, Invalid, Conflict, Unavailable.
        """
        who.may(Scope.RESPOND)
        self._allowed()
        run = await self.get(who, run_id)
        if not run.status.over:
            raise Conflict(f"Run {run_id} is still {run.status}: cancel it first.", {"status": run.status})
        failed = [step.step_id for step in run.steps if step.status is StepStatus.FAILED]
        async with answering():
            kept = await self.runs.get(run_id)
        known = [step.id for step in kept.playbook.steps]
        from_step = ask.from_step or next((id_ for id_ in known if id_ in failed), known[0])
        if from_step not in known:
            raise Invalid.field("from_step", f"must be one of {', '.join(known)}")
        async with answering():
            again = await self.runs.add(
                Beginning(
                    playbook_id=run.playbook_id, version=run.playbook_version, incident_id=run.incident_id,
                    cause=f"again from {from_step}", started_by=who.name, by_hand=True, dry_run=run.dry_run,
                    from_run=run_id, from_step=from_step,
                ),
                datetime.now(UTC),
            )  # fmt: skip
        self.fresh.set()
        return await self.get(who, again)

    def _allowed(self) -> None:
        if not self.enabled:
            raise Conflict("Playbooks are switched off here (playbooks.enabled).")

    async def _told(self, run_id: str, update: Any, said: object, *, taken: bool = False) -> None:
        """Until it was done; `taken`: or will be, where that takes long.

        Raises: a refusal of the workflow's, Unavailable.
        """
        handle: WorkflowHandle[Any, Any] = self.temporal.get_workflow_handle(names.run_workflow_id(run_id))
        id_, accepted = str(uuid.uuid4()), asyncio.Event()
        try:
            async with asyncio.timeout(ANSWER_WITHIN.total_seconds()):
                while not await self._updated(handle, update, said, id_, accepted):  # noqa: ASYNC110 — nothing tells when
                    await asyncio.sleep(AGAIN_AFTER_SECS)
        except WorkflowUpdateFailedError as failed:
            raise _refusal(failed) from failed
        except (RPCError, temporalio.client.WorkflowUpdateRPCTimeoutOrCancelledError, TimeoutError, OSError) as away:
            if taken and accepted.is_set():
                return
            if isinstance(away, RPCError) and away.status is RPCStatusCode.NOT_FOUND:
                async with answering():
                    status = (await self.runs.view(run_id)).status
                if status.over:
                    raise Conflict(f"Run {run_id} is over: {status}.", {"status": status}) from away
            raise Unavailable("temporal", "The run does not answer; ask again.", retry_after=2) from away

    async def _updated(
        self, handle: WorkflowHandle[Any, Any], update: Any, said: object, id_: str, accepted: asyncio.Event
    ) -> bool:
        """False when the step it came in with was undone: it is to be asked for again, and by its id is done once."""
        try:
            asked: WorkflowUpdateHandle[Any] = await handle.start_update(
                update, said, id=id_, wait_for_stage=WorkflowUpdateStage.ACCEPTED, rpc_timeout=ANSWER_WITHIN
            )
            accepted.set()
            await asked.result(rpc_timeout=ANSWER_WITHIN)
        except RPCError as unlucky:
            if unlucky.status is not RPCStatusCode.FAILED_PRECONDITION:
                raise
            return False
        return True

    async def run(self) -> None:
        """Until cancelled: begins what incidents begin, and hands new runs to Temporal. Who is away is waited for."""
        wait = POLL_SECS
        while self.enabled:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self.fresh.wait()
            self.fresh.clear()
            try:
                while await self.runs.hear(AT_ONCE, self.consider) == AT_ONCE:
                    pass
                _, left = await self.runs.hand_over(AT_ONCE, self.start)
                wait = LONGEST_WAIT_SECS if left else POLL_SECS
            except AWAY as away:
                log.warning("playbooks: PostgreSQL does not answer: %s", away)
                wait = LONGEST_WAIT_SECS
            except Exception:
                log.exception("what happened to an incident could not be considered")
                wait = LONGEST_WAIT_SECS

    async def consider(self, event: TimelineEvent) -> None:
        """Begins the playbooks that something which happened to an incident begins."""
        now = datetime.now(UTC)
        documents = await self.documents.store.all(KIND)
        if not documents:
            return
        incident = await self.runs.incidents.get(event.incident_id)
        classified = incident.classification
        said = incident.model_dump() | {
            "at": now, "affected_services": incident.affected_resources,
            "incident_class": classified.incident_class if classified else None,
        }  # fmt: skip
        subject = Subject.model_validate(said)
        for document in documents:
            await self._consider(document, event, subject, now)

    async def _consider(self, document: Document, event: TimelineEvent, subject: Subject, now: datetime) -> None:
        try:
            playbook = Playbook.model_validate(document.body)
        except ValidationError:
            log.exception("playbook %s can't be read", document.id)
            return
        why = cause(playbook, event, subject)
        if why is None:
            return
        if await self.runs.recent(playbook.id, event.incident_id, playbook.execution.cooldown_secs, now):
            log.info("playbook %s has just run on %s", playbook.id, event.incident_id)
            return
        dry_run = playbook.execution.mode == "dry_run"
        begin = Beginning(
            playbook_id=playbook.id, version=document.version, incident_id=event.incident_id, cause=why,
            started_by=event.actor.name, dry_run=dry_run,
        )  # fmt: skip
        with suppress(Conflict):  # it is under way already
            await self.runs.add(begin, now)

    async def start(self, run_id: str, from_step: str | None) -> bool:
        """Starts a run's workflow, once; whether Temporal has it."""
        try:
            await self.temporal.start_workflow(
                PlaybookWorkflow.run, Begin(run_id=run_id, from_step=from_step), id=names.run_workflow_id(run_id),
                task_queue=names.PLAYBOOKS, task_timeout=options.TASK_TIMEOUT,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE, rpc_timeout=ANSWER_WITHIN,
            )  # fmt: skip
        except WorkflowAlreadyStartedError:
            return True
        except (RPCError, RuntimeError, OSError) as away:
            log.warning("Temporal does not answer: %s", away)
            return False
        return True


def checked(playbook: Playbook, actions: Mapping[str, Action]) -> None:
    """Raises: Invalid with the path of every action that isn't there and every parameter that can't be right."""
    found: list[dict[str, str]] = []
    for number, step in enumerate(playbook.steps):
        path = f"steps[{number}]"
        parts = [(path, step), *((f"{path}.steps[{n}]", inner) for n, inner in enumerate(step.steps))]
        for where, one in parts:
            for name, call in (("call", one.call), ("undo", one.undo)):
                if call is not None:
                    found += list(_faults(f"{where}.{name}", call, actions))
            for name, text in (("when", one.when), ("test", one.test)):
                if text is not None and (fault := template_fault(text)):
                    found.append({"field": f"{where}.{name}", "message": fault})
    if found:
        raise Invalid.fields(found[:20])


def _faults(where: str, call: Call, actions: Mapping[str, Action]) -> "list[dict[str, str]]":
    if call.action not in actions:
        there = ", ".join(sorted(actions))
        return [{"field": f"{where}.action", "message": f"there is no action {call.action!r} here; there are {there}"}]
    faults = [
        {"field": f"{where}.parameters.{path}", "message": fault}
        for path, text in texts(call.parameters)
        if (fault := template_fault(text))
    ]
    if faults or any("{" in text for _, text in texts(call.parameters)):
        return faults  # what templates will say is known when they are filled in
    try:
        decode(actions[call.action].Parameters, call.parameters, f"{where}.parameters")
    except Invalid as wrong:
        details = wrong.details
        return list(details) if isinstance(details, list) else [{"field": where, "message": wrong.message}]
    return []


def texts(value: object, path: str = "") -> "list[tuple[str, str]]":
    """Every text within a value, and where it stands."""
    if isinstance(value, str):
        return [(path, value)]
    if isinstance(value, Mapping):
        return [pair for name, inner in value.items() for pair in texts(inner, f"{path}.{name}".lstrip("."))]
    if isinstance(value, list | tuple):
        return [pair for number, inner in enumerate(value) for pair in texts(inner, f"{path}[{number}]")]
    return []


def template_fault(text: str) -> str | None:
    """What is wrong with a template's form; None where it is well-formed."""
    if "{" not in text:
        return None
    try:
        say(text, _Anything(), Form.TEXT)
    except Broken as no:
        return None if "undefined" in str(no) else str(no)
    return None


class _Anything(dict[str, object]):
    """A context in which nothing is known yet."""


def _refusal(failed: WorkflowUpdateFailedError) -> Refused:
    cause_ = failed.cause
    if isinstance(cause_, ApplicationError):
        return refusal(cause_.type or "", cause_.message, cause_.details[0] if cause_.details else None)
    return Unavailable("temporal", "The run does not answer; ask again.", retry_after=2)

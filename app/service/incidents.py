"""Incidents: read from PostgreSQL, asked through their workflows."""

import asyncio
import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import temporalio.client
from temporalio.client import Client, WithStartWorkflowOperation, WorkflowUpdateFailedError
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.triage import Life
from app.domain.access import Principal, Scope
from app.domain.editing import Change
from app.domain.errors import Conflict, Refused, Unavailable, refusal
from app.domain.incident import Command, Incident
from app.domain.representation import EscalationView, IncidentView, NextStep, NotificationView, TimelineEvent
from app.domain.requests import Ask, IncidentPage, IncidentQuery
from app.domain.timeline import Actor, EventType
from app.store.database import answering
from app.store.deliveries import DeliveryStore
from app.store.incidents import IncidentStore
from workflows import names, options
from workflows.incident import IncidentWorkflow

ANSWER_WITHIN = timedelta(seconds=5)
"""Of one call, and of all its tries: by itself the client goes on trying a server that is away for twice as long."""
AGAIN_AFTER_SECS = 0.05
NOT_RUNNING = (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION)
CHANGEABLE = ("title", "description", "tags", "assignee", "team")


@dataclass(frozen=True)
class Incidents:
    """`life` holds the timings every workflow is started with."""

    store: IncidentStore
    deliveries: DeliveryStore
    temporal: Client
    life: Life

    async def get(self, who: Principal, incident_id: str) -> IncidentView:
        """Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            return await self.store.get(incident_id)

    async def timeline(self, who: Principal, incident_id: str) -> list[TimelineEvent]:
        """Every decision in order. Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            return await self.store.timeline(incident_id)

    async def comments(self, who: Principal, incident_id: str) -> list[TimelineEvent]:
        """The comments in order. Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            return await self.store.timeline(incident_id, EventType.COMMENT_ADDED)

    async def notifications(self, who: Principal, incident_id: str) -> list[NotificationView]:
        """Every page and what came of it, oldest first. Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            await self.store.get(incident_id)
            return await self.deliveries.of_incident(incident_id)

    async def escalation(self, who: Principal, incident_id: str) -> EscalationView:
        """Where the escalation stands, asked of the workflow. Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            await self.store.get(incident_id)
        handle = self.temporal.get_workflow_handle(names.workflow_id(incident_id))
        try:
            async with asyncio.timeout(ANSWER_WITHIN.total_seconds()):
                standing = await handle.query(IncidentWorkflow.standing, rpc_timeout=ANSWER_WITHIN)
        except (RPCError, TimeoutError) as error:
            if not isinstance(error, RPCError) or error.status not in NOT_RUNNING:
                raise _away() from error
            standing = None
        if standing is None:  # only just started, or so long over that Temporal has forgotten it
            async with answering():
                _, standing, row = await self.store.load(incident_id)
            standing = standing or Incident(
                id=incident_id, severity=row["severity"], heard_severity=row["severity"], opened_at=row["created_at"]
            )
        return _escalation(standing, datetime.now(UTC))

    async def ask(self, who: Principal, incident_id: str, ask: Ask) -> IncidentView:
        """Has the incident's workflow carry out a command; the incident afterwards.

        Asking again with the same `key` is safe, also after an error that leaves it open whether it was done.

        Raises: Forbidden, NotFound, InvalidTransition, Conflict, Invalid, Unavailable.
        """
        who.may(Scope.RESPOND)
        actor = Actor(name=ask.actor if ask.actor and who.name == "local" else who.name, type=who.actor_type)
        command = Command(
            id=_command_id(incident_id, who, ask), kind=ask.kind, actor=actor, at_level=ask.at_level,
            to_level=ask.to_level, severity=ask.severity, assignee=ask.assignee, team=ask.team,
            until=_until(ask, datetime.now(UTC)),
            fields=tuple(name for name in CHANGEABLE if name in ask.model_fields_set),
        )  # fmt: skip
        words = ask.model_dump(mode="json", exclude={"key"}, exclude_unset=True)
        async with answering():
            await self.store.get(incident_id)
            kept = await self.store.remember(command.id, incident_id, words, datetime.now(UTC))
        if kept != words:
            raise Conflict(f"The Idempotency-Key {ask.key!r} was used before, for a different request.")
        await self._command(incident_id, command)
        async with answering():
            return await self.store.get(incident_id)

    async def change(self, who: Principal, incident_id: str, change: Change, key: str | None = None) -> IncidentView:
        """Has the commands carried out that make the change; the incident afterwards. Asking again with `key` is safe.

        Raises: Forbidden, NotFound, InvalidTransition, Conflict, Invalid, Unavailable.
        """
        incident = await self.get(who, incident_id)
        for ask in list(change.asks(incident, key)):
            incident = await self.ask(who, incident_id, ask)
        return incident

    async def _command(self, incident_id: str, command: Command) -> None:
        """Raises: a refusal of the workflow's, Unavailable."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN.total_seconds()):
                while not await self._update(incident_id, command):  # noqa: ASYNC110 — nothing tells when
                    await asyncio.sleep(AGAIN_AFTER_SECS)
        except WorkflowUpdateFailedError as failed:
            raise _refusal(failed) from failed
        except (RPCError, temporalio.client.WorkflowUpdateRPCTimeoutOrCancelledError, RuntimeError, OSError) as away:
            raise _away() from away

    async def _update(self, incident_id: str, command: Command) -> bool:
        """An update on the incident's workflow, which is started if it isn't running.

        False when the run ended under it, or something came in just as it was ending and the step was undone: the
        update is to be asked for again, and by its id is carried out once.
        """
        start = WithStartWorkflowOperation(
            IncidentWorkflow.run,
            self.life.model_copy(update={"incident_id": incident_id}),
            id=names.workflow_id(incident_id),
            task_queue=names.INCIDENTS,
            task_timeout=options.TASK_TIMEOUT,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        try:
            await self.temporal.execute_update_with_start_workflow(
                IncidentWorkflow.command, command, start_workflow_operation=start, id=command.id,
                rpc_timeout=ANSWER_WITHIN,
            )  # fmt: skip
        except RPCError as unlucky:
            if unlucky.status not in NOT_RUNNING:
                raise
            return False
        return True

    async def list(self, who: Principal, query: IncidentQuery) -> IncidentPage:
        """Raises: Forbidden, Invalid (the cursor), Unavailable."""
        who.may(Scope.READ)
        async with answering():
            return await self.store.search(query)


def _command_id(incident_id: str, who: Principal, ask: Ask) -> str:
    """The same for the same key by the same principal; unique without a key."""
    if ask.key is None:
        return str(uuid.uuid4())
    return hashlib.sha256("\n".join((incident_id, who.name, ask.key)).encode()).hexdigest()


def _until(ask: Ask, now: datetime) -> datetime | None:
    return now + timedelta(seconds=ask.for_secs) if ask.for_secs is not None else ask.until


def _away() -> Unavailable:
    return Unavailable(
        "temporal",
        "The incident's workflow does not answer. Whether the request was carried out is open:"
        " ask again with the same Idempotency-Key.",
        retry_after=2,
    )


def _refusal(failed: WorkflowUpdateFailedError) -> Refused:
    cause = failed.cause
    if not isinstance(cause, ApplicationError):
        return _away()
    return refusal(cause.type or "", cause.message, cause.details[0] if cause.details else None)


def _escalation(incident: Incident, now: datetime) -> EscalationView:
    held = incident.held and incident.status.open
    return EscalationView(
        incident_id=incident.id, status=incident.status, policy_id=incident.policy.id if incident.policy else None,
        level=incident.level, paused=incident.paused, paused_until=incident.paused_until,
        suppressed=held, suppression=list(incident.holds) if held else [],
        next=_next(incident, now),
    )  # fmt: skip


def _next(incident: Incident, now: datetime) -> NextStep | None:
    policy = incident.policy
    left = incident.paused_left if incident.due_at is None else incident.due_at - now
    if policy is None or left is None or not incident.status.open or incident.rung >= policy.rungs:
        return None
    level = policy.level(incident.rung)
    return NextStep(
        level=policy.level_number(incident.rung), name=level.name, at=None if incident.held else incident.due_at,
        targets=[target.label for target in level.targets], remaining_secs=max(left.total_seconds(), 0),
    )  # fmt: skip

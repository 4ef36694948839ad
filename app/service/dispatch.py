"""Tells workflows what ingest has made durable, the most severe first, for as long as it takes."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from activities.triage import Life
from app.store.database import AWAY, CONTENDED
from app.store.outbox import Due, Outbox
from app.telemetry import metrics
from workflows import names, options
from workflows.incident import IncidentWorkflow

log = logging.getLogger(__name__)

AT_ONCE = 32
"""Incidents told in one go (chosen: enough to keep the embedded Temporal busy, few enough that P0 overtakes)."""
POLL_SECS = 0.5
"""How often to look when nothing calls: for what other gateways and the projection have put there."""
RPC_TIMEOUT = timedelta(seconds=5)
LONGEST_WAIT_SECS = 2.0
AWAY_FROM_TEMPORAL = (RPCError, RuntimeError, OSError)


@dataclass
class Dispatcher:
    """`life` holds the timings every workflow is started with."""

    outbox: Outbox
    temporal: Client
    life: Life
    fresh: asyncio.Event = field(default_factory=asyncio.Event)
    acquainted: bool = False

    async def run(self) -> None:
        """Until cancelled. Temporal or PostgreSQL away: waits and goes on, forgets nothing."""
        wait = POLL_SECS
        while True:
            if wait == LONGEST_WAIT_SECS:  # somebody is away: what else comes in changes nothing
                await asyncio.sleep(wait)
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):  # wait_for (3.11) loses a cancel that comes with the news
                        await self.fresh.wait()
            self.fresh.clear()
            try:
                wait = await self._drain()
            except (*AWAY, *CONTENDED) as away:
                log.warning("outbox not read, PostgreSQL does not answer: %s", away)
                wait = LONGEST_WAIT_SECS

    async def _drain(self) -> float:
        """Tells everything that waits; how long to wait before looking again, in seconds."""
        if not self.acquainted:
            await self._get_acquainted()
        while True:
            told, left = await self.outbox.deliver(self._tell_all, AT_ONCE)
            pending, oldest = await self.outbox.waiting() if left or not told else (0, 0.0)
            metrics.OUTBOX_PENDING.set(pending)
            metrics.OUTBOX_OLDEST.set(oldest)
            if left:
                return LONGEST_WAIT_SECS if not told else POLL_SECS
            if not told:
                return POLL_SECS

    async def _get_acquainted(self) -> None:
        """A Temporal that has lost its data (another namespace by the same name) gets every open incident again."""
        asked = DescribeNamespaceRequest(namespace=self.temporal.namespace)
        try:
            found = await self.temporal.workflow_service.describe_namespace(asked, timeout=RPC_TIMEOUT)
        except AWAY_FROM_TEMPORAL as away:
            log.warning("Temporal does not answer: %s", away)
            return
        if again := await self.outbox.adopt(found.namespace_info.id):
            log.warning("Temporal's namespace is a new one: %d open incidents start again", again)
        self.acquainted = True

    async def _tell_all(self, due: Sequence[Due]) -> set[str]:
        answers = await asyncio.gather(*(self._tell(one) for one in due), return_exceptions=True)
        told = {one.incident_id for one, answer in zip(due, answers, strict=True) if answer is None}
        for failure in answers:
            if failure is not None and not isinstance(failure, AWAY_FROM_TEMPORAL):
                raise failure
        if len(told) < len(due):
            why = next(answer for answer in answers if answer is not None)
            log.warning("%d incidents are not with Temporal yet: %s", len(due) - len(told), why)
            self.acquainted = False
        return told

    async def _tell(self, due: Due) -> None:
        """Starts the incident's workflow, or has the running one look again. Twice is once."""
        if due.fresh:
            with suppress(WorkflowAlreadyStartedError):
                await self._start(due)
                return
        await self._start(due, signal=True)

    async def _start(self, due: Due, *, signal: bool = False) -> None:
        """A running workflow is signalled, or (without `signal`) an error; one that has ended runs again."""
        existing = WorkflowIDConflictPolicy.USE_EXISTING if signal else WorkflowIDConflictPolicy.FAIL
        await self.temporal.start_workflow(
            IncidentWorkflow.run,
            self.life.model_copy(update={"incident_id": due.incident_id}),
            id=names.workflow_id(due.incident_id),
            task_queue=names.INCIDENTS,
            task_timeout=options.TASK_TIMEOUT,
            id_conflict_policy=existing,
            start_signal="look_again" if signal else None,
            priority=options.priority(due.severity),
            search_attributes=searchable(due),
            static_summary=f"{due.severity} from {due.source}{f', {due.service}' if due.service else ''}"[:200],
            rpc_timeout=RPC_TIMEOUT,
        )


def searchable(due: Due) -> TypedSearchAttributes:
    return TypedSearchAttributes(
        [
            SearchAttributePair(names.SEVERITY, str(due.severity)),
            SearchAttributePair(names.STATUS, str(due.status)),
            SearchAttributePair(names.SERVICE, due.service),
            SearchAttributePair(names.TEAM, due.team),
            SearchAttributePair(names.SOURCE, due.source),
        ]
    )

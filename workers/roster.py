"""Which queue serves what, and how much of it at once."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from app.crew import Crew
from workers.sandbox import runner
from workflows import names
from workflows.incident import IncidentWorkflow
from workflows.playbook import PlaybookWorkflow
from workflows.upkeep import PollStatusPagesWorkflow, RetrainWorkflow, WatchWorkflow

GRACE = timedelta(seconds=15)
"""What is under way may end before the worker does (a page takes 12 s at most)."""


def local(crew: Crew) -> Sequence[Callable[..., Any]]:
    """The short steps, run where the workflow runs."""
    triage, directory = crew.triage, crew.directory
    return (
        triage.open, triage.listen, triage.route, directory.page, directory.inform, directory.redeliver,
        directory.find, directory.insist, crew.projection.project, crew.sending.give_up,
    )  # fmt: skip


def workers(client: Client, crew: Crew, *, cached: int = 2000) -> list[Worker]:
    """One per queue. `cached` incidents stay in memory, the others are replayed when something happens to them."""
    incidents = Worker(
        client,
        task_queue=names.INCIDENTS,
        workflows=[IncidentWorkflow],
        activities=local(crew),
        workflow_runner=runner(),
        max_cached_workflows=cached,
        max_concurrent_workflow_tasks=100,
        max_concurrent_local_activities=50,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        graceful_shutdown_timeout=GRACE,
        disable_eager_activity_execution=False,
    )
    enriching = Worker(
        client,
        task_queue=names.ENRICH,
        activities=[crew.enriching.enrich],
        max_concurrent_activities=ENRICHED_AT_ONCE,
        graceful_shutdown_timeout=GRACE,
    )
    playbooks = Worker(
        client,
        task_queue=names.PLAYBOOKS,
        workflows=[PlaybookWorkflow],
        activities=[
            crew.playbooks.load,
            crew.playbooks.show,
            crew.playbooks.ask,
            crew.playbooks.act,
            crew.playbooks.note,
        ],
        workflow_runner=runner(),
        max_cached_workflows=500,
        max_concurrent_activities=STEPS_AT_ONCE,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        graceful_shutdown_timeout=GRACE,
    )
    return [
        incidents,
        enriching,
        playbooks,
        *_upkeep(client, crew),
        *(_sending(client, queue, crew, slots) for queue, slots in SLOTS.items()),
    ]


ENRICHED_AT_ONCE = 20
STEPS_AT_ONCE = 100
SLOTS = {names.NOTIFY: 100, names.NOTIFY_URGENT: 100}
"""Pages in providers' hands at once, per queue."""


def _sending(client: Client, queue: str, crew: Crew, slots: int) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        activities=[crew.sending.send],
        max_concurrent_activities=slots,
        graceful_shutdown_timeout=GRACE,
    )


def _upkeep(client: Client, crew: Crew) -> list[Worker]:
    """What is looked at every minute waits for no training."""
    training = Worker(
        client,
        task_queue=names.UPKEEP,
        workflows=[RetrainWorkflow],
        activities=[crew.upkeep.train],
        workflow_runner=runner(),
        max_concurrent_activities=1,
        graceful_shutdown_timeout=GRACE,
    )
    watching = Worker(
        client,
        task_queue=names.WATCHING,
        workflows=[PollStatusPagesWorkflow, WatchWorkflow],
        activities=[crew.polling.status_pages, crew.watching.watch],
        workflow_runner=runner(),
        max_concurrent_activities=10,
        graceful_shutdown_timeout=GRACE,
    )
    return [training, watching]

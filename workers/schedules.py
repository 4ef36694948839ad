"""What is done at regular times by itself."""

import logging
from dataclasses import dataclass, replace
from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleAction,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from app.config import Settings
from workflows import names
from workflows.upkeep import RetrainWorkflow, WatchWorkflow

log = logging.getLogger(__name__)

MISSED = timedelta(minutes=1)
"""What could not begin so long ago (Temporal was away) is left out: the next one does the same."""


@dataclass(frozen=True)
class Plan:
    """A workflow that runs `every` so often under one id, never twice at a time; not `wanted`: it isn't there."""

    action: ScheduleActionStartWorkflow
    every: timedelta
    wanted: bool = True
    catch_up: timedelta | None = MISSED

    @property
    def schedule(self) -> Schedule:
        action: ScheduleAction = self.action
        return Schedule(
            action=action,
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=self.every)]),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=self.catch_up),
        )


def plans(settings: Settings) -> tuple[Plan, ...]:
    ml = settings.ml
    return (
        Plan(
            ScheduleActionStartWorkflow(RetrainWorkflow.run, False, id=names.RETRAIN_DAILY, task_queue=names.UPKEEP),
            timedelta(days=1), wanted=ml.enabled and ml.auto_train, catch_up=None,
        ),
        Plan(
            ScheduleActionStartWorkflow(WatchWorkflow.run, id=names.WATCH, task_queue=names.WATCH),
            timedelta(seconds=20),
        ),
    )  # fmt: skip


async def ensure(client: Client, settings: Settings) -> None:
    """The schedules are there, as this version and the settings have them; one that somebody has paused stays so.

    Temporal away: said, and left to the next start.
    """
    for plan in plans(settings):
        try:
            await _ensure(client, plan)
        except RPCError as away:
            log.warning("%s is not scheduled: %s", plan.action.id, away)


async def _ensure(client: Client, plan: Plan) -> None:
    def as_now(there: ScheduleUpdateInput) -> ScheduleUpdate:
        return ScheduleUpdate(schedule=replace(plan.schedule, state=there.description.schedule.state))

    handle = client.get_schedule_handle(plan.action.id)
    if not plan.wanted:
        try:
            await handle.delete()
        except RPCError as absent:
            if absent.status is not RPCStatusCode.NOT_FOUND:
                raise
        return
    try:
        await client.create_schedule(plan.action.id, plan.schedule)
    except ScheduleAlreadyRunningError:
        await handle.update(as_now)

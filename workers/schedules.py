"""What is done every day by itself."""

import logging
from dataclasses import replace
from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
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

from app.config import MachineLearning
from workflows import names
from workflows.upkeep import RetrainWorkflow

log = logging.getLogger(__name__)

RETRAIN_EVERY = timedelta(days=1)


async def ensure(client: Client, ml: MachineLearning) -> None:
    """The schedules are there, as this version and the settings have them; one that somebody has paused stays so.

    Temporal away: said, and left to the next start.
    """
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(RetrainWorkflow.run, False, id=names.RETRAIN_DAILY, task_queue=names.UPKEEP),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=RETRAIN_EVERY)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
    )

    def as_now(there: ScheduleUpdateInput) -> ScheduleUpdate:
        return ScheduleUpdate(schedule=replace(schedule, state=there.description.schedule.state))

    handle = client.get_schedule_handle(names.RETRAIN_DAILY)
    try:
        if not (ml.enabled and ml.auto_train):
            await handle.delete()
            return
        try:
            await client.create_schedule(names.RETRAIN_DAILY, schedule)
        except ScheduleAlreadyRunningError:
            await handle.update(as_now)
    except RPCError as away:
        if away.status is not RPCStatusCode.NOT_FOUND:
            log.warning("the daily training is not scheduled: %s", away)

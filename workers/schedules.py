"""What is done every day by itself."""

import logging
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
from temporalio.service import RPCError

from workflows import names
from workflows.upkeep import RetrainWorkflow

log = logging.getLogger(__name__)

RETRAIN_EVERY = timedelta(days=1)


async def ensure(client: Client) -> None:
    """The schedules are there, as this version has them. Temporal away: said, and left to the next start."""
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(RetrainWorkflow.run, False, id=names.RETRAIN_DAILY, task_queue=names.UPKEEP),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=RETRAIN_EVERY)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
    )

    def as_now(_: ScheduleUpdateInput) -> ScheduleUpdate:
        return ScheduleUpdate(schedule=schedule)

    try:
        try:
            await client.create_schedule(names.RETRAIN_DAILY, schedule)
        except ScheduleAlreadyRunningError:
            await client.get_schedule_handle(names.RETRAIN_DAILY).update(as_now)
    except RPCError as away:
        log.warning("the daily training is not scheduled: %s", away)

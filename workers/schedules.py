"""What is done again and again by itself."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

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

from app.config import Settings
from workflows import names
from workflows.upkeep import PollStatusPagesWorkflow, RetrainWorkflow, WatchWorkflow

log = logging.getLogger(__name__)

RETRAIN_EVERY = timedelta(days=1)
WATCH_EVERY = timedelta(seconds=20)
SOONEST = timedelta(seconds=1)


class Planned(NamedTuple):
    """A schedule by its name. `jitter`: so much later it may begin, that not everybody asks at the same second.

    `missed`: what was due while nothing ran is done later, up to so long after.
    """

    name: str
    wanted: bool
    action: ScheduleActionStartWorkflow
    every: timedelta
    jitter: timedelta | None = None
    missed: timedelta = timedelta(days=365)

    @property
    def schedule(self) -> Schedule:
        return Schedule(
            action=self.action,
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=self.every)], jitter=self.jitter),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=self.missed),
        )


def planned(settings: Settings) -> Sequence[Planned]:
    """Every schedule there is, wanted or not."""
    ml, around = settings.ml, settings.enrichment
    asked = timedelta(seconds=around.status_poll_secs)
    return (
        Planned(
            names.RETRAIN_DAILY,
            ml.enabled and ml.auto_train,
            ScheduleActionStartWorkflow(RetrainWorkflow.run, False, id=names.RETRAIN_DAILY, task_queue=names.UPKEEP),
            RETRAIN_EVERY,
        ),
        Planned(
            names.POLL_STATUS_PAGES,
            bool(around.status_pages and asked),
            ScheduleActionStartWorkflow(
                PollStatusPagesWorkflow.run, id=names.POLL_STATUS_PAGES, task_queue=names.WATCHING
            ),
            max(asked, SOONEST),
            jitter=asked / 10,
            missed=timedelta(seconds=10),
        ),
        Planned(
            names.WATCH,
            True,
            ScheduleActionStartWorkflow(WatchWorkflow.run, id=names.WATCH, task_queue=names.WATCHING),
            WATCH_EVERY,
            missed=timedelta(seconds=10),
        ),
    )


async def ensure(client: Client, settings: Settings) -> None:
    """The schedules are there, as this version and the settings have them; one that somebody has paused stays so.

    Temporal away: said, and left to the next start.
    """
    for one in planned(settings):
        try:
            await _ensure(client, one)
        except RPCError as away:
            log.warning("%s is not scheduled: %s", one.name, away)


async def _ensure(client: Client, one: Planned) -> None:
    def as_now(there: ScheduleUpdateInput) -> ScheduleUpdate:
        return ScheduleUpdate(schedule=replace(one.schedule, state=there.description.schedule.state))

    handle = client.get_schedule_handle(one.name)
    if not one.wanted:
        try:
            await handle.delete()
        except RPCError as away:
            if away.status is not RPCStatusCode.NOT_FOUND:
                raise
        return
    try:
        await client.create_schedule(one.name, one.schedule)
    except ScheduleAlreadyRunningError:
        await handle.update(as_now)

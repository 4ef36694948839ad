"""What is done again and again by itself."""

import asyncio
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
KEPT_EVERY_SECS = 60.0
"""How long a schedule that is gone stays so (chosen: nobody is missed without the watch)."""
OFFERED_EVERY_SECS = 5.0


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


async def ensure(client: Client, settings: Settings, *, renew: bool = True) -> bool:
    """The schedules are there, as this version and the settings have them; one that somebody has paused stays so.

    Without `renew` only those that are missing are made. False: Temporal has not taken all of it, which is said.
    """
    done = True
    for one in planned(settings):
        try:
            await _ensure(client, one, renew)
        except RPCError as away:
            log.warning("%s is not scheduled: %s", one.name, away)
            done = False
    return done


async def keep(client: Client, settings: Settings, *, done: bool) -> None:
    """What Temporal has not taken is offered again soon; what it loses is made again. Until it is cancelled."""
    while True:
        await asyncio.sleep(KEPT_EVERY_SECS if done else OFFERED_EVERY_SECS)
        done = await ensure(client, settings, renew=not done)


async def _ensure(client: Client, one: Planned, renew: bool) -> None:
    def as_now(there: ScheduleUpdateInput) -> ScheduleUpdate:
        return ScheduleUpdate(schedule=replace(one.schedule, state=there.description.schedule.state))

    handle = client.get_schedule_handle(one.name)
    if not one.wanted:
        if not renew:
            return
        try:
            await handle.delete()
        except RPCError as away:
            if away.status is not RPCStatusCode.NOT_FOUND:
                raise
        return
    try:
        await client.create_schedule(one.name, one.schedule)
    except ScheduleAlreadyRunningError:
        if renew:
            await handle.update(as_now)

"""The worker process: runs workflows and activities until it is told to stop."""

import asyncio
import logging
import signal
from contextlib import AsyncExitStack, suppress

from temporalio import activity, workflow
from temporalio.client import Client

from activities.classifying import Classifying
from app import siblings
from app.config import Settings, Temporal
from app.crew import crew, enriching, playing, status_pages
from app.runtime import channels, circuit_breakers, database_url, reachable, redacting, sharing, temporal_client
from app.store.database import AWAY, pool
from app.store.deliveries import DeliveryStore
from app.store.runs import RunStore
from app.telemetry import metrics
from workers.roster import workers
from workers.schedules import ensure, keep

log = logging.getLogger(__name__)

BETWEEN_TRIES_SECS = 0.5
COUNTED_EVERY_SECS = 5.0


async def run(settings: Settings) -> None:
    """Until SIGTERM or SIGINT; then lets what is under way end. Waits for Temporal when it isn't there yet."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    workflow.logger.workflow_info_on_message = False
    activity.logger.activity_info_on_message = False
    async with AsyncExitStack() as stack:
        breakers = circuit_breakers(settings)
        ways = await stack.enter_async_context(channels(settings, breakers))
        connections = await stack.enter_async_context(pool(database_url(settings), settings.storage.pool_size))
        pages = await stack.enter_async_context(status_pages(settings, breakers))
        breaking = sharing(breakers, connections)
        four = await stack.enter_async_context(
            siblings.opened(settings.integrations, reachable(settings), connections, breakers, redacting(settings))
        )
        around = await stack.enter_async_context(enriching(settings, connections, breakers, four))
        client = await connected(settings.temporal, stop)
        if client is None:
            return
        doing = await stack.enter_async_context(playing(settings, connections, client, ways, breaking, four))
        staff = crew(settings, connections, ways, around, doing, pages)
        for worker in workers(client, staff):
            await stack.enter_async_context(worker)
        scheduled = await ensure(client, settings)
        if settings.server.worker_metrics_port:
            metrics.serve(settings.server.host, settings.server.worker_metrics_port)
        beside = [
            asyncio.create_task(count(DeliveryStore(connections), staff.playbooks.runs)),
            asyncio.create_task(prepare(staff.triage.classifying)),
            asyncio.create_task(breaking.run()),
            asyncio.create_task(keep(client, settings, done=scheduled)),
        ]
        if four.edge_agent is not None:
            every_secs = settings.integrations.llm_edge_agent.drain_every_secs
            beside.append(asyncio.create_task(four.edge_agent.keep_draining(every_secs)))
        log.info("working")
        await stop.wait()
        for task in beside:
            task.cancel()


async def prepare(classifying: Classifying | None) -> None:
    """Has the model loaded (the very first is made for it) before an incident asks for it."""
    if classifying is not None:
        with suppress(*AWAY):
            await classifying.champion.get()


async def count(deliveries: DeliveryStore, runs: RunStore) -> None:
    """Keeps the metrics of messages that wait and of playbooks that run up to date, while PostgreSQL answers."""
    while True:
        with suppress(*AWAY):
            metrics.waiting(await deliveries.waiting())
            metrics.PLAYBOOKS_ACTIVE.set(await runs.under_way())
        await asyncio.sleep(COUNTED_EVERY_SECS)


async def connected(temporal: Temporal, stop: asyncio.Event) -> Client | None:
    """A connected client, however long it takes; None when told to stop before."""
    while not stop.is_set():
        try:
            return await temporal_client(temporal, lazy=False)
        except RuntimeError as away:
            log.warning("Temporal does not answer yet: %s", away)
            with suppress(TimeoutError):
                async with asyncio.timeout(BETWEEN_TRIES_SECS):
                    await stop.wait()
    return None

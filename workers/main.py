"""The worker process: runs workflows and activities until it is told to stop."""

import asyncio
import signal
from contextlib import AsyncExitStack
from datetime import timedelta

from app.config import Settings
from app.runtime import crew, database_url, temporal_client
from app.store.database import pool
from app.telemetry import metrics
from workers.roster import workers

RETRY_CONNECTING = timedelta(seconds=1)


async def run(settings: Settings) -> None:
    """Until SIGTERM or SIGINT; then lets what is under way end. Waits for Temporal when it isn't there yet."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    client = await temporal_client(settings.temporal, lazy=False)
    if settings.server.worker_metrics_port:
        metrics.serve(settings.server.host, settings.server.worker_metrics_port)
    async with AsyncExitStack() as stack:
        connections = await stack.enter_async_context(pool(database_url(settings), settings.storage.pool_size))
        made = await stack.enter_async_context(crew(settings, connections))
        for worker in workers(client, made):
            await stack.enter_async_context(worker)
        await stop.wait()

"""What the parts reach by themselves: the same machine, the same minutes, the same load."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from uuid_utils.compat import uuid7

from app.child import Child, running
from app.stack import free_port, listening
from tests.bench import alerts, echo, wire
from tests.bench.stack import Stack

QUEUE = "empty"
IN_FLIGHT = 40


@workflow.defn(name="empty")
class Empty:
    @workflow.run
    async def run(self) -> None: ...


async def echoed(connections: int, seconds: float) -> wire.Tally:
    """Single alerts to a server that only says them back."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.echo", str(port)]
    async with running(Child("echo", command, lambda: listening(wire.HOST, port))):
        requests = alerts.singles(alerts.new(), echo.PATH)
        await wire.closed_loop(port, requests, b"", connections=connections, seconds=0.5)
        return await wire.closed_loop(port, requests, b"", connections=connections, seconds=seconds)


async def copied(stack: Stack, connections: int, seconds: float) -> float:
    """Rows per second into a table like `alerts`: COPY of 100 in each durable transaction, by so many connections."""
    owner = await stack.database()
    await owner.execute("CREATE TABLE bench (LIKE alerts INCLUDING ALL)")
    columns = ("incident_id", "id", "alert_key", "firing", "deduplicated", "status", "severity", "source", "title",
               "description", "received_at")  # fmt: skip
    what = ("key" * 20, True, False, "firing", "P2", "model-gateway", "Latency above target", "p95 was 4.8 s. " * 15)
    copied = 0
    began = time.perf_counter()

    async def copy() -> None:
        nonlocal copied
        connection = await stack.database()
        while time.perf_counter() - began < seconds:
            rows = [(uuid7(), uuid7(), *what, datetime.now(UTC)) for _ in range(alerts.PER_BATCH)]
            await connection.copy_records_to_table("bench", records=rows, columns=columns)
            copied += len(rows)
        await connection.close()

    await asyncio.gather(*(copy() for _ in range(connections)))
    rate = copied / (time.perf_counter() - began)
    await owner.execute("DROP TABLE bench")
    await owner.close()
    return rate


@asynccontextmanager
async def empty_worker(client: Client) -> AsyncIterator[None]:
    """Serves the empty workflow, with the limits of the product's own worker."""
    async with Worker(
        client, task_queue=QUEUE, workflows=[Empty], workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_tasks=100, graceful_shutdown_timeout=timedelta(seconds=1),
    ):  # fmt: skip
        yield


async def empty(client: Client, number: object) -> float:
    """Seconds from the call until the workflow's result."""
    began = time.perf_counter()
    await client.execute_workflow(Empty.run, id=f"empty-{number}", task_queue=QUEUE)
    return time.perf_counter() - began


async def empty_rate(client: Client, count: int) -> float:
    """Empty workflows per second, 40 in flight."""
    numbers = iter(range(count))

    async def one_after_the_other() -> None:
        for number in numbers:
            await empty(client, number)

    async with empty_worker(client):
        await asyncio.gather(*(one_after_the_other() for _ in range(2)))
        began = time.perf_counter()
        numbers = iter(range(count, 2 * count))
        await asyncio.gather(*(one_after_the_other() for _ in range(IN_FLIGHT)))
        return count / (time.perf_counter() - began)

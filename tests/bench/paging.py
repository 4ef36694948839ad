"""From an alert to the page: how long for one, how many in a second for many."""

import asyncio
import time

from tests.bench import alerts, baselines, receiver, wire
from tests.bench.report import Figure
from tests.bench.stack import Stack, fresh

PER_SEC = 10
P50_MS, P95_MS = 150, 500
DRAINED_PER_SEC = 50
SHARE_OF_EMPTY = 0.4
PATIENCE_SECS = 120


async def latency(stack: Stack, seconds: float) -> Figure:
    count = round(seconds * PER_SEC)
    async with receiver.receiving(stack.port) as pages:
        problems = alerts.new()
        await _opened(stack, [next(problems)])
        await pages.of(1, PATIENCE_SECS)
        sent: dict[str, float] = {}
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                await asyncio.sleep(began + number / PER_SEC - time.perf_counter())
                group.create_task(_timed(stack, next(problems), sent))
        await pages.of(count + 1, PATIENCE_SECS)
    took = [pages.first[incident] - at for incident, at in sent.items()]
    twice = pages.count - len(pages.first)
    alone = await _empty_alone(stack) * 1000
    p50, p95, p99 = (wire.percentile(took, share) * 1000 for share in (0.50, 0.95, 0.99))
    return Figure(
        "POST to webhook received",
        f"{count} new incidents, {PER_SEC} a second whatever becomes of them (open loop), each of which pages one "
        "webhook on loopback; from before the POST until the receiver has read the page. Durable throughout; "
        f"{twice} pages came twice.",
        f"p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f} ms",
        f"p50 ≤ {P50_MS}, p95 ≤ {P95_MS} ms",
        p50 <= P50_MS and p95 <= P95_MS and not twice,
        f"an empty workflow, start to result: p50 {alone:.0f} ms; ratio {p50 / alone:.1f}",
    )


async def drain(count: int) -> Figure:
    async with fresh() as stack:
        empty = await baselines.empty_rate(await stack.temporal(), count)
        async with receiver.receiving(stack.port) as pages:
            began = time.perf_counter()
            for first in range(0, count, 1000):
                await _opened(stack, list(range(first, min(first + 1000, count))))
            accepted = time.perf_counter() - began
            await pages.of(count, PATIENCE_SECS)
            paged = max(pages.first.values()) - began
            recorded = await _recorded(stack, count) - began
            twice = pages.count - count
    rate = count / recorded
    return Figure(
        "new incidents drained",
        f"{count} new incidents, accepted within {accepted:.1f} s with the worker running, each paging one webhook on "
        "loopback; from the first POST until every page was received and every delivery is on its incident's timeline "
        f"in PostgreSQL. All were received after {paged:.1f} s; {twice} came twice. A stack of its own, durable. The "
        f"baseline starts as many empty workflows on the same server, {baselines.IN_FLIGHT} in flight, unsandboxed.",
        f"{rate:.0f} incidents/s",
        f"≥ {DRAINED_PER_SEC}/s and ≥ {SHARE_OF_EMPTY} of the baseline",
        rate >= DRAINED_PER_SEC and rate >= SHARE_OF_EMPTY * empty and not twice,
        f"empty workflows: {empty:.0f}/s; ratio {rate / empty:.2f}",
    )


async def _timed(stack: Stack, problem: int, sent: dict[str, float]) -> None:
    began = time.perf_counter()
    [incident] = await _opened(stack, [problem])
    sent[incident] = began


async def _opened(stack: Stack, problems: list[int]) -> list[str]:
    """The incidents that these alerts have opened."""
    [request] = alerts.batches(iter(problems), len(problems))
    results = (await wire.ask(stack.port, request))["results"]
    assert all(result["outcome"] == "created" for result in results)
    return [result["incident_id"] for result in results]


async def _recorded(stack: Stack, count: int) -> float:
    """When so many pages are on the timelines as sent."""
    database = await stack.database()
    async with asyncio.timeout(PATIENCE_SECS):
        while await database.fetchval("SELECT count(*) FROM timeline WHERE type = 'notification_sent'") < count:
            await asyncio.sleep(0.1)
    await database.close()
    return time.perf_counter()


async def _empty_alone(stack: Stack) -> float:
    """The median of 50, in seconds, one after the other."""
    client = await stack.temporal()
    async with baselines.empty_worker(client):
        return wire.percentile([await baselines.empty(client, f"alone-{number}") for number in range(50)], 0.5)

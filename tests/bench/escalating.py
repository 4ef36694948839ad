"""Escalations on time, pages through one channel, and what a dead receiver does to the others."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import httpx
import orjson
from temporalio import workflow
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from app.net.slots import AT_ONCE
from tests.bench import baselines, wire
from tests.bench.receiver import Pages, Taking, put
from tests.bench.report import Figure
from tests.bench.stack import Stack, fresh

WAIT_SECS = 70
LATE_MS = 250
PER_INCIDENT = 50
PER_SEC = 5
HARM = 1.2
STARTING_SECS = 5
PATIENCE_SECS = 180


@asynccontextmanager
async def listening(hangs: bool = False) -> AsyncIterator[tuple[str, Pages]]:
    """The address of a receiver of pages, or of one that takes connections and never answers."""
    pages = Pages()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: asyncio.Protocol() if hangs else Taking(pages), wire.HOST, 0)
    try:
        yield f"http://{wire.HOST}:{server.sockets[0].getsockname()[1]}", pages
    finally:
        server.close()


async def policy(stack: Stack, source: str, *levels: Mapping[str, object]) -> None:
    """What pages for the incidents of a source."""
    body = {"name": source, "priority": 5, "conditions": {"source": [source]}, "levels": levels}
    await wire.ask(stack.port, put(f"escalation-policies/{source}", body))


def level(*addresses: str, wait: int = 3600) -> dict[str, object]:
    return {"targets": [{"type": "external", "id": a} for a in addresses], "escalate_after_secs": wait}


async def opened(stack: Stack, source: str, numbers: range) -> list[str]:
    alerts = [{"source": source, "title": f"{source} {n}", "fingerprint": f"{source}-{n}"} for n in numbers]
    said = await wire.ask(stack.port, wire.request("POST", "/api/v1/alerts/batch", orjson.dumps({"alerts": alerts})))
    return [result["incident_id"] for result in said["results"]]


async def paced(stack: Stack, source: str, count: int, secs: float, first: int = 0) -> dict[str, float]:
    """Opens incidents at a steady rate, whatever becomes of them: when each was sent."""
    sent: dict[str, float] = {}
    began = time.perf_counter()

    async def one(number: int) -> None:
        at = time.perf_counter()
        [incident] = await opened(stack, source, range(number, number + 1))
        sent[incident] = at

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            await asyncio.sleep(began + number * secs / count - time.perf_counter())
            group.create_task(one(first + number))
    return sent


async def timers(count: int, secs: float) -> Figure:
    """Lateness against `due_at` in the workflow's state, as PostgreSQL had it before the moment came."""
    async with fresh() as stack, listening() as (first, _), listening() as (second, pages):
        await policy(stack, "timers", level(f"{first}/1", wait=WAIT_SECS), level(f"{second}/2"))
        clock = time.time() - time.perf_counter()
        await paced(stack, "timers", count, secs)
        await asyncio.sleep(2)
        database = await stack.database()
        rows = await database.fetch("SELECT id, workflow_state->>'due_at' AS due FROM incidents")
        await database.close()
        due = {str(row["id"]): datetime.fromisoformat(row["due"]).timestamp() for row in rows if row["due"]}
        await pages.of(count, PATIENCE_SECS)
        late = [(at + clock - due[incident]) * 1000 for incident, at in pages.first.items()]
        bare = await bare_timers(stack, count // 2, secs / 2)
    (p50, p95, p99), (b50, b95, b99) = ([wire.percentile(ms, q) for q in (0.5, 0.95, 0.99)] for ms in (late, bare))
    early = sum(ms < 0 for ms in late)
    return Figure(
        "escalations due within a minute",
        f"{count} incidents opened over {secs:.0f} s, each with a second level {WAIT_SECS} s after the first: as "
        f"many timers over {secs:.0f} s while nothing else happens; from the due moment in the workflow's state until "
        "the receiver on loopback has read the page of level 2. The baseline is a bare timer in an empty workflow "
        f"at the same rate on the same server, until the workflow runs again ({len(bare)} of them, unsandboxed).",
        f"late by p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f}, at most {max(late):.0f} ms; early: {early}",
        f"p99 ≤ {LATE_MS} ms late, none early",
        p99 <= LATE_MS and not early,
        f"a bare timer: p50 {b50:.0f}, p95 {b95:.0f}, p99 {b99:.0f}, at most {max(bare):.0f} ms late; ratio of p95 "
        f"{p95 / b95:.1f}, of p99 {p99 / b99:.1f}",
    )


@workflow.defn(name="alarm")
class Alarm:
    @workflow.run
    async def run(self, at: float) -> float:
        """Milliseconds late."""
        await workflow.sleep(timedelta(seconds=max(at - workflow.time(), 0)))
        return (time.time() - at) * 1000


async def bare_timers(stack: Stack, count: int, secs: float) -> list[float]:
    client = await stack.temporal()
    begins = time.time() + STARTING_SECS
    async with Worker(
        client, task_queue=baselines.QUEUE, workflows=[Alarm], workflow_runner=UnsandboxedWorkflowRunner(),
    ):  # fmt: skip
        return list(await asyncio.gather(*(
            client.execute_workflow(Alarm.run, begins + n * secs / count, id=f"alarm-{n}", task_queue=baselines.QUEUE)
            for n in range(count)
        )))  # fmt: skip


async def throughput(incidents: int) -> Figure:
    """Pages of few incidents with many targets: what counts is the sending."""
    count = incidents * PER_INCIDENT
    async with fresh() as stack, listening() as (url, pages):
        await policy(stack, "webhooks", level(*(f"{url}/{n}" for n in range(PER_INCIDENT))))
        for incident in range(incidents):  # a storm to one address would be bundled
            people = (f"p{incident}-{n}@example.com" for n in range(PER_INCIDENT))
            await policy(stack, f"mails-{incident}", level(*people))
        await opened(stack, "webhooks", range(incidents))
        webhooks = await sent_per_second(stack, "webhook", count)
        for incident in range(incidents):
            await opened(stack, f"mails-{incident}", range(1))
        mails = await sent_per_second(stack, "email", count)
        webhooks_twice = pages.count - count
        bare = await posted_per_second(url, count)
    return Figure(
        "pages through one channel",
        f"{count} pages of {incidents} incidents, {PER_INCIDENT} targets each, to a webhook receiver on loopback, and "
        "as many mails to the local mailbox, each to an address of its own; from the first claim until the last is on "
        "record as taken, in PostgreSQL. Webhooks are never bundled, nor is the first mail to an address. The baseline "
        f"posts as many small bodies to the same receiver with httpx, {AT_ONCE} at once like the product. "
        f"{webhooks_twice} came twice.",
        f"{webhooks:.0f} webhooks/s, {mails:.0f} mails/s",
        baseline=f"bare POSTs: {bare:.0f}/s; ratio {webhooks / bare:.2f}",
    )


async def sent_per_second(stack: Stack, channel: str, count: int) -> float:
    database = await stack.database()
    async with asyncio.timeout(PATIENCE_SECS):
        while (
            row := await database.fetchrow(
                "SELECT count(*) AS sent, extract(epoch FROM max(sent_at) - min(claimed_at)) AS secs FROM deliveries"
                " WHERE channel = $1 AND status IN ('sent', 'delivered')",
                channel,
            )
        ) is None or row["sent"] < count:
            await asyncio.sleep(0.1)
    await database.close()
    return count / float(row["secs"])


async def posted_per_second(url: str, count: int) -> float:
    numbers = iter(range(count))
    body = orjson.dumps({"incident_id": "bare"})
    async with httpx.AsyncClient(trust_env=False) as client:

        async def one_after_the_other() -> None:
            for _ in numbers:
                await client.post(f"{url}/bare", content=body)

        began = time.perf_counter()
        await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
        return count / (time.perf_counter() - began)


async def neighbour(secs: float) -> Figure:
    """A receiver that never answers in the place of one that does; the load stays the same."""
    count = round(secs * PER_SEC)
    async with (
        fresh() as stack, listening() as (well, pages), listening() as (fine, _), listening(hangs=True) as (dead, _),
    ):  # fmt: skip
        await policy(stack, "watched", level(f"{well}/page"))
        await policy(stack, "fine", level(f"{fine}/page"))
        await policy(stack, "dead", level(f"{dead}/page"))
        await took(stack, pages, "watched", count // 2, secs / 2)
        found = [await took(stack, pages, "watched", count, secs, first=count)]
        for turn, other in enumerate(("fine", "dead"), 2):
            watched = took(stack, pages, "watched", count, secs, first=turn * count)
            found.append((await asyncio.gather(watched, paced(stack, other, count, secs)))[0])
    alone, before, after = (wire.percentile(ms, 0.95) for ms in found)
    return Figure(
        "a dead receiver beside a healthy one",
        f"{count} incidents, {PER_SEC} a second, page a webhook on loopback; p95 from the POST until it was read: "
        "while as many others page a second healthy receiver, then one that takes connections and never answers. The "
        "goal is for these two, which differ in the receiver only; the baseline is before either, with half the load.",
        f"p95 {before:.0f} ms beside a healthy one, {after:.0f} ms beside a dead one; ratio {after / before:.2f}",
        f"ratio ≤ {HARM}",
        after <= HARM * before,
        f"alone: p95 {alone:.0f} ms; ratio {after / alone:.2f}",
    )


async def took(stack: Stack, pages: Pages, source: str, count: int, secs: float, first: int = 0) -> list[float]:
    """Milliseconds from before each POST until its page was read."""
    seen = len(pages.first)
    sent = await paced(stack, source, count, secs, first)
    await pages.of(seen + count, PATIENCE_SECS)
    return [(pages.first[incident] - at) * 1000 for incident, at in sent.items()]

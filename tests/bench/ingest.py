"""Accepting alerts: how many in a second, and how long one waits."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import psutil

from app.environment import PREFIX
from tests.bench import alerts, baselines, wire
from tests.bench.report import Figure
from tests.bench.stack import Stack, fresh

SINGLES_PER_SEC, SINGLES_P95_MS = 2_000, 50
BATCHED_PER_SEC = 10_000


@dataclass(frozen=True)
class Load:
    """One way of sending, `size` alerts in each request. `floor`: what the baseline reaches, in alerts/s."""

    name: str
    size: int
    connections: int
    requests: Callable[[Iterator[int]], Iterator[bytes]]
    floor: float
    baseline: str
    created: bytes
    merged: bytes

    def figure(self, kind: str, meanwhile: str, tally: wire.Tally, counts: bool) -> Figure:
        rate = tally.rate * self.size
        p50, p95, p99 = (tally.percentile(share) for share in (0.50, 0.95, 0.99))
        good = rate >= BATCHED_PER_SEC if self.size > 1 else rate >= SINGLES_PER_SEC and p95 <= SINGLES_P95_MS
        goal = f"≥ {BATCHED_PER_SEC:,}/s" if self.size > 1 else f"≥ {SINGLES_PER_SEC:,}/s at p95 ≤ {SINGLES_P95_MS} ms"
        return Figure(
            f"{self.name}, {kind}, {meanwhile}",
            f"{self.connections} keep-alive connections, each one request after the other for {tally.seconds:.0f} s, "
            f"{len(tally.took) * self.size:,} alerts of 0.9 kB; every one durable before its 2xx (fsync on); "
            f"{len(tally.wrong)} answers other than that. {MEANWHILE[meanwhile]}",
            f"{rate:,.0f} alerts/s; a request takes p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f} ms",
            goal if counts else "–",
            good and not tally.wrong if counts else None,
            f"{self.baseline} {self.floor:,.0f}/s; ratio {rate / self.floor:.2f}",
        )


RUNNING, STOPPED = "workflows running", "worker stopped"
MEANWHILE = {
    RUNNING: "The new incidents' workflows start, page and are recorded on the same cores all the time.",
    STOPPED: "For scale: the worker is suspended, so that no workflow runs; they are handed to Temporal all the same.",
}


async def figures(seconds: float) -> AsyncIterator[Figure]:
    """Singles and batches, new and duplicate: while the workflows run, and without a worker. A stack for each."""
    echoed = (await baselines.echoed(16, seconds)).rate
    async with fresh() as stack:
        copied = await baselines.copied(stack, 4, seconds)
    singles = Load(
        "single alerts", 1, 16, alerts.singles, echoed, "bare uvicorn + Starlette, nothing stored:",
        b'"outcome":"created"', b'"outcome":"merged"',
    )  # fmt: skip
    batches = Load(
        "batches of 100", alerts.PER_BATCH, 4, alerts.batches, copied, "bare COPY of 100 rows per transaction:",
        b'"accepted":100,', b'"duplicates":100,',
    )  # fmt: skip
    for meanwhile in (RUNNING, STOPPED):
        async with fresh() as stack, _paused(stack.pids["worker"] if meanwhile == STOPPED else None):
            async for figure in _on(stack, (singles, batches), seconds, meanwhile):
                yield figure


async def beside_triage(seconds: float) -> Figure:
    """What triage costs those who send alerts: new ones, one after the other, with all of it and with none of it."""
    rates = []
    for switch in ("true", "false"):
        names = ("ENABLE_ML_CLASSIFICATION", "ENABLE_ENRICHMENT", "ENABLE_CORRELATION")
        settings = dict.fromkeys(names, switch) | {f"{PREFIX}CORRELATION__ENABLED": switch}
        async with fresh(**settings) as stack:
            tally = await wire.closed_loop(
                stack.port, alerts.singles(alerts.new()), b'"outcome":"created"', connections=16, seconds=seconds
            )
        rates.append((tally.rate, tally.percentile(0.95)))
    (triaged, triaged_p95), (plain, plain_p95) = rates
    return Figure(
        "ingest beside triage",
        f"New single alerts over 16 connections for {seconds:.0f} s while their workflows run, on a stack with "
        "classification, enrichment and correlation, then on one without; a closed loop, on the same cores.",
        f"{triaged:,.0f}/s, p95 {triaged_p95:.1f} ms with; {plain:,.0f}/s, p95 {plain_p95:.1f} ms without; ratio "
        f"{triaged / plain:.2f}",
    )


async def _on(stack: Stack, loads: tuple[Load, Load], seconds: float, meanwhile: str) -> AsyncIterator[Figure]:
    opening = await wire.each(stack.port, alerts.batches(iter(range(alerts.OPEN))), b'"accepted":100,', connections=1)
    sent = len(opening.took) * alerts.PER_BATCH
    for kind, problems in (("new", alerts.new()), ("duplicates", alerts.known())):
        for load in loads:
            expected = load.created if kind == "new" else load.merged
            tally = await wire.closed_loop(
                stack.port, load.requests(problems), expected, connections=load.connections, seconds=seconds
            )
            assert tally.took, tally.wrong[:1]
            sent += len(tally.took) * load.size
            yield load.figure(kind, meanwhile, tally, counts=meanwhile == RUNNING)
    database = await stack.database()
    kept = await database.fetchval("SELECT count(*) FROM alerts")
    await database.close()
    assert kept == sent, f"{sent} alerts were accepted, {kept} are there"


@contextlib.asynccontextmanager
async def _paused(pid: int | None) -> AsyncIterator[None]:
    if pid is None:
        yield
        return
    psutil.Process(pid).suspend()
    try:
        yield
    finally:
        psutil.Process(pid).resume()

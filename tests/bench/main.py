"""`make bench`: what this machine reaches, everything on its own cores. Under 13 minutes; `--quick` under four."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from signal import SIGTERM

import uvloop

from tests.bench import breaking, doors, enriching, escalating, ingest, paging, report, sockets, standing, triage
from tests.bench.stack import fresh

GROUPS = ("idle", "drain", "ingest", "escalation", "triage", "doors", "breakers")


async def figures(groups: Sequence[str], quick: bool) -> AsyncIterator[report.Figure]:
    """Each group on a stack of its own: the storms leave workflows behind that run for minutes."""
    if "idle" in groups:
        async with fresh() as stack:
            yield await standing.memory(stack)
            yield await paging.latency(stack, 3 if quick else 20)
            yield await standing.killed(stack)
    if "drain" in groups:
        yield await paging.drain(150 if quick else 1000)
    if "ingest" in groups:
        async for figure in ingest.figures(1 if quick else 8):
            yield figure
    if "escalation" in groups:
        yield await escalating.timers(20 if quick else 500, 6 if quick else 60)
        yield await escalating.throughput(2 if quick else 20)
        yield await escalating.neighbour(3 if quick else 20)
    if "triage" in groups:
        for figure in await triage.figures(20 if quick else 500):
            yield figure
        yield await enriching.figure(20 if quick else 300)
        yield await ingest.beside_triage(1 if quick else 8)
    if "doors" in groups:
        for figure in await doors.figures(1 if quick else 8):
            yield figure
        yield await sockets.figure(50 if quick else 500, 3 if quick else 30)
    if "breakers" in groups:
        yield breaking.figure()


async def bench(groups: Sequence[str], quick: bool) -> None:
    machine, whole, since = report.machine(), report.Others(), report.Others()
    print(machine)
    done = []
    async for figure in figures(groups, quick):
        report.tell(figure, since.share())
        done.append(figure)
    print(f"\n{report.table(done, machine, whole.share())}")


async def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("groups", nargs="*", metavar="GROUP", help=f"only these of {', '.join(GROUPS)}")
    asked.add_argument("--quick", action="store_true", help="a smoke test: the figures mean little")
    given = asked.parse_args()
    task = asyncio.create_task(bench(given.groups or GROUPS, given.quick))
    asyncio.get_running_loop().add_signal_handler(SIGTERM, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    uvloop.run(main())
    sys.exit()

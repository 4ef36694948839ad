"""What the idle stack holds in memory, and what a killed gateway leaves behind."""

import asyncio
import itertools
import os
import re
from pathlib import Path
from signal import SIGKILL

import psutil

from app.stack import answering
from tests.bench import alerts, wire
from tests.bench.report import Figure
from tests.bench.stack import Stack

MIB = 500
KILLED_AFTER = 100
SETTLED_SECS = 5.0


async def memory(stack: Stack) -> Figure:
    await asyncio.sleep(SETTLED_SECS)
    held = {name: sum(map(pss, family(name, pid))) for name, pid in stack.pids.items() if psutil.pid_exists(pid)}
    total = sum(held.values())
    parts = ", ".join(f"{name} {size:.0f}" for name, size in sorted(held.items(), key=lambda part: -part[1]))
    return Figure(
        "memory of the idle stack",
        f"Proportional set size from /proc/<pid>/smaps_rollup of every process, {SETTLED_SECS:.0f} s after the stack "
        "was ready and before anything was sent; PostgreSQL with all its processes.",
        f"{total:.0f} MiB ({parts})",
        f"≤ {MIB} MiB",
        total <= MIB,
    )


def family(name: str, pid: int) -> list[int]:
    """The supervisor's children are parts of their own."""
    process = psutil.Process(pid)
    return [pid] if name == "supervisor" else [pid, *(child.pid for child in process.children(recursive=True))]


def pss(pid: int) -> float:
    """MiB."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


async def killed(stack: Stack) -> Figure:
    """The gateway dies at the very moment it has said yes to the hundredth alert."""
    requests = itertools.islice(alerts.singles(itertools.count(10**9)), KILLED_AFTER)
    promised = [(await wire.ask(stack.port, request))["alert_id"] for request in requests]
    os.kill(stack.pids["gateway"], SIGKILL)
    async with asyncio.timeout(30):
        while not await answering(wire.HOST, stack.port, "/health"):
            await asyncio.sleep(0.1)
    database = await stack.database()
    kept = await database.fetchval("SELECT count(*) FROM alerts WHERE id = ANY($1::uuid[])", promised)
    await database.close()
    return Figure(
        "kill -9 right after a 2xx",
        f"{KILLED_AFTER} new alerts, one POST after the other; SIGKILL to the gateway once the last was answered; "
        "how many are in PostgreSQL once the supervisor has restarted it.",
        f"{kept} of {len(promised)} there",
        f"{KILLED_AFTER} of {KILLED_AFTER}",
        kept == len(promised) == KILLED_AFTER,
    )

"""Figures, and how they are told."""

import contextlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import psutil

ELSEWHERE = """\
For scale, other systems on two such cores, one run each, not measured here: Keep accepts 144 alerts/s and processes
35/s; Grafana OnCall accepts 469/s and processes 15/s; both send the first notification about 1 s after the POST.
Alertmanager, in memory only, takes 23,600 singles/s and 53,000 batched alerts/s. On kill -9 right after a 2xx, Keep
lost 57 of 100 alerts, Alertmanager all."""


@dataclass(frozen=True)
class Figure:
    """What was measured, how, what came out, what was hoped for, and what the same machine did in the same minutes.

    `met` is None where there is no goal.
    """

    name: str
    method: str
    found: str
    goal: str = "–"
    met: bool | None = None
    baseline: str = "–"

    @property
    def verdict(self) -> str:
        return {True: "yes", False: "**no**", None: "–"}[self.met]


class Others:
    """Who else works on the cores: what is busy beyond this process and everything it has started."""

    def __init__(self) -> None:
        self.before = self.now()

    def share(self) -> float:
        """Of all cores, since the last time."""
        began, ended = self.before, self.now()
        self.before = ended
        return max(0.0, (ended[0] - began[0]) - (ended[1] - began[1])) / max(1e-9, ended[2] - began[2])

    @staticmethod
    def now() -> tuple[float, float, float]:
        """Seconds of processor time: busy, ours, and all there was."""
        machine = psutil.cpu_times()
        total = sum(machine[:8])
        ours = 0.0
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                ours += sum(process.cpu_times()[:4])  # with those of children that have ended
        return total - machine.idle - machine.iowait, ours, total


def tell(figure: Figure, others: float) -> None:
    """Prints one figure with its method as soon as it is known."""
    print(f"\n{figure.name}: {figure.found}\n  goal: {figure.goal}; baseline: {figure.baseline}\n  {figure.method}")
    print(f"  Meanwhile others used {others:.0%} of the cores.", flush=True)


def table(figures: list[Figure], machine: str, others: float) -> str:
    """Markdown, to be pasted into the README. `others`: their share of the cores over the whole run."""
    lines = ["| what | measured | goal | met | baseline in the same run |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| {f.name} | {f.found} | {f.goal} | {f.verdict} | {f.baseline} |" for f in figures]
    return "\n".join([*lines, "", f"{machine}, others used {others:.0%} of them during the run.", "", ELSEWHERE])


def machine() -> str:
    """Which machine and who else was on it."""
    models = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
              if line.startswith("model name")]  # fmt: skip
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{len(models)} cores of {models[0] if models else platform.machine()}, {memory:.0f} GiB, Linux "
        f"{platform.release()}, Python {platform.python_version()}; the stack, the load and the receivers share the "
        f"cores; load average {os.getloadavg()[0]:.1f} before"
    )

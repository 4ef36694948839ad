"""Figures, and how they are told."""

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

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


def tell(figure: Figure) -> Figure:
    """Prints one figure with its method as soon as it is known."""
    print(f"\n{figure.name}: {figure.found}\n  goal: {figure.goal}; baseline: {figure.baseline}\n  {figure.method}")
    sys.stdout.flush()
    return figure


def table(figures: list[Figure], machine: str) -> str:
    """Markdown, to be pasted into the README."""
    lines = ["| what | measured | goal | met | baseline in the same run |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| {f.name} | {f.found} | {f.goal} | {f.verdict} | {f.baseline} |" for f in figures]
    return "\n".join([*lines, "", f"{machine}.", "", ELSEWHERE])


def machine() -> str:
    """Which machine and who else was on it."""
    models = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
              if line.startswith("model name")]  # fmt: skip
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{len(models)} cores of {models[0] if models else platform.machine()}, {memory:.0f} GiB, Linux "
        f"{platform.release()}, Python {platform.python_version()}; the stack, the load and the receivers share the "
        f"cores; load average {os.getloadavg()[0]:.1f} before the first figure"
    )

"""What a circuit breaker costs: the call that is not made, and the one that is."""

import time
from collections.abc import Callable
from contextlib import suppress

from app.net.breakers import Breakers, Open
from tests.bench.report import Figure
from tests.bench.wire import percentile

GOAL_MS = 1


def figure(rounds: int = 20_000) -> Figure:
    """Both with their metrics, in a process that does nothing else."""
    breakers = Breakers()
    for _ in range(3):
        with suppress(TimeoutError), breakers.call("slack"):
            raise TimeoutError

    def rejected() -> None:
        with suppress(Open), breakers.call("slack"):
            raise AssertionError("it let somebody through")

    def passed() -> None:
        with breakers.call("jira"):
            pass

    no, yes = _took(rejected, rounds), _took(passed, rounds)
    worst = percentile(no, 0.99)
    return Figure(
        "a circuit breaker", f"{rounds:,} calls through an open one, and as many through a closed one.",
        f"rejected p50 {percentile(no, 0.5) * 1000:.0f}, p99 {worst * 1000:.0f} µs; passed p50"
        f" {percentile(yes, 0.5) * 1000:.0f} µs", f"rejected p99 < {GOAL_MS} ms", worst < GOAL_MS,
    )  # fmt: skip


def _took(call: Callable[[], None], rounds: int) -> list[float]:
    """Milliseconds of each."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1000)
    return took

"""How often one integration is asked: so many requests a second, and as many at once after a pause.

Our own, as no package among the dependencies waits without a thread (pyrate-limiter, which the tests bring along,
polls from one) or waits at all (cashews and limits only refuse).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic


@dataclass
class Pace:
    """A token bucket that lends: each caller is told when its turn is, in the order they came (GCRA, ITU-T I.371)."""

    per_sec: float
    now: Callable[[], float] = monotonic
    free_at: float = field(default=float("-inf"))

    def turn(self, within_secs: float) -> float | None:
        """Seconds until the caller's turn, which is thereby taken; None, and not taken, where it comes too late."""
        now, burst = self.now(), max(self.per_sec, 1) / self.per_sec
        free_at = max(self.free_at, now - burst) + 1 / self.per_sec
        wait = max(free_at - now, 0)
        if wait >= within_secs:
            return None
        self.free_at = free_at
        return wait

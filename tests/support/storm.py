"""A storm of alerts, from several clients at once, while the product's processes are killed."""

import asyncio
import itertools
import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.support.product import Product

CLIENTS = 8
PROBLEMS = 60
STORM_SECS = 10.0
PATIENCE_SECS = 4
"""Of the first level."""
TWICE = 0.2
"""The share of deliveries that are sent twice at the same time."""
PARTS = ("worker", "gateway", "temporal", "postgres")


@dataclass(frozen=True)
class Problem:
    """`taken_after`: seconds from its first accepted alert to somebody's acknowledge; None for never."""

    name: str
    severity: str
    deliveries: int
    taken_after: float | None


@dataclass
class Storm:
    """What was sent, and what came back."""

    product: Product
    chance: random.Random
    problems: list[Problem]
    incidents: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    taken_at: dict[str, datetime] = field(default_factory=dict)
    kills: list[tuple[str, datetime]] = field(default_factory=list)

    def incident(self, problem: Problem) -> str:
        """The one incident that all its alerts went to."""
        [incident] = self.incidents[problem.name]
        return incident

    async def rages(self) -> None:
        """Every alert is accepted and every acknowledge answered when this returns."""
        mail = [(problem, delivery) for problem in self.problems for delivery in deliveries(problem)]
        self.chance.shuffle(mail)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._kills())
            for client in range(CLIENTS):
                group.create_task(self._sends(mail[client::CLIENTS], random.Random(client), group))

    async def _sends(self, mail: list[tuple[Problem, str]], chance: random.Random, group: asyncio.TaskGroup) -> None:
        for problem, delivery in mail:
            await asyncio.sleep(chance.uniform(0, 2 * STORM_SECS / len(mail)))
            alert = {
                "source": "storm", "title": problem.name, "fingerprint": problem.name, "severity": problem.severity,
                "labels": {"delivery": delivery},
            }  # fmt: skip
            times = 2 if chance.random() < TWICE else 1
            answers = await asyncio.gather(
                *(self.product.granted("/alerts", alert, key=delivery) for _ in range(times))
            )
            if problem.taken_after is not None and not self.incidents[problem.name]:
                group.create_task(self._takes(answers[0]["incident_id"], problem.taken_after))
            self.incidents[problem.name] |= {answer["incident_id"] for answer in answers}

    async def _takes(self, incident: str, after: float) -> None:
        await asyncio.sleep(after)
        await self.product.granted(f"/incidents/{incident}/acknowledge", {"actor": "alice"}, key=f"ack {incident}")
        self.taken_at[incident] = datetime.now(UTC)

    async def _kills(self) -> None:
        """Every part, then the worker and one more again. A part that is being restarted is killed when it is back."""
        parts = [*self.chance.sample(PARTS, len(PARTS)), "worker", self.chance.choice(PARTS)]
        moments = sorted(self.chance.uniform(0.1, 0.9) * STORM_SECS for _ in parts)
        for part, (before, moment) in zip(parts, itertools.pairwise([0.0, *moments]), strict=True):
            await asyncio.sleep(moment - before)
            await self.product.runs(part)
            self.product.kill(part)
            self.kills.append((part, datetime.now(UTC)))


def deliveries(problem: Problem) -> list[str]:
    return [f"{problem.name}, delivery {n}" for n in range(problem.deliveries)]


def problems(chance: random.Random) -> list[Problem]:
    """Every third one is acknowledged, some before the second level is due and some after."""
    return [
        Problem(
            name=f"problem {n}", severity=f"P{chance.randrange(5)}", deliveries=chance.randint(1, 7),
            taken_after=None if n % 3 else chance.uniform(0, 1.5 * PATIENCE_SECS),
        )
        for n in range(PROBLEMS)
    ]  # fmt: skip

"""What the stages of triage take, among ten thousand open incidents."""

import random
import time
import uuid
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime

from pydantic import SecretStr

from activities.triage import About
from app.config import Settings, Storage, Temporal
from app.crew import Crew, crew, enriching
from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.alert import Alert
from app.runtime import Gateway, services, temporal_client
from app.store.database import pool
from tests.bench.report import Figure
from tests.bench.wire import percentile
from tests.support.world import database

OPEN = 10_000
CORRELATED_MS = 80
WORDS = [f"word{n}" for n in range(300)]
SERVICES = [f"service-{n}" for n in range(200)]


def alert(chance: random.Random) -> Alert:
    """Something that went wrong somewhere."""
    return Alert.model_validate(
        {
            "source": chance.choice(["grafana", "alertmanager", "litellm", "datadog"]),
            "title": " ".join(chance.sample(WORDS, 5)), "identity": str(uuid.UUID(int=chance.getrandbits(128))),
            "description": " ".join(chance.choices(WORDS, k=40)), "severity": chance.choice(["P1", "P2", "P3"]),
            "affected_services": [chance.choice(SERVICES)], "environment": "production",
            "labels": {"region": chance.choice(["eu", "us"]), "model": f"m{chance.randrange(20)}"},
        }
    )  # fmt: skip


async def opened(gateway: Gateway, chance: random.Random, count: int) -> list[str]:
    ids: list[str] = []
    for first in range(0, count, 500):
        batch = [alert(chance) for _ in range(min(500, count - first))]
        ids += [got.incident_id or "" for got in await gateway.alerts.ingest(ME, batch)]
    return ids


async def figures(count: int) -> list[Figure]:
    chance = random.Random(11)
    async with database() as url, pool(url, 8) as connections:
        settings = Settings(storage=Storage(connection_string=SecretStr(url)))
        client = await temporal_client(Temporal(address="127.0.0.1:1"), lazy=True)
        gateway = services(settings, connections, client, {})
        await opened(gateway, chance, OPEN)
        fresh = await opened(gateway, chance, count)
        async with enriching(settings, connections) as around:
            stages = await triaged(crew(settings, connections, {}, around), fresh)
    return [_stages(stages, count)]


async def triaged(staff: Crew, ids: list[str]) -> dict[str, list[float]]:
    """Milliseconds by stage, one incident after the other."""
    took: dict[str, list[float]] = defaultdict(list)
    triage = replace(staff.triage, observe=lambda stage, secs, _: took[stage].append(secs * 1000))
    for incident in ids:
        began = time.perf_counter()
        await triage.open(About(incident_id=incident, at=datetime.now(UTC)))
        took["all of it"].append((time.perf_counter() - began) * 1000)
    return took


def _stages(took: dict[str, list[float]], count: int) -> Figure:
    said = "; ".join(
        f"{stage} {percentile(ms, 0.5):.1f} / {percentile(ms, 0.95):.1f}" for stage, ms in sorted(took.items())
    )
    worst = percentile(took.get("correlate", []), 0.95)
    return Figure(
        f"triage of a new incident among {OPEN:,} open ones",
        f"{count} incidents one after the other, each stage as the worker runs it, over embedded PostgreSQL; all "
        f"{OPEN:,} were opened within the correlation window, 200 services, 4 sources.",
        f"p50 / p95 ms: {said}",
        f"correlate p95 ≤ {CORRELATED_MS} ms",
        worst <= CORRELATED_MS,
    )

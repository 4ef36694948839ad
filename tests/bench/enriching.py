"""Looking around an incident with what PostgreSQL knows: anew, and when it was asked a moment before."""

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from app.domain.alert import ChangeEvent
from app.store.changes import ChangeStore
from app.store.database import pool
from app.store.documents import DocumentStore
from tests.bench.report import Figure
from tests.bench.wire import percentile
from tests.support.enriching import Study, study
from tests.support.world import database

PAST, SERVICES, CHANGES = 10_000, 200, 500
UNCACHED_MS, CACHED_MS = 150, 5
WORDS = [f"word{n}" for n in range(3000)]
COMMON = [1 / (1 + n) for n in range(3000)]
"""As words are spread in any text (Zipf): a few are in most of them, most in few."""
ADD = """
INSERT INTO incidents (id, fingerprint, collecting, source, title, description, category, incident_type, created_at,
    reported_severity, last_seen_at, last_firing_at, status, severity, updated_at, resolved_at, resolved_by, history)
SELECT id, id::text, false, 'bench', title, said, 'other', 'Unknown', $4, 'P3', $4, $4, 'RESOLVED', 'P3', $4, $4, 'ann',
    to_tsvector('english', title || ' ' || said)
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS u(id, title, said)
"""


async def figure(rounds: int = 200) -> Figure:
    """`rounds` incidents among 10,000 past ones, 200 services and 500 changes of the last hour."""
    async with database() as url, pool(url, 10) as connections, study(connections) as desk:
        chance = random.Random(4)
        await _furnish(desk, chance)
        await _look(desk, chance, 20, again=False)
        anew = await _look(desk, chance, rounds, again=False)
        known = await _look(desk, chance, rounds, again=True)
    fresh, cached = percentile(anew, 0.95), percentile(known, 0.95)
    return Figure(
        "looking around an incident",
        f"`enriching.enrich` with what PostgreSQL knows ({PAST:,} past incidents, {SERVICES} services, {CHANGES}"
        " changes within the hour), writing included; one after the other.",
        f"anew p50 {percentile(anew, 0.5):.0f}, p95 {fresh:.0f} ms; known p50 {percentile(known, 0.5):.1f},"
        f" p95 {cached:.1f} ms",
        f"anew p95 ≤ {UNCACHED_MS} ms, known ≤ {CACHED_MS} ms",
        fresh <= UNCACHED_MS and cached <= CACHED_MS,
    )


async def _look(desk: Study, chance: random.Random, rounds: int, *, again: bool) -> list[float]:
    """Milliseconds of each; `again`: of the second look at the same incident."""
    took, looks = [], desk.enriching(desk.own())
    for _ in range(rounds):
        service = f"s-{chance.randrange(SERVICES)}"
        incident = await desk.opens(_said(chance, 6), description=_said(chance, 40), affected_services=[service])
        if again:
            await desk.ask(looks, incident)
        began = time.perf_counter()
        await desk.ask(looks, incident)
        took.append((time.perf_counter() - began) * 1000)
    return took


async def _furnish(desk: Study, chance: random.Random) -> None:
    now = datetime.now(UTC)
    ids = [uuid4() for _ in range(PAST)]
    titles, texts = [_said(chance, 6) for _ in ids], [_said(chance, 60) for _ in ids]
    await desk.connections.execute(ADD, ids, titles, texts, now - timedelta(days=2))
    documents = DocumentStore(desk.connections)
    for n in range(SERVICES):
        needs = [f"s-{chance.randrange(n)}" for _ in range(min(n, 3))]
        body: dict[str, object] = {"id": f"s-{n}", "name": f"Service {n}", "owner": "team", "dependencies": needs}
        await documents.write("services", f"s-{n}", body, expected=None, by="bench", at=now)
    changes = ChangeStore(desk.connections)
    for n in range(CHANGES):
        service, at = f"s-{chance.randrange(SERVICES)}", now - timedelta(seconds=chance.randrange(3600))
        await changes.record(ChangeEvent(source="ci", summary=f"release {n}", at=at, services=(service,)), now)
    await desk.connections.execute("ANALYZE")


def _said(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(WORDS, COMMON, k=words)) + f" {chance.randrange(1000)}"


async def main() -> None:
    made = await figure()
    print(f"{made.name}: {made.found}\n  goal: {made.goal}\n  {made.method}")


if __name__ == "__main__":
    asyncio.run(main())

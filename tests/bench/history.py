"""Whether the right one of the past is found: alerts and their runbooks, the names left out."""

import asyncio
import gzip
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from app.store.database import Pool, pool
from app.store.history import REMEMBER, HistoryStore
from tests.bench.report import Figure
from tests.bench.wire import percentile
from tests.support.world import database

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "runbooks"
GOAL = 0.79
PAST = 10_000
NOBODY = str(UUID(int=0))
ADD = """
INSERT INTO incidents (id, fingerprint, collecting, source, title, description, category, incident_type, created_at,
    reported_severity, last_seen_at, last_firing_at, status, severity, updated_at, resolved_at)
SELECT id, id::text, false, 'bench', '', said, 'other', 'Unknown', $3, 'P3', $3, $3, 'RESOLVED', 'P3', $3, $3
FROM unnest($1::uuid[], $2::text[]) AS u(id, said)
"""


def read(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(gzip.decompress((DATA / name).read_bytes()))
    return found


async def figures() -> list[Figure]:
    """Nothing where the data isn't there."""
    if not DATA.exists():
        print(f"No {DATA.parent.name}/{DATA.name} beside the checkout: runbooks are not measured.")
        return []
    docs, queries = read("docs.json.gz"), read("queries.json.gz")
    async with database() as url, pool(url, 4) as connections:
        names = await remembered(connections, docs)
        took, first, five = await asked(HistoryStore(connections), queries, names)
        await remembered(connections, [docs[n % len(docs)] for n in range(PAST)])
        slow, _, _ = await asked(HistoryStore(connections), queries[:100], {})
    return [
        Figure(
            "similar incidents of the past",
            f"{len(docs)} runbook pages as resolved incidents, {len(queries)} alert descriptions asked for with the "
            "product's own statement, names masked. R@1: the first one found is the alert's own page.",
            f"R@1 {first:.3f}, R@5 {five:.3f}; p95 {percentile(took, 0.95):.0f} ms, {percentile(slow, 0.95):.0f} ms "
            f"among {PAST + len(docs):,}",
            f"R@1 ≥ {GOAL}",
            first >= GOAL,
            "BM25 .758, a lexical mix .798 (published with the data)",
        )
    ]


async def remembered(connections: Pool, docs: list[dict[str, Any]]) -> dict[str, str]:
    ids = [uuid4() for _ in docs]
    await connections.execute(ADD, ids, [doc["doc"] for doc in docs], datetime.now(UTC))
    await connections.execute(REMEMBER, ids)
    return {str(id_): doc["alert"] for id_, doc in zip(ids, docs, strict=True)}


async def asked(
    store: HistoryStore, queries: list[dict[str, Any]], names: dict[str, str]
) -> tuple[list[float], float, float]:
    """Milliseconds of each, and the shares of those whose own page was first, or among the first five."""
    since = datetime.now(UTC) - timedelta(days=1)
    took, first, five = [], 0, 0
    for query in queries:
        began = time.perf_counter()
        found = [names.get(alike.incident_id) for alike in await store.alike(query["query"], but=NOBODY, since=since)]
        took.append((time.perf_counter() - began) * 1000)
        first += found[:1] == [query["alert"]]
        five += query["alert"] in found
    return took, first / len(queries), five / len(queries)


async def main() -> None:
    for figure in await figures():
        print(f"{figure.name}: {figure.found}\n  goal: {figure.goal}; baseline: {figure.baseline}\n  {figure.method}")


if __name__ == "__main__":
    asyncio.run(main())

"""Incidents to look around at, and who looks."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from pydantic import SecretStr

from activities.enriching import Enrich, Enriched, Enriching
from app.domain.alert import Alert
from app.domain.representation import Finding
from app.enrichers import ENRICHERS
from app.enrichers.answers import Answers
from app.enrichers.base import Enricher, Stores
from app.net.http import LOOPBACK, Http
from app.store.alerts import AlertStore, Arrival
from app.store.catalogue import CatalogueStore
from app.store.changes import ChangeStore
from app.store.database import Pool
from app.store.documents import DocumentStore
from app.store.enrichments import EnrichmentStore
from app.store.history import REMEMBER, HistoryStore
from app.store.incidents import IncidentStore
from app.surroundings import Enrichment

OURS = ("historical", "service", "team", "changes")
RESOLVE = """
UPDATE incidents SET status = 'RESOLVED', collecting = false, resolved_at = $2, resolved_by = $3, resolution = $4
WHERE id = $1
"""


def stores(connections: Pool) -> Stores:
    return Stores(
        HistoryStore(connections), DocumentStore(connections), CatalogueStore(connections), ChangeStore(connections)
    )


@dataclass
class Study:
    """One database's incidents, and what was told of the look-ups."""

    connections: Pool
    answers: Answers
    observed: list[tuple[str, bool]] = field(default_factory=list)

    async def opens(self, title: str = "model is slow", **alert: object) -> str:
        said = {"source": f"tests-{uuid4()}", "title": title, "identity": str(uuid4())} | alert
        store = AlertStore(self.connections, timedelta(minutes=15))
        [answer], _ = await store.claim([Arrival.of(Alert.model_validate(said), datetime.now(UTC))])
        return answer.incident_id or ""

    async def resolves(self, incident_id: str, by: str, notes: str, ago: timedelta = timedelta(hours=3)) -> None:
        at, said = datetime.now(UTC) - ago, {"resolution_notes": notes}
        await self.connections.execute(RESOLVE, UUID(incident_id), at, by, said)
        await self.connections.execute(REMEMBER, [UUID(incident_id)])

    def enriching(self, enrichers: Sequence[Enricher], **more: float) -> Enriching:
        def observe(name: str, _: float, cached: bool) -> None:
            self.observed.append((name, cached))

        store = EnrichmentStore(self.connections)
        return Enriching(
            enrichers, store, self.answers, observe, int(more.get("at_once", 5)), more.get("budget_secs", 10)
        )

    async def looks_around(self, incident_id: str, *enrichers: Enricher, **more: float) -> Enriched:
        return await self.ask(self.enriching(enrichers, **more), incident_id)

    async def ask(self, looks: Enriching, incident_id: str) -> Enriched:
        return await looks.enrich(Enrich(incident_id=incident_id, at=datetime.now(UTC)))

    async def findings(self, incident_id: str) -> dict[str, Finding]:
        """What GET …/enrichment says, by enricher."""
        view = await IncidentStore(self.connections).get(incident_id)
        return {finding.enricher: finding for finding in view.enrichment}

    def own(self, said: Enrichment | None = None, *names: str) -> list[Enricher]:
        """The product's enrichers that ask PostgreSQL only."""
        http, ours = Http(LOOPBACK), stores(self.connections)
        made = (ENRICHERS[name](said or Enrichment(), http, ours) for name in names or OURS)
        return [enricher for enricher in made if enricher is not None]


@asynccontextmanager
async def study(connections: Pool, redis_url: str | None = None, ttl_secs: float = 300) -> AsyncIterator[Study]:
    answers = Answers.made(ttl_secs, SecretStr(redis_url) if redis_url else None)
    try:
        yield Study(connections, answers)
    finally:
        await answers.close()

"""Who looks around an incident: one file, one line."""

from collections.abc import Callable

from app.enrichers.base import Enricher, Stores
from app.enrichers.changes import Changes
from app.enrichers.elasticsearch import Elasticsearch
from app.enrichers.governance import Governance
from app.enrichers.historical import Historical
from app.enrichers.loki import Loki
from app.enrichers.prometheus import Prometheus
from app.enrichers.sentinel import Sentinel
from app.enrichers.service import Service
from app.enrichers.shield import Shield
from app.enrichers.status import Status
from app.enrichers.team import Team
from app.integrations.four import Four
from app.net.http import Http
from app.surroundings import Enrichment

ENRICHERS: dict[str, Callable[[Enrichment, Http, Stores], Enricher | None]] = {
    "historical": Historical.configured,
    "service": Service.configured,
    "team": Team.configured,
    "changes": Changes.configured,
    "prometheus": Prometheus.configured,
    "loki": Loki.configured,
    "elasticsearch": Elasticsearch.configured,
    "status": Status.configured,
}
INTEGRATED: dict[str, Callable[[Enrichment, Four], Enricher | None]] = {
    "sentinel": Sentinel.configured,
    "shield": Shield.configured,
    "governance": Governance.configured,
}
"""Those that ask an LLM integration; not there unless it is set up."""

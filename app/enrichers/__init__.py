"""Who looks around an incident: one file, one line."""

from collections.abc import Callable

from app.config import Enrichment
from app.enrichers.base import Enricher, Stores
from app.enrichers.changes import Changes
from app.enrichers.historical import Historical
from app.enrichers.service import Service
from app.enrichers.team import Team
from app.net.http import Http

ENRICHERS: dict[str, Callable[[Enrichment, Http, Stores], Enricher | None]] = {
    "historical": Historical.configured,
    "service": Service.configured,
    "team": Team.configured,
    "changes": Changes.configured,
}

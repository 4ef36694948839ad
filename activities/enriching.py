"""Looking around an incident."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from temporalio import activity

from app.domain.record import Record


class Enrich(Record):
    """An incident, and the moment that is asked about."""

    incident_id: str
    at: datetime


class Enriched(Record):
    """The names of those enrichers that found something, and of those that failed or were late."""

    found: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Enriching:
    @activity.defn(name="enriching.enrich")
    async def enrich(self, ask: Enrich) -> Enriched:
        """Twice is once."""
        return Enriched()

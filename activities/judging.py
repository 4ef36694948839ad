"""The severity of an incident whose source states its class: what the taxonomy makes of it, and no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from activities.classifying import Classified, before
from app.domain.severity import Extent, Judged, judged
from app.domain.taxonomy import CLASSES, stated
from app.domain.vocabulary import Severity

if TYPE_CHECKING:
    from app.store.catalogue import CatalogueStore
    from app.store.models import ModelStore


@dataclass(frozen=True)
class Judging:
    """`services` says how important those are that an incident affects."""

    store: ModelStore
    services: CatalogueStore

    async def classify(self, incident_id: str, row: Mapping[str, Any], at: datetime) -> Classified | None:
        """What stands for a new incident; None where its labels state no class. Twice is once."""
        name = stated(row["tags"])
        if name is None:
            return None
        kept = await self.store.classified(incident_id)
        if kept is not None:
            return before(dict(kept.items()))
        kind, reported = CLASSES[name], Severity(row["reported_severity"])
        found = await self._judged(name, reported, row)
        columns: tuple[object, ...] = (
            reported, found.severity, found.applied, None, {}, name, kind.type, kind.category, None, found.reason, [],
            at, True,
        )  # fmt: skip
        if not await self.store.keep(incident_id, columns, kind.category, kind.type):
            return await self.classify(incident_id, row, at)
        return Classified(
            severity=found.severity, applied=found.applied, incident_class=name, incident_type=kind.type,
            category=kind.category, reason=found.reason, stated=True,
        )  # fmt: skip

    async def said(self, incident_id: str, row: Mapping[str, Any], reported: Severity) -> Severity | None:
        """What an incident reported as this severity is now; None where its source stated no class. Reads only.

        As long as the source says the same, so does this: what a person has set meanwhile is not contested.
        """
        kept = await self.store.classified(incident_id)
        if kept is None or not kept["stated"]:
            return None
        if kept["reported"] == reported:
            return before(dict(kept.items())).severity
        return (await self._judged(kept["incident_class"], reported, row)).severity

    async def _judged(self, name: str, reported: Severity, row: Mapping[str, Any]) -> Judged:
        catalogue = await self.services.catalogue()
        tiers = [service.tier for service in catalogue.find(row["affected_services"]) if service.tier is not None]
        return judged(name, reported, Extent.of(row["tags"], row["environment"], min(tiers, default=None)))

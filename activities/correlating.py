"""Whether a new incident belongs with others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

from app.domain import outage
from app.domain.catalogue import Catalogue
from app.domain.correlation import Reason, Rules, Score, Strategy, Symptom, Topology, neighbours, score
from app.domain.grouping import Grouped

if TYPE_CHECKING:
    from app.store.catalogue import CatalogueStore
    from app.store.grouping import GroupStore

Observe = Callable[[float, Grouped | None], None]
"""Is told how many seconds it took, and what came of it."""

__all__ = ["Correlating", "Grouped"]


@dataclass
class Correlating:
    """`known`: the topology of the catalogue that was read last."""

    groups: GroupStore
    services: CatalogueStore
    rules: Rules
    observe: Observe
    known: tuple[Catalogue, Topology] = (Catalogue({}), {})

    async def correlate(self, incident_id: str, at: datetime) -> Grouped | None:
        """The group an incident belongs to, which it has joined or founded; None without one. Twice is once.

        Raises: NotFound.
        """
        began = perf_counter()
        found = await self.groups.incident(incident_id)
        if found["overflow"]:
            return in_group(found)
        if (explained := await self._explained(incident_id, found, at)) is not None:
            self.observe(perf_counter() - began, explained)
            return explained
        catalogue, topology = await self._topology()
        here = symptom(found, catalogue)
        names = called(here.services, catalogue, topology) | set(found["services"])
        around = await self.groups.around(incident_id, here.at, self.rules.window, names)
        scores = {row["id"]: score(here, symptom(row, catalogue), topology, self.rules) for row in around}
        scores = {id_: how for id_, how in scores.items() if how.value >= self.rules.threshold}
        symptoms = await self._symptoms(incident_id, found)
        scores |= symptoms
        grouped = in_group(found)
        if scores:
            joined = await self.groups.join(incident_id, here.at, scores, self.rules, at, leading=symptoms)
            grouped = joined or grouped
        self.observe(perf_counter() - began, grouped)
        return grouped

    async def _explained(self, incident_id: str, here: Any, at: datetime) -> Grouped | None:
        """The group of an open outage of the provider that an incident suffers from; None where there is none."""
        provider = outage.Scene.of(here).provider
        if provider is None or Strategy.PROVIDER not in self.rules.strategies or not outage.symptom(here):
            return None
        rows: list[Any] = await self.groups.outages(incident_id, outage.spellings(provider))
        out = [row for row in rows if outage.explains(row, here)]
        if not out:
            return None
        why = {row["id"]: _because(f"the outage of {provider} is open: incident {row['id']}") for row in out}
        return await self.groups.come_along(incident_id, out[0]["at"], why, at)

    async def _symptoms(self, incident_id: str, here: Any) -> dict[str, Score]:
        """Those who suffered from an outage before it was known, unless they are in a group for another reason."""
        provider = outage.Scene.of(here).provider
        if provider is None or Strategy.PROVIDER not in self.rules.strategies or not outage.outage(here):
            return {}
        rows: list[Any] = await self.groups.suffering(
            incident_id, outage.spellings(provider), here["at"], self.rules.window
        )
        suffer = {row["id"]: row for row in rows if outage.symptom(row) and outage.explains(here, row)}
        why = _because(f"the outage of {provider} was known later: incident {incident_id}")
        return {id_: why for id_, row in suffer.items() if row["lead_id"] is None or row["lead_id"] in suffer}

    async def _topology(self) -> tuple[Catalogue, Topology]:
        catalogue = await self.services.catalogue()
        if catalogue is not self.known[0]:
            self.known = catalogue, neighbours(catalogue.edges())
        return self.known


def _because(said: str) -> Score:
    return Score(value=1, reasons=(Reason(strategy=Strategy.PROVIDER, evidence=1, said=said),))


def in_group(row: Any) -> Grouped | None:
    if row["group_id"] is None:
        return None
    return Grouped(group_id=row["group_id"], lead_id=row["lead_id"], size=row["size"])


def symptom(row: Any, catalogue: Catalogue) -> Symptom:
    """An incident's row as it is compared, its services by their ids in the catalogue where it knows them."""
    known = {name: catalogue.find([name]) for name in row["services"]}
    services = frozenset(found[0].id if found else name.casefold() for name, found in known.items())
    return Symptom.of(dict(row.items()) | {"services": services})


def called(services: frozenset[str], catalogue: Catalogue, topology: Topology) -> set[str]:
    """Every name of services and their neighbours, as alerts may have them."""
    ids = services.union(*(topology.get(service, ()) for service in services))
    listed = [service for id_ in ids if (service := catalogue.services.get(id_)) is not None]
    return {name for service in listed for name in (service.id, service.name, *service.aliases)} | ids

"""What the catalogue says of the services that an incident affects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from app.domain import catalogue
from app.domain.enrichment import About, Found
from app.surroundings import Enrichment

if TYPE_CHECKING:
    from app.enrichers.base import Stores
    from app.net.http import Http
    from app.store.catalogue import CatalogueStore

SHOWN = 5


@dataclass(frozen=True)
class Service:
    store: CatalogueStore
    timeout_secs: float
    name: ClassVar[str] = "service"
    external: ClassVar[bool] = False

    @classmethod
    def configured(cls, said: Enrichment, _: Http, stores: Stores) -> Self | None:
        return cls(stores.catalogue, said.patience(cls.name, 2)) if said.enable_service else None

    def key(self, about: About) -> str:
        return "\0".join(about.called)

    async def look_up(self, about: About) -> Found | None:
        known = (await self.store.catalogue()).find(about.called)
        if not known:
            return None
        summary = "; ".join(told(service) for service in known[:SHOWN])
        data: dict[str, object] = {"services": [service.model_dump(mode="json") for service in known[:SHOWN]]}
        return Found(summary=summary, data=data, at=about.at, source="service catalogue")


def told(service: catalogue.Service) -> str:
    """In a line, what helps first."""
    facts = [f"tier {service.tier}" if service.tier else "", service.lifecycle or ""]
    facts += [f"owned by {service.owner}" if service.owner else ""]
    facts += [f"runbook {service.runbook_url}" if service.runbook_url else ""]
    facts += [f"needs {', '.join(service.dependencies[:5])}" if service.dependencies else ""]
    return f"{service.name}: {', '.join(fact for fact in facts if fact) or service.description or 'in the catalogue'}"

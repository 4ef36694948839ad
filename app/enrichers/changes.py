"""What was changed shortly before, on the service itself or on what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from app.domain.change import Change, nearest
from app.domain.enrichment import About, Found, ago, cut
from app.surroundings import Enrichment

if TYPE_CHECKING:
    from app.enrichers.base import Stores
    from app.net.http import Http
    from app.store.catalogue import CatalogueStore
    from app.store.changes import ChangeStore

HOPS = 2
SHOWN = 3


@dataclass(frozen=True)
class Changes:
    store: ChangeStore
    catalogue: CatalogueStore
    window: timedelta
    timeout_secs: float
    name: ClassVar[str] = "changes"
    external: ClassVar[bool] = False

    @classmethod
    def configured(cls, said: Enrichment, _: Http, stores: Stores) -> Self | None:
        if not said.enable_changes:
            return None
        window = timedelta(seconds=said.changes_window_secs)
        return cls(stores.changes, stores.catalogue, window, said.patience(cls.name, 2))

    def key(self, about: About) -> str:
        """A change may be reported a moment after what it caused: each minute asks anew."""
        return "\0".join((f"{about.at:%F %R}", about.environment or "", *about.called))

    async def look_up(self, about: About) -> Found | None:
        catalogue = await self.catalogue.catalogue()
        known = catalogue.find(about.called)
        far = dict.fromkeys((name.casefold() for name in about.called), 0)
        for id_, hops in catalogue.reach((service.id for service in known), HOPS).items():
            service = catalogue.services.get(id_)
            for name in service.names if service else (id_.casefold(),):
                far.setdefault(name, hops)
        if not far:
            return None
        since = min(about.started_at, about.at) - self.window
        found = await self.store.between(since, about.at, tuple(far), about.environment)
        best = nearest(found, far, about.at, self.window)[:SHOWN]
        if not best:
            return None
        summary = "; ".join(_told(one, about) for one in best)
        data: dict[str, object] = {"changes": [one.model_dump(mode="json", exclude={"details"}) for one in best]}
        return Found(summary=summary, data=data, at=about.at, source="change events")


def _told(change: Change, about: About) -> str:
    by = f" by {change.author}" if change.author else ""
    where = f" ({', '.join(change.services[:3])})" if change.services else ""
    return f"{ago(change.at, about.at)}{by}: {cut(change.summary, 140)}{where}"

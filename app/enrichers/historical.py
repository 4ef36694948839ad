"""What was like this before, and what resolved it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from app.domain.enrichment import About, Found, ago, cut
from app.surroundings import Enrichment

if TYPE_CHECKING:
    from app.enrichers.base import Stores
    from app.net.http import Http
    from app.store.history import HistoryStore

FOUND = 5
NOTE = 2000


@dataclass(frozen=True)
class Historical:
    store: HistoryStore
    since: timedelta
    threshold: float
    timeout_secs: float
    name: ClassVar[str] = "historical"
    external: ClassVar[bool] = False

    @classmethod
    def configured(cls, said: Enrichment, _: Http, stores: Stores) -> Self | None:
        if not said.enable_historical:
            return None
        back = timedelta(days=said.history_days)
        return cls(stores.history, back, said.similarity_threshold, said.patience(cls.name, 2))

    def key(self, about: About) -> str:
        return words(about)

    async def look_up(self, about: About) -> Found | None:
        alike = await self.store.alike(
            words(about), but=about.incident_id, since=about.at - self.since, threshold=self.threshold, limit=FOUND
        )
        if not alike:
            return None
        best = alike[0]
        how = best.resolution_notes or best.root_cause
        said = f"“{cut(best.title, 120)}”, resolved {ago(best.resolved_at, about.at)}"
        said += f" by {best.resolved_by}" if best.resolved_by else ""
        said += f": {cut(how, 200)}" if how else ""
        said += f" (and {len(alike) - 1} more)" if len(alike) > 1 else ""
        shown = [
            one.model_dump(mode="json")
            | {name: cut(text, NOTE) for name in ("root_cause", "resolution_notes") if (text := getattr(one, name))}
            for one in alike
        ]
        return Found(summary=said, data={"incidents": shown}, at=about.at, source="past incidents")


def words(about: About) -> str:
    """What is looked for, the title first."""
    return " ".join((about.title, about.description, *about.services))

"""Whose it is, and who of them is on call now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from app.domain import people
from app.domain.enrichment import About, Found
from app.domain.oncall import Schedule, on_duty
from app.surroundings import Enrichment

if TYPE_CHECKING:
    from app.enrichers.base import Stores
    from app.net.http import Http
    from app.store.catalogue import CatalogueStore
    from app.store.documents import DocumentStore


@dataclass(frozen=True)
class Team:
    catalogue: CatalogueStore
    documents: DocumentStore
    timeout_secs: float
    name: ClassVar[str] = "team"
    external: ClassVar[bool] = False

    @classmethod
    def configured(cls, said: Enrichment, _: Http, stores: Stores) -> Self | None:
        return cls(stores.catalogue, stores.documents, said.patience(cls.name, 2)) if said.enable_team else None

    def key(self, about: About) -> str:
        return "\0".join((about.assigned_team or "", *about.called))

    async def look_up(self, about: About) -> Found | None:
        owned = [service for service in (await self.catalogue.catalogue()).find(about.called) if service.owner]
        owner = owned[0].owner if owned else about.assigned_team
        if owner is None:
            return None
        why = f"owns {owned[0].name}" if owned else "assigned"
        found = await self.documents.get("teams", owner)
        if found is None:
            said = f"{owner} ({why})"
            return Found(summary=said, data={"owner": owner, "why": why}, at=about.at, source="directory")
        team = people.Team.model_validate(found.body)
        on_call = await self._on_call(team, about)
        names = ", ".join(user.name for user in on_call)
        duty = f"on call: {names}" if names else "nobody is on call" if team.on_call_schedule_id else "no schedule"
        data: dict[str, object] = {
            "owner": owner, "why": why, "team": team.id, "schedule": team.on_call_schedule_id,
            "on_call": [{"id": user.id, "name": user.name} for user in on_call],
        }  # fmt: skip
        return Found(summary=f"{team.name} ({why}); {duty}", data=data, at=about.at, source="directory")

    async def _on_call(self, team: people.Team, about: About) -> list[people.User]:
        schedule = team.on_call_schedule_id and await self.documents.get("schedules", team.on_call_schedule_id)
        if not schedule:
            return []
        ids = on_duty(Schedule.model_validate(schedule.body), about.at)
        users = {user.id: user for user in await self.documents.some({"users": ids})}
        return [people.User.model_validate(users[id_].body) for id_ in ids if id_ in users]

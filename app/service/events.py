"""Events, read. They come in as alerts do."""

from dataclasses import dataclass

from app.domain.access import Principal, Scope
from app.domain.representation import EventView
from app.domain.requests import EventPage, EventQuery
from app.store.database import answering
from app.store.events import EventStore


@dataclass(frozen=True)
class Events:
    store: EventStore

    async def get(self, who: Principal, event_id: str) -> EventView:
        """By our id or by its own. Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            return await self.store.get(event_id)

    async def list(self, who: Principal, query: EventQuery) -> EventPage:
        """The newest first. Raises: Forbidden, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            return await self.store.page(query)

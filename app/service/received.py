"""Alerts over all incidents, read."""

from dataclasses import dataclass

from app.domain.access import Principal, Scope
from app.domain.representation import AlertDetail
from app.domain.requests import AlertPage, AlertQuery
from app.store.database import answering
from app.store.received import ReceivedStore


@dataclass(frozen=True)
class Received:
    store: ReceivedStore

    async def get(self, who: Principal, alert_id: str) -> AlertDetail:
        """Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            return await self.store.get(alert_id)

    async def page(self, who: Principal, query: AlertQuery) -> AlertPage:
        """The newest first. Raises: Forbidden, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            return await self.store.page(query)

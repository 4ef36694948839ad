"""Changes: deploys, flags, new prompts and models, as whoever makes them reports them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.domain.access import Principal, Scope
from app.domain.alert import ChangeEvent
from app.domain.change import Change
from app.domain.errors import Invalid
from app.sources.redaction import ALL_OUT, Redaction
from app.store.changes import ChangeStore
from app.store.database import answering

AHEAD = timedelta(minutes=5)
"""So far may the clock of whoever reports a change run before ours."""


@dataclass(frozen=True)
class Changes:
    store: ChangeStore
    redaction: Redaction = ALL_OUT

    async def record(self, who: Principal, change: ChangeEvent) -> Change:
        """Keeps a change; the same with the same moment twice is one. Raises: Forbidden, Invalid, Unavailable."""
        who.may(Scope.SEND_ALERTS)
        now = datetime.now(UTC)
        if change.at is not None and change.at > now + AHEAD:
            raise Invalid.field("at", "must not lie in the future")
        async with answering():
            return await self.store.record(self.redaction.change(change), now)

    async def list(self, who: Principal, since: datetime, service: str | None, limit: int) -> "list[Change]":
        """The newest first. Raises: Forbidden, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            return await self.store.list(since, service, limit)

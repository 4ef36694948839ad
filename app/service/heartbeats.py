"""Heartbeats: who pings is well, and whose incident it was is resolved."""

from dataclasses import dataclass
from datetime import UTC, datetime

from activities.watching import KIND, Watching
from app.domain.access import Principal, Scope
from app.domain.errors import NotFound
from app.domain.heartbeat import Beats, Heartbeat, Pulse, standing
from app.domain.record import Record
from app.domain.requests import Document
from app.store.database import answering


class HeartbeatStatus(Record):
    """How a heartbeat does. It is late from `due_at` on, and an incident from `overdue_at` on.

    `failing_since`: when its incident was opened; null while it is well.
    """

    id: str
    name: str
    status: Pulse
    last_ping_at: datetime | None
    due_at: datetime
    overdue_at: datetime
    failing_since: datetime | None


@dataclass(frozen=True)
class Heartbeats:
    watching: Watching

    async def ping(self, who: Principal, id_: str) -> HeartbeatStatus:
        """It is alive; what its silence has opened is resolved. Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.SEND_ALERTS)
        now = datetime.now(UTC)
        async with answering():
            document = await self._written(id_)
            await self.watching.heartbeats.ping(id_, now)
            if (wrong := await self.watching.detecting.reporting.episodes.of(subject(document))) is not None:
                await self.watching.end(wrong, "It pinged again.")
            return await self._status(document, now)

    async def status(self, who: Principal, id_: str) -> HeartbeatStatus:
        """Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            return await self._status(await self._written(id_), datetime.now(UTC))

    async def _written(self, id_: str) -> Document:
        document = await self.watching.documents.get(KIND, id_)
        if document is None:
            raise NotFound("heartbeat", id_)
        return document

    async def _status(self, document: Document, now: datetime) -> HeartbeatStatus:
        heartbeat = Heartbeat.model_validate(document.body)
        beats = await self.watching.heartbeats.beats(heartbeat.id) or Beats(document.updated_at)
        resumed = await self.watching.heartbeats.watched_since(now)
        wrong = await self.watching.detecting.reporting.episodes.of(heartbeat.subject)
        failing = wrong is not None and not wrong.over
        found = standing(heartbeat, beats, resumed, now, failing=failing)
        return HeartbeatStatus(
            id=heartbeat.id, name=heartbeat.name, status=found.pulse, last_ping_at=beats.at, due_at=found.due_at,
            overdue_at=found.overdue_at, failing_since=wrong.since if wrong and failing else None,
        )  # fmt: skip


def subject(document: Document) -> str:
    """What a heartbeat's episodes are known by."""
    return Heartbeat.model_validate(document.body).subject

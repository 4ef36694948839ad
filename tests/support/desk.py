"""A desk at which messages to one receiver are sent by two processes, and PostgreSQL's clock is moved by hand."""

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from app.config import Bundling, RateLimit
from app.domain.notification import Delayed, Delivery
from app.domain.representation import NotificationView
from app.domain.vocabulary import ChannelName, DeliveryStatus, MessageKind, Wanted
from app.store.database import Pool, pool
from app.store.deliveries import Claimed, DeliveryStore
from app.store.messages import MessageStore
from tests.support.databases import another_database

EMAIL = ChannelName.EMAIL
Answer = Claimed | Delayed | None


class Desk:
    """Incidents with one page each to the same receiver, and two processes that send them."""

    def __init__(self, connections: Pool, bundling: Bundling, limit: RateLimit | None = None) -> None:
        limits = {EMAIL: limit} if limit else {}
        self.pool = connections
        self.stores = [DeliveryStore(connections, limits, bundling) for _ in range(2)]
        self.messages = MessageStore(connections)
        self.receiver = f"{uuid.uuid4()}@example.com"

    @property
    def store(self) -> DeliveryStore:
        return self.stores[0]

    async def decides(
        self, count: int, severity: str = "P2", kind: MessageKind = MessageKind.CREATED, channel: ChannelName = EMAIL
    ) -> list[str]:
        """The keys of as many pages, of an incident each."""
        return [await self._page(severity, kind, channel) for _ in range(count)]

    async def _page(self, severity: str, kind: MessageKind, channel: ChannelName) -> str:
        incident = uuid.uuid4()
        await self.pool.execute(
            "INSERT INTO incidents (id, fingerprint, source, title, description, category, incident_type, severity,"
            " reported_severity, status, created_at, updated_at, last_seen_at, last_firing_at)"
            " VALUES ($1::uuid, $1::text, 'storm', 'a title', '', 'other', 'Unknown', $2, $2, 'NEW', now(), now(),"
            " now(), now())",
            incident, severity,
        )  # fmt: skip
        page = Delivery(
            id="", key=f"{incident}/0", incident_id=str(incident), kind=kind, wanted=Wanted.UNTAKEN, cycle=0, rung=0,
            level=1, target="user:alice", channel=channel, address={"email": self.receiver},
        )  # fmt: skip
        await self.messages.decide([page])
        return page.key

    async def claims(self, key: str, store: int = 0) -> Answer:
        return await self.stores[store].claim(key)

    async def status(self, key: str) -> DeliveryStatus:
        return (await self.store.end(key))[0]

    async def shown(self, key: str) -> NotificationView:
        [shown] = await self.store.of_incident(key.partition("/")[0])
        return shown

    async def passes(self, time: timedelta) -> None:
        """Everything that is remembered of this receiver, and of the limits, happened so much earlier."""
        await self.pool.execute(
            "UPDATE deliveries SET claimed_at = claimed_at - $2::interval, slot_at = slot_at - $2::interval,"
            " delayed_until = delayed_until - $2::interval WHERE address->>'email' = $1",
            self.receiver, time,
        )  # fmt: skip
        await self.pool.execute("UPDATE rates SET full_at = full_at - $1::interval", time)

    async def takes(self, key: str) -> None:
        """Somebody takes the incident, which PostgreSQL shows as its projection would."""
        incident = key.partition("/")[0]
        await self.pool.execute("UPDATE incidents SET status = 'ACKNOWLEDGED' WHERE id = $1", uuid.UUID(incident))
        await self.pool.execute(
            "UPDATE deliveries SET status = 'cancelled' WHERE key = $1 AND status IN ('pending', 'sending')", key
        )

    async def raises(self, key: str, severity: str) -> None:
        incident = key.partition("/")[0]
        await self.pool.execute("UPDATE incidents SET severity = $2 WHERE id = $1", uuid.UUID(incident), severity)


@asynccontextmanager
async def a_database(beside: str) -> AsyncIterator[Pool]:
    """Where no other messages wait."""
    async with another_database(beside) as url, pool(url, 20) as connections:
        yield connections


def sent(answers: Sequence[Answer]) -> list[Claimed]:
    return [answer for answer in answers if isinstance(answer, Claimed)]


def waits(answers: Sequence[Answer]) -> list[float]:
    """Seconds, the shortest first."""
    return sorted(answer.secs for answer in answers if isinstance(answer, Delayed))

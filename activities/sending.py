"""Sending pages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from app.domain.notification import Delivery, Message, Undelivered
from app.domain.record import Record
from app.domain.vocabulary import ChannelName, DeliveryStatus

if TYPE_CHECKING:
    from app.channels.base import Channel
    from app.domain.representation import IncidentView
    from app.store.deliveries import DeliveryStore

HEARTBEAT = timedelta(seconds=1)


class Send(Record):
    """One page, by the key under which it was decided."""

    key: str


class GiveUp(Record):
    key: str
    reason: str


class Sent(Record):
    """`not_needed`: sent already, or somebody has taken the incident meanwhile."""

    outcome: Literal["sent", "not_needed"]


@dataclass(frozen=True)
class Sending:
    """`link` makes the address of an incident; `took` is told channel and seconds of every page that was taken."""

    channels: Mapping[ChannelName, Channel]
    deliveries: DeliveryStore
    link: Callable[[str], str]
    took: Callable[[str, float], None]

    @activity.defn(name="sending.send")
    async def send(self, ask: Send) -> Sent:
        """Hands one page to its provider. The try is on record before it begins, under the page's key.

        A worker that dies between the provider's answer and our record sends again, with the same key;
        a provider that takes a key tells nobody twice.

        Raises: ApplicationError `undelivered`, retried after the provider's own delay, or not at all when
        it never will be taken.
        """
        claimed = await self.deliveries.claim(ask.key)
        if claimed is None:
            return await self._ended(ask.key)
        delivery, incident = claimed
        channel = self.channels[delivery.channel]
        began = asyncio.get_running_loop().time()
        try:
            async with _heartbeats():
                receipt = await channel.send(self._message(delivery, incident), channel.Address(**delivery.address))
                self.took(delivery.channel, asyncio.get_running_loop().time() - began)
                await self.deliveries.sent(ask.key, receipt.reference)
        except Undelivered as no:
            await self.deliveries.not_sent(ask.key, str(no), for_good=no.retry_after is None)
            raise ApplicationError(
                f"{delivery.channel}: {no}", type="undelivered", non_retryable=no.retry_after is None,
                next_retry_delay=no.retry_after, category=ApplicationErrorCategory.BENIGN,
            ) from no  # fmt: skip
        return Sent(outcome="sent")

    async def _ended(self, key: str) -> Sent:
        """What came of a page that is not to be sent any more, perhaps by a try whose end nobody heard of."""
        status, error = await self.deliveries.end(key)
        if status is DeliveryStatus.FAILED:
            raise ApplicationError(error or "given up", type="undelivered", non_retryable=True)
        return Sent(outcome="sent" if status is DeliveryStatus.SENT else "not_needed")

    @activity.defn(name="sending.give_up")
    async def give_up(self, ask: GiveUp) -> None:
        """Notes that a page will not be tried again. Twice is once."""
        await self.deliveries.not_sent(ask.key, ask.reason, for_good=True)

    def _message(self, delivery: Delivery, incident: IncidentView) -> Message:
        return Message(
            key=delivery.key, notification_id=delivery.id, incident_id=incident.id, level=delivery.level,
            target=delivery.target, title=incident.title, body=incident.description, link=self.link(incident.id),
            severity=incident.severity, incident=incident.model_dump(mode="json"),
        )  # fmt: skip


@contextlib.asynccontextmanager
async def _heartbeats() -> AsyncIterator[None]:
    """So that Temporal notices within seconds when this worker dies in the middle of a send."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT.total_seconds())
            activity.heartbeat()

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()

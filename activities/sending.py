"""Sending messages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from app.domain.notification import Delayed, Delivery, Message, Unasked, Undelivered
from app.domain.record import Record
from app.domain.vocabulary import ChannelName, DeliveryStatus

if TYPE_CHECKING:
    from app.channels.base import Channel
    from app.store.deliveries import Claimed, DeliveryStore

Words = Callable[[Message, ChannelName, str | None], Awaitable[tuple[Message, str | None]]]
"""A message in the words of the team's own template, if there is one, and what is wrong with that one."""

HEARTBEAT = timedelta(seconds=1)
FIRST_WAIT = timedelta(seconds=0.25)
LONGEST_WAIT = timedelta(seconds=15)
"""A receiver that was down has its page so soon after it is back (chosen: between that and what trying costs)."""


class Send(Record):
    """One message, by the key under which it was decided."""

    key: str


class GiveUp(Record):
    key: str
    reason: str


class Sent(Record):
    """`not_needed`: sent already, or somebody has taken the incident meanwhile."""

    outcome: Literal["sent", "not_needed"]


@dataclass(frozen=True)
class Sending:
    """`link` makes the address of an incident, `one_click` the one that acknowledges it for whom a message is for;

    `took` is told channel and seconds of every message that was taken.
    """

    channels: Mapping[ChannelName, Channel]
    deliveries: DeliveryStore
    link: Callable[[str], str]
    took: Callable[[str, float], None]
    words: Words
    one_click: Callable[[Delivery], Awaitable[str | None]]

    @activity.defn(name="sending.send")
    async def send(self, ask: Send) -> Sent:
        """Hands one message to its provider. The try is on record before it begins, under the message's key.

        A worker that dies between the provider's answer and our record sends again, with the same key;
        a provider that takes a key tells nobody twice.

        Raises: ApplicationError `undelivered`, retried after the provider's own delay, after a storm's or a rate
        limit's, when a circuit breaker lets somebody look again, or not at all when it never will be taken.
        """
        async with _heartbeats():
            claimed = await self.deliveries.claim(ask.key)
            if claimed is None:
                return await self._ended(ask.key)
            if isinstance(claimed, Delayed):
                after = timedelta(seconds=claimed.secs)
                raise _again(f"delayed until {claimed.until:%F %T} UTC: {claimed.reason}", after)
            handing_over = self._hand_over(claimed)
            # Who is told along with an incident that is taken in this moment must be told all the same, and once.
            await (_to_the_end(handing_over) if claimed.bundled else handing_over)
        return Sent(outcome="sent")

    async def _hand_over(self, claimed: Claimed) -> None:
        """Raises: ApplicationError."""
        delivery = claimed.delivery
        try:
            channel = self.channels.get(delivery.channel)
            if channel is None:
                raise Undelivered("is switched off")
            plain = await self._message(claimed)
            message, problem = await self.words(plain, delivery.channel, delivery.template)
            began = asyncio.get_running_loop().time()
            receipt = await channel.send(message, channel.Address(**delivery.address))
        except Unasked as resting:
            await self.deliveries.not_sent(claimed.keys, str(resting), resting.retry_after, tried=False)
            raise _again(f"{delivery.channel}: {resting}", resting.retry_after) from resting
        except Undelivered as no:
            again_after = _patiently(no.retry_after, delivery.attempts)
            await self.deliveries.not_sent(claimed.keys, str(no), again_after)
            raise _again(f"{delivery.channel}: {no}", again_after) from no
        self.took(delivery.channel, asyncio.get_running_loop().time() - began)
        await _to_the_end(self.deliveries.sent(claimed.keys, receipt, problem))

    async def _message(self, claimed: Claimed) -> Message:
        delivery, incident = claimed.delivery, claimed.incident
        bundled = [other.model_copy(update={"link": self.link(other.incident_id)}) for other in claimed.bundled]
        return Message(
            key=delivery.key, notification_id=delivery.id, incident_id=incident.id, kind=delivery.kind,
            level=delivery.level, target=delivery.target, title=incident.title, body=incident.description,
            link=self.link(incident.id), severity=incident.severity, status=incident.status, by=delivery.by,
            incident=incident.model_dump(mode="json"), thread=claimed.thread, bundled=tuple(bundled),
            acknowledge_url=await self.one_click(delivery) if not bundled else None,
        )  # fmt: skip

    async def _ended(self, key: str) -> Sent:
        """What came of a message that is not to be sent any more, perhaps by a try whose end nobody heard of."""
        status, error = await self.deliveries.end(key)
        if status is DeliveryStatus.FAILED:
            raise _again(error or "given up", None)
        return Sent(outcome="sent" if status in (DeliveryStatus.SENT, DeliveryStatus.DELIVERED) else "not_needed")

    @activity.defn(name="sending.give_up")
    async def give_up(self, ask: GiveUp) -> None:
        """Notes that a message will not be tried again. Twice is once."""
        await self.deliveries.not_sent([ask.key], ask.reason, None)


def _patiently(asked: timedelta | None, tries: int) -> timedelta | None:
    """The channel's own delay, and longer with every try: a hundred pages to a dead receiver leave room for others."""
    return None if asked is None else max(asked, min(FIRST_WAIT * 2 ** min(tries, 10), LONGEST_WAIT))


def _again(said: str, after: timedelta | None) -> ApplicationError:
    """What tells Temporal to try again after a while, or (None) never."""
    return ApplicationError(
        said, type="undelivered", non_retryable=after is None, next_retry_delay=after,
        category=ApplicationErrorCategory.BENIGN,
    )  # fmt: skip


async def _to_the_end(work: Coroutine[None, None, None]) -> None:
    """Does it, also when this activity is called off meanwhile."""
    task = asyncio.create_task(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    task.result()


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

"""Rate limits and storms: what waits, what is bundled, and that nothing is lost or told twice, whatever dies."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from app.config import Bundling, RateLimit
from app.domain.notification import Delayed, Delivery, Receipt
from app.domain.vocabulary import ChannelName, DeliveryStatus, MessageKind, Wanted
from app.store.database import Pool
from app.store.deliveries import Claimed, DeliveryStore
from app.store.messages import MessageStore

EMAIL = ChannelName.EMAIL


class Desk:
    """Incidents with one page each to the same receiver, and two processes that send them."""

    def __init__(self, pool: Pool, bundling: Bundling, limit: RateLimit | None) -> None:
        limits = {EMAIL: limit} if limit else {}
        self.pool = pool
        self.stores = [DeliveryStore(pool, limits, bundling) for _ in range(2)]
        self.messages = MessageStore(pool)
        self.receiver = f"{uuid.uuid4()}@example.com"

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

    async def claims(self, key: str, store: int = 0) -> Claimed | Delayed | None:
        return await self.stores[store].claim(key)

    async def status(self, key: str) -> DeliveryStatus:
        return (await self.stores[0].end(key))[0]

    async def hours_pass(self) -> None:
        """Everything that is remembered of this receiver happened an hour ago."""
        await self.pool.execute(
            "UPDATE deliveries SET claimed_at = claimed_at - interval '1 hour', slot_at = slot_at - interval '1 hour',"
            " delayed_until = delayed_until - interval '1 hour' WHERE address->>'email' = $1",
            self.receiver,
        )  # fmt: skip

    async def takes(self, key: str) -> None:
        await self.pool.execute(
            "UPDATE incidents SET status = 'ACKNOWLEDGED' FROM deliveries d WHERE d.incident_id = incidents.id"
            " AND d.key = $1", key,
        )  # fmt: skip


@pytest.fixture
async def desk(connections: Pool) -> Desk:
    return Desk(connections, Bundling(after=3, window_secs=60), None)


@pytest.fixture
async def slow_desk(connections: Pool) -> AsyncIterator[Desk]:
    await connections.execute("DELETE FROM rates")
    yield Desk(connections, Bundling(enabled=False), RateLimit(requests_per_minute=60, burst=4))
    await connections.execute("DELETE FROM rates")


def sent(answers: Sequence[Claimed | Delayed | None]) -> list[Claimed]:
    return [answer for answer in answers if isinstance(answer, Claimed)]


async def storm(desk: Desk, count: int = 10) -> tuple[list[str], Claimed]:
    """After three pages that come alone, the others, and the message that stands for them."""
    for key in await desk.decides(3):
        assert isinstance(await desk.claims(key), Claimed)
        await desk.stores[0].sent(key, Receipt())
    keys = await desk.decides(count)
    held = [await desk.claims(key) for key in keys]
    assert all(isinstance(answer, Delayed) and 50 < answer.secs <= 60 for answer in held)
    await desk.hours_pass()
    [leader] = sent(await asyncio.gather(*(desk.claims(key, n % 2) for n, key in enumerate(keys))))
    return [leader.delivery.key, *(key for key in keys if key != leader.delivery.key)], leader


async def test_many_at_once_become_one_message_about_all_of_them(desk: Desk) -> None:
    keys, leader = await storm(desk)
    told = {leader.incident.id, *(other.incident_id for other in leader.bundled)}
    assert told == {key.partition("/")[0] for key in keys}
    assert {await desk.status(key) for key in keys} == {DeliveryStatus.SENDING}
    await desk.stores[0].sent(leader.delivery.key, Receipt(reference="one for all"))
    assert {await desk.status(key) for key in keys} == {DeliveryStatus.SENT}
    assert [await desk.claims(key) for key in keys] == [None] * len(keys)


async def test_the_worst_comes_alone_and_at_once(desk: Desk) -> None:
    keys = await desk.decides(20, severity="P0")
    answers = [await desk.claims(key) for key in keys]
    assert len(sent(answers)) == 20
    assert all(not answer.bundled for answer in sent(answers))


async def test_machines_are_told_one_by_one(desk: Desk) -> None:
    for channel in (ChannelName.WEBHOOK, ChannelName.PAGERDUTY):
        keys = await desk.decides(20, channel=channel)
        assert len(sent([await desk.claims(key) for key in keys])) == 20


async def test_a_bundle_that_fails_is_tried_again_as_it_was(desk: Desk) -> None:
    _keys, leader = await storm(desk)
    await desk.stores[0].not_sent(leader.delivery.key, "down", timedelta(seconds=5))
    again = await desk.claims(leader.delivery.key, 1)
    assert isinstance(again, Claimed)
    assert set(again.bundled) == set(leader.bundled)
    assert again.delivery.attempts == 2


async def test_a_receiver_that_refuses_one_message_for_good_is_told_by_another(desk: Desk) -> None:
    keys, leader = await storm(desk)
    await desk.stores[0].not_sent(leader.delivery.key, "no", None)
    assert await desk.status(leader.delivery.key) is DeliveryStatus.FAILED
    [other] = sent(await asyncio.gather(*(desk.claims(key) for key in keys[1:])))
    assert len(other.bundled) == len(keys) - 2


async def test_who_is_told_by_a_dead_worker_is_told_by_another(desk: Desk) -> None:
    keys, leader = await storm(desk)
    waiting = await desk.claims(keys[1], 1)
    assert isinstance(waiting, Delayed)
    assert waiting.secs <= 1
    await desk.hours_pass()
    [other] = sent([await desk.claims(key, 1) for key in keys[1:]])
    assert other.delivery.key != leader.delivery.key
    assert len(other.bundled) == len(keys) - 2


async def test_an_acknowledge_of_one_silences_only_that_one(desk: Desk) -> None:
    keys, leader = await storm(desk)
    await desk.takes(leader.delivery.key)
    await desk.stores[0].let_go(leader.delivery.key)
    assert await desk.claims(leader.delivery.key) is None
    [other] = sent(await asyncio.gather(*(desk.claims(key) for key in keys[1:])))
    assert leader.incident.id not in {o.incident_id for o in other.bundled}
    assert len(other.bundled) == len(keys) - 2


async def test_no_more_than_the_limit_goes_out_whoever_sends(slow_desk: Desk) -> None:
    keys = await slow_desk.decides(20)
    answers = await asyncio.gather(*(slow_desk.claims(key, n % 2) for n, key in enumerate(keys)))
    waits = sorted(answer.secs for answer in answers if isinstance(answer, Delayed))
    assert len(sent(answers)) == 4
    assert len(waits) == 16
    assert all(abs(wait - (n + 1)) < 0.9 for n, wait in enumerate(waits)), "each has a place in the queue"
    assert len({round(wait, 3) for wait in waits}) == 16


async def test_a_wait_is_no_try_and_is_shown(slow_desk: Desk) -> None:
    keys = await slow_desk.decides(5)
    answers = {key: await slow_desk.claims(key) for key in keys}
    [late] = [key for key, answer in answers.items() if isinstance(answer, Delayed)]
    [shown] = await slow_desk.stores[0].of_incident(late.partition("/")[0])
    assert (shown.status, shown.attempts, shown.last_error) == (DeliveryStatus.PENDING, 0, None)
    assert shown.delayed_until is not None
    await slow_desk.hours_pass()
    assert isinstance(await slow_desk.claims(late), Claimed)
    [shown] = await slow_desk.stores[0].of_incident(late.partition("/")[0])
    assert (shown.attempts, shown.delayed_until) == (1, None)


async def test_the_worst_does_not_queue(slow_desk: Desk) -> None:
    assert len(sent([await slow_desk.claims(key) for key in await slow_desk.decides(6, severity="P0")])) == 6
    [late] = [await slow_desk.claims(key) for key in await slow_desk.decides(1)]
    assert isinstance(late, Delayed)
    assert late.secs > 2, "but it counts"

"""Storms: what waits, what is bundled, and that nothing is lost or told twice, whatever dies."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from app.config import Bundling
from app.domain.notification import Delayed, Receipt
from app.domain.vocabulary import ChannelName, DeliveryStatus
from app.store.database import Pool
from app.store.deliveries import STALE, Claimed
from tests.support.desk import Desk, a_database, sent, waits

WINDOW = timedelta(seconds=60)
WHILE_AWAY = STALE + timedelta(seconds=1)


@pytest.fixture(scope="module")
async def storms(database_url: str) -> AsyncIterator[Pool]:
    async with a_database(database_url) as connections:
        yield connections


@pytest.fixture
async def desk(storms: Pool) -> Desk:
    return Desk(storms, Bundling(after=3, window_secs=WINDOW.total_seconds()))


async def storm(desk: Desk, count: int = 10) -> tuple[list[str], Claimed]:
    """After three pages that come alone: the others, the message that stands for them all first, and that one."""
    for key in await desk.decides(3):
        assert isinstance(await desk.claims(key), Claimed)
        await desk.store.sent([key], Receipt())
    keys = await desk.decides(count)
    held = [await desk.claims(key) for key in keys]
    assert len(waits(held)) == count
    assert all(50 < wait <= 60 for wait in waits(held))
    await desk.passes(WINDOW)
    [leader] = sent(await asyncio.gather(*(desk.claims(key, n % 2) for n, key in enumerate(keys))))
    return [leader.delivery.key, *(key for key in keys if key != leader.delivery.key)], leader


def told(message: Claimed) -> set[str]:
    """The incidents of which a message tells."""
    return {message.incident.id, *(other.incident_id for other in message.bundled)}


def incidents(keys: list[str]) -> set[str]:
    return {key.partition("/")[0] for key in keys}


async def test_many_at_once_become_one_message_about_all_of_them(desk: Desk) -> None:
    keys, leader = await storm(desk)
    assert told(leader) == incidents(keys)
    assert {await desk.status(key) for key in keys} == {DeliveryStatus.SENDING}
    await desk.store.sent(leader.keys, Receipt(reference="one for all"))
    assert {await desk.status(key) for key in keys} == {DeliveryStatus.SENT}
    assert [await desk.claims(key) for key in keys] == [None] * len(keys)
    shown = [await desk.shown(key) for key in keys]
    assert [one.told_by for one in shown] == [None, *[shown[0].id] * (len(keys) - 1)]


async def test_the_worst_comes_alone_and_at_once(desk: Desk) -> None:
    answers = [await desk.claims(key) for key in await desk.decides(20, severity="P0")]
    assert len(sent(answers)) == 20
    assert all(not answer.bundled for answer in sent(answers))


async def test_what_is_less_urgent_makes_nothing_wait(desk: Desk) -> None:
    assert len(waits([await desk.claims(key) for key in await desk.decides(9, severity="P3")])) == 6
    urgent = [await desk.claims(key) for key in await desk.decides(5, severity="P1")]
    assert (len(sent(urgent)), len(waits(urgent))) == (3, 2)
    assert waits([await desk.claims(key) for key in await desk.decides(1, severity="P2")])


async def test_what_becomes_the_worst_meanwhile_comes_alone_too(desk: Desk) -> None:
    for key in await desk.decides(3):
        assert isinstance(await desk.claims(key), Claimed)
    keys = await desk.decides(5)
    assert len(waits([await desk.claims(key) for key in keys])) == 5
    await desk.raises(keys[0], "P0")
    [alone] = sent([await desk.claims(key) for key in keys])
    assert told(alone) == incidents(keys[:1])
    await desk.passes(WINDOW)
    await desk.raises(keys[1], "P0")
    [bundle] = sent([await desk.claims(key) for key in keys[2:]])
    assert told(bundle) == incidents(keys[2:])


async def test_machines_are_told_one_by_one(desk: Desk) -> None:
    for channel in (ChannelName.WEBHOOK, ChannelName.PAGERDUTY):
        keys = await desk.decides(20, channel=channel)
        assert len(sent([await desk.claims(key) for key in keys])) == 20


async def test_a_bundle_that_fails_is_tried_again_as_it_was(desk: Desk) -> None:
    """Under the same key: a receiver that took the first try after all drops the second, and whatever is new in it."""
    keys, leader = await storm(desk)
    late = await desk.decides(3)
    assert sent([await desk.claims(key) for key in late])
    held = await desk.decides(3)
    assert waits([await desk.claims(key) for key in held])
    await desk.store.not_sent(leader.keys, "down", timedelta(seconds=5))
    again = await desk.claims(leader.delivery.key, 1)
    assert isinstance(again, Claimed)
    assert told(again) == incidents(keys)
    assert again.delivery.attempts == 2


async def test_a_bundle_waits_as_long_as_its_provider_wants(desk: Desk) -> None:
    keys, leader = await storm(desk)
    await desk.store.not_sent(leader.keys, "answered 429", timedelta(seconds=300))
    for minute in range(5):
        assert all(240 - minute * 60 < wait < 302 - minute * 60 for wait in await asked_again(desk, keys[1:]))
        await desk.passes(timedelta(seconds=60))
    [again] = sent([await desk.claims(key) for key in keys])
    assert told(again) == incidents(keys)


async def asked_again(desk: Desk, keys: list[str]) -> list[float]:
    answers = [await desk.claims(key) for key in keys]
    assert not sent(answers)
    assert len(waits(answers)) == len(keys)
    return waits(answers)


async def test_a_receiver_that_refuses_one_message_for_good_is_told_by_another(desk: Desk) -> None:
    keys, leader = await storm(desk)
    await desk.store.not_sent(leader.keys, "no", None)
    assert await desk.status(leader.delivery.key) is DeliveryStatus.FAILED
    [other] = sent(await asyncio.gather(*(desk.claims(key) for key in keys[1:])))
    assert told(other) == incidents(keys[1:])


async def test_who_is_told_by_a_dead_worker_is_told_by_another(desk: Desk) -> None:
    keys, leader = await storm(desk)
    assert max(await asked_again(desk, keys[1:])) <= 1.1
    await desk.passes(WHILE_AWAY)
    [other] = sent([await desk.claims(key, 1) for key in keys[1:]])
    assert told(other) == incidents(keys[1:])
    again = await desk.claims(leader.delivery.key)
    assert isinstance(again, Claimed)
    assert told(again) == {leader.incident.id}


async def test_an_acknowledge_of_one_silences_only_that_one(desk: Desk) -> None:
    keys, leader = await storm(desk)
    await desk.takes(leader.delivery.key)
    assert await desk.claims(leader.delivery.key) is None
    assert not sent([await desk.claims(key) for key in keys[1:]]), "it may be in a provider's hands"
    await desk.passes(WHILE_AWAY)
    [other] = sent(await asyncio.gather(*(desk.claims(key) for key in keys[1:])))
    assert told(other) == incidents(keys[1:])


@pytest.mark.parametrize("said", [DeliveryStatus.DELIVERED, DeliveryStatus.FAILED])
async def test_a_providers_word_about_a_bundle_is_about_all_of_it(desk: Desk, said: DeliveryStatus) -> None:
    keys, leader = await storm(desk)
    await desk.store.sent(leader.keys, Receipt())
    heard = []
    for one in await desk.store.together(leader.delivery.id):
        async with desk.store.receipt(one, said, None) as news:
            heard.append(news)
    assert {news[1] for news in heard if news} == set(keys)
    assert {await desk.status(key) for key in keys} == {said}


async def test_a_providers_word_may_be_faster_than_its_answer(desk: Desk) -> None:
    [key] = await desk.decides(1)
    claimed = await desk.claims(key)
    assert isinstance(claimed, Claimed)
    async with desk.store.receipt(claimed.delivery.id, DeliveryStatus.DELIVERED, None) as news:
        assert news
    await desk.store.sent(claimed.keys, Receipt(reference="r"))
    shown = await desk.shown(key)
    assert (shown.status, shown.delivered_at is not None) == (DeliveryStatus.DELIVERED, True)


async def test_a_providers_word_is_noted_once_everybody_has_heard_of_it(desk: Desk) -> None:
    [key] = await desk.decides(1)
    claimed = await desk.claims(key)
    assert isinstance(claimed, Claimed)
    await desk.store.sent(claimed.keys, Receipt())
    with pytest.raises(ConnectionError):
        async with desk.store.receipt(claimed.delivery.id, DeliveryStatus.FAILED, "bounced"):
            raise ConnectionError("Temporal is away")
    assert await desk.status(key) is DeliveryStatus.SENT
    async with desk.store.receipt(claimed.delivery.id, DeliveryStatus.FAILED, "bounced") as news:
        assert news
    async with desk.store.receipt(claimed.delivery.id, DeliveryStatus.FAILED, "bounced") as news:
        assert news is None


class Life:
    """Messages to one receiver, each tried until it ends, as Temporal does it; what can go wrong is drawn at random.

    The receiver takes keys: what comes under one that it knows it throws away, and counts who was told before.
    """

    def __init__(self, desk: Desk, keys: list[str], seed: int) -> None:
        self.desk, self.keys, self.random = desk, keys, random.Random(seed)
        self.under_way: dict[str, Claimed] = {}
        self.ended: set[str] = set()
        self.unneeded: set[str] = set()
        self.refused: set[str] = set()
        self.known: set[str] = set()
        self.heard: Counter[str] = Counter()
        self.silent = False
        """Nobody will ever hear that a message was received: its worker died, and then was away for too long or its
        incident was taken. Those it stood for may be told twice."""

    def unsure(self) -> set[str]:
        """What was received, and whoever sent it does not know."""
        return self.known - self.ended - set(self.under_way)

    async def runs(self) -> None:
        steps = [self.tries] * 5 + [self.ends] * 3 + [self.dies, self.is_taken] + [self.waits] * 3
        for _ in range(100):
            await self.random.choice(steps)()
        while left := [key for key in self.keys if key not in self.ended]:
            for _ in range(len(left)):
                await self.tries()
            while self.under_way:
                await self.ends()
            await self.desk.passes(timedelta(seconds=5))

    async def tries(self) -> None:
        """As many at once as there are processes."""
        free = [key for key in self.keys if key not in self.ended and key not in self.under_way]
        chosen = self.random.sample(free, min(2, len(free)))
        for key, answer in zip(
            chosen, await asyncio.gather(*(self.desk.claims(k, n) for n, k in enumerate(chosen))), strict=True
        ):
            if answer is None:
                self.ended.add(key)
            elif isinstance(answer, Claimed):
                self.under_way[key] = answer

    async def ends(self) -> None:
        if not self.under_way:
            return
        key = self.random.choice(list(self.under_way))
        message = self.under_way.pop(key)
        match self.random.choice(["taken", "taken", "later", *([] if key in self.known else ["never"])]):
            case "taken":
                self._hears(message)
                await self.desk.store.sent(message.keys, Receipt(reference=key))
                self.ended.add(key)
            case "later":
                await self.desk.store.not_sent(message.keys, "down", timedelta(seconds=3))
                self.silent = self.silent or key in self.known & self.unneeded
            case "never":
                await self.desk.store.not_sent(message.keys, "no", None)
                self.refused.add(key)
                self.ended.add(key)

    async def dies(self) -> None:
        """Of a worker nothing is heard any more, perhaps after the receiver took what it sent."""
        if self.under_way:
            key = self.random.choice(list(self.under_way))
            message = self.under_way.pop(key)
            if self.random.random() < 0.5:
                self._hears(message)
            self.silent = self.silent or key in self.known & self.unneeded

    async def is_taken(self) -> None:
        """An incident is; a message that tells of others goes on all the same."""
        free = [key for key in self.keys if key not in self.unneeded]
        if free:
            key = self.random.choice(free)
            await self.desk.takes(key)
            self.unneeded.add(key)
            self.silent = self.silent or key in self.unsure()
            if key in self.under_way and not self.under_way[key].bundled:
                del self.under_way[key]

    async def waits(self) -> None:
        """Nothing is under way for longer than a send may take."""
        if self.under_way:
            await self.desk.passes(timedelta(seconds=1))
        elif not self.unsure() or self.random.random() < 0.1:
            self.silent = self.silent or bool(self.unsure())
            await self.desk.passes(WINDOW)

    def _hears(self, message: Claimed) -> None:
        if message.delivery.key not in self.known:
            self.known.add(message.delivery.key)
            self.heard.update(told(message))


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_happens_everybody_is_told_and_nobody_twice(desk: Desk, seed: int) -> None:
    keys = [*await desk.decides(12), *await desk.decides(2, severity="P0")]
    life = Life(desk, keys, seed)
    await life.runs()
    for key in keys:
        times, status = life.heard[key.partition("/")[0]], await desk.status(key)
        if key not in life.unneeded | life.refused:
            assert (times >= 1, status) == (True, DeliveryStatus.SENT)
        if status is DeliveryStatus.SENT:
            assert times >= 1
        assert times <= 1 or life.silent


async def test_a_hundred_that_wake_at_once_hold_nobody_up(desk: Desk) -> None:
    keys, leader = await storm(desk, 100)
    assert told(leader) == incidents(keys)
    assert {isinstance(answer, Delayed) for answer in [await desk.claims(key) for key in keys[1:]]} == {True}

"""Delivery: what is sent is on record as it was, however long it takes and however many there are."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TypeVar

import pytest
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.sending import Send, Sending
from app.channels.base import Channel
from app.config import Bundling, Correlation, Notifications, RateLimit, Settings, Smtp, Storage, Temporal
from app.crew import crew, enriching
from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.alert import Alert
from app.domain.incident import CommandKind
from app.domain.notification import Delayed, Delivery, Message, Receipt
from app.domain.record import Record
from app.domain.representation import NotificationView
from app.domain.requests import Ask
from app.domain.vocabulary import ChannelName, DeliveryStatus
from app.runtime import Gateway, channels, services, temporal_client
from app.stack import temporal
from app.store.database import Pool
from tests.support.desk import Desk, a_database, sent, waits
from tests.support.receivers import HttpReceiver, Reply, Request, http_receiver, mail_receiver
from workers.roster import workers
from workflows import names

T = TypeVar("T")
CALM = Bundling(enabled=False)
SENDING, PENDING = DeliveryStatus.SENDING, DeliveryStatus.PENDING


@pytest.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Pool]:
    async with a_database(database_url) as connections:
        yield connections


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[Client]:
    async with temporal() as address:
        yield await temporal_client(Temporal(address=address), lazy=False)


@dataclass
class House:
    """The product in this process, over real PostgreSQL, Temporal and channels."""

    gateway: Gateway

    async def opens(self, address: str) -> str:
        """The id of an incident that pages an address."""
        source = str(uuid.uuid4())
        levels = [{"targets": [{"type": "external", "id": address}], "escalate_after_secs": 3600}]
        policy = {"name": source, "conditions": {"source": [source]}, "priority": 9, "levels": levels}
        await self.gateway.documents.put(ME, "escalation-policies", source, policy)
        [answer] = await self.gateway.alerts.ingest(ME, [Alert(source=source, title="slow model", identity=source)])
        return answer.incident_id or ""

    async def page(self, incident: str) -> NotificationView:
        """Its page, once it is decided."""
        return (await until(lambda: self.gateway.incidents.notifications(ME, incident), bool))[0]

    async def becomes(self, incident: str, good: Callable[[NotificationView], bool]) -> NotificationView:
        """Its page, once it is so."""
        return await until(lambda: self.page(incident), good)

    async def takes(self, incident: str) -> None:
        await self.gateway.incidents.ask(ME, incident, Ask(kind=CommandKind.ACKNOWLEDGE))


async def until(look: Callable[[], Awaitable[T]], good: Callable[[T], bool], within: float = 20) -> T:
    """What is seen once it is good."""
    async with asyncio.timeout(within):
        while not good(seen := await look()):
            await asyncio.sleep(0.02)
    return seen


def is_sent(page: NotificationView) -> bool:
    return page.status in (DeliveryStatus.SENT, DeliveryStatus.DELIVERED)


@asynccontextmanager
async def house(
    database: Pool, client: Client, said: Notifications, own: dict[ChannelName, Channel] | None = None
) -> AsyncIterator[House]:
    settings = Settings(
        storage=Storage(connection_string=SecretStr("postgresql://elsewhere")), notifications=said,
        correlation=Correlation(enabled=False),
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        ways = {**await stack.enter_async_context(channels(settings)), **(own or {})}
        gateway = services(settings, database, client, ways)
        around = await stack.enter_async_context(enriching(settings, database))
        for worker in workers(client, crew(settings, database, ways, around)):
            await stack.enter_async_context(worker)
        dispatching = asyncio.create_task(gateway.dispatcher.run())
        try:
            yield House(gateway)
        finally:
            dispatching.cancel()


class Slow(HttpReceiver):
    """Answers after so many seconds."""

    secs = 9.0

    async def take(self, item: Request) -> None:
        await super().take(item)
        await asyncio.sleep(self.secs)


async def test_a_send_that_takes_nine_seconds_is_one_send_that_succeeds(database: Pool, client: Client) -> None:
    """Longer than two heartbeat timeouts, shorter than the deadline."""
    slow = Slow()
    await slow.comes_up()
    try:
        async with house(database, client, Notifications(bundling=CALM)) as made:
            incident = await made.opens(slow.url)
            await slow.received()
            assert (await made.page(incident)).status is SENDING
            page = await made.becomes(incident, is_sent)
            assert (page.attempts, page.last_error, len(slow.items)) == (1, None, 1)
    finally:
        await slow.goes_down()


async def test_what_a_mail_server_did_not_confirm_is_no_success(database: Pool, client: Client) -> None:
    async with mail_receiver() as server:
        server.hangs_at.add("DATA")
        smtp = Smtp(host="127.0.0.1", port=server.port, tls="plain", timeout_secs=1)
        async with house(database, client, Notifications(bundling=CALM, smtp=smtp)) as made:
            incident = await made.opens("ann@example.com")
            await server.hangs.wait()
            assert (await made.page(incident)).status is SENDING
            page = await made.becomes(incident, lambda page: page.status is PENDING)
            assert (page.sent_at, page.delayed_until is not None, page.last_error is not None) == (None, True, True)
            assert server.items == []
            server.hangs_at.clear()
            page = await made.becomes(incident, is_sent)
            assert (page.last_error, page.delayed_until, len(server.items)) == (None, None, 1)


async def test_a_receiver_says_how_long_to_wait(database: Pool, client: Client) -> None:
    loop, came = asyncio.get_running_loop(), []

    class Noting(HttpReceiver):
        async def take(self, item: Request) -> None:
            came.append(loop.time())
            await super().take(item)

    receiver = Noting()
    receiver.replies.append(Reply(429, {"retry-after": "3"}))
    await receiver.comes_up()
    try:
        async with house(database, client, Notifications(bundling=CALM)) as made:
            incident = await made.opens(receiver.url)
            page = await made.becomes(incident, lambda page: page.delayed_until is not None)
            assert (page.status, page.attempts) == (PENDING, 1)
            page = await made.becomes(incident, is_sent)
            assert (page.attempts, page.delayed_until) == (2, None)
            assert 3 <= came[1] - came[0] < 5
    finally:
        await receiver.goes_down()


async def test_a_limit_delays_and_never_skips(database: Pool, client: Client) -> None:
    limits = {ChannelName.WEBHOOK: RateLimit(requests_per_minute=40)}
    async with (
        http_receiver() as receiver,
        house(database, client, Notifications(bundling=CALM, rate_limits=limits)) as made,
    ):
        incidents = [await made.opens(receiver.url) for _ in range(4)]
        delayed = await until(
            lambda: asyncio.gather(*(made.page(one) for one in incidents)),
            lambda pages: sum(page.delayed_until is not None for page in pages) == 3,
        )
        assert {page.attempts for page in delayed if page.delayed_until} == {0}
        pages = [await made.becomes(one, is_sent) for one in incidents]
        assert [page.attempts for page in pages] == [1] * 4
        at = sorted(page.sent_at for page in pages if page.sent_at)
        assert all((then - since).total_seconds() > 1.3 for since, then in pairwise(at))
        assert len(receiver.items) == 4


@dataclass
class Gate:
    """A provider that takes everything, but nothing before it is open."""

    came: list[Message] = field(default_factory=list)
    took: list[Message] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    class Address(Record):
        """Any will do."""

    async def since_the_first(self) -> list[Message]:
        return self.came[1:]

    async def send(self, message: Message, to: Record) -> Receipt:
        self.came.append(message)
        await self.open.wait()
        self.took.append(message)
        return Receipt(reference="taken")


async def called_off(client: Client, incident: str) -> None:
    """Until the worker knows that what it sends for an incident is not wanted any more, by a heartbeat's answer."""
    handle, since = client.get_workflow_handle(names.workflow_id(incident)), datetime.now(UTC)

    async def heard() -> bool:
        pending = (await handle.describe()).raw_description.pending_activities
        return any(one.last_heartbeat_time.ToDatetime(UTC) > since for one in pending)

    await until(heard, bool)
    await asyncio.sleep(0.2)


async def test_in_a_storm_an_acknowledge_of_one_keeps_nothing_from_the_others(database: Pool, client: Client) -> None:
    """The incident whose message tells of the others is taken while that message is in the provider's hands."""
    gate, storms = Gate(), Bundling(after=1, window_secs=2)
    gate.open.set()
    async with house(database, client, Notifications(bundling=storms), {ChannelName.EMAIL: gate}) as made:
        first = await made.opens("storm@example.com")
        await made.becomes(first, is_sent)
        gate.open.clear()
        incidents = [await made.opens("storm@example.com") for _ in range(6)]
        bundle = (await until(gate.since_the_first, bool))[0]
        assert {bundle.incident_id, *(other.incident_id for other in bundle.bundled)} == set(incidents)
        await made.takes(bundle.incident_id)
        await made.becomes(bundle.incident_id, lambda page: page.status is DeliveryStatus.CANCELLED)
        await called_off(client, bundle.incident_id)
        gate.open.set()
        pages = [await made.becomes(one, is_sent) for one in incidents]
        assert sorted(page.told_by or "" for page in pages) == ["", *[bundle.notification_id] * 5]
        assert [message.key for message in gate.came if message.kind.page][1:] == [bundle.key]


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    """Four at once, then one a second."""
    async with a_database(database_url) as connections:
        yield Desk(connections, CALM, RateLimit(requests_per_minute=60, burst=4))


async def test_no_more_than_the_limit_goes_out_whoever_sends(desk: Desk) -> None:
    keys = await desk.decides(20)
    answers = await asyncio.gather(*(desk.claims(key, n % 2) for n, key in enumerate(keys)))
    assert len(sent(answers)) == 4
    assert all(abs(wait - (n + 1)) < 0.9 for n, wait in enumerate(waits(answers))), "each has a place in the queue"
    assert len({round(wait, 3) for wait in waits(answers)}) == 16


async def test_in_no_span_of_time_do_more_go_out_than_the_limit_says(database_url: str) -> None:
    burst, per_sec, slack = 3, 10, 0.15
    async with a_database(database_url) as connections:
        desk = Desk(connections, CALM, RateLimit(requests_per_minute=60 * per_sec, burst=burst))
        keys = await desk.decides(25)

        async def goes(key: str, store: int) -> None:
            while isinstance(answer := await desk.claims(key, store), Delayed):
                await asyncio.sleep(answer.secs)
            assert answer is not None

        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(goes(key, n % 2) for n, key in enumerate(keys)))
        took = asyncio.get_running_loop().time() - began
        rows = await connections.fetch("SELECT claimed_at AS at FROM deliveries ORDER BY claimed_at")
    at = [row["at"].timestamp() for row in rows]
    for n, since in enumerate(at):
        for more, then in enumerate(at[n:]):
            assert more + 1 <= burst + per_sec * (then - since + slack)
    assert took < 2 * (len(keys) - burst) / per_sec, "nor many fewer"


async def test_a_wait_is_no_try_and_is_shown(desk: Desk) -> None:
    keys = await desk.decides(5)
    [late] = [key for key in keys if isinstance(await desk.claims(key), Delayed)]
    shown = await desk.shown(late)
    assert (shown.status, shown.attempts, shown.last_error) == (PENDING, 0, None)
    assert shown.delayed_until is not None
    await desk.passes(timedelta(seconds=2))
    assert sent([await desk.claims(late)])
    shown = await desk.shown(late)
    assert (shown.attempts, shown.delayed_until) == (1, None)


async def test_the_worst_does_not_queue(desk: Desk) -> None:
    assert len(sent([await desk.claims(key) for key in await desk.decides(6, severity="P0")])) == 6
    [late] = waits([await desk.claims(key) for key in await desk.decides(1)])
    assert late > 2, "but it counts"


async def test_the_more_severe_goes_first(desk: Desk) -> None:
    await asyncio.gather(*(desk.claims(key) for key in await desk.decides(20, severity="P4")))
    [wait] = waits([await desk.claims(key) for key in await desk.decides(1, severity="P1")])
    assert wait <= 1


async def test_nobody_queues_behind_what_nobody_needs(desk: Desk) -> None:
    keys = await desk.decides(50)
    assert len(waits([await desk.claims(key) for key in keys])) == 46
    for key in keys:
        await desk.takes(key)
    [wait] = waits([await desk.claims(key) for key in await desk.decides(1)])
    assert wait <= 1


async def test_a_storm_takes_one_place_in_the_queue(database_url: str) -> None:
    async with a_database(database_url) as connections:
        limit, storms = RateLimit(requests_per_minute=1), Bundling(after=1, window_secs=30)
        desk, other = Desk(connections, storms, limit), Desk(connections, storms, limit)
        assert sent([await desk.claims(key) for key in await desk.decides(1)])
        keys = await desk.decides(10)
        assert len(waits([await desk.claims(key) for key in keys])) == 10
        await desk.passes(timedelta(seconds=31))
        assert all(20 < wait < 30 for wait in waits([await desk.claims(key) for key in keys]))
        [wait] = waits([await other.claims(key) for key in await other.decides(1)])
        assert 80 < wait < 90, "behind one message, not behind ten"
        await desk.passes(timedelta(seconds=30))
        [bundle] = sent([await desk.claims(key) for key in keys])
        assert len(bundle.keys) == 10


async def test_a_channel_that_was_switched_off_says_so_at_once(database: Pool) -> None:
    desk = Desk(database, CALM)
    [key] = await desk.decides(1)

    async def own_words(message: Message, _channel: ChannelName, _template: str | None) -> tuple[Message, str | None]:
        return message, None

    async def no_click(_delivery: Delivery) -> str | None:
        return None

    sending = Sending({}, desk.store, str, lambda _channel, _secs: None, own_words, no_click)
    with pytest.raises(ApplicationError) as refused:
        await ActivityEnvironment().run(sending.send, Send(key=key))
    assert refused.value.non_retryable
    shown = await desk.shown(key)
    assert (shown.status, shown.last_error) == (DeliveryStatus.FAILED, "is switched off")


async def test_what_is_due_or_in_hand_is_counted_as_waiting(desk: Desk) -> None:
    keys = await desk.decides(6)
    pages = sent([await desk.claims(key) for key in keys])
    assert (await desk.store.waiting(), len(pages)) == ({"email": 6}, 4)
    await desk.store.sent(pages[0].keys, Receipt())
    await desk.takes(keys[-1])
    await desk.pool.execute("UPDATE deliveries SET due_at = now() + interval '1 hour' WHERE key = $1", keys[-2])
    assert await desk.store.waiting() == {"email": 3}

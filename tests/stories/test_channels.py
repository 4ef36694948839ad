"""Pages on their way to real webhooks: what arrives, and what a receiver's trouble means for a page and for others."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from app.channels.webhook import Webhook
from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.notification import Undelivered
from app.domain.representation import NotificationView
from app.net.http import LOOPBACK, Http
from app.net.slots import Slots
from tests.support.pages import DEADLINE, PAGE
from tests.support.receivers import SILENCE, HttpReceiver, Reply, http_receiver
from tests.support.world import World

OLD, NEW = "whsec_b2xkIHNlY3JldCBvbGQgc2VjcmV0", "whsec_bmV3IHNlY3JldCBuZXcgc2VjcmV0"


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with Http(LOOPBACK, deadline_secs=DEADLINE) as made:
        yield made


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as up:
        yield up


def to(receiver: HttpReceiver) -> Webhook.Address:
    return Webhook.Address(url=receiver.url)


async def test_a_webhook_carries_the_page_and_both_signatures(http: Http, receiver: HttpReceiver) -> None:
    await Webhook(http, [SecretStr(NEW), SecretStr(OLD)]).send(PAGE, to(receiver))
    [request] = await receiver.received()
    said = json.loads(request.body)
    assert (said["type"], said["incident_id"], said["notification_id"]) == ("incident.page", "in-1", "no-1")
    assert (said["level"], said["target"], said["incident"]) == (1, "user:alice", PAGE.incident)
    assert abs(datetime.fromisoformat(said["timestamp"]) - datetime.now(UTC)) < timedelta(seconds=10)
    for secret in (NEW, OLD):
        assert Verifier(secret).verify(request.body, request.headers) == said
    with pytest.raises(WebhookVerificationError):
        Verifier("whsec_c29tZWJvZHkgZWxzZSdzIHNlY3JldA==").verify(request.body, request.headers)


async def test_sent_again_a_webhook_is_known_by_the_same_keys(http: Http, receiver: HttpReceiver) -> None:
    receiver.replies.append(Reply(503))
    with pytest.raises(Undelivered):
        await Webhook(http).send(PAGE, to(receiver))
    await Webhook(http).send(PAGE, to(receiver))
    first, second = await receiver.received(2)
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == PAGE.key
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == PAGE.notification_id
    assert "webhook-signature" not in second.headers


async def test_a_webhook_says_whatever_people_write(http: Http, receiver: HttpReceiver) -> None:
    odd = PAGE.model_copy(update={"key": "in-1/0/0/zoë\r\nx: y/webhook", "incident": {"title": "\ud800 ü \0"}})
    await Webhook(http, [SecretStr(NEW)]).send(odd, to(receiver))
    [request] = await receiver.received()
    assert request.headers["idempotency-key"] == "in-1/0/0/zo%C3%AB%0D%0Ax:%20y/webhook"
    assert "x" not in request.headers
    assert Verifier(NEW).verify(request.body, request.headers)["incident"] == {"title": "\ud800 ü \0"}


@pytest.mark.parametrize(("reply", "again_after"), [
    (Reply(500), 2), (Reply(503), 2), (Reply(408), 2), (Reply(425), 2), (Reply(429), 2),
    (Reply(429, {"retry-after": "42"}), 42), (Reply(503, {"retry-after": "42"}), 42),
    (Reply(429, {"retry-after": "0"}), 1), (Reply(429, {"retry-after": "9" * 40}), 3600),
    (Reply(429, {"retry-after": "soon"}), 2), (Reply(429, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}), 1),
    (Reply(429, {"retry-after": "Wed, 21 Oct 9999 07:28:00 GMT"}), 3600), (Reply(429, {"retry-after": "-5"}), 2),
    (Reply(429, {"retry-after": "Wed, 21 Oct 99999999999999999999 07:28:00 GMT"}), 2),
    (Reply(503, {"retry-after": "Wed, 21 Oct 2015 07:28:00 +99999999999999999999"}), 2),
    (Reply(400), None), (Reply(404), None), (Reply(410), None), (Reply(422, {"retry-after": "42"}), None),
])  # fmt: skip
async def test_an_answer_says_whether_to_try_again(
    http: Http, receiver: HttpReceiver, reply: Reply, again_after: float | None
) -> None:
    receiver.usually = reply
    with pytest.raises(Undelivered, match=str(reply.status)) as no:
        await Webhook(http).send(PAGE, to(receiver))
    assert no.value.retry_after == (None if again_after is None else timedelta(seconds=again_after))


async def test_a_receiver_may_name_the_hour(http: Http, receiver: HttpReceiver) -> None:
    then = datetime.now(UTC) + timedelta(minutes=5)
    receiver.usually = Reply(503, {"retry-after": format_datetime(then, usegmt=True)})
    with pytest.raises(Undelivered) as no:
        await Webhook(http).send(PAGE, to(receiver))
    assert no.value.retry_after is not None
    assert timedelta(minutes=4, seconds=50) < no.value.retry_after <= timedelta(minutes=5)


async def test_what_a_receiver_writes_is_cut_and_cleaned(http: Http, receiver: HttpReceiver) -> None:
    receiver.usually = Reply(500, {"set-cookie": "a=b"}, b"no\0such\r\n\x1b[31mhook " + b"x" * 500_000)
    for _ in range(2):
        with pytest.raises(Undelivered, match=r"^answered 500: no such \[31mhook x{100,}$") as no:
            await Webhook(http).send(PAGE, to(receiver))
        assert len(str(no.value)) < 250
    assert all("cookie" not in request.headers for request in await receiver.received(2))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(http: Http, receiver: HttpReceiver, status: int) -> None:
    async with http_receiver() as elsewhere:
        receiver.usually = Reply(status, {"location": elsewhere.url})
        with pytest.raises(Undelivered, match=rf"{status}.*redirect.*correct the address") as no:
            await Webhook(http).send(PAGE, to(receiver))
        assert no.value.retry_after is None
        assert elsewhere.items == []


@pytest.mark.parametrize("nowhere", ["http://[::1", "x" * 70_000, "http://é..example", "//", ""])
async def test_a_redirect_to_nowhere_is_a_redirect_too(http: Http, receiver: HttpReceiver, nowhere: str) -> None:
    receiver.usually = Reply(302, {"location": nowhere})
    with pytest.raises(Undelivered, match=r"302.*redirect") as no:
        await Webhook(http).send(PAGE, to(receiver))
    assert no.value.retry_after is None


async def test_a_silent_receiver_holds_back_nobody_else(http: Http, receiver: HttpReceiver) -> None:
    channel, began = Webhook(http), asyncio.get_running_loop().time()
    async with http_receiver() as silent:
        silent.usually = SILENCE
        waiting = asyncio.create_task(channel.send(PAGE, to(silent)))
        await silent.received()
        await channel.send(PAGE, to(receiver))
        assert not waiting.done()
        with pytest.raises(Undelivered, match=r"within 0\.5 s") as no:
            await waiting
    assert no.value.retry_after == timedelta(seconds=2)
    assert asyncio.get_running_loop().time() - began < 3 * DEADLINE


async def test_who_has_said_200_has_taken_the_page(http: Http, receiver: HttpReceiver) -> None:
    receiver.usually = Reply(200, body=b"never comes", hangs="after the head")
    await Webhook(http).send(PAGE, to(receiver))
    assert len(receiver.items) == 1


@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_without_end_is_not_read_to_its_end(receiver: HttpReceiver, status: int) -> None:
    receiver.usually = Reply(status, body=b"x" * 65_536, endless=True)
    async with Http(LOOPBACK, deadline_secs=30) as http, asyncio.timeout(5):
        answer = await http.post(receiver.url, b"{}", {})
    assert (answer.status, len(answer.text)) == (status, 65_536)
    assert receiver.poured < 32 * 2**20, "more than the buffers of two sockets hold"


async def test_sixteen_silent_sends_are_all_that_one_receiver_can_hold(receiver: HttpReceiver) -> None:
    slots = Slots(patience_secs=0.1)
    async with Http(LOOPBACK, slots=slots) as http, http_receiver() as silent:
        silent.usually = SILENCE
        held = [asyncio.create_task(Webhook(http).send(PAGE, to(silent))) for _ in range(16)]
        await silent.received(16)
        with pytest.raises(Undelivered, match=r"16 sends to 127\.0\.0\.1:.* are under way") as no:
            await Webhook(http).send(PAGE, to(silent))
        assert no.value.retry_after == timedelta(seconds=1)
        await Webhook(http).send(PAGE, to(receiver))
        assert not any(send.done() for send in held)
        assert len(silent.items) == 16
        await silent.goes_down()
        await asyncio.gather(*held, return_exceptions=True)


async def test_a_receiver_that_was_down_gets_its_page(http: Http, receiver: HttpReceiver) -> None:
    await Webhook(http).send(PAGE, to(receiver))
    await receiver.goes_down()
    with pytest.raises(Undelivered) as no:
        await Webhook(http).send(PAGE, to(receiver))
    assert no.value.retry_after == timedelta(seconds=2)
    await receiver.comes_up()
    await Webhook(http).send(PAGE, to(receiver))
    assert len(await receiver.received(2)) == 2


async def test_one_receiver_takes_no_more_than_its_share(receiver: HttpReceiver) -> None:
    async with Http(LOOPBACK, slots=Slots(at_once=2, patience_secs=0.05)) as http, http_receiver() as silent:
        silent.usually = SILENCE
        held = [asyncio.create_task(Webhook(http).send(PAGE, to(silent))) for _ in range(2)]
        await silent.received(2)
        with pytest.raises(Undelivered, match="under way") as no:
            await Webhook(http).send(PAGE, to(silent))
        assert no.value.retry_after == timedelta(seconds=1)
        await Webhook(http).send(PAGE, to(receiver))
        await silent.goes_down()
        assert all(isinstance(end, Undelivered) for end in await asyncio.gather(*held, return_exceptions=True))
        await silent.comes_up()
        silent.usually = Reply()
        await Webhook(http).send(PAGE, to(silent))


async def test_a_receiver_that_is_down_has_its_page_and_the_next_level_its_own(
    world: World, receiver: HttpReceiver
) -> None:
    await receiver.goes_down()
    away = {"name": "Dora", "webhook_url": receiver.url}
    await world.gateway.documents.put(ME, "users", "dora", away)
    story = await world.opens(["dora"], ["bob"], policy={"levels": [
        {"targets": [{"type": "user", "id": "dora"}], "escalate_after_secs": 8},
        {"targets": [{"type": "user", "id": "bob"}]},
    ]})  # fmt: skip

    async def dora() -> NotificationView:
        notifications = await world.gateway.incidents.notifications(ME, story.id)
        return next(one for one in notifications if one.target == "user:dora")

    assert await story.after(seconds=15) == ["bob"]
    waiting = await dora()
    assert waiting.status == "pending"
    assert waiting.attempts >= 2
    assert "connect" in (waiting.last_error or "")
    await receiver.comes_up()
    assert await story.after(seconds=15) == []
    [request] = await receiver.received()
    arrived = await dora()
    assert (arrived.status, arrived.last_error) == ("delivered", None)
    assert request.headers["idempotency-key"] == arrived.idempotency_key
    assert json.loads(request.body)["incident"]["title"] == story.alert.title

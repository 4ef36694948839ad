"""How much one client may ask for, and what it hears when that is used up."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.exceptions import RedisError

from app.admission import RateLimits
from app.domain.access import Principal
from app.domain.errors import RateLimited
from app.domain.vocabulary import Role
from app.service.limits import Limits, network
from tests.support.house import House, a_house
from tests.support.redis import Redis, redis

LIMITS = {
    "ingest_per_minute": 3, "viewer_per_minute": 2, "responder_per_minute": 0, "admin_per_minute": 5,
    "anonymous_per_minute": 4, "failures_per_minute": 3,
}  # fmt: skip
ALERT = {"source": "tests", "title": "how often"}
EVENT = {"event_action": "trigger", "payload": {"summary": "down", "source": "db", "severity": "critical"}}


class Clock:
    """Ten seconds into a minute."""

    def __init__(self) -> None:
        self.time = 6010.5

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def house(database_url: str, clock: Clock) -> AsyncIterator[House]:
    async with a_house(database_url, rate_limits=LIMITS) as made:
        made.gateway.limits.now = clock
        yield made


async def test_every_answer_says_what_is_left_and_the_next_minute_begins_anew(house: House, clock: Clock) -> None:
    key = await house.keys.create("grafana", Role.INGEST)
    async with house.visitor(key) as visitor:
        answers = [await visitor.post("/api/v1/alerts", json=ALERT) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        told = [
            [answer.headers[f"X-RateLimit-{name}"] for name in ("Limit", "Remaining", "Reset")] for answer in answers
        ]
        assert told == [["3", "2", "50"], ["3", "1", "50"], ["3", "0", "50"], ["3", "0", "50"]]
        assert answers[-1].headers["Retry-After"] == "50"
        error = answers[-1].json()["error"]
        assert (error["code"], error["details"]) == ("RATE_LIMIT_EXCEEDED", {"limit": 3, "retry_after": 50})
        assert "3 requests a minute" in error["message"]
        clock.time += 50
        assert (await visitor.post("/api/v1/alerts", json=ALERT)).headers["X-RateLimit-Remaining"] == "2"


async def test_refusals_of_other_kinds_say_what_is_left_too(house: House) -> None:
    key = await house.keys.create("grafana", Role.INGEST)
    async with house.visitor(key) as visitor:
        forbidden = await visitor.get("/api/v1/incidents")
        invalid = await visitor.post("/api/v1/alerts", json={})
    assert (forbidden.status_code, forbidden.headers["X-RateLimit-Remaining"]) == (403, "2")
    assert (invalid.status_code, invalid.headers["X-RateLimit-Remaining"]) == (400, "1")


async def test_keys_do_not_spend_each_others_even_under_the_same_name(house: House) -> None:
    keys = [await house.keys.create("twin", Role.VIEWER) for _ in range(2)]
    for key in keys:
        async with house.visitor(key) as visitor:
            answers = [(await visitor.get("/api/v1/incidents")).status_code for _ in range(3)]
        assert answers == [200, 200, 429]


async def test_no_limit_is_not_counted(house: House) -> None:
    key = await house.keys.create("ada", Role.RESPONDER)
    async with house.visitor(key) as visitor:
        answers = [await visitor.get("/api/v1/incidents") for _ in range(9)]
    assert {answer.status_code for answer in answers} == {200}
    assert not any(name.startswith("x-ratelimit") for name in answers[-1].headers)


@pytest.mark.parametrize("path", ["/api/v2/alerts", "/api/v1/ingest/alertmanager", "/v1/ingest/alertmanager"])
async def test_alertmanager_hears_503_for_it_drops_what_is_answered_429(house: House, path: str) -> None:
    key = await house.keys.create("prometheus", Role.INGEST)
    async with house.visitor(key) as visitor:
        for _ in range(3):
            await visitor.post("/api/v1/alerts", json=ALERT)
        answer = await visitor.post(path, json=[])
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "50"
    assert answer.json()["error"]["code"] == "RATE_LIMIT_EXCEEDED"


async def test_pagerduty_clients_hear_it_in_their_own_words(house: House) -> None:
    key = await house.keys.create("pd", Role.INGEST)
    async with house.visitor() as visitor:
        answers = [await visitor.post("/v2/enqueue", json=EVENT | {"routing_key": key}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert answers[0].headers["X-RateLimit-Remaining"] == "2"
    assert answers[-1].json()["status"] == "throttle exceeded"
    assert answers[-1].headers["Retry-After"] == "50"


async def test_where_no_key_is_needed_addresses_are_counted(house: House) -> None:
    for address, expected in (("127.0.0.1", [200] * 4 + [429]), ("::1", [200] * 4 + [429])):
        async with house.visitor(address=address) as visitor:
            answers = [(await visitor.get("/api/v1/incidents")).status_code for _ in range(5)]
        assert answers == expected
    async with house.visitor() as visitor:
        assert (await visitor.get("/click/made-up")).status_code == 429
        assert (await visitor.post("/api/v1/chatops/slack/interactions")).status_code == 429


async def test_health_and_metrics_are_never_limited(house: House) -> None:
    async with house.visitor() as visitor:
        for _ in range(5):
            await visitor.get("/api/v1/incidents")
        for path in ("/health/live", "/metrics", "/api/v1/health/live"):
            answers = [await visitor.get(path) for _ in range(9)]
            assert {answer.status_code for answer in answers} == {200}


async def test_whoever_guesses_is_slowed_down_and_nobody_is_locked_out_with_them(house: House) -> None:
    key = await house.keys.create("ada", Role.ADMIN)
    async with house.visitor("im" + "x" * 30, address="192.0.2.7") as guesser, house.visitor() as elsewhere:
        answers = [await guesser.get("/api/v1/incidents") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
        assert answers[-1].headers["Retry-After"] == "50"
        assert (await elsewhere.get("/api/v1/incidents")).status_code == 401
    async with house.visitor(key, address="192.0.2.7") as behind_the_same_proxy:
        assert (await behind_the_same_proxy.get("/api/v1/incidents")).status_code == 200


def test_one_client_is_one_address_or_one_network_of_ipv6() -> None:
    assert network("2001:db8::1") == network("2001:db8::ffff") != network("2001:db8:0:1::1")
    assert network("192.0.2.1") != network("192.0.2.2")
    assert network("unknown") == "unknown"


def test_nothing_of_a_past_minute_is_kept(clock: Clock) -> None:
    limits = Limits.of(RateLimits())
    limits.now = clock
    for n in range(1000):
        limits.spend(f"10.0.{n // 256}.{n % 256}")
    clock.time += 60
    limits.spend("10.0.0.1")
    assert len(limits.spent) == 1


VIEWER = Principal(name="ada", role=Role.VIEWER, id="1")


def sharing(server: Redis, clock: Clock) -> Limits:
    from redis.asyncio import Redis as Client

    limits = Limits.of(RateLimits(viewer_per_minute=10), Client.from_url(server.url))
    limits.now = clock
    return limits


async def test_gateways_add_up_what_was_spent_at_each(clock: Clock) -> None:
    async with redis() as server:
        one, other = sharing(server, clock), sharing(server, clock)
        assert one.redis is not None
        assert other.redis is not None
        async with one.redis, other.redis:
            for _ in range(6):
                one.spend(VIEWER)
            for _ in range(3):
                other.spend(VIEWER)
            for _ in range(2):
                await one.share(one.redis)
                await other.share(other.redis)
            await one.share(one.redis)
            last = one.spend(VIEWER)
            assert last is not None
            assert last.remaining == 0
            with pytest.raises(RateLimited):
                one.spend(VIEWER)
            await one.share(one.redis)
            await other.share(other.redis)
            with pytest.raises(RateLimited):
                other.spend(VIEWER)
            clock.time += 60
            assert one.spend(VIEWER) == (10, 9, 50)


async def test_a_redis_that_hangs_or_is_gone_holds_up_nobody(database_url: str) -> None:
    async with redis(hangs=True) as hanging:
        for url in (hanging.url, "redis://127.0.0.1:1/0"):
            async with a_house(database_url, rate_limits=LIMITS, redis={"url": url}) as house, house.visitor() as ada:
                async with asyncio.timeout(5):
                    answers = [await ada.get("/api/v1/incidents") for _ in range(5)]
                assert [answer.status_code for answer in answers] == [200] * 4 + [429]
                limits = house.gateway.limits
                assert limits.redis is not None
                with pytest.raises((RedisError, TimeoutError)):
                    async with asyncio.timeout(0.1):
                        await limits.share(limits.redis)

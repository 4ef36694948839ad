"""Circuit breakers around real calls: what counts as a failure, who is asked again when, and how they are set up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from app.breaking import BUILT_IN, BreakerSettings, CircuitBreakers, configs, in_file, read
from app.channels import CHANNELS
from app.child import CannotStart
from app.config import Notifications, Settings, Smtp
from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.breaker import Config, Recovery, Standing, State
from app.domain.enrichment import Found, NoAnswer, Resting
from app.domain.errors import Invalid
from app.domain.notification import Unasked, Undelivered
from app.domain.vocabulary import ChannelName
from app.enrichers.answers import Answers
from app.enrichers.asking import asked
from app.environment import BadSettings, load
from app.net.breakers import MOST, Breakers, Counts, Open
from app.net.http import LOOPBACK, Blocked, Http, Unanswered
from app.runtime import circuit_breakers
from app.service.breakers import Breaking, Why
from app.store.breakers import BreakerStore
from app.store.database import Pool
from tests.support.pages import PAGE
from tests.support.receivers import SILENCE, HttpReceiver, Reply, http_receiver, mail_receiver

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "circuit_breakers.yaml"
DOWN = Reply(503)
QUICK = Config(failure_threshold=3, success_threshold=1, half_open_max=1, recovery=Recovery(initial_secs=20))


class Clock:
    """Stands until a test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 29, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def passes(self, secs: float) -> None:
        self.now += timedelta(seconds=secs)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breakers(clock: Clock) -> Breakers:
    return Breakers({"defaults": QUICK}, now=clock)


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as up:
        yield up


@pytest.fixture
async def http(breakers: Breakers) -> AsyncIterator[Http]:
    async with Http(LOOPBACK, deadline_secs=2, breakers=breakers) as made:
        yield made


@contextlib.contextmanager
def trouble(*kinds: type[BaseException]) -> Iterator[None]:
    with contextlib.suppress(*kinds):
        yield


async def test_who_fails_is_left_alone_and_asked_again_after_a_while(
    http: Http, breakers: Breakers, receiver: HttpReceiver, clock: Clock
) -> None:
    receiver.usually, shop = DOWN, http.named("shop")
    for _ in range(3):
        assert (await shop.get(receiver.url, {})).status == 503
    with pytest.raises(Open, match="shop is open until 12:00:20 UTC") as no:
        await shop.get(receiver.url, {})
    assert (no.value.name, no.value.retry_after, len(receiver.items)) == ("shop", timedelta(seconds=20), 3)
    clock.passes(20)
    receiver.usually = Reply()
    assert (await shop.get(receiver.url, {})).status == 200
    assert breakers.of("shop").breaker.state is State.CLOSED


async def test_no_connection_and_no_answer_are_failures(breakers: Breakers, receiver: HttpReceiver) -> None:
    receiver.replies.extend([SILENCE])
    async with Http(LOOPBACK, deadline_secs=0.05, breakers=breakers) as http:
        with pytest.raises(Unanswered):
            await http.named("shop").get(receiver.url, {})
        await receiver.goes_down()
        for _ in range(2):
            with pytest.raises(Unanswered):
                await http.named("shop").get(receiver.url, {})
    assert breakers.of("shop").breaker.state is State.OPEN


@pytest.mark.parametrize("status", [200, 302, 400, 401, 404, 408, 429])
async def test_whoever_answers_is_there(http: Http, breakers: Breakers, receiver: HttpReceiver, status: int) -> None:
    receiver.usually = Reply(status)
    for _ in range(12):
        await http.named("shop").get(receiver.url, {})
    assert (breakers.of("shop").breaker.state, breakers.of("shop").counts.failures) == (State.CLOSED, 0)


async def test_what_was_never_sent_says_nothing(breakers: Breakers, receiver: HttpReceiver) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["10.0.0.1"]

    async with Http((), resolve=resolve, breakers=breakers) as http:
        for _ in range(5):
            with pytest.raises(Invalid):
                await http.named("shop").get(receiver.url, {})
            with pytest.raises(Blocked):
                await http.named("shop").get("http://rebound.example/", {})
    assert breakers.of("shop").counts.requests == 0


@pytest.mark.parametrize("value", ["Bearer opaque\n", "Bearer opaqu\N{LATIN SMALL LETTER E WITH ACUTE}", " opaque"])
async def test_a_header_that_cannot_be_sent_is_named_and_not_shown(
    http: Http, breakers: Breakers, receiver: HttpReceiver, value: str
) -> None:
    with pytest.raises(Invalid) as no:
        await http.named("shop").get(receiver.url, {"authorization": value})
    assert "headers.authorization" in str(no.value.details)
    assert "opaqu" not in f"{no.value.message} {no.value.details}"
    assert breakers.of("shop").counts.requests == 0


async def test_hosts_do_not_share_a_breaker_unless_they_are_one_dependency(
    http: Http, breakers: Breakers, receiver: HttpReceiver
) -> None:
    async with http_receiver() as other:
        receiver.usually = DOWN
        for _ in range(3):
            await http.by_host("webhook").post(receiver.url, b"", {})
        with pytest.raises(Open, match=rf"webhook:127\.0\.0\.1:{receiver.port} "):
            await http.by_host("webhook").post(receiver.url, b"", {})
        assert (await http.by_host("webhook").post(other.url, b"", {})).status == 200
        assert (await http.get(receiver.url, {})).status == 503
        assert (await http.named(None).get(receiver.url, {})).status == 503
        assert f"http:127.0.0.1:{receiver.port}" in breakers.known


@pytest.mark.parametrize("channel", [ChannelName.WEBHOOK, ChannelName.TEAMS])
async def test_one_who_is_ill_delays_nobody_else_of_the_same_host(
    breakers: Breakers, receiver: HttpReceiver, channel: ChannelName
) -> None:
    """Somebody's own address that answers 503 is left alone; others' there, and the settings' webhook, are not."""
    said = Notifications.model_validate({"teams": {"webhook_url": f"{receiver.url}/usual"}})
    async with Http(LOOPBACK, breakers=breakers) as http:
        way = CHANNELS[channel](said, http)
        assert way is not None
        receiver.usually = DOWN
        for _ in range(3):
            with pytest.raises(Undelivered, match="503"):
                await way.send(PAGE, way.Address(url=f"{receiver.url}/ill"))
        receiver.usually = Reply()
        with pytest.raises(Unasked, match=rf"{channel}:127\.0\.0\.1:{receiver.port}~[0-9a-f]{{8}} is open"):
            await way.send(PAGE, way.Address(url=f"{receiver.url}/ill"))
        await way.send(PAGE, way.Address(url=f"{receiver.url}/well"))
        if channel is ChannelName.TEAMS:
            await way.send(PAGE, way.Address())
            assert breakers.of("teams").counts.requests == 1


async def test_a_probe_that_is_called_off_leaves_its_place_to_the_next(
    http: Http, breakers: Breakers, receiver: HttpReceiver, clock: Clock
) -> None:
    receiver.usually, shop = DOWN, http.named("shop")
    for _ in range(3):
        await shop.get(receiver.url, {})
    clock.passes(20)
    receiver.replies.append(SILENCE)
    probing = asyncio.create_task(shop.get(receiver.url, {}))
    await receiver.received(4)
    with pytest.raises(Open) as no:
        await shop.get(receiver.url, {})
    assert no.value.retry_after == timedelta(seconds=1)
    probing.cancel()
    await asyncio.wait([probing])
    assert breakers.of("shop").breaker.state is State.HALF_OPEN
    receiver.usually = Reply()
    assert (await shop.get(receiver.url, {})).status == 200


@pytest.mark.parametrize(("at_latest", "failures"), [(None, 1), (timedelta(seconds=5), 0)])
async def test_a_page_that_is_called_off_as_somebody_took_the_incident_says_nothing_of_a_slow_one(
    breakers: Breakers,
    receiver: HttpReceiver,
    monkeypatch: pytest.MonkeyPatch,
    at_latest: timedelta | None,
    failures: int,
) -> None:
    monkeypatch.setattr("app.net.breakers.GIVEN_UP_SECS", 0)
    receiver.usually = SILENCE
    async with Http(LOOPBACK, breakers=breakers, at_latest=at_latest) as http:
        asking = asyncio.create_task(http.named("shop").get(receiver.url, {}))
        await receiver.received(1)
        asking.cancel()
        await asyncio.wait([asking])
    assert breakers.of("shop").counts.failures == failures


async def test_switched_off_they_let_everything_pass(receiver: HttpReceiver) -> None:
    receiver.usually = DOWN
    async with Http(LOOPBACK, breakers=Breakers({"defaults": QUICK}, enabled=False)) as http:
        for _ in range(9):
            assert (await http.get(receiver.url, {})).status == 503


async def test_a_page_waits_no_longer_than_pages_may(breakers: Breakers, receiver: HttpReceiver, clock: Clock) -> None:
    """Every way over HTTP says that it asked nobody, when to try again, and asks again as soon as a page may."""
    soon = timedelta(seconds=5)
    said = Notifications.model_validate({
        "slack": {"base_url": receiver.url, "bot_token": "xoxb-1"}, "teams": {"webhook_url": receiver.url},
        "pagerduty": {"base_url": receiver.url, "integration_key": "k"},
    })  # fmt: skip
    addresses: dict[ChannelName, dict[str, str]] = {
        ChannelName.SLACK: {"to": "C1"}, ChannelName.TEAMS: {}, ChannelName.PAGERDUTY: {},
        ChannelName.WEBHOOK: {"url": receiver.url},
    }  # fmt: skip
    receiver.usually = DOWN
    async with Http(LOOPBACK, breakers=breakers, at_latest=soon) as http:
        for name, address in addresses.items():
            way = CHANNELS[name](said, http)
            assert way is not None
            for _ in range(3):
                with pytest.raises(Undelivered, match="503"):
                    await way.send(PAGE, way.Address(**address))
            before = len(receiver.items)
            with pytest.raises(Unasked) as no:
                await way.send(PAGE, way.Address(**address))
            assert (no.value.retry_after, len(receiver.items)) == (soon, before)
            clock.passes(5)
            with pytest.raises(Undelivered, match="503"):
                await way.send(PAGE, way.Address(**address))


async def test_a_mail_server_that_hangs_up_is_left_alone_and_one_that_refuses_somebody_is_not(
    breakers: Breakers, clock: Clock
) -> None:
    async with mail_receiver() as server, Http(LOOPBACK, breakers=breakers) as http:
        said = Notifications(smtp=Smtp(host="127.0.0.1", port=server.port, tls="plain"))
        mail = CHANNELS[ChannelName.EMAIL](said, http)
        assert mail is not None
        server.replies["RCPT"].extend(["550 nobody"] * 4 + ["421 going away"] * 3)
        for _ in range(7):
            with pytest.raises(Undelivered, match=r"550|421"):
                await mail.send(PAGE, mail.Address(email="ann@example.com"))
        with pytest.raises(Unasked, match="smtp is open"):
            await mail.send(PAGE, mail.Address(email="ann@example.com"))
        clock.passes(20)
        await mail.send(PAGE, mail.Address(email="ann@example.com"))
        assert len(await server.received()) == 1


def test_however_many_hosts_are_ill_so_many_are_remembered_and_no_more(clock: Clock) -> None:
    """Also while PostgreSQL is away, and none of it can be told. What somebody holds is kept."""
    breakers = Breakers({"defaults": QUICK, "slack": QUICK}, now=clock)
    for known in map(breakers.of, ("slack", "http:held")):
        known.breaker = known.breaker.forced_open(clock.now)
    with breakers.call("http:busy"):
        for host in range(3 * MOST):
            for _ in range(3):
                with contextlib.suppress(TimeoutError), breakers.call(f"http:{host}"):
                    raise TimeoutError
            assert len(breakers.known) <= MOST
        assert {"slack", "http:held", "http:busy", f"http:{host}"} <= breakers.known.keys()


async def test_while_nobody_is_asked_the_last_answer_is_better_than_none(http: Http, receiver: HttpReceiver) -> None:
    at, loki = datetime(2026, 11, 29, 11, 5, tzinfo=UTC), http.named("loki")
    answers = Answers.made(0.001)

    async def ask() -> Found:
        await asked(loki, receiver.url, {})
        return Found(summary="40 errors", at=at, source="Loki")

    receiver.replies.append(Reply(body=b"{}"))
    assert (await answers.get("loki", "chat", ask))[0].summary == "40 errors"
    receiver.usually = DOWN
    for _ in range(3):
        await asyncio.sleep(0.002)
        with pytest.raises(NoAnswer, match="503"):
            await answers.get("loki", "chat", ask)
    last, known = await answers.get("loki", "chat", ask)
    assert (last.summary, last.at, known) == ("40 errors (as of 11:05 UTC)", at, True)
    with pytest.raises(Resting, match="loki is open"):
        await answers.get("loki", "search", ask)
    await answers.close()


async def test_processes_tell_each_other_and_one_of_them_makes_each_transition(connections: Pool) -> None:
    one, other = (Breaking(Breakers({"defaults": QUICK, "shop": QUICK}), BreakerStore(connections)) for _ in range(2))

    def fails(here: Breaking) -> None:
        for _ in range(3):
            with trouble(OSError, Open), here.breakers.call("shop"):
                raise TimeoutError

    fails(one)
    await one.share()
    await other.share()
    assert other.breakers.of("shop").breaker.state is State.OPEN
    assert (await other.get(ME, "shop")).until == (await one.get(ME, "shop")).until
    with pytest.raises(Open), other.breakers.call("shop"):
        pass
    assert (await other.close(ME, "shop", Why(reason="they said sorry"))).state is State.CLOSED
    await one.share()
    view = await one.get(ME, "shop")
    assert (view.state, view.by, view.reason) == (State.CLOSED, "local", "they said sorry")
    fails(one)
    fails(other)
    await one.share()
    made = one.breakers.of("shop").version
    await other.share()
    assert other.breakers.of("shop").version == made
    assert other.breakers.of("shop").breaker.until == one.breakers.of("shop").breaker.until
    await one.reset(ME, "shop", Why())
    view = await one.get(ME, "shop")
    assert (view.state, view.open_count, view.failure_count) == (State.CLOSED, 0, 0)


async def test_postgresql_keeps_those_used_last_and_what_somebody_holds(connections: Pool) -> None:
    store = BreakerStore(connections)
    await connections.execute("DELETE FROM breakers")
    for name in ("first", "second", "third"):
        await store.count({name: Counts(requests=1)})
    await store.set(Standing(name="held", state=State.OPEN, forced=True))
    await connections.execute(
        "UPDATE breakers SET used_at = now() - interval '31 days' WHERE name IN ('held', 'third')"
    )
    await store.forget(1)
    assert sorted(said.name for said, _ in await store.all()) == ["held", "second"]
    await connections.execute("DELETE FROM breakers")


async def test_without_postgresql_each_process_goes_on_alone(connections: Pool) -> None:
    class Gone(BreakerStore):
        async def all(self) -> list[object]:  # type: ignore[override]
            raise ConnectionError("away")

    alone = Breaking(Breakers({"defaults": QUICK}), Gone(connections))
    running = asyncio.create_task(alone.run())
    for _ in range(3):
        with trouble(OSError), alone.breakers.call("alone"):
            raise TimeoutError
    await asyncio.sleep(0)
    assert not running.done()
    with pytest.raises(Open), alone.breakers.call("alone"):
        pass
    running.cancel()


def test_the_file_that_is_shipped_says_what_is_built_in() -> None:
    written = in_file(SHIPPED)
    assert {"sentinel", "shield", "edge-agent", "governance", "slack", "pagerduty"} <= written.keys()
    assert configs(written) == configs()


def test_a_breaker_that_is_listed_is_the_same_as_in_a_group() -> None:
    """The README's form, and the seed's file."""
    listed = """
        circuit_breakers:
          - {name: edge_agent, failure_threshold: 4, success_threshold: 2, timeout_secs: 60, volume_threshold: 10,
             recovery_strategy: {type: exponential_backoff, initial_timeout_secs: 60, max_timeout_secs: 300,
             multiplier: 2.0}}
    """
    grouped = """
        defaults: {enabled: true, emit_metrics: true, log_level: warn}
        llm_integrations:
          edge_agent:
            {name: edge-agent-llm-api, description: of them, tags: {category: llm}, metrics_prefix: circuit_breaker,
             failure_threshold: 4, success_threshold: 2, timeout_secs: 60, volume_threshold: 10, recovery_strategy:
             {type: exponential_backoff, initial_timeout_secs: 60, max_timeout_secs: 300, multiplier: 2.0}}
    """
    one, two = (configs(understood(yaml.safe_load(text))) for text in (listed, grouped))
    assert one == two
    assert one["edge-agent"].recovery == Recovery(type="exponential", initial_secs=60, max_secs=300, multiplier=2)
    assert (one["edge-agent"].failure_threshold, one["edge-agent"].half_open_max) == (4, 5)


def understood(written: object) -> dict[str, BreakerSettings]:
    found: dict[str, BreakerSettings] = TypeAdapter(CircuitBreakers).validate_python(written)
    return found


def test_what_is_said_of_one_goes_before_what_is_said_of_all_and_settings_before_the_file() -> None:
    file = understood({"defaults": {"failure_threshold": 9}, "slack": {"failure_threshold": 2, "timeout_secs": 7}})
    made = configs(file, understood([{"name": "Slack", "failure_threshold": 4}, {"name": "jira", "enabled": False}]))
    assert (made["slack"].failure_threshold, made["slack"].recovery.initial_secs) == (4, 7)
    assert (made["prometheus"].failure_threshold, made["defaults"].failure_threshold) == (9, 9)
    assert made["jira"].failure_threshold > 1e9
    assert Breakers(made).config("webhook:example.com~1a2b3c4d") == made["webhook"]


@pytest.mark.parametrize(("written", "says"), [
    ([{"failure_threshold": 1}], "a name each"), ({"slack": {"failure_treshold": 1}}, "failure-treshold"),
    ({"slack": {"failure_threshold": 0}}, "greater than or equal to 1"), ("slack", "dict"), ({"slack": None}, "slack"),
    ({"slack": {"timeout_secs": 1, "wait": 2}}, "wait"),
    ({"slack": {"recovery_strategy": {"type": "random"}}}, "type"),
])  # fmt: skip
def test_a_mistake_is_refused_and_named(written: object, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        understood(written)


def test_settings_and_a_file_of_their_own_are_read(tmp_path: Path) -> None:
    own, main = tmp_path / "breakers.yaml", tmp_path / "config.yaml"
    own.write_text("external_services:\n  slack: {timeout_secs: 7, failure_threshold: 2}\n")
    main.write_text("circuit_breakers:\n  - {name: slack, failure_threshold: 4}\n")
    settings = load({"CONFIG_PATH": str(main), "CIRCUIT_BREAKERS_CONFIG": str(own)})
    made = circuit_breakers(settings).config("slack")
    assert (made.failure_threshold, made.recovery.initial_secs) == (4, 7)
    own.write_text("slack: {timeout_secs: never}\n")
    with pytest.raises(CannotStart, match=r"breaking\.path.*slack"):
        circuit_breakers(settings)
    main.write_text("circuit_breakers:\n  - {name: slack, failure_threshold: none}\n")
    with pytest.raises(BadSettings, match=r"circuit_breakers\.slack\.failure_threshold"):
        load({"CONFIG_PATH": str(main)})
    assert Settings().circuit_breakers == {}


def test_all_that_is_built_in_can_be_written_down() -> None:
    assert read({name: one.model_dump(exclude_none=True) for name, one in BUILT_IN.items()})

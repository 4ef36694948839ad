"""What all four integrations have in common: who we are, tries, deadlines, pace, breakers, figures."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tenacity import Future, RetryCallState

from app.environment import BadSettings, load
from app.integrating import Integration
from app.integrations.breaking import Open
from app.integrations.pace import Pace
from app.integrations.transport import waiting
from app.integrations.trouble import Trouble
from app.telemetry import metrics
from tests.support.receivers import SILENCE, Reply, Request
from tests.support.siblings import FakeHttp, FakeTokens, four
from tests.support.vendor import Answered, up

BUSY = Reply(503, body=b"later")


@pytest.fixture
async def other() -> AsyncIterator[FakeHttp]:
    async with up(FakeHttp()) as made:
        yield made


@pytest.fixture
async def tokens() -> AsyncIterator[FakeTokens]:
    async with up(FakeTokens()) as made:
        yield made


async def asks(other: FakeHttp, **said: object) -> list[Any]:
    async with four(llm_sentinel={"endpoint": other.base, **said}) as made:
        assert made.sentinel is not None
        return list(await made.sentinel.fetch_alerts())


async def trouble(other: FakeHttp, **said: object) -> Trouble:
    with pytest.raises(Trouble) as caught:
        await asks(other, **said)
    return caught.value


@pytest.mark.parametrize(
    ("said", "header"),
    [
        ({"token": "s3"}, ("authorization", "Bearer s3")),
        ({"auth": "api_key", "token": "s3"}, ("x-api-key", "s3")),
        ({"auth": "basic", "username": "us", "password": "hush"}, ("authorization", "Basic dXM6aHVzaA==")),
    ],
)
async def test_they_know_us(other: FakeHttp, said: dict[str, object], header: tuple[str, str]) -> None:
    other.wants = header
    assert len(await asks(other, **said)) == 1
    refused = await trouble(other)
    assert not refused.passing
    assert "401" in refused.message


async def test_a_token_is_fetched_once_for_all_who_need_it_and_again_when_it_is_over(
    other: FakeHttp, tokens: FakeTokens
) -> None:
    other.wants = ("authorization", "Bearer token-1")
    oauth2 = {"token_url": tokens.base, "client_id": "us", "client_secret": "hush", "scopes": ["alerts:read"]}
    async with four(llm_sentinel={"endpoint": other.base, "auth": "oauth2", "oauth2": oauth2}) as made:
        assert made.sentinel is not None
        await asyncio.gather(*(made.sentinel.fetch_alerts() for _ in range(10)))
        assert tokens.given == 1
        assert b"scope=alerts%3Aread" in tokens.items[0].body
        other.wants = ("authorization", "Bearer token-2")  # withdrawn before its time
        await asyncio.gather(*(made.sentinel.fetch_alerts() for _ in range(10)))
        assert tokens.given == 2
        token = made.sentinel.rest.identity.token
        assert token is not None
        assert 3500 < token.good_until - asyncio.get_running_loop().time() <= 3570
        token.good_until = 0
        other.wants = ("authorization", "Bearer token-3")
        await made.sentinel.fetch_alerts()
        assert tokens.given == 3


async def test_a_token_server_that_refuses_or_is_ill_is_named(other: FakeHttp, tokens: FakeTokens) -> None:
    oauth2 = {"token_url": tokens.base, "client_id": "us", "client_secret": "wrong"}
    refused = await trouble(other, auth="oauth2", oauth2=oauth2)
    assert refused.message.startswith("the token server answered 401")
    tokens.replies.extend([BUSY, Reply(200, body=b'{"access_token": ""}')])
    garbage = await trouble(other, auth="oauth2", oauth2=oauth2)
    assert garbage.message == "the token server answered without a token"
    await tokens.goes_down()
    gone = await trouble(other, auth="oauth2", oauth2=oauth2)
    assert gone.message.startswith("the token server: ")
    assert gone.passing
    assert gone.ill is None  # whom the token is for has nothing to do with it
    assert len(other.items) == 0


@pytest.mark.parametrize("auth", [
    {"auth": "api_key", "token": "opaque"}, {"token": "opaque"},
    {"auth": "basic", "username": "us", "password": "opaque"},
])  # fmt: skip
async def test_who_repeats_our_secret_does_not_make_it_known(other: FakeHttp, auth: dict[str, object]) -> None:
    """And neither does one that complains of somebody's data."""

    class Echo(FakeHttp):
        def does(self, request: Request, path: str, query: dict[str, str]) -> Answered:
            return 400, {
                "who": request.headers.get("authorization") or request.headers["x-api-key"],
                "of": "a@b.example",
            }

    async with up(Echo()) as echo:
        refused = await trouble(echo, **auth)
    for secret in ("opaque", base64.b64encode(b"us:opaque").decode(), "a@b.example"):
        assert secret not in refused.message
    assert "***" in refused.message


async def test_a_token_server_that_repeats_our_secret_does_not_make_it_known(
    other: FakeHttp, tokens: FakeTokens
) -> None:
    oauth2 = {"token_url": tokens.base, "client_id": "us", "client_secret": "opaque"}
    login = base64.b64encode(b"us:opaque").decode()
    tokens.replies.append(Reply(400, body=f'{{"no": "{login}", "nor": "opaque"}}'.encode()))
    refused = await trouble(other, auth="oauth2", oauth2=oauth2)
    assert refused.message == """the token server answered 400: {"no": "***", "nor": "***"}"""


async def test_a_token_that_no_header_can_have_is_said_and_not_shown(other: FakeHttp, tokens: FakeTokens) -> None:
    assert len(await asks(other, token="opaque\n")) == 1
    assert other.items[-1].headers["authorization"] == "Bearer opaque"
    for token in ("opa\nque", "opaqu\N{LATIN SMALL LETTER E WITH ACUTE}"):
        refused = await trouble(other, token=token)
        assert (refused.message.startswith("our token"), "opa" in refused.message) == (True, False)
    tokens.replies.append(Reply(200, body=b'{"access_token": "opa\\nque"}'))
    oauth2 = {"token_url": tokens.base, "client_id": "us", "client_secret": "hush"}
    assert "opa" not in (await trouble(other, auth="oauth2", oauth2=oauth2)).message


async def test_each_shows_the_other_a_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    ours = authority.issue_cert("llm-incident-manager")
    ours.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    ours.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    files = {f"tls_{name}": tmp_path / f"{name}.pem" for name in ("cert", "key", "ca")}
    async with up(FakeHttp(tls=server)) as other:
        assert len(await asks(other, **files)) == 1
        for without in ({"tls_ca": files["tls_ca"]}, {}):
            assert (await trouble(other, attempts=1, **without)).passing


@pytest.mark.parametrize(
    ("replies", "came", "fails"),
    [
        ([BUSY, BUSY], 3, False),
        ([BUSY, BUSY, BUSY], 3, True),
        ([Reply(429, {"retry-after": "0"})], 2, False),
        ([Reply(408)], 2, False),
        ([Reply(404)], 1, True),
        ([Reply(400)], 1, True),
        ([Reply(200, body=b"<html>")], 1, True),
        ([Reply(200, body=b'{"data": [{"severity": "??"}]}')], 1, True),
        ([Reply(200, body=b'{"data": "none"}')], 1, True),
        ([Reply(200, body=b"[]")], 1, True),
        ([Reply(200)], 1, True),
        ([Reply(200, body=b"[" * (2 << 20))], 1, True),
        ([Reply(302, {"location": "http://127.0.0.1:1/"})], 1, True),
    ],
)
async def test_what_may_pass_is_tried_again_and_nothing_else(
    other: FakeHttp, replies: list[Reply], came: int, fails: bool
) -> None:
    other.replies.extend(replies)
    if fails:
        await trouble(other)
    else:
        await asks(other)
    assert len(other.items) == came


async def test_nobody_there_is_tried_again(other: FakeHttp) -> None:
    await other.goes_down()
    gone = await trouble(other)
    assert gone.passing
    assert gone.ill


async def test_nobody_waits_for_longer_than_the_deadline(other: FakeHttp) -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    other.replies.append(Reply(503, {"retry-after": "60"}))
    asked_to_wait = await trouble(other, timeout_secs=30)
    assert asked_to_wait.retry_after_secs == 60
    assert clock() - began < 10  # waiting for it makes no sense, so it isn't begun
    other.usually = SILENCE
    other.replies.extend([SILENCE] * 5)
    silent = await trouble(other, timeout_secs=0.5)
    assert silent.passing
    assert silent.ill
    assert clock() - began < 10


@given(st.integers(1, 40), st.floats(0.01, 10), st.floats(0.01, 60), st.one_of(st.none(), st.floats(0, 3600)))
def test_a_wait_is_anything_up_to_the_doubled_one_or_what_was_asked_for(
    attempt: int, first: float, longest: float, asked: float | None
) -> None:
    state = RetryCallState(None, None, (), {})  # type: ignore[arg-type]
    state.attempt_number = attempt
    state.outcome = Future(attempt)
    state.outcome.set_exception(Trouble("no", passing=True, retry_after_secs=asked))
    waited = waiting(first, longest)(state)
    assert (asked or 0) <= waited <= max(min(first * 2 ** (attempt - 1), longest), asked or 0) + 1e-9


def test_waits_are_spread_over_all_of_it() -> None:
    state = RetryCallState(None, None, (), {})  # type: ignore[arg-type]
    state.attempt_number = 3
    wait = waiting(1, 30)
    waits = [wait(state) for _ in range(500)]
    assert min(waits) < 0.4
    assert max(waits) > 3.6
    assert 1.7 < sum(waits) / len(waits) < 2.3


def test_the_pace_is_kept_after_a_burst() -> None:
    now = 100.0
    pace = Pace(10, now=lambda: now)
    turns = [pace.turn(60) for _ in range(15)]
    assert turns[:10] == pytest.approx([0] * 10)
    assert turns[10:] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert pace.turn(0.55) is None  # and it takes nobody's turn
    now += 0.5
    assert pace.turn(60) == pytest.approx(0.1)
    now += 60
    assert [pace.turn(60) for _ in range(11)] == pytest.approx([0] * 10 + [0.1])
    slow = Pace(0.5, now=lambda: now)
    assert [slow.turn(60) for _ in range(3)] == pytest.approx([0, 2, 4])


async def test_more_than_the_pace_allows_within_the_deadline_is_refused(other: FakeHttp) -> None:
    async with four(llm_sentinel={"endpoint": other.base, "rate_per_sec": 0.1, "timeout_secs": 5}) as made:
        assert made.sentinel is not None
        await made.sentinel.fetch_alerts()
        with pytest.raises(Trouble, match=r"more than 0.1 requests a second"):
            await made.sentinel.fetch_alerts()
    assert len(other.items) == 1


@dataclass
class Notebook:
    """A breaker that writes down what it was told, and is open when it should be."""

    open: bool = False
    told: list[tuple[str, str]] = field(default_factory=list)

    def failed(self) -> None:
        self.told.append((self.told.pop()[0], "failed"))

    @contextmanager
    def call(self, name: str) -> Iterator["Notebook"]:
        if self.open:
            raise Open(name, None, timedelta(seconds=42))
        self.told.append((name, "nothing"))
        yield self
        if self.told[-1][1] == "nothing":
            self.told[-1] = (name, "well")


async def test_its_breaker_hears_of_each_try_and_keeps_all_off_when_it_is_open(other: FakeHttp) -> None:
    breaker = Notebook()
    async with four(None, breaker, llm_sentinel={"endpoint": other.base, "timeout_secs": 0.8}) as made:
        assert made.sentinel is not None
        other.replies.extend([BUSY, Reply(429)])
        await made.sentinel.fetch_alerts()
        assert breaker.told == [("sentinel", "failed"), ("sentinel", "well"), ("sentinel", "well")]
        other.replies.append(Reply(404))
        with pytest.raises(Trouble):
            await made.sentinel.fetch_alerts()
        assert breaker.told[-1] == ("sentinel", "well")  # who says no is there
        for ill in (Reply(200, body=b"<html>"), SILENCE):
            other.replies.append(ill)
            with pytest.raises(Trouble):
                await made.sentinel.fetch_alerts()
            assert breaker.told[-1] == ("sentinel", "failed")
        breaker.open, came = True, len(other.items)
        with pytest.raises(Trouble, match="circuit breaker is open for 42 s") as caught:
            await made.sentinel.fetch_alerts()
        assert caught.value.retry_after_secs == 42
        assert not caught.value.doubtful
        assert len(other.items) == came


async def test_every_try_is_counted(other: FakeHttp) -> None:
    before = metrics.integrations()["sentinel"]
    other.replies.append(BUSY)
    await asks(other)
    after = metrics.integrations()["sentinel"]
    assert (after.good - before.good, after.failed - before.failed) == (1, 1)
    shown = after.shown()
    assert shown["requests_total"] == int(after.good + after.failed)
    assert 0 < float(shown["latency_milliseconds_average"] or 0) < 3000
    text = metrics.exposition()[0].decode()
    for name in ("requests_total", "requests_successful", "requests_failed", "success_rate_percent",
                 "latency_milliseconds_average", "last_request_timestamp", "latency_milliseconds_p95",
                 "error_rate_percent", "requests_per_second", "health_status"):  # fmt: skip
        assert f'\nllm_integration_{name}{{integration="sentinel"}} ' in text


async def test_what_a_cancelled_caller_leaves_behind_holds_nobody_up(other: FakeHttp) -> None:
    other.replies.append(SILENCE)
    async with four(llm_sentinel={"endpoint": other.base}) as made:
        assert made.sentinel is not None
        asking = asyncio.create_task(made.sentinel.fetch_alerts())
        await other.received()
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        assert asking.cancelled()
        assert len(await made.sentinel.fetch_alerts()) == 1


def test_the_first_versions_keys_are_understood(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "integrations:\n  llm_governance_core:\n    enabled: true\n    endpoint: https://gov.example.com\n"
        "    auth_token_env: GOV_TOKEN\n    timeout_secs: 5\n"
    )
    said = load({"CONFIG_PATH": str(file), "GOV_TOKEN": "s3"}).integrations.llm_governance_core
    assert said.asked
    assert said.token is not None
    assert said.token.get_secret_value() == "s3"
    assert said.timeout_secs == 5
    with pytest.raises(BadSettings, match="the environment has no variable GOV_TOKEN"):
        load({"CONFIG_PATH": str(file)})


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"auth": "oauth2"}, "oauth2.token_url"),
        ({"auth": "basic", "username": "us"}, "need each other"),
        ({"tls_cert": __file__}, "need each other"),
        ({"tls_ca": __file__, "endpoint": "http://sentinel"}, "must begin with https"),
        ({"endpoint": "ftp://sentinel"}, "endpoint"),
    ],
)
def test_half_a_setting_is_refused(said: dict[str, object], wrong: str) -> None:
    with pytest.raises(ValidationError, match=wrong):
        Integration.model_validate(said)

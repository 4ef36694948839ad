"""An issuer's keys over HTTP: which are taken, how often it is asked, and what its absence costs."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.domain.errors import Unavailable
from app.net.http import LOOPBACK, Http
from app.net.jwks import AGAIN_SECS, FRESH_SECS, KeySet, Unusable, usable
from tests.support.issuer import Issuer, ec_key, jwk, rsa_key
from tests.support.receivers import SILENCE, Reply

BOTH = frozenset({"RS256", "ES256"})


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    made = Issuer()
    await made.comes_up()
    yield made
    await made.goes_down()


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with Http(LOOPBACK, deadline_secs=0.5) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(issuer: Issuer, http: Http, clock: Clock) -> KeySet:
    """As its discovery document says."""
    return KeySet(http, issuer.name, None, BOTH, clock)


async def test_keys_are_found_through_discovery_and_each_has_its_own_algorithm(keys: KeySet, issuer: Issuer) -> None:
    found = [await keys.find(kid) for kid in ("rsa-1", "ec-1")]
    assert [key and key.algorithm_name for key in found] == ["RS256", "ES256"]
    assert [request.path for request in issuer.items] == ["/.well-known/openid-configuration", "/keys"]


async def test_a_flood_of_unknown_keys_is_one_request(keys: KeySet, issuer: Issuer, clock: Clock) -> None:
    found = await asyncio.gather(*(keys.find(f"made-up-{n}") for n in range(200)))
    assert set(found) == {None}
    assert issuer.asked == 1
    clock.time += AGAIN_SECS - 0.1
    assert await keys.find("made-up") is None
    assert issuer.asked == 1
    clock.time += 0.2
    await asyncio.gather(*(keys.find(f"made-up-{n}") for n in range(200)))
    assert issuer.asked == 2


async def test_new_keys_are_taken_as_they_are_used_and_withdrawn_ones_no_more(
    keys: KeySet, issuer: Issuer, clock: Clock
) -> None:
    assert await keys.find("rsa-1") is not None
    issuer.published = {"rsa-2": rsa_key("second")}
    clock.time += AGAIN_SECS
    assert await keys.find("rsa-2") is not None
    assert await keys.find("rsa-1") is None


async def test_known_keys_go_on_working_while_the_issuer_is_away(keys: KeySet, issuer: Issuer, clock: Clock) -> None:
    await keys.read()
    await issuer.goes_down()
    clock.time += FRESH_SECS
    await keys.read()
    assert await keys.find("rsa-1") is not None
    with pytest.raises(Unavailable) as away:
        await keys.find("rsa-2")
    assert away.value.retry_after == AGAIN_SECS
    await issuer.comes_up()
    issuer.published["rsa-2"] = rsa_key("second")
    clock.time += AGAIN_SECS
    assert await keys.find("rsa-2") is not None


async def test_an_issuer_that_hangs_is_waited_for_once(keys: KeySet, issuer: Issuer) -> None:
    issuer.replies.append(SILENCE)
    said = await asyncio.gather(*(keys.find("rsa-1") for _ in range(20)), return_exceptions=True)
    assert [type(one) for one in said] == [Unavailable] * 20
    assert len(issuer.items) == 1


@pytest.mark.parametrize("reply", [
    Reply(500), Reply(302, {"location": "/keys"}), Reply(body=b"<html>"), Reply(body=b"[]"), Reply(body=b"{}"),
    Reply(body=b'{"keys": {}}'), Reply(body=b'{"keys": [1, {"kty": "RSA"}, {"kty": "EC", "crv": "P-256"}]}'),
    Reply(body=json.dumps({"keys": [jwk(ec_key(), kid="x")]}).encode()[:-9]), Reply(headers={"x": "y"}, body=b"\xff"),
])  # fmt: skip
async def test_an_answer_without_keys_changes_nothing(issuer: Issuer, http: Http, clock: Clock, reply: Reply) -> None:
    keys = KeySet(http, issuer.name, issuer.jwks_url, BOTH, clock)
    await keys.read()
    clock.time += AGAIN_SECS
    issuer.replies.append(reply)
    await keys.read()
    assert set(keys.keys) == {"rsa-1", "ec-1"}
    with pytest.raises(Unavailable):
        await keys.find("rsa-2")


@pytest.mark.parametrize("document", [
    {"issuer": "https://evil.example", "jwks_uri": "http://127.0.0.1:1/keys"},
    {"jwks_uri": "http://127.0.0.1:1/keys"},
    {"issuer": "self", "jwks_uri": "http://keys.example.com/keys"},
    {"issuer": "self", "jwks_uri": "file:///etc/passwd"},
    {"issuer": "self", "jwks_uri": "https://169.254.169.254/keys"},
    {"issuer": "self"},
])  # fmt: skip
async def test_discovery_leads_nowhere_else(keys: KeySet, issuer: Issuer, document: dict[str, str]) -> None:
    said = {name: issuer.name if value == "self" else value for name, value in document.items()}
    issuer.replies.append(Reply(body=json.dumps(said).encode()))
    with pytest.raises(Unavailable):
        await keys.find("rsa-1")
    assert issuer.asked == 0


async def test_the_only_key_needs_no_name(keys: KeySet, issuer: Issuer, clock: Clock) -> None:
    issuer.published = {"rsa-1": rsa_key()}
    await keys.read()
    assert await keys.find(None) is keys.keys["rsa-1"]
    issuer.published["rsa-2"] = rsa_key("second")
    clock.time += AGAIN_SECS
    await keys.read()
    assert await keys.find(None) is None


RSA = jwk(rsa_key(), kid="k")
SECRET = {"kty": "oct", "kid": "k", "k": base64.urlsafe_b64encode(b"x" * 32).decode()}


@pytest.mark.parametrize("unfit", [
    SECRET, SECRET | {"alg": "RS256"}, RSA | {"alg": "HS256"}, RSA | {"alg": "none"}, RSA | {"alg": "RS512"},
    RSA | {"use": "enc"}, RSA | {"kid": 7}, RSA | {"kty": "EC"}, jwk(rsa_key("short", 1024), kid="k"),
    RSA | {"d": "AQAB"}, RSA | {"n": "!"}, RSA | {"n": None}, jwk(ec_key(), kid="k") | {"crv": "P-384"},
])  # fmt: skip
def test_a_key_that_is_for_something_else_is_left_out(unfit: dict[str, Any]) -> None:
    with pytest.raises(Unusable):
        usable({"keys": [unfit]}, BOTH)
    assert set(usable({"keys": [unfit, jwk(ec_key(), kid="good")]}, BOTH)) == {"good"}
    with pytest.raises(Unusable):
        usable({"keys": [RSA]}, frozenset({"ES256"}))

"""Who gets in with a JWT, and with which sentence everybody else does not."""

import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.api.auth import admitted, check_bound
from app.domain.vocabulary import Role
from tests.support.house import House, a_house
from tests.support.issuer import AUDIENCE, Issuer, claims, ec_key, rsa_key
from tests.support.receivers import SILENCE

SECRET = "a secret of thirty-two bytes and more"
SHARED = "https://shared.example.com"
AWAY = "https://away.example.com"
HOUR = 3600


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    made = Issuer()
    await made.comes_up()
    yield made
    await made.goes_down()


@pytest.fixture(scope="module")
async def house(database_url: str, issuer: Issuer) -> AsyncIterator[House]:
    issuers = [
        {"issuer": issuer.name, "audience": AUDIENCE, "roles": {"sre": "responder", "watch": "viewer"}},
        {"issuer": SHARED, "audience": AUDIENCE, "secret": SECRET, "roles_claim": "realm_access.roles"},
        {"issuer": AWAY, "audience": AUDIENCE, "jwks_url": "http://127.0.0.1:1/keys"},
    ]
    async with a_house(database_url, auth={"issuers": issuers}) as made:
        yield made


async def asked(house: House, token: str | None) -> tuple[int, str]:
    """Status and sentence of the answer to somebody who shows a token; no answer ever says the token itself."""
    async with house.visitor(bearer=token) as visitor:
        answer = await visitor.get("/api/v1/incidents")
    assert token is None or token.rpartition(".")[0] not in f"{answer.text}{answer.headers}"
    return answer.status_code, str(answer.json().get("message", ""))


@pytest.mark.parametrize("kid", ["rsa-1", "ec-1"])
async def test_a_token_signed_with_a_published_key_opens(house: House, issuer: Issuer, kid: str) -> None:
    assert await asked(house, issuer.token(kid)) == (200, "")


async def test_a_token_signed_with_the_shared_secret_opens(house: House) -> None:
    token = jwt.encode(claims(SHARED, realm_access={"roles": ["viewer"]}), SECRET, "HS256")
    assert await asked(house, token) == (200, "")


async def test_it_opens_in_either_header_and_its_name_is_the_actors(house: House, issuer: Issuer) -> None:
    async with house.visitor(issuer.token()) as visitor:
        silence = await visitor.post(
            "/api/v1/silences", json={"matchers": [{"name": "a", "value": "b"}], "duration_minutes": 5}
        )
    assert silence.status_code == 201
    assert silence.json()["created_by"] == "ada@example.com"


async def test_a_principal_knows_when_its_token_runs_out(house: House, issuer: Issuer) -> None:
    exp = int(time.time()) + 100
    who = await admitted(house.gateway, issuer.token(exp=exp))
    assert who.expires_at is not None
    assert who.expires_at.timestamp() == exp
    key = await house.keys.create("forever", Role.VIEWER)
    assert (await admitted(house.gateway, key)).expires_at is None


@pytest.mark.parametrize(("wrong", "sentence"), [
    ({"exp": -60}, "This token has expired."),
    ({"nbf": 60}, "This token is not valid yet (nbf, iat)."),
    ({"iat": 60}, "This token is not valid yet (nbf, iat)."),
    ({"aud": "somebody-else"}, "This token is for another service: its audience (aud) is not the one in auth.issuers."),
    ({"aud": None}, "This token has no claim aud."),
    ({"iss": "https://evil.example"}, "This token's issuer (iss) is not one of auth.issuers."),
    ({"iss": None}, "This token's issuer (iss) is not one of auth.issuers."),
    ({"exp": None}, "This token has no claim exp."),
    ({"exp": 25 * HOUR}, "This token is good for longer than 24 hours (exp - iat)."),
    ({"exp": 25 * HOUR, "iat": None}, "This token is good for longer than 24 hours (exp - iat)."),
    ({"exp": "soon"}, "Expiration Time claim (exp) must be an integer."),
    ({"sub": None, "email": "a\0b"}, "no email or preferred_username or sub of 1 to 200 printable characters"),
    ({"sub": 7}, "Subject must be a string."),
    ({"padding": "x" * 8192}, "This token is longer than 8,192 bytes."),
])  # fmt: skip
async def test_what_is_wrong_with_a_token_is_said(
    house: House, issuer: Issuer, wrong: dict[str, Any], sentence: str
) -> None:
    now = int(time.time())
    given: dict[str, Any] = {
        name: now + value if isinstance(value, int) and name != "sub" else value for name, value in wrong.items()
    }
    status, said = await asked(house, issuer.token(**given))
    assert status == 401
    assert sentence in said


async def test_clocks_may_differ_by_half_a_minute(house: House, issuer: Issuer) -> None:
    now = int(time.time())
    assert await asked(house, issuer.token(exp=now - 20, iat=now - HOUR)) == (200, "")
    assert await asked(house, issuer.token(nbf=now + 20, iat=now + 20)) == (200, "")


def forged(header: dict[str, object], said: dict[str, object], key: bytes | None = None) -> str:
    """A token put together by hand: libraries refuse to make these."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, said)]
    signature = b""
    if key is not None:
        code = hmac.HMAC(key, hashes.SHA256())
        code.update(b".".join(parts))
        signature = base64.urlsafe_b64encode(code.finalize()).rstrip(b"=")
    return b".".join([*parts, signature]).decode()


@pytest.mark.parametrize("algorithm", ["none", "None", "", "HS256"])
async def test_an_unsigned_token_opens_nothing(house: House, issuer: Issuer, algorithm: str) -> None:
    for name in (issuer.name, SHARED):
        token = forged({"alg": algorithm, "typ": "JWT", "kid": "rsa-1"}, claims(name))
        assert (await asked(house, token))[0] == 401


async def test_a_public_key_is_no_secret(house: House, issuer: Issuer) -> None:
    public = rsa_key().public_key()
    for spelling in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
    ):
        token = forged({"alg": "HS256", "kid": "rsa-1"}, claims(issuer.name), spelling)
        said = "This token is not signed with the algorithm of its issuer's key."
        assert await asked(house, token) == (401, said)


async def test_nobody_signs_for_another_issuer_or_with_another_key(house: House, issuer: Issuer) -> None:
    as_shared = issuer.token(iss=SHARED)
    not_its_key = jwt.encode(claims(issuer.name), ec_key(), "ES256", {"kid": "rsa-1"})
    in_disguise = issuer.token("rsa-1", rsa_key("evil"))
    tampered = issuer.token(roles=["viewer"]).split(".")
    tampered[1] = issuer.token().split(".")[1]
    for token in (as_shared, not_its_key, in_disguise, ".".join(tampered)):
        status, said = await asked(house, token)
        assert status == 401
        assert "sign" in said


@pytest.mark.parametrize("token", ["a.b.c", "..", "eyJ.eyJ.x", "\xff.\xff.\xff", f"{'e30.' * 2}e30", "im.im.im"])
async def test_what_is_no_token_is_a_clear_401(house: House, token: str) -> None:
    async with house.visitor() as visitor:
        answer = await visitor.get(
            "/api/v1/incidents", headers=[(b"Authorization", f"Bearer {token}".encode("latin-1"))]
        )
    assert answer.status_code == 401
    assert "JWT" in answer.json()["message"] or "issuer" in answer.json()["message"]


async def test_the_header_says_what_a_client_library_looks_for(house: House, issuer: Issuer) -> None:
    async with house.visitor(bearer=issuer.token(exp=1, iat=1)) as late, house.visitor() as nobody:
        expired = (await late.get("/api/v1/incidents")).headers["www-authenticate"]
        missing = await nobody.get("/api/v1/incidents")
    assert expired == 'Bearer error="invalid_token", error_description="This token has expired."'
    assert missing.headers["www-authenticate"] == "Bearer"
    assert "token (JWT)" in missing.json()["message"]


async def test_an_unknown_key_is_the_tokens_fault(house: House, issuer: Issuer) -> None:
    assert await asked(house, issuer.token("rsa-9", rsa_key("ninth"))) == (
        401, "This token is signed with a key that its issuer doesn't publish.",
    )  # fmt: skip
    assert (await asked(house, issuer.token(None)))[1] == "This token names no key (kid), and its issuer has several."


async def test_an_issuer_that_is_away_is_not_the_tokens_fault(house: House, issuer: Issuer) -> None:
    key = await house.keys.create("beside", Role.VIEWER)
    token = jwt.encode(claims(AWAY), rsa_key(), "RS256", {"kid": "rsa-1"})
    async with house.visitor(bearer=token) as visitor:
        answer = await visitor.get("/api/v1/incidents")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    async with house.visitor(key) as other:
        assert (await other.get("/api/v1/incidents")).status_code == 200
    assert (await asked(house, issuer.token()))[0] == 200


@pytest.mark.parametrize(("roles", "alerts", "reads", "acks", "writes"), [
    (["watch"], 403, 200, 403, 403),
    ("sre", 200, 200, 404, 403),
    (["ingest", "watch", "sre", "unheard of"], 200, 200, 404, 403),
    ("openid admin", 200, 200, 404, 200),
    (["ingest"], 200, 403, 403, 403),
])  # fmt: skip
async def test_the_most_powerful_role_counts(
    house: House, issuer: Issuer, roles: object, alerts: int, reads: int, acks: int, writes: int
) -> None:
    nobody = "00000000-0000-7000-8000-000000000000"
    async with house.visitor(bearer=issuer.token(roles=roles)) as visitor:
        answers = [
            await visitor.post("/api/v1/alerts", json={"source": "tests", "title": "who is there"}),
            await visitor.get("/api/v1/incidents"),
            await visitor.post(f"/api/v1/incidents/{nobody}/acknowledge"),
            await visitor.put("/api/v1/users/ada", json={"id": "ada", "name": "Ada"}),
        ]
    assert [answer.status_code for answer in answers] == [alerts, reads, acks, writes]


@pytest.mark.parametrize("roles", [None, [], "nobody", {"admin": True}, [["admin"]], 7])
async def test_without_a_role_the_claim_is_named(house: House, issuer: Issuer, roles: object) -> None:
    status, said = await asked(house, issuer.token(roles=roles))
    assert status == 403
    assert "'roles' must name one of ingest, viewer, responder, admin, sre, watch" in said


async def test_with_an_issuer_no_key_is_needed_to_listen_for_others(database_url: str) -> None:
    issuers = [{"issuer": SHARED, "audience": AUDIENCE, "secret": SECRET}]
    async with a_house(database_url, auth={"issuers": issuers}, server={"host": "0.0.0.0"}) as open_to_all:
        await check_bound(open_to_all.gateway.settings.server, open_to_all.keys)
        async with open_to_all.visitor(host="incidents.example", address="192.0.2.7") as stranger:
            assert (await stranger.get("/api/v1/incidents")).status_code == 401
            assert (await stranger.get("/health/live")).status_code == 200
        friend = jwt.encode(claims(SHARED), SECRET, "HS256")
        async with open_to_all.visitor(bearer=friend, host="incidents.example", address="192.0.2.7") as visitor:
            assert (await visitor.get("/api/v1/incidents")).status_code == 200


async def test_with_an_issuer_this_machine_must_say_who_it_is_too(database_url: str) -> None:
    issuers = [{"issuer": SHARED, "audience": AUDIENCE, "secret": SECRET}]
    async with a_house(database_url, auth={"issuers": issuers}) as shut:
        assert not shut.keys.known
        assert (await asked(shut, None))[0] == 401
        assert (await asked(shut, "im.not-a.key"))[0] == 401


async def test_an_issuer_that_hangs_holds_up_nobody_else(database_url: str, issuer: Issuer) -> None:
    hanging = Issuer()
    hanging.replies.extend([SILENCE] * 9)
    await hanging.comes_up()
    issuers = [{"issuer": each.name, "audience": AUDIENCE, "jwks_url": each.jwks_url} for each in (hanging, issuer)]
    async with a_house(database_url, auth={"issuers": issuers}) as house:
        await hanging.received()
        assert (await asked(house, issuer.token()))[0] == 200
        key = await house.keys.create("beside", Role.VIEWER)
        async with house.visitor(key) as visitor:
            assert (await visitor.get("/api/v1/incidents")).status_code == 200
    await hanging.goes_down()

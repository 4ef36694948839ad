"""The rules of what tools send: who they are, what the operator says of them, what is kept of it."""

import gzip
import hashlib
import hmac
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cryptography.fernet import Fernet

from app.api.http import create_app
from app.child import CannotStart
from app.config import Settings
from app.domain.inbound import Inbound
from app.domain.requests import Ingested
from app.domain.vocabulary import Role
from app.runtime import Gateway, gateway
from app.service.intake import Door
from app.sources.base import Post, Source
from app.store.alerts import Arrival
from app.telemetry import logs, metrics
from tests.api.conftest import NOBODY_THERE
from tests.support.databases import another_database

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def page(name: str = "", **labels: str) -> bytes:
    """Grafana's post about one alert."""
    said = {"alertname": name or f"latency {uuid4()}", **labels}
    alert = {"status": "firing", "labels": said, "annotations": {}, "startsAt": "2026-11-23T03:30:00Z"}
    return json.dumps({"version": "1", "status": "firing", "alerts": [alert]}).encode()


def signature(secret: str, body: bytes, at: datetime | None = None) -> dict[str, str]:
    """As Grafana signs, with a timestamp where one is given."""
    stamp = str(int(at.timestamp())) if at else ""
    content = f"{stamp}:".encode() + body if at else body
    signed = {"X-Grafana-Alerting-Signature": hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()}
    return signed | ({"X-Grafana-Alerting-Timestamp": stamp} if at else {})


@dataclass
class House:
    gateway: Gateway
    http: httpx.AsyncClient
    keys: dict[str, str]

    async def post(self, path: str, body: bytes, **headers: str) -> httpx.Response:
        return await self.http.post(f"/api/v1/ingest/{path}", content=body, headers=headers)

    async def took(self, path: str, body: bytes, **headers: str) -> dict[str, Any]:
        """The incident that came of it."""
        answer = await self.post(path, body, **headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = (await self.asks(f"incidents/{answer.json()['results'][0]['incident_id']}")).json()
        return found

    async def asks(self, path: str, who: str = "admin", method: str = "GET") -> httpx.Response:
        return await self.http.request(method, f"/api/v1/{path}", headers={"X-API-Key": self.keys[who]})


def settings(url: str, intake: Mapping[str, Any], **more: Any) -> Settings:
    given = {"storage": {"connection_string": url}, "temporal": {"address": NOBODY_THERE}, "intake": intake}
    return Settings.model_validate(given | more)


@asynccontextmanager
async def house(url: str, intake: Mapping[str, Any], **more: Any) -> AsyncIterator[House]:
    async with gateway(settings(url, intake, **more)) as made:
        transport = httpx.ASGITransport(create_app(made), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as client:
            keys = {role.value: await made.keys.create(f"{role} {uuid4()}", role) for role in Role}
            yield House(made, client, keys)


@pytest.fixture(scope="module")
async def url(database_url: str) -> AsyncIterator[str]:
    async with another_database(database_url) as made:
        yield made


DETAILS = {"prompt": "be kind", "request": {"messages": [{"role": "user", "content": "be kind"}], "model": "large-2"}}
TOOLS = {
    "grafana": {"secrets": ["first secret"]},
    "grafana-eu": {
        "source": "grafana", "secrets": ["new secret", "old secret"], "service": "chat", "environment": "staging",
        "labels": {"team": "eu", "tier": "1"},
    },
    "litellm-2": {"source": "litellm"}, "page": {"source": "statuspage"},
}  # fmt: skip


@pytest.fixture(scope="module")
async def tools(url: str) -> AsyncIterator[House]:
    async with house(url, {"tools": TOOLS}, rate_limits={"failures_per_minute": 100}) as made:
        yield made


async def test_a_tool_is_known_by_its_signature_and_what_is_said_of_it_holds(tools: House) -> None:
    body = page(team="search")
    incident = await tools.took("grafana-eu", body, **signature("new secret", body))
    assert (incident["environment"], incident["affected_resources"]) == ("staging", ["chat"])
    assert incident["tags"].items() >= {"team": "search", "tier": "1"}.items()
    own = page(service="billing", environment="production")
    incident = await tools.took("grafana-eu", own, **signature("old secret", own))
    assert (incident["environment"], incident["affected_resources"]) == ("production", ["billing"])


async def test_a_signature_of_somebody_else_or_none_opens_nothing_whatever_key_comes_with_it(tools: House) -> None:
    body = page()
    for headers in (signature("first secret", body), signature("new secret", page()), {}):
        for key in ({}, {"X-API-Key": tools.keys["admin"]}):
            answer = await tools.post("grafana-eu", body, **headers, **key)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "AUTHENTICATION_ERROR")
        in_address = await tools.post(f"grafana-eu/{tools.keys['ingest']}", body, **headers)
        assert in_address.status_code == 401


async def test_a_signed_post_twice_is_once_and_too_old_a_one_is_none(tools: House) -> None:
    body, now = page(), datetime.now(UTC)
    first, again = [await tools.took("grafana", body, **signature("first secret", body, now)) for _ in range(2)]
    assert (again["id"], again["alert_count"]) == (first["id"], 1)
    stale = await tools.post("grafana", page(), **signature("first secret", page(), now))
    assert stale.status_code == 401, "signed for another body"
    old = signature("first secret", body, now - timedelta(minutes=6))
    assert "s ago" in (await tools.post("grafana", body, **old)).json()["message"]


async def test_who_cannot_sign_shows_a_key_in_a_header_or_in_the_address(tools: House) -> None:
    key = tools.keys["ingest"]
    for path, headers in ((f"alertmanager/{key}", {}), ("alertmanager", {"Authorization": f"Bearer {key}"})):
        assert (await tools.took(path, page(), **headers))["status"] == "NEW"
    assert (await tools.post("alertmanager", page())).status_code == 401
    assert (await tools.post(f"alertmanager/{tools.keys['viewer']}", page())).status_code == 403
    assert (await tools.post(f"nagios/{key}", page())).status_code == 404
    assert (await tools.post("nagios", page())).status_code == 401, "what there is, is told to nobody"


async def test_two_tools_of_one_kind_call_different_problems_the_same(tools: House) -> None:
    body, key = page(), tools.keys["ingest"]
    eu = await tools.took("grafana-eu", body, **signature("new secret", body))
    own = await tools.took("grafana", body, **signature("first secret", body))
    assert eu["id"] != own["id"]
    over = body.replace(b'"firing"', b'"resolved"')
    assert (await tools.took("grafana", over, **signature("first secret", over)))["id"] == own["id"]
    budget = {"event": "budget_crossed", "event_group": "key", "key_alias": str(uuid4()), "spend": 1}
    said = [(await tools.took(f"litellm{which}/{key}", json.dumps(budget).encode()))["id"] for which in ("", "-2", "")]
    assert said[0] == said[2] != said[1]
    status = {"page": {"id": str(uuid4())}, "component": {"id": "c", "name": "API", "status": "major_outage"}}
    bodies = [json.dumps(status | {"component_update": {"id": str(uuid4())}}).encode() for _ in range(2)]
    posted, other = [
        await tools.took(f"{name}/{key}", b) for name, b in zip(("statuspage", "page"), bodies, strict=True)
    ]
    assert posted["id"] == other["id"], "a page is the same whichever way it comes"


async def test_a_query_with_what_postgresql_cannot_hold_loses_that(tools: House) -> None:
    report = {"results": {"results": [{"success": False, "provider": str(uuid4()), "prompt": {"label": "p"}}]}}
    path = f"promptfoo/{tools.keys['ingest']}?service=chat%00&run_id=%00&environment=%00"
    assert (await tools.took(path, json.dumps(report).encode()))["affected_resources"] == ["chat"]


async def test_a_body_may_come_compressed_whether_signed_or_not(tools: House) -> None:
    for path, secret in ((f"alertmanager/{tools.keys['ingest']}", ""), ("grafana", "first secret")):
        name = f"packed {uuid4()}"
        packed = gzip.compress(page(name))
        headers = signature(secret, packed) | {"Content-Encoding": "gzip"}
        assert (await tools.took(path, packed, **headers))["title"] == name
    bomb = gzip.compress(bytes(40_000_000))
    answer = await tools.post(f"alertmanager/{tools.keys['ingest']}", bomb, **{"Content-Encoding": "gzip"})
    assert answer.status_code == 413


async def test_a_mistake_of_ours_in_reading_loses_no_post(
    tools: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(post: Post) -> Inbound:
        raise KeyError(post.json["a"])

    doors = {**tools.gateway.intake.doors, "broken": Door("broken", Source(broken))}
    monkeypatch.setitem(tools.gateway.intake.__dict__, "doors", doors)
    incident = await tools.took(f"broken/{tools.keys['ingest']}", b'{"a": "tell me a secret"}')
    assert "Reading it failed here (KeyError)" in incident["description"]
    assert "broken could not be read: KeyError" in caplog.text
    assert "in broken" in caplog.text, "where it happened is said"
    assert "secret" not in caplog.text


async def test_very_many_alerts_of_one_post_are_stored_a_thousand_at_a_time(
    tools: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, sizes = tools.gateway.intake.alerts.store, list[int]()
    claim = store.claim

    async def counted(arrivals: Sequence[Arrival]) -> tuple[list[Ingested], bool]:
        sizes.append(len(arrivals))
        return await claim(arrivals)

    monkeypatch.setitem(store.__dict__, "claim", counted)
    [alert] = json.loads(page())["alerts"]
    many = [alert | {"labels": {"alertname": "many", "n": str(n)}} for n in range(1500)]
    answer = await tools.post(f"alertmanager/{tools.keys['ingest']}", json.dumps({"alerts": many}).encode())
    assert answer.is_success, answer.text
    assert len({one["incident_id"] for one in answer.json()["results"]}) == 1500
    assert sizes == [1000, 500]
    assert (await tools.http.post("/api/v2/alerts", json=many, headers={"X-API-Key": tools.keys["ingest"]})).is_success
    assert sizes == [1000, 500] * 2


async def test_an_empty_post_is_refused_and_an_unreadable_one_is_an_alert(tools: House) -> None:
    key = tools.keys["ingest"]
    empty = await tools.post(f"alertmanager/{key}", b"")
    assert (empty.status_code, empty.json()["error"]["details"][0]["field"]) == (400, "body")
    for body in (b'{"hello": "my diagnosis"}', b"\xff\xfe", b"[]", b"{"):
        incident = await tools.took(f"email/{key}", body)
        assert (incident["severity"], incident["title"]) == ("P4", "email sent something that could not be read")
        assert "diagnosis" not in json.dumps(incident)


async def test_wrong_keys_in_addresses_count_like_any_other(url: str) -> None:
    async with house(url, {"tools": TOOLS}, rate_limits={"failures_per_minute": 3}) as made:
        answers = [await made.post(f"alertmanager/{'x' * 32}", page()) for _ in range(2)]
        answers.append(await made.post("grafana", page(), **signature("wrong", b"")))
        assert [answer.status_code for answer in answers] == [401, 401, 401]
        assert (await made.post(f"email/{'y' * 32}", page())).status_code == 429
        assert (await made.post(f"alertmanager/{'y' * 32}", page())).status_code == 503, "it drops what is answered 429"
        assert (await made.post(f"alertmanager/{made.keys['ingest']}", page())).status_code == 200


async def test_the_key_in_an_address_is_written_down_nowhere(
    url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.WARNING, "httpx")  # as telemetry.logs has it; here it is the client's, too
    strange = "a-key-of-some-other-make-1234"
    async with house(url, {}) as made:
        said = []
        for key in (strange, made.keys["ingest"], made.keys["viewer"]):
            for path, body in ((f"alertmanager/{key}", page()), (f"email/{key}", b""), (f"nagios/{key}", b"{}")):
                said.append(await made.post(path, body))
        monkeypatch.setattr(made.gateway.intake.alerts, "lane", None)
        said.append(await made.post(f"alertmanager/{made.keys['ingest']}", page()))
        assert said[-1].status_code == 500
        assert "/api/v1/ingest/{source}/{token} failed" in caplog.text
        written = (
            caplog.text
            + "".join(answer.text + str(answer.headers) for answer in said)
            + metrics.exposition()[0].decode()
        )
        written += "".join(logs.Json("tests").format(record) for record in caplog.records)
        assert not any(key in written for key in (strange, made.keys["ingest"], made.keys["viewer"]))


@pytest.mark.parametrize(("intake", "why"), [
    ({"tools": {"alertmanager": {"secrets": ["s"]}}}, "alertmanager signs nothing; let it show an API key"),
    ({"tools": {"x": {"source": "nagios"}}}, "there is no source 'nagios'"),
    ({"evidence": {"enabled": True}}, r"needs a key in intake\.evidence\.keys; make one: python -c"),
    ({"phone_region": "QQ"}, r"intake\.phone_region"),
    ({"tools": {"openai": {"secrets": ["whsec_b2xkb2xk", "not base64"]}}}, r"intake\.tools\.openai: .* whsec_ and"),
])  # fmt: skip
async def test_what_cannot_be_is_said_at_the_start(url: str, intake: Mapping[str, Any], why: str) -> None:
    with pytest.raises(CannotStart, match=why):
        async with gateway(settings(url, intake)):
            pass


def test_a_key_that_is_none_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="must be a Fernet key") as no:
        settings("postgresql://x", {"evidence": {"keys": ["c2VjcmV0"]}})
    assert "c2VjcmV0" not in str(no.value)


@pytest.mark.parametrize("secret", ["", "  ", "two\nlines", "half \ud800"])
def test_with_a_secret_that_is_none_everybody_could_sign(secret: str) -> None:
    with pytest.raises(ValueError, match="must be one line, and not empty"):
        settings("postgresql://x", {"tools": {"grafana": {"secrets": ["good", secret]}}})


async def test_evidence_is_kept_encrypted_for_admins_only(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with house(url, {"evidence": {"enabled": True, "keys": [OLD]}}) as made:
        body = page("the prompt of ada@example.com")
        proofs = {"Cookie": "proof", "X-Gitlab-Token": "proof", "X-Hub-Signature-256": "proof", "DD-API-KEY": "proof"}
        incident = await made.took(f"grafana/{made.keys['ingest']}?a=1&token=proof", body, **{"X-Own": "1"}, **proofs)
        assert incident["title"] == "the prompt of [e-mail]"
        [kept] = (await made.asks(f"incidents/{incident['id']}/evidence")).json()["evidence"]
        assert (kept["tool"], kept["size"], kept["incident_ids"]) == ("grafana", len(body), [incident["id"]])
        assert kept["sha256"] == hashlib.sha256(body).hexdigest()
        assert len(kept["alert_ids"]) == 1
        shown = (await made.asks(f"evidence/{kept['id']}")).json()
        assert (shown["body"], shown["encoding"], shown["headers"]["x-own"]) == (body.decode(), "text", "1")
        assert "proof" not in str(shown)
        assert shown["query"] == {"a": "1"}
        assert f"evidence {kept['id']} read by admin" in caplog.text
        for who in ("viewer", "responder", "ingest"):
            for path, method in (
                (f"evidence/{kept['id']}", "GET"), (f"incidents/{incident['id']}/evidence", "GET"),
                (f"evidence/{kept['id']}/replay", "POST"),
            ):  # fmt: skip
                assert (await made.asks(path, who, method)).status_code == 403
        assert (await made.asks(f"evidence/{uuid4()}")).status_code == 404
        assert (await made.asks(f"incidents/{uuid4()}/evidence")).status_code == 404
        stored = await made.gateway.intake.evidence.store.pool.fetchval("SELECT ciphertext FROM evidence")
        assert b"ada" not in stored


async def test_evidence_outlives_its_key_s_rotation_but_not_its_loss(url: str) -> None:
    async with house(url, {"evidence": {"enabled": True, "keys": [OLD]}}) as made:
        incident = await made.took(f"alertmanager/{made.keys['ingest']}", page())
        [kept] = (await made.asks(f"incidents/{incident['id']}/evidence")).json()["evidence"]
    for keys, status in (([NEW, OLD], 200), ([NEW], 409), ([], 409)):
        async with house(url, {"evidence": {"keys": keys}}) as made:
            assert (await made.asks(f"evidence/{kept['id']}")).status_code == status
            assert (await made.took(f"alertmanager/{made.keys['ingest']}", page()))["status"] == "NEW"


async def test_what_could_not_be_read_can_be_taken_again(url: str) -> None:
    async with house(url, {"evidence": {"enabled": True, "keys": [OLD]}}) as made:
        name = f"later {uuid4()}"
        incident = await made.took(f"email/{made.keys['ingest']}", page(name))
        [kept, *_] = (await made.asks(f"incidents/{incident['id']}/evidence")).json()["evidence"]
        # The tool's setting is corrected: what posts there is no mail, it is Grafana.
        doors = dict(made.gateway.intake.doors)
        object.__setattr__(made.gateway.intake, "doors", doors | {"email": doors["grafana"]})
        again = [await made.asks(f"evidence/{kept['id']}/replay", method="POST") for _ in range(2)]
        assert [answer.json()["results"][0]["outcome"] for answer in again] == ["created", "repeat"]
        opened = again[0].json()["results"][0]["incident_id"]
        assert (await made.asks(f"incidents/{opened}")).json()["title"] == name
        assert {opened, incident["id"]} == set((await made.asks(f"evidence/{kept['id']}")).json()["incident_ids"])


async def test_no_alert_waits_for_its_evidence_and_old_evidence_goes(url: str) -> None:
    async with house(url, {"evidence": {"enabled": True, "keys": [OLD], "max_bytes": 1000}}) as made:
        store, key = made.gateway.intake.evidence.store, made.keys["ingest"]
        large = await made.took(f"alertmanager/{key}", page(note="x" * 2000))
        assert (await made.asks(f"incidents/{large['id']}/evidence")).json()["evidence"] == []
        await store.pool.execute("ALTER TABLE evidence RENAME TO gone")
        try:
            assert (await made.took(f"alertmanager/{key}", page()))["status"] == "NEW"
        finally:
            await store.pool.execute("ALTER TABLE gone RENAME TO evidence")
        incident = await made.took(f"alertmanager/{key}", page())
        assert await store.forget(datetime.now(UTC) - timedelta(days=1)) == 0
        while await store.forget(datetime.now(UTC), limit=2):
            pass
        assert (await made.asks(f"incidents/{incident['id']}/evidence")).json()["evidence"] == []


async def test_every_door_takes_personal_data_out(url: str) -> None:
    who, unique = "ada@example.com", uuid4()
    async with house(url, {}) as made:
        key = {"X-API-Key": made.keys["admin"]}
        alert = {
            "source": "tests",
            "title": f"{who} {unique}",
            "labels": {"user": who},
            "fingerprint": f"{who} {unique}",
        }
        posts = {
            "/api/v1/alerts": alert, "/api/v1/incidents": alert, "/api/v1/alerts/batch": {"alerts": [alert]},
            "/api/v1/changes": {"summary": f"{who} deployed", "author": who, "details": {"prompt": "be kind"}},
            "/v2/enqueue": {
                "event_action": "trigger", "routing_key": made.keys["ingest"], "dedup_key": f"{who} {unique}",
                "payload": {"summary": who, "source": "x", "severity": "error", "custom_details": DETAILS},
            },
        }  # fmt: skip
        for path, body in posts.items():
            answer = await made.http.post(path, json=body, headers=key)
            assert answer.is_success, answer.text
        pool = made.gateway.intake.evidence.store.pool
        for table in ("alerts", "incidents", "changes"):
            kept = str([dict(row.items()) for row in await pool.fetch(f"SELECT * FROM {table}")])
            assert re.search(r"ada@|be kind", kept) is None, table

"""LiteLLM, Langfuse and Grafana at the real gateway: who gets in by what, and what is there afterwards."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.domain.vocabulary import Role
from app.sources.signatures import hmac_sha256
from tests.support.house import House, a_house

SECRET, NEXT = "lf-whsec_test", "lf-whsec_next"
OUTAGE = {
    "text": "Alert type: `outage_alerts`\nLevel: `High`\nTimestamp: `03:34:30`\n\nMessage: \n\n\n"
    "*⚠️ Major Service Outage*\n\n\n*Model Name:* `gpt-4o`\n*Provider:* `azure`\n*API Base:* `https://eastus`\n"
}


@pytest.fixture(scope="module")
async def house(database_url: str) -> AsyncIterator[House]:
    tools = {
        "langfuse": {"secrets": [SECRET, NEXT], "service": "chat", "environment": "production"},
        "grafana-eu": {"source": "grafana", "secrets": ["graf-secret"]},
    }
    async with a_house(database_url, intake={"tools": tools}) as made:
        yield made


@pytest.fixture(scope="module")
async def key(house: House) -> str:
    return await house.keys.create("litellm", Role.INGEST)


async def post(house: House, path: str, body: object, *, method: str = "POST", **headers: str) -> httpx.Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with house.visitor() as visitor:
        return await visitor.request(method, f"/api/v1/ingest/{path}", content=raw, headers=headers)


async def incident(house: House, incident_id: str) -> dict[str, Any]:
    async with house.visitor(await house.keys.create("reader", Role.VIEWER)) as reader:
        answer = await reader.get(f"/api/v1/incidents/{incident_id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_litellm_shows_its_key_in_the_address_and_hears_200(house: House, key: str) -> None:
    answer = await post(house, f"litellm/{key}", OUTAGE)
    assert answer.status_code == 200, "all else LiteLLM takes for a failure"
    [result] = answer.json()["results"]
    assert result["outcome"] == "created"
    [again] = (await post(house, f"litellm/{key}", OUTAGE)).json()["results"]
    assert (again["outcome"], again["incident_id"]) == ("merged", result["incident_id"])
    opened = await incident(house, result["incident_id"])
    assert (opened["title"], opened["severity"], opened["alert_count"]) == ("Major outage of gpt-4o at azure", "P1", 2)


async def test_a_budget_on_both_channels_is_one_incident(house: House, key: str) -> None:
    event = {
        "event": "budget_crossed",
        "event_group": "key",
        "key_alias": "research",
        "spend": 100.4,
        "max_budget": 100,
    }
    text = (
        "Alert type: `budget_alerts`\nLevel: `High`\nTimestamp: `03:34:30`\n\nMessage: Key Budget: Budget Crossed\n\n"
        "*spend:* `100.4`\n*max_budget:* `100.0`\n*key_alias:* `research`\n*event_group:* `key`\n"
    )
    answers = [await post(house, f"litellm/{key}", body) for body in (event, {"text": text})]
    outcomes = [answer.json()["results"][0] for answer in answers]
    assert [one["outcome"] for one in outcomes] == ["created", "merged"]
    assert len({one["incident_id"] for one in outcomes}) == 1


async def test_rows_of_calls_are_counted_and_open_nothing(house: House, key: str) -> None:
    answer = await post(house, f"litellm/{key}", [{"call_type": "acompletion", "model": "m", "status": "success"}])
    assert (answer.status_code, answer.json()["results"], answer.json()["samples"]) == (200, [], 1)


@pytest.mark.parametrize("path", ["litellm", "litellm/nobodys-key", "langfuse", "grafana-eu"])
async def test_whoever_shows_nothing_or_a_wrong_secret_is_refused(house: House, key: str, path: str) -> None:
    assert key
    answer = await post(house, path, OUTAGE, **{"x-langfuse-signature": "t=1,v1=00"})
    assert answer.status_code == 401


def monitor(delivery: str, severity: str = "ALERT") -> bytes:
    message = {"title": f"[{severity}] Correctness", "body": "`avg(scores-numeric.value)` is **below** `0.8`"}
    payload = {"monitorId": "mon_1", "projectId": "proj_1", "severity": severity, "message": message}
    return json.dumps({"id": delivery, "type": "monitor-alert", "payload": payload}).encode()


def signature(body: bytes, secret: str, ago_secs: int = 0) -> dict[str, str]:
    at = str(int(time.time()) - ago_secs)
    return {"x-langfuse-signature": f"t={at},v1={hmac_sha256(secret, at.encode() + b'.' + body)}"}


async def test_langfuse_is_known_by_its_signature_and_the_same_twice_is_once(house: House, key: str) -> None:
    assert key, "the door is shut for everybody else"
    fired = monitor("d-1")
    answers = [await post(house, "langfuse", fired, **signature(fired, secret)) for secret in (SECRET, NEXT)]
    results = [answer.json()["results"][0] for answer in answers]
    assert [one["outcome"] for one in results] == ["created", "repeat"]
    opened = await incident(house, results[0]["incident_id"])
    assert (opened["affected_resources"], opened["environment"], opened["alert_count"]) == (["chat"], "production", 1)
    over = monitor("d-2", "OK")
    [ended] = (await post(house, "langfuse", over, **signature(over, SECRET))).json()["results"]
    assert (ended["outcome"], ended["incident_id"]) == ("resolved", results[0]["incident_id"])


async def test_a_signature_of_another_body_or_of_long_ago_is_refused(house: House) -> None:
    fired, other = monitor("d-3"), monitor("d-4")
    for headers in (signature(other, SECRET), signature(fired, SECRET, ago_secs=301), signature(fired, "another")):
        assert (await post(house, "langfuse", fired, **headers)).status_code == 401


async def test_a_signed_post_that_nobody_understands_is_an_alert(house: House) -> None:
    strange = b'{"type": "of tomorrow", "secret": "text"}'
    answer = await post(house, "langfuse", strange, **signature(strange, SECRET))
    assert answer.status_code == 200, "after five refusals Langfuse sends nothing any more"
    [result] = answer.json()["results"]
    opened = await incident(house, result["incident_id"])
    assert (opened["severity"], opened["title"]) == ("P4", "langfuse sent something that could not be read")


async def test_grafana_may_put_what_it_signs(house: House) -> None:
    group = json.dumps({"status": "firing", "alerts": [{"labels": {"alertname": "TTFT high"}}], "orgId": 1}).encode()
    headers = {"x-grafana-alerting-signature": hmac_sha256("graf-secret", group)}
    answer = await post(house, "grafana-eu", group, method="PUT", **headers)
    assert (answer.status_code, answer.json()["results"][0]["outcome"]) == (200, "created")

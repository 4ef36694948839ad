"""Templates over REST: saved only when they can be said, tried out before they matter."""

from typing import Any

import httpx
import pytest

from tests.api.conftest import Service

GOOD = {
    "name": "Short",
    "type": "created",
    "channels": {"sms": {"text": "{{ incident.severity }} {{ incident.title }}"}},
}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"channels": {"sms": {"text": "{{ incident.titel }}"}}}, "channels.sms.text"),
        ({"channels": {"sms": {"text": "{% if %}"}}}, "channels.sms.text"),
        ({"channels": {"sms": {"text": "x{% for b in bundled %}{{ b.name }}{% endfor %}"}}}, "channels.sms.text"),
        ({"channels": {"sms": {"text": "{{ incident.title | round(9, 9) }}"}}}, "channels.sms.text"),
        ({"channels": {"webhook": {"payload": "no json"}}}, "channels.webhook.payload"),
        ({"channels": {"fax": {"text": "x"}}}, "channels.fax"),
        ({"channels": {"sms": {}}}, "channels.sms"),
        ({"channels": {}}, "channels"),
        ({"type": "whatever"}, "type"),
    ],
)
async def test_what_cannot_be_said_is_not_saved(api: httpx.AsyncClient, change: dict[str, Any], field: str) -> None:
    answer = await api.put("/api/v1/notification-templates/broken", json=GOOD | change)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["details"][0]["field"] == field
    assert (await api.get("/api/v1/notification-templates/broken")).status_code == 404


async def test_a_template_is_tried_out_saved_and_named_by_a_level(api: httpx.AsyncClient) -> None:
    tried = await api.post("/api/v1/notification-templates/preview", json={"template": GOOD})
    assert tried.status_code == 200, tried.text
    assert tried.json() == {
        "sample": True, "channels": {"sms": {"text": "P1 Sample: p95 latency of gpt-4o above 8 s"}},
    }  # fmt: skip
    level = {"targets": [{"type": "external", "id": "sms:+4930123456"}], "template": "short"}
    policy = {"name": "p", "levels": [level]}
    refused = await api.put("/api/v1/escalation-policies/uses-short", json=policy)
    assert refused.json()["error"]["details"][0]["field"] == "levels[0].template"
    assert (await api.put("/api/v1/notification-templates/short", json=GOOD)).status_code == 200
    assert (await api.put("/api/v1/escalation-policies/uses-short", json=policy)).status_code == 200
    assert (await api.delete("/api/v1/notification-templates/short")).status_code == 409
    said = await api.post("/api/v1/notification-templates/short/preview", json={"incident": {"title": "{{ 7 * 7 }}"}})
    assert said.json() == {"sample": False, "channels": {"sms": {"text": "P1 {{ 7 * 7 }}"}}}


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"channel": "email"}, 400, "channel"),
        ({"kind": "created", "incident": {"severity": "P9"}}, 400, "severity"),
        ({"incident_id": "00000000-0000-7000-8000-000000000001"}, 404, None),
    ],
)
async def test_a_wrong_preview_is_refused(
    api: httpx.AsyncClient, body: dict[str, Any], code: int, field: str | None
) -> None:
    assert (await api.put("/api/v1/notification-templates/short2", json=GOOD)).status_code == 200
    answer = await api.post("/api/v1/notification-templates/short2/preview", json=body)
    assert answer.status_code == code, answer.text
    if field:
        assert answer.json()["error"]["details"][0]["field"] == field


async def test_an_incident_that_is_there(service: Service) -> None:
    incident = await service.incident(title="the gateway is slow")
    body = {"template": GOOD, "incident_id": incident}
    said = await service.http.post("/api/v1/notification-templates/preview", json=body)
    assert said.json()["channels"]["sms"]["text"].startswith("P2 the gateway is slow")

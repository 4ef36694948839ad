"""Tools that sign, at the gateway's door."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from app.api.http import create_app
from app.config import Settings
from app.runtime import gateway
from tests.support.databases import another_database
from tests.support.service import NOBODY_THERE

SECRET = "whsec_b3BlbmFpLXdlYmhvb2stc2VjcmV0LTMyYnl0ZXMhISE="
OLD = "whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtb2xkIQ=="
EVENT = {"id": "evt_1", "type": "safety.warning_issued", "created_at": 1_795_404_870, "data": {"id": "case_1"}}


@pytest.fixture(scope="module")
async def api(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with another_database(database_url) as url:
        settings = Settings.model_validate({
            "storage": {"connection_string": url}, "temporal": {"address": NOBODY_THERE},
            "intake": {"tools": {"openai": {"secrets": [SECRET, OLD], "service": "chat"}}},
        })  # fmt: skip
        async with gateway(settings) as made:
            transport = httpx.ASGITransport(create_app(made))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as client:
                yield client


async def send(api: httpx.AsyncClient, name: str, secret: str = SECRET, **changes: object) -> httpx.Response:
    body, now = json.dumps(EVENT | changes), datetime.now(UTC)
    headers = {
        "webhook-id": name, "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(name, now, body), "content-type": "application/json",
    }  # fmt: skip
    return await api.post("/api/v1/ingest/openai", content=body, headers=headers)


async def test_a_signed_post_is_an_incident_and_the_same_once_more_is_none(api: httpx.AsyncClient) -> None:
    first, replay, rotated = [await send(api, "wh_1"), await send(api, "wh_1"), await send(api, "wh_2", OLD)]
    told = [answer.json()["results"][0] for answer in (first, replay, rotated)]
    assert [one["outcome"] for one in told] == ["created", "repeat", "merged"]
    assert len({one["incident_id"] for one in told}) == 1
    shown = (await api.get(f"/api/v1/incidents/{told[0]['incident_id']}")).json()
    assert (shown["severity"], shown["affected_resources"], shown["alert_count"]) == ("P1", ["chat"], 2)


async def test_who_signs_with_another_secret_is_refused_and_what_went_well_is_nothing(api: httpx.AsyncClient) -> None:
    stranger = "whsec_c3RyYW5nZXItc3RyYW5nZXItc3RyYW5nZXIhIQ=="
    assert (await send(api, "wh_3", stranger)).status_code == 401
    assert (await api.post("/api/v1/ingest/openai", json=EVENT)).status_code == 401
    done = await send(api, "wh_4", type="batch.completed")
    assert (done.status_code, done.json()["results"]) == (200, [])
    now, who = int(datetime.now(UTC).timestamp()), {"safety_identifier": "u1"}
    counted = await send(api, "wh_5", type="safety_identifier.blocked", created_at=now, data=who)
    assert (counted.json()["samples"], counted.json()["results"]) == (1, [])

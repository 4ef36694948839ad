"""One message over REST: what came of it, what its provider says later, and once more."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.api.conftest import Service
from tests.support.receivers import HttpReceiver, http_receiver


async def paged(service: Service, receiver: HttpReceiver) -> tuple[str, dict[str, Any]]:
    """An incident, and the message about it that the receiver has."""
    name = uuid4().hex
    policy = {
        "id": name, "name": name, "priority": 9, "conditions": {"source": [name]},
        "levels": [{"targets": [{"type": "external", "id": receiver.url}], "escalate_after_secs": 900}],
    }  # fmt: skip
    assert (await service.http.post("/api/v1/escalation-policies", json=policy)).status_code == 201
    incident = await service.incident(source=name)
    await receiver.received(1)
    return incident, await settled(service, incident, 1)


async def settled(service: Service, incident: str, count: int) -> dict[str, Any]:
    """The newest of so many messages, once its receiver has taken it."""
    async with asyncio.timeout(10):
        while True:
            shown = (await service.http.get(f"/api/v1/incidents/{incident}/notifications")).json()
            if len(shown) == count and shown[-1]["status"] in ("sent", "delivered", "failed"):
                newest: dict[str, Any] = shown[-1]
                return newest
            await asyncio.sleep(0.02)


async def test_a_message_is_sent_once_more_and_asking_twice_is_once(service: Service) -> None:
    async with http_receiver() as receiver:
        incident, first = await paged(service, receiver)
        taken = await service.http.post(f"/api/v1/incidents/{incident}/acknowledge", json={})
        assert taken.status_code == 200
        before = len(receiver.items)
        again = [
            await service.http.post(f"/api/v1/notifications/{first['id']}/redeliver", headers={"idempotency-key": "k"})
            for _ in range(2)
        ]
        assert [answer.status_code for answer in again] == [202, 202]
        assert again[0].json()["id"] == again[1].json()["id"] != first["id"]
        await receiver.received(before + 1)
        one = await service.http.get(f"/api/v1/notifications/{again[0].json()['id']}")
        assert one.json()["incident_id"] == incident
        events = (await service.http.get(f"/api/v1/incidents/{incident}/timeline")).json()
        assert [e["event_type"] for e in events].count("notification_redelivered") == 1


async def test_a_providers_later_word_is_kept_and_told(service: Service) -> None:
    async with http_receiver() as receiver:
        incident, first = await paged(service, receiver)
        path = f"/api/v1/notifications/{first['id']}/receipt"
        for _ in range(2):
            answer = await service.http.post(path, json={"status": "failed", "reason": "no such number"})
            assert (answer.status_code, answer.json()["status"]) == (200, "failed")
            assert answer.json()["last_error"] == "no such number"
        async with asyncio.timeout(10):
            while True:
                events = (await service.http.get(f"/api/v1/incidents/{incident}/timeline")).json()
                if [e["event_type"] for e in events].count("notification_failed") == 1:
                    break
                await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("", None, 404),
        ("/receipt", {"status": "delivered"}, 404),
        ("/redeliver", {}, 404),
        ("/receipt", {"status": "read"}, 400),
        ("/receipt", {}, 400),
    ],
)
async def test_what_is_not_there_or_makes_no_sense(service: Service, path: str, body: Any, code: int) -> None:
    url = f"/api/v1/notifications/{uuid4()}{path}"
    answer = await (service.http.post(url, json=body) if body is not None else service.http.get(url))
    assert answer.status_code == code, answer.text


async def test_nothing_is_sent_for_what_is_over(service: Service) -> None:
    async with http_receiver() as receiver:
        incident, first = await paged(service, receiver)
        assert (await service.http.post(f"/api/v1/incidents/{incident}/resolve", json={})).status_code == 200
        assert (await service.http.post(f"/api/v1/incidents/{incident}/close", json={})).status_code == 200
        async with asyncio.timeout(10):
            while True:
                answer = await service.http.post(f"/api/v1/notifications/{first['id']}/redeliver")
                if answer.status_code == 409:
                    break
                await asyncio.sleep(0.05)
        assert "is over" in answer.json()["message"]

"""Events: alerts as the published clients send them, kept whole."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest


def event(**more: Any) -> dict[str, Any]:
    return {
        "event_id": f"e-{uuid4()}", "source": "llm-gateway", "source_version": "2.4.1",
        "timestamp": "2026-11-23T08:00:00+01:00", "event_type": "anomaly", "category": "security",
        "title": f"jailbreak {uuid4()}", "description": "a prompt went around the guard", "severity": "critical",
        "resource": {"type": "model", "id": "m-1", "name": "sonnet", "metadata": {"region": "eu"}},
        "metrics": {"score": 0.97}, "tags": {"model": "sonnet"}, "labels": ["pii", "team=trust"],
        "correlation_id": "c-1", "parent_event_id": "e-0", "payload": {"tries": [1, 2]},
    } | more  # fmt: skip


async def sent(api: httpx.AsyncClient, body: dict[str, Any], door: str = "") -> dict[str, Any]:
    answer = await api.post(f"/api/v1/events{door}", json=body)
    assert answer.status_code == 202, answer.text
    said: dict[str, Any] = answer.json()
    return said


async def test_an_event_opens_an_incident_and_can_be_read_whole(api: httpx.AsyncClient) -> None:
    body = event()
    said = await sent(api, body)
    assert (said["status"], said["event_id"], said["duplicate_of"]) == ("accepted", body["event_id"], None)
    by_name = (await api.get(f"/api/v1/events/{body['event_id']}")).json()
    assert by_name == (await api.get(httpx.URL(said["links"]["api"]).path)).json()
    assert {name: by_name[name] for name in body} == body | {
        "severity": "P0", "timestamp": "2026-11-23T07:00:00Z", "title": body["title"],
    }  # fmt: skip
    assert by_name["received_at"] > by_name["timestamp"]
    assert not by_name["acknowledged"]
    incident = (await api.get(httpx.URL(said["links"]["incident"]).path)).json()
    assert (incident["category"], incident["source_event_id"]) == ("security", body["event_id"])
    assert incident["tags"] == {"model": "sonnet", "pii": "", "team": "trust"}
    assert incident["metrics"]["mttd"] > 86_400


async def test_an_event_that_comes_twice_is_a_duplicate_and_so_is_one_more_of_the_same_problem(
    api: httpx.AsyncClient,
) -> None:
    body = event()
    first, again = await sent(api, body), await sent(api, body)
    assert (again["status"], again["duplicate_of"], again["outcome"]) == ("duplicate", first["incident_id"], "repeat")
    assert again["alert_id"] == first["alert_id"]
    other = await sent(api, body | {"event_id": f"e-{uuid4()}"})
    assert (other["status"], other["incident_id"], other["outcome"]) == ("duplicate", first["incident_id"], "merged")
    assert (await api.get(f"/api/v1/incidents/{first['incident_id']}")).json()["alert_count"] == 2


async def test_sentinel_and_shield_have_doors_of_their_own(api: httpx.AsyncClient) -> None:
    body = event()
    del body["source"]
    for door, source in (("/sentinel", "llm-sentinel"), ("/shield", "llm-shield")):
        said = await sent(api, body | {"event_id": f"e-{uuid4()}"}, door)
        assert (await api.get(f"/api/v1/events/{said['event_id']}")).json()["source"] == source
    assert (await api.post("/api/v1/events", json=body)).status_code == 400


async def test_the_envelope_of_an_execution_is_an_event_too(api: httpx.AsyncClient) -> None:
    envelope = {
        "source": "orchestrator", "event_type": "run.failed", "execution_id": str(uuid4()),
        "timestamp": "2026-11-23T08:00:00Z", "severity": "high", "payload": {"message": "out of quota", "step": 3},
    }  # fmt: skip
    said = await sent(api, envelope)
    assert (said["status"], said["execution_id"]) == ("accepted", envelope["execution_id"])
    shown = (await api.get(f"/api/v1/events/{said['event_id']}")).json()
    assert (shown["title"], shown["severity"], shown["payload"]) == ("out of quota", "P1", envelope["payload"])
    assert shown["correlation_id"] == envelope["execution_id"]
    assert (await sent(api, envelope))["status"] == "duplicate"


async def test_events_are_listed_newest_first_filtered_and_paged(api: httpx.AsyncClient) -> None:
    source = f"source-{uuid4()}"
    incidents = [(await sent(api, event(source=source)))["incident_id"] for _ in range(3)]
    await api.post("/api/v1/alerts", json={"source": source, "title": "no event"})

    async def listed(**query: Any) -> dict[str, Any]:
        answer = await api.get("/api/v1/events", params={"source": source} | query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    whole = await listed()
    assert [one["incident_id"] for one in whole["events"]] == incidents[::-1]
    assert whole["next_cursor"] is None
    first = await listed(limit=2)
    rest = await listed(limit=2, cursor=first["next_cursor"])
    assert first["events"] + rest["events"] == whole["events"]
    assert (await listed(incident_id=incidents[0]))["events"] == whole["events"][2:]
    middle = whole["events"][1]["received_at"]
    assert (await listed(since=middle))["events"] == whole["events"][:2]
    assert (await listed(until=middle))["events"] == whole["events"][2:]


async def test_the_published_clients_incident_keeps_its_event(api: httpx.AsyncClient) -> None:
    body = event()
    assert (await api.post("/api/v1/incidents", json={"event": body})).status_code == 201
    shown = (await api.get(f"/api/v1/events/{body['event_id']}")).json()
    assert (shown["payload"], shown["labels"]) == (body["payload"], body["labels"])


@pytest.mark.parametrize(("change", "field"), [
    ({"severity": "loud"}, "severity"), ({"timestamp": "2026-11-23T08:00:00"}, "timestamp"), ({"shoe": 42}, "shoe"),
    ({"timestamp": None}, "timestamp"), ({"resource": {"colour": "red"}}, "resource.colour"), ({"tags": 1}, "tags"),
    ({"title": None}, "title"), ({"title": None, "execution_id": "x"}, "category"),
])  # fmt: skip
async def test_an_event_that_is_none_is_named(api: httpx.AsyncClient, change: dict[str, Any], field: str) -> None:
    answer = await api.post("/api/v1/events", json=event() | change)
    assert answer.status_code == 400
    assert field in [wrong["field"] for wrong in answer.json()["error"]["details"]]


@pytest.mark.parametrize("path", ["nowhere", str(UUID(int=1))])
async def test_what_is_no_event_is_not_found(api: httpx.AsyncClient, path: str) -> None:
    assert (await api.get(f"/api/v1/events/{path}")).status_code == 404

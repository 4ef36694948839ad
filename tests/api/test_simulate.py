"""Policies played through, over REST and on the command line."""

from typing import Any

import httpx
import pytest

from tests.api.conftest import Service

LADDER = {
    "name": "Two", "priority": 3, "conditions": {"severity": ["P1"]},
    "levels": [
        {"name": "first", "targets": [{"type": "user", "id": "sim-alice"}], "escalate_after_secs": 300},
        {"name": "second", "targets": [{"type": "user", "id": "sim-nobody"}, {"type": "user", "id": "sim-bob"}]},
    ],
}  # fmt: skip


async def furnished(http: httpx.AsyncClient) -> None:
    for person in ("sim-alice", "sim-bob"):
        body = {"name": person, "email": f"{person}@example.com"}
        assert (await http.put(f"/api/v1/users/{person}", json=body)).status_code == 200
    assert (await http.put("/api/v1/users/sim-nobody", json={"name": "nobody"})).status_code == 200
    assert (await http.put("/api/v1/escalation-policies/sim", json=LADDER)).status_code == 200


async def simulated(http: httpx.AsyncClient, **scenario: Any) -> dict[str, Any]:
    answer = await http.post("/api/v1/escalation-policies/sim/simulate", json=scenario)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_who_would_be_told_what_when_and_through_what(api: httpx.AsyncClient) -> None:
    await furnished(api)
    told = await simulated(
        api, at="2026-12-24T03:00:00Z", severity="P1", assume=[{"after_secs": 400, "ack": "sim-bob"}]
    )
    assert (told["applies"], told["chosen"], told["truncated"]) == (True, "sim", False)
    sent = [
        (e["after_secs"], e["data"]["target"], e["data"]["channel"], e["data"]["message"])
        for e in told["timeline"] if e["event"] == "notification_sent"
    ]  # fmt: skip
    assert sent == [
        (0, "user:sim-alice", "email", "created"),
        (300, "user:sim-bob", "email", "escalated"),
        (400, "user:sim-alice", "email", "acknowledged"),
    ]
    [missed] = [e for e in told["timeline"] if e["event"] == "nobody_reached"]
    assert missed["data"]["targets"] == ["user:sim-nobody"]
    assert missed["at"] == "2026-12-24T03:05:00Z"


async def test_it_says_when_another_policy_would_be_taken(api: httpx.AsyncClient) -> None:
    await furnished(api)
    told = await simulated(api, severity="P3")
    assert told["applies"] is False
    assert told["chosen"] != "sim"


@pytest.mark.parametrize(
    ("scenario", "field"),
    [
        ({"severity": "urgent"}, "severity"),
        ({"at": "tomorrow"}, "at"),
        ({"at": "2026-12-24T03:00:00"}, "at"),
        ({"assume": [{"after_secs": -1, "ack": True}]}, "assume[0].after_secs"),
        ({"assume": [{"after_secs": 1}]}, "assume[0]"),
        ({"assume": [{"after_secs": 1, "ack": True, "resolve": True}]}, "assume[0]"),
        ({"assume": [{"after_secs": 1, "resolve": True}, {"after_secs": 2, "ack": True}]}, "assume[1]"),
        ({"assume": [{"after_secs": 1, "channel_fails": "fax"}]}, "assume[0].channel_fails"),
        ({"incident": {"title": "x"}}, "incident.title"),
    ],
)
async def test_what_cannot_be_is_refused_by_its_field(
    api: httpx.AsyncClient, scenario: dict[str, Any], field: str
) -> None:
    await furnished(api)
    answer = await api.post("/api/v1/escalation-policies/sim/simulate", json=scenario)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["details"][0]["field"] == field


async def test_a_policy_that_is_not_there(api: httpx.AsyncClient) -> None:
    assert (await api.post("/api/v1/escalation-policies/nope/simulate", json={})).status_code == 404


async def test_the_command_line_prints_a_line_for_every_event(service: Service) -> None:
    await furnished(service.http)
    ran = await service.cli(
        "simulate", "sim", "-S", "P1", "--assume", "0:channel_fails=email", "--assume", "400:ack=bob"
    )
    assert ran.code == 0, ran.complained
    lines = ran.said.splitlines()
    assert lines[0].startswith("+00:00:00  incident_created")
    assert any("created to user:sim-alice by email (email is assumed to fail)" in line for line in lines)
    assert lines[-1].startswith("+00:06:40  acknowledged")
    refused = await service.cli("simulate", "sim", "--assume", "soon:ack")
    assert (refused.code, "must look like 120:ack=alice" in refused.complained) == (1, True)

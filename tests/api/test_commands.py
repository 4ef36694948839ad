"""What is asked of an incident over REST, carried out by its workflow: gateway, worker and Temporal for real."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.api.conftest import Service


async def ask(service: Service, incident: str, command: str, body: Any = None, **headers: str) -> dict[str, Any]:
    answer = await service.http.post(f"/api/v1/incidents/{incident}/{command}", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    view: dict[str, Any] = answer.json()
    return view


async def timeline(service: Service, incident: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = (await service.http.get(f"/api/v1/incidents/{incident}/timeline")).json()
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    return events


async def two_levels(service: Service) -> str:
    """The source whose incidents page somebody at once, and somebody else after a quarter of an hour."""
    source = uuid4().hex
    person = {"type": "external", "id": "nobody@example.invalid"}
    policy = {
        "id": source, "name": "Two", "priority": 9, "conditions": {"source": [source]},
        "levels": [{"targets": [person], "escalate_after_secs": 900}] * 2,
    }  # fmt: skip
    assert (await service.http.post("/api/v1/escalation-policies", json=policy)).status_code == 201
    return source


async def first_level_out(service: Service, incident: str) -> None:
    async with asyncio.timeout(10):
        while (await service.http.get(f"/api/v1/incidents/{incident}/escalation")).json()["level"] != 1:
            await asyncio.sleep(0.05)


async def test_a_life_with_the_bodies_older_clients_send(service: Service) -> None:
    incident = await service.incident()
    taken = await ask(service, incident, "acknowledge", {"actor": "ada@example.com"})
    assert (taken["status"], taken["acknowledged_by"]) == ("ACKNOWLEDGED", "ada@example.com")
    assert (await ask(service, incident, "start"))["status"] == "IN_PROGRESS"
    resolved = await ask(
        service, incident, "resolve",
        {"resolved_by": "ada@example.com", "method": "Manual", "notes": "restarted", "root_cause": "leak"},
    )  # fmt: skip
    assert resolved["status"] == "RESOLVED"
    assert resolved["resolution"] | {"resolved_at": ""} == {
        "root_cause": "leak", "resolution_notes": "restarted", "resolved_by": "ada@example.com", "resolved_at": "",
        "method": "Manual", "playbook_used": None, "actions_taken": [],
    }  # fmt: skip
    closed = await ask(service, incident, "close", {"post_mortem_url": "https://example.com/pm", "notes": "done"})
    assert closed["status"] == "CLOSED"
    assert (await ask(service, incident, "reopen", {"reason": "it is back"}))["status"] == "NEW"
    again = await ask(service, incident, "resolve", {"resolution_notes": "fixed", "playbook_used": "restart"})
    assert (again["resolution"]["resolution_notes"], again["resolution"]["playbook_used"]) == ("fixed", "restart")
    kinds = [event["event_type"] for event in await timeline(service, incident)]
    wanted = ["acknowledged", "state_changed", "resolved", "closed", "reopened", "resolved"]
    assert [kind for kind in kinds if kind in wanted] == wanted


async def test_what_is_not_possible_names_both_statuses(service: Service) -> None:
    incident = await service.incident()
    await ask(service, incident, "close")
    answer = await service.http.post(f"/api/v1/incidents/{incident}/acknowledge")
    assert answer.status_code == 409
    error = answer.json()["error"]
    assert error["code"] == "INVALID_STATE_TRANSITION"
    assert (error["details"]["from"], error["details"]["to"]) == ("CLOSED", "ACKNOWLEDGED")


async def test_asking_twice_is_asking_once(service: Service) -> None:
    incident = await service.incident()
    for _ in range(2):
        await ask(service, incident, "comment", {"content": "looking"}, **{"Idempotency-Key": "once"})
    comments = (await service.http.get(f"/api/v1/incidents/{incident}/comments")).json()
    assert [comment["reason"] for comment in comments] == ["looking"]
    other = await service.http.post(
        f"/api/v1/incidents/{incident}/comment", json={"content": "else"}, headers={"Idempotency-Key": "once"}
    )
    assert other.status_code == 409


async def test_a_comment_is_answered_with_itself(service: Service) -> None:
    incident = await service.incident()
    texts = [f"note {n}" for n in range(4)]
    answers = await asyncio.gather(*(
        service.http.post(f"/api/v1/incidents/{incident}/comments", json={"content": text}) for text in texts
    ))  # fmt: skip
    assert [answer.status_code for answer in answers] == [201] * 4
    assert [answer.json()["reason"] for answer in answers] == texts


async def test_pause_keeps_what_is_left_and_resume_goes_on(service: Service) -> None:
    incident = await service.incident(source=await two_levels(service))
    await first_level_out(service, incident)
    paused = await ask(service, incident, "pause", {"reason": "deploying"})
    assert paused["escalation_paused"]
    standing = (await service.http.get(f"/api/v1/incidents/{incident}/escalation")).json()
    assert standing["paused"]
    assert standing["next"]["at"] is None
    assert 800 < standing["next"]["remaining_secs"] <= 900
    assert not (await ask(service, incident, "resume"))["escalation_paused"]
    await ask(service, incident, "snooze", {"minutes": 5})
    asleep = (await service.http.get(f"/api/v1/incidents/{incident}/escalation")).json()
    assert asleep["paused_until"]


async def test_assigning_a_person_leaves_the_team(service: Service) -> None:
    incident = await service.incident()
    await ask(service, incident, "assign", {"assigned_team": "llm"})
    both = await ask(service, incident, "assign", {"assigned_to": "ada"})
    assert (both["assigned_to"], both["assigned_team"]) == ("ada", "llm")
    nobody = await ask(service, incident, "assign", {"assignee": None})
    assert (nobody["assigned_to"], nobody["assigned_team"]) == (None, "llm")


async def test_a_change_in_place_is_the_commands_it_means(service: Service) -> None:
    incident = await service.incident()
    change = {
        "title": "Slower than it was", "tags": {"team": "llm"}, "severity": "P1", "status": "ACKNOWLEDGED",
        "assigned_to": "ada", "assigned_team": "llm",
    }  # fmt: skip
    changed = (await service.http.patch(f"/api/v1/incidents/{incident}", json=change)).json()
    assert {name: changed[name] for name in change} == change
    old = await service.http.put(
        f"/v1/incidents/{incident}", json={"state": "Investigating", "assignees": ["bob"], "actor": "ada"}
    )
    assert (old.json()["state"], old.json()["assigned_to"]) == ("IN_PROGRESS", "bob")
    before = len(await timeline(service, incident))
    await service.http.put(f"/v1/incidents/{incident}", json={"state": "Investigating"})
    assert len(await timeline(service, incident)) == before
    refused = await service.http.patch(f"/api/v1/incidents/{incident}", json={"status": "NEW", "title": "no"})
    assert refused.status_code == 409
    assert (await service.http.get(f"/api/v1/incidents/{incident}")).json()["title"] == change["title"]
    lowered = await ask(service, incident, "severity", {"severity": "low"})
    assert lowered["severity"] == "P3"


async def test_a_taken_incident_can_be_given_back_by_its_status(service: Service) -> None:
    incident = await service.incident()
    for status in ("ACKNOWLEDGED", "NEW", "RESOLVED", "NEW"):
        answer = await service.http.patch(f"/api/v1/incidents/{incident}", json={"status": status})
        assert answer.json()["status"] == status, answer.text


@pytest.mark.parametrize("level", [7, 100])
async def test_escalating_goes_one_level_at_a_time(service: Service, level: int) -> None:
    incident = await service.incident()
    answer = await service.http.post(f"/api/v1/incidents/{incident}/escalate", json={"level": level})
    assert answer.status_code == 400
    assert answer.json()["error"]["details"][0]["field"] == "level"


async def test_escalating_to_a_level_twice_is_once(service: Service) -> None:
    incident = await service.incident(source=await two_levels(service))
    await first_level_out(service, incident)
    for _ in range(2):
        await ask(service, incident, "escalate", {"level": 2, "reason": "too slow"})
    events = [event for event in await timeline(service, incident) if event["event_type"] == "escalated"]
    assert [(event["data"]["level"], event["reason"]) for event in events] == [(2, "too slow")]

"""What would go wrong on a night to come, over REST and on the command line."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.api.conftest import Service, door
from tests.support.databases import another_database
from tests.support.receivers import http_receiver


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with another_database(database_url) as url, door(url) as client:
        yield client


async def put(api: httpx.AsyncClient, path: str, **body: Any) -> None:
    answer = await api.put(f"/api/v1/{path}", json={"name": path} | body)
    assert answer.status_code == 200, answer.text


async def findings(api: httpx.AsyncClient, **query: str) -> dict[str, Any]:
    answer = await api.get("/api/v1/oncall/lint", params=query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert body["errors"] == sum(f["level"] == "error" for f in body["findings"])
    return body


def codes(linted: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(f["level"], f["code"], f["id"]) for f in linted["findings"]}


async def test_a_sound_setup_has_no_finding(api: httpx.AsyncClient) -> None:
    await put(api, "users/alice", email="alice@example.com")
    layer = {"name": "all", "users": ["alice"], "rotation": "weekly", "start_date": "2026-01-01"}
    await put(api, "schedules/main", timezone="UTC", layers=[layer])
    await put(api, "escalation-policies/default", levels=[{"targets": [{"type": "on_call", "id": "main"}]}])
    assert (await findings(api))["findings"] == []


async def test_everything_that_is_wrong_is_named(api: httpx.AsyncClient) -> None:
    await put(api, "users/alice", email="alice@example.com", notification_preferences={
        "severity_filter": ["P2"], "rules": {"default": [{"channel": "sms"}]},
    })  # fmt: skip
    await put(api, "users/ghost")
    await put(api, "teams/nobody", members=[])
    nights = [{"start": "22:00", "end": "06:00"}]
    layer = {"name": "n", "users": ["alice"], "rotation": "daily", "start_date": "2026-01-01", "restrictions": nights}
    await put(api, "schedules/nights", timezone="UTC", layers=[layer])
    await put(api, "schedules/empty", timezone="UTC", layers=[])
    targets = [{"type": "user", "id": "ghost"}, {"type": "team", "id": "nobody", "mode": "round_robin"}]
    pager = {"type": "external", "id": "sms:+4930123456"}
    await put(api, "escalation-policies/own", levels=[
        {"targets": targets}, {"targets": [pager]}, {"targets": [{"type": "on_call", "id": "empty"}]},
    ])  # fmt: skip
    linted = await findings(api)
    assert codes(linted) >= {
        ("error", "no_default_policy", "default"),
        ("error", "user_without_contact", "ghost"),
        ("error", "schedule_empty", "empty"),
        ("error", "level_reaches_nobody", "own"),
        ("warning", "target_unreachable", "own"),
        ("warning", "schedule_gap", "nights"),
        ("warning", "schedule_unused", "nights"),
        ("warning", "severity_filter", "alice"),
        ("warning", "rule_without_address", "alice"),
    }
    lost = {f["field"] for f in linted["findings"] if f["code"] == "level_reaches_nobody"}
    assert lost == {"levels[0]", "levels[1]", "levels[2]"}


async def test_who_does_not_answer_is_found_without_being_paged(api: httpx.AsyncClient) -> None:
    async with http_receiver() as alive, http_receiver() as dead:
        await dead.goes_down()
        await put(api, "users/alice", webhook_url=alive.url)
        await put(api, "users/bob", webhook_url=dead.url)
        external = [{"targets": [{"type": "external", "id": dead.url}]}]
        await put(api, "escalation-policies/default", levels=external)
        assert (await findings(api))["findings"] == []
        unreachable = await findings(api, reach="true")
        assert codes(unreachable) == {
            ("error", "webhook_unreachable", "bob"), ("error", "webhook_unreachable", "default"),
        }  # fmt: skip
        assert alive.items == []
        assert dead.items == []


async def test_a_way_that_somebody_has_shut_is_found(api: httpx.AsyncClient) -> None:
    for name in ("smtp", "jira"):
        opened = await api.post(f"/api/v1/circuit-breakers/{name}/open", json={"reason": "a test"})
        assert opened.status_code == 200, opened.text
    linted = await findings(api)
    assert codes(linted) >= {("error", "breaker_open", "smtp"), ("warning", "breaker_open", "jira")}
    [shut] = [f["message"] for f in linted["findings"] if f["id"] == "smtp"]
    assert "(a test): nobody there is asked until somebody closes it. No page goes out that way" in shut


async def test_a_question_that_makes_no_sense(api: httpx.AsyncClient) -> None:
    answer = await api.get("/api/v1/oncall/lint", params={"reach": "perhaps"})
    assert answer.status_code == 400
    assert answer.json()["error"]["details"][0]["field"] == "reach"


async def test_the_doctor_says_it_in_lines_and_by_its_exit_code(service: Service) -> None:
    ran = await service.cli("doctor", "--offline")
    assert ran.said.splitlines()[-1].endswith("warnings")
    assert ran.code == (0 if ran.said.splitlines()[-1].startswith("0 errors") else 1)
    ghost = await service.http.put("/api/v1/users/doctors-ghost", json={"name": "Ghost"})
    assert ghost.status_code == 200
    sick = await service.cli("doctor", "--offline")
    assert sick.code == 1
    assert "error    users doctors-ghost: No address on any channel" in sick.said

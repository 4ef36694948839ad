"""Silences over REST, and what an incident that pages nobody says about it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from app.domain.incident import Hold, HoldReason
from app.domain.vocabulary import Role
from app.store.database import Pool, pool
from tests.api.conftest import door
from tests.support.databases import another_database
from tests.support.house import a_house

NOW = datetime.now(UTC)


def from_source(source: str) -> dict[str, object]:
    return {"field": "source", "operator": "equals", "value": source}


async def opens(api: httpx.AsyncClient, **alert: object) -> str:
    body = {"source": "tests", "title": f"slow {uuid4()}", "severity": "P2"} | alert
    answer = await api.post("/api/v1/alerts", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["incident_id"])


async def silenced(api: httpx.AsyncClient, **body: object) -> Any:
    answer = await api.post("/api/v1/silences", json={"duration_minutes": 60} | body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_silence_begins_at_once_lasts_as_long_as_asked_and_says_who_made_it(api: httpx.AsyncClient) -> None:
    made = await silenced(api, matchers=from_source("x"), comment="a release")
    assert made["id"].startswith("s-")
    begin, end = (datetime.fromisoformat(made[name]) for name in ("starts_at", "ends_at"))
    assert end - begin == timedelta(hours=1)
    assert abs(begin - datetime.now(UTC)) < timedelta(seconds=10)
    assert (made["comment"], made["created_by"], made["matchers"]) == ("a release", "local", from_source("x"))
    assert (await api.get(f"/api/v1/silences/{made['id']}")).json() == made


async def test_a_silence_may_say_from_when_until_when_and_under_which_name(api: httpx.AsyncClient) -> None:
    begin, end = NOW + timedelta(days=1), NOW + timedelta(days=2)
    body = {"id": f"release-{uuid4().hex[:8]}", "matchers": [{"name": "cluster", "value": "eu-.*", "isRegex": True}]}
    body |= {"starts_at": begin.isoformat(), "ends_at": end.isoformat()}
    answer = await api.post("/api/v1/silences", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["matchers"] == {
        "and": [{"field": "tags.cluster", "operator": "matches", "value": "^(?:eu-.*)$"}]
    }
    assert datetime.fromisoformat(answer.json()["ends_at"]) == end
    again = await api.post("/api/v1/silences", json=body)
    assert again.status_code == 409


async def test_an_incident_can_be_silenced_by_its_id(api: httpx.AsyncClient) -> None:
    id_ = await opens(api)
    fingerprint = (await api.get(f"/api/v1/incidents/{id_}")).json()["fingerprint"]
    made = await silenced(api, incident_id=id_)
    assert made["matchers"] == {"field": "fingerprint", "operator": "equals", "value": fingerprint}
    answer = await api.post("/api/v1/silences", json={"incident_id": str(uuid4()), "duration_minutes": 5})
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "matchers"),
        ({"matchers": {}, "incident_id": "1"}, "incident_id"),
        ({"matchers": {}, "ends_at": "2030-01-01T00:00:00Z"}, "duration_minutes"),
        ({"matchers": {}, "duration_minutes": 0}, "duration_minutes"),
        ({"matchers": {}, "duration_minutes": 10**9}, "duration_minutes"),
        ({"matchers": {"field": "soruce", "operator": "equals", "value": "x"}}, "matchers"),
        ({"matchers": {"field": "weekday", "operator": "equals", "value": "mon"}}, "matchers"),
        ({"matchers": [{"name": "pod", "value": "(", "isRegex": True}]}, "matchers"),
        ({"matchers": "all"}, "matchers"),
        ({"matchers": {}, "starts_at": "yesterday"}, "starts_at"),
        ({"matchers": {}, "starts_at": "9999-12-31T23:59:59Z"}, "duration_minutes"),
        ({"matchers": {}, "colour": "red"}, "colour"),
    ],
)
async def test_a_silence_that_makes_no_sense_is_refused_by_field(
    api: httpx.AsyncClient, wrong: dict[str, object], said: str
) -> None:
    answer = await api.post("/api/v1/silences", json={"duration_minutes": 60} | wrong)
    assert answer.status_code == 400, answer.text
    assert said in str(answer.json()["error"]["details"])


async def test_a_silence_is_ended_once(api: httpx.AsyncClient) -> None:
    made = await silenced(api, matchers=from_source("x"))
    ended = await api.post(f"/api/v1/silences/{made['id']}/expire")
    assert ended.status_code == 200
    assert datetime.fromisoformat(ended.json()["ends_at"]) <= datetime.now(UTC)
    again = await api.post(f"/api/v1/silences/{made['id']}/expire")
    assert again.status_code == 409
    assert "ended at" in again.json()["message"]
    assert (await api.post("/api/v1/silences/unheard-of/expire")).status_code == 404
    pending = await silenced(api, matchers=from_source("x"), starts_at=(NOW + timedelta(days=1)).isoformat())
    assert (await api.post(f"/api/v1/silences/{pending['id']}/expire")).status_code == 200


async def test_what_holds_an_incident_is_said_in_words(database_url: str) -> None:
    async with another_database(database_url) as url, door(url) as api, pool(url, 2) as connections:
        silence = await silenced(api, matchers=from_source("tests"), comment="a release")
        later = await silenced(api, matchers={}, starts_at=(NOW + timedelta(days=1)).isoformat())
        window = {"name": "nightly", "matchers": {}, "hours": {"start": "22:00", "end": "23:00"}}
        assert (await api.put("/api/v1/maintenance-windows/w", json=window)).status_code == 200
        id_, lead = await opens(api), await opens(api, title="the cause")
        why = (await api.get(f"/api/v1/incidents/{id_}/suppression")).json()
        assert why == {"incident_id": id_, "suppressed": False, "until": None, "reasons": []}
        end = NOW + timedelta(hours=1)
        await holding(
            connections, id_, Hold(reason=HoldReason.SILENCE, by=silence["id"], until=end),
            Hold(reason=HoldReason.MAINTENANCE, by="w", until=NOW),
        )  # fmt: skip
        why = (await api.get(f"/api/v1/incidents/{id_}/suppression")).json()
        assert [(one["says"], one["name"]) for one in why["reasons"]] == [
            ("silenced", "a release"), ("in maintenance", "nightly"),
        ]  # fmt: skip
        assert datetime.fromisoformat(why["until"]) == end
        [active] = (await api.get("/api/v1/suppression/silences")).json()
        assert (active["silence"]["id"], active["state"], active["incidents"]) == (silence["id"], "active", 1)
        every = (await api.get("/api/v1/suppression/silences?active=false")).json()
        assert {one["silence"]["id"]: one["state"] for one in every} == {
            silence["id"]: "active",
            later["id"]: "pending",
        }
        await holding(
            connections,
            id_,
            Hold(reason=HoldReason.MAINTENANCE, by="w", until=NOW),
            Hold(reason=HoldReason.GROUP, by=lead),
        )
        why = (await api.get(f"/api/v1/incidents/{id_}/suppression")).json()
        assert why["until"] is None  # nobody can say when the lead is resolved
        assert why["reasons"][1]["name"] == "the cause"
        assert (await api.get(f"/api/v1/incidents/{uuid4()}/suppression")).status_code == 404


async def holding(connections: Pool, id_: str, *holds: Hold) -> None:
    """As its workflow shows it."""
    shown = [hold.model_dump(mode="json") for hold in holds]
    await connections.execute("UPDATE incidents SET holds = $2 WHERE id = $1", UUID(id_), shown)


@pytest.mark.parametrize(
    ("role", "reads", "silences", "plans"),
    [(Role.INGEST, 403, 403, 403), (Role.VIEWER, 200, 403, 403), (Role.RESPONDER, 200, 201, 403),
     (Role.ADMIN, 200, 201, 200)],
)  # fmt: skip
async def test_responders_may_silence_and_administrators_plan(
    database_url: str, role: Role, reads: int, silences: int, plans: int
) -> None:
    async with a_house(database_url) as house:
        key = await house.keys.create("somebody", role)
        async with house.visitor(key) as visitor:
            listed = await visitor.get("/api/v1/suppression/silences")
            written = await visitor.post("/api/v1/silences", json={"matchers": {}, "duration_minutes": 5})
            window = {"name": "w", "matchers": {}, "hours": {"start": "22:00", "end": "23:00"}}
            planned = await visitor.put("/api/v1/maintenance-windows/w", json=window)
            rule = {"source": from_source("x"), "target": from_source("y")}
            ruled = await visitor.put("/api/v1/inhibition-rules/r", json=rule)
        assert (listed.status_code, written.status_code) == (reads, silences)
        assert planned.status_code == ruled.status_code == plans

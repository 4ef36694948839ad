"""Routing rules over REST and what they leave on incidents; tried out on payloads and on the past."""

import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest

from activities.routing import Route, Routing
from app.domain.matching import Subject
from app.domain.notification import Delivery
from app.domain.vocabulary import ChannelName, Severity
from app.store.database import Pool, pool
from app.store.documents import DocumentStore
from app.store.incidents import IncidentStore
from app.store.messages import MessageStore
from app.store.routing import RoutingStore
from tests.api.conftest import door
from tests.support.databases import another_database

P1 = {"type": "SetSeverity", "severity": "P1"}
OWNER = {"type": "AddLabels", "labels": {"owner": "llm"}}


@dataclass
class Desk:
    """A gateway, and routing as the worker does it, over one database."""

    http: httpx.AsyncClient
    connections: Pool
    counted: Counter[str] = field(default_factory=Counter)

    @property
    def routing(self) -> Routing:
        return Routing(
            DocumentStore(self.connections),
            RoutingStore(self.connections),
            lambda action: self.counted.update([action]),
        )

    async def puts(self, kind: str, id_: str, **body: object) -> None:
        answer = await self.http.put(f"/api/v1/{kind}/{id_}", json={"name": id_} | body)
        assert answer.is_success, answer.text

    async def rule(self, id_: str, *actions: dict[str, Any], **more: object) -> None:
        await self.puts("routing-rules", id_, actions=list(actions), **more)

    async def opens(self, **alert: object) -> str:
        body = {"source": "tests", "title": f"slow {uuid4()}", "severity": "P2"} | alert
        answer = await self.http.post("/api/v1/alerts", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["incident_id"])

    async def routed(self, id_: str) -> Route:
        _, _, row = await IncidentStore(self.connections).load(id_)
        subject = Subject.model_validate(dict(row.items()) | {"at": row["created_at"]})
        return await self.routing.route(subject, id_, row["created_at"], row["created_at"])

    async def paged(self, id_: str, *people: str, policy: str = "default") -> None:
        """As if the incident had paged these, and was over after a minute."""
        deliveries = [
            Delivery(
                id="", key=f"{id_}:{person}", incident_id=id_, cycle=0, rung=0, level=1, target=f"user:{person}",
                channel=ChannelName.EMAIL, address={"email": f"{person}@example.com"}, created_at=datetime.now(UTC),
            )
            for person in people
        ]  # fmt: skip
        if deliveries:
            await MessageStore(self.connections).decide(deliveries)
        await self.connections.execute("UPDATE deliveries SET status = 'sent' WHERE incident_id = $1", id_)
        await self.connections.execute(
            "UPDATE incidents SET policy_id = $2, level = 1, status = 'RESOLVED', collecting = false,"
            " resolved_at = created_at + interval '1 minute' WHERE id = $1", id_, policy,
        )  # fmt: skip

    async def get(self, path: str) -> Any:
        answer = await self.http.get(f"/api/v1{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def dry_run(self, **trial: object) -> Any:
        answer = await self.http.post("/api/v1/routing/dry-run", json=trial)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    async with another_database(database_url) as url, door(url) as client, pool(url, 4) as connections:
        made = Desk(client, connections)
        for person in ("alice", "bob"):
            await made.puts("users", person, email=f"{person}@example.com")
        await made.puts("users", "carol", email="carol@example.com", skills=["cuda"])
        for policy, who in (("default", "alice"), ("llm", "bob")):
            level = {"targets": [{"type": "user", "id": who}]}
            conditions = {} if policy == "default" else {"source": ["nobody"]}
            await made.puts("escalation-policies", policy, levels=[level], conditions=conditions)
        yield made


def from_source(source: str) -> dict[str, object]:
    return {"field": "source", "operator": "equals", "value": source}


async def test_a_rule_is_a_document_whose_references_are_kept(desk: Desk) -> None:
    written = {
        "name": "r",
        "actions": [{"type": "SetPolicy", "policy_id": "llm"}],
        "conditions": {"severity": ["high"]},
    }
    created = await desk.http.post("/api/v1/routing-rules", json=written | {"id": "r"})
    assert created.status_code == 201, created.text
    assert created.json()["conditions"] == {"and": [{"field": "severity", "operator": "in", "value": ["P1"]}]}
    refused = await desk.http.delete("/api/v1/escalation-policies/llm")
    assert refused.status_code == 409
    assert "routing-rules 'r'" in refused.json()["error"]["message"]
    assert (await desk.http.delete("/api/v1/routing-rules/r")).status_code == 204
    assert (await desk.http.delete("/api/v1/escalation-policies/llm")).status_code == 204


@pytest.mark.parametrize(
    ("action", "path"),
    [
        ({"type": "SetPolicy", "policy_id": "nope"}, "actions[0].policy_id"),
        ({"type": "Notify", "targets": [{"type": "user", "id": "nope"}]}, "actions[0].targets[0].id"),
        ({"type": "Notify", "targets": [{"type": "user", "id": "bob", "fallback": {"type": "team", "id": "nope"}}]},
         "actions[0].targets[0].fallback.id"),
        ({"type": "Notify", "targets": [{"type": "external", "id": "http://169.254.169.254/"}]},
         "actions[0].targets[0].id"),
        ({"type": "Assign", "targets": [{"type": "on_call", "id": "nope"}]}, "actions[0].targets[0].id"),
    ],
)  # fmt: skip
async def test_a_rule_names_only_what_is_there(desk: Desk, action: dict[str, Any], path: str) -> None:
    body = {"name": "r", "actions": [action]}
    answer = await desk.http.put("/api/v1/routing-rules/r", json=body)
    assert (answer.status_code, answer.json()["error"]["details"][0]["field"]) == (400, path)
    trial = {"incident": {"source": "x", "title": "x"}, "draft": [body | {"id": "r"}]}
    if "169" not in str(action):
        answer = await desk.http.post("/api/v1/routing/dry-run", json=trial)
        assert (answer.status_code, answer.json()["error"]["details"][0]["field"]) == (400, f"draft[0].{path}")


async def test_rules_are_followed_and_the_incident_says_why(desk: Desk) -> None:
    await desk.rule(
        "llm", P1, OWNER, {"type": "SetPolicy", "policy_id": "llm"}, {"type": "ApplyPlaybook", "playbook_id": "drain"},
        {"type": "Assign", "targets": ["bob"]}, {"type": "Notify", "targets": [{"type": "user", "id": "carol"}]},
        {"type": "Suppress", "duration_minutes": 10}, conditions=from_source("litellm"),
    )  # fmt: skip
    await desk.rule("other", P1, conditions=from_source("other"), priority=5)
    id_ = await desk.opens(source="litellm", labels={"team": "ml"})
    assert (await desk.http.get(f"/api/v1/incidents/{id_}/routing")).status_code == 404
    route = await desk.routed(id_)
    assert (route.severity, route.policy_id, route.assigned_to) == (Severity.P1, "llm", "bob")
    assert (route.playbooks, [target.id for target in route.notify]) == (("drain",), ["carol"])
    assert [hold.by for hold in route.holds] == ["llm"]
    assert (await desk.get(f"/incidents/{id_}"))["tags"] == {"team": "ml", "owner": "llm"}
    why = await desk.get(f"/incidents/{id_}/routing")
    assert (why["rules"], why["labels"], why["assignment"]["user"]) == (["llm"], {"owner": "llm"}, "bob")
    assert [(rule["rule"], rule["matched"]) for rule in why["explanation"]] == [("other", False), ("llm", True)]
    assert why["explanation"][0]["tests"][0]["actual"] == ["litellm"]


async def test_twice_is_once(desk: Desk) -> None:
    """Also where a rule's own label would now let another rule match, and though the loads have changed since."""
    await desk.rule("owned", P1, conditions={"field": "tags.owner", "operator": "equals", "value": "llm"}, priority=9)
    targets = {"type": "Assign", "targets": ["alice", "bob"], "strategy": "load_balanced"}
    await desk.rule("owns", OWNER, targets)
    id_ = await desk.opens(labels={"owner": "somebody"})
    first = await desk.routed(id_)
    assert (first.severity, first.rules, first.assigned_to) == (Severity.P2, ("owns",), "alice")
    for _ in range(3):
        other = await desk.opens()
        await desk.connections.execute("UPDATE incidents SET assigned_to = 'alice' WHERE id = $1", other)
    counted, kept = desk.counted.copy(), await desk.get(f"/incidents/{id_}/routing")
    assert await desk.routed(id_) == first
    assert desk.counted == counted == {"AddLabels": 1, "Assign": 1}
    assert await desk.get(f"/incidents/{id_}/routing") == kept
    _, _, row = await IncidentStore(desk.connections).load(id_)
    raised = Subject.model_validate(dict(row.items()) | {"at": row["created_at"], "severity": "P0"})
    assert await desk.routing.read_severity(raised, id_) is Severity.P0


async def test_loads_are_balanced_though_no_workflow_has_shown_them_yet(desk: Desk) -> None:
    targets = {"type": "Assign", "targets": ["alice", {"type": "user", "id": "bob", "weight": 2}]}
    await desk.rule("spread", targets | {"strategy": "load_balanced"})
    given = [(await desk.routed(await desk.opens())).assigned_to for _ in range(6)]
    assert Counter(given) == {"alice": 2, "bob": 4}


async def test_nobody_fits_and_nothing_is_assigned(desk: Desk) -> None:
    skilled = {"type": "Assign", "targets": ["alice", "carol"], "strategy": "skill_based"}
    await desk.rule("skilled", skilled)
    assert (await desk.routed(await desk.opens(affected_services=["cuda"]))).assigned_to == "carol"
    id_ = await desk.opens(affected_services=["cobol"])
    assert (await desk.routed(id_)).assigned_to is None
    why = await desk.get(f"/incidents/{id_}/routing")
    assert why["assignment"]["why"] == "nobody has a skill of cobol"


async def test_without_rules_nothing_is_written(desk: Desk) -> None:
    id_ = await desk.opens()
    assert await desk.routed(id_) == Route(severity=Severity.P2)
    assert (await desk.get(f"/incidents/{id_}"))["routing"] is None
    assert not desk.counted


async def test_a_dry_run_of_an_incident_says_where_it_would_go_and_whom_it_would_page(desk: Desk) -> None:
    await desk.rule("llm", P1, conditions=from_source("litellm"))
    draft = {
        "id": "more", "name": "More", "conditions": {"severity": ["P1"]}, "actions": [
            {"type": "SetPolicy", "policy_id": "llm"}, {"type": "Notify", "targets": [{"type": "user", "id": "carol"}]},
            {"type": "Assign", "targets": ["alice"]}, {"type": "Suppress", "duration_minutes": 30},
        ],
    }  # fmt: skip
    incident = {"source": "litellm", "title": "slow", "severity": "warning"}
    told = await desk.dry_run(incident=incident, draft=[draft])
    assert (told["rules"], told["severity"], told["policy_id"]) == (["llm", "more"], "P1", "llm")
    assert [(m["target"], m["channel"]) for m in told["first_level"]] == [
        ("user:bob", "email"),
        ("user:carol", "email"),
    ]
    assert told["assignment"]["user"] == "alice"
    assert told["pages_at"] == told["suppressed_until"] > told["at"]
    plain = await desk.dry_run(incident=incident, rules=[])
    assert (plain["rules"], plain["severity"], plain["policy_id"]) == ([], "P2", "default")
    assert [m["target"] for m in plain["first_level"]] == ["user:alice"]
    assert (await desk.get("/incidents"))["total"] == 0  # nothing was made of it


async def test_a_dry_run_of_the_last_days_says_what_would_have_been_different(desk: Desk) -> None:
    await desk.rule("noise", OWNER, conditions=from_source("noise"))
    noisy = [await desk.opens(source="noise") for _ in range(3)]
    urgent, old = await desk.opens(source="litellm"), await desk.opens(source="noise")
    for id_ in (*noisy, urgent, old):
        await desk.routed(id_)
        await desk.paged(id_, "alice", "bob")
    await desk.connections.execute(
        "UPDATE incidents SET created_at = $2 WHERE id = $1", old, datetime.now(UTC) - timedelta(days=8)
    )
    assert (await desk.dry_run(days=7))["summary"] == "nothing would change"
    hush = {
        "id": "hush", "name": "Hush", "conditions": {"tags": {"owner": "llm"}},
        "actions": [{"type": "Suppress", "duration_minutes": 5}],
    }  # fmt: skip
    raise_ = {"id": "raise", "name": "Raise", "conditions": from_source("litellm"), "actions": [P1]}
    told = await desk.dry_run(days=7, draft=[hush | {"priority": -1}, raise_])
    assert told["summary"] == "6 fewer pages, 1 incident raised to P1, 3 suppressed, 1 newly routed"
    assert (told["totals"]["incidents"], told["totals"]["pages_before"], told["truncated"]) == (4, 8, False)
    assert {row["incident_id"] for row in told["changed"]} == {*noisy, urgent}
    assert "sent" in told["method"]
    # its own label is not what a rule of yesterday put there
    assert (await desk.dry_run(days=7, rules=[hush]))["summary"] == "3 unrouted"
    assert (await desk.dry_run(days=30, rules=[]))["summary"] == "4 unrouted"


async def test_the_past_is_looked_through_page_by_page(desk: Desk) -> None:
    first = await desk.opens()
    await desk.paged(first, "alice")
    await desk.connections.execute(
        "INSERT INTO incidents SELECT (r).* FROM (SELECT jsonb_populate_record(i, jsonb_build_object("
        " 'id', gen_random_uuid(), 'fingerprint', n::text, 'created_at', now() - (n / 3) * interval '1 second')) AS r"
        " FROM incidents i, generate_series(1, 1200) n WHERE i.id = $1) AS copies", first,
    )  # fmt: skip
    told = await desk.dry_run(days=1, rules=[{"id": "up", "name": "Up", "actions": [P1]}])
    assert told["totals"]["incidents"] == told["totals"]["changed"] == 1201
    assert told["summary"] == "1201 incidents raised to P1, 1201 newly routed"
    assert (len(told["changed"]), told["truncated"]) == (500, False)


@pytest.mark.parametrize(
    ("trial", "path"),
    [
        ({}, "body"),
        ({"days": 3, "incident": {"source": "x", "title": "x"}}, "body"),
        ({"days": 0}, "days"),
        ({"days": 91}, "days"),
        ({"incident": {"source": "x"}}, "incident.title"),
        ({"incident": {"source": "x", "title": "x", "severity": "urgent"}}, "incident.severity"),
        ({"days": 1, "rules": [{"id": "x", "name": "x", "actions": [P1], "conditions": {"field": "x", "value": 1}}]},
         "rules[0].conditions.field"),
        ({"days": 1, "rules": [], "draft": [{"id": "x", "name": "x", "actions": [P1]}]}, "body"),
        ({"days": 1, "draft": [{"id": "x", "name": "x", "actions": [P1]}] * 2}, "draft"),
    ],
)  # fmt: skip
async def test_what_cannot_be_tried_is_refused_by_its_field(
    api: httpx.AsyncClient, trial: dict[str, object], path: str
) -> None:
    answer = await api.post("/api/v1/routing/dry-run", json=trial)
    assert (answer.status_code, answer.json()["error"]["details"][0]["field"]) == (400, path)


async def test_the_incident_must_be_there(api: httpx.AsyncClient) -> None:
    for id_ in (uuid4(), "nonsense"):
        assert (await api.get(f"/api/v1/incidents/{id_}/routing")).status_code == 404


async def test_the_documentation_shows_what_works(desk: Desk) -> None:
    page = (Path(__file__).parents[2] / "docs" / "routing.md").read_text()
    rule, _, incident, days, _ = (orjson.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL))
    await desk.puts("teams", "llm-platform", members=["bob"])
    answer = await desk.http.post("/api/v1/routing-rules", json=rule)
    assert answer.status_code == 201, answer.text
    told = await desk.dry_run(**incident)
    assert (told["rules"], told["severity"], told["labels"]) == (["llm-production"], "P1", {"owner": "llm-platform"})
    assert told["assignment"]["why"] == "nobody active is on duty"
    assert (await desk.dry_run(**days))["summary"] == "nothing would change"

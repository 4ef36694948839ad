"""GraphQL over HTTP: every contract's words, pages by cursors, refusals with codes, and limits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from app.api.graphql.context import Context
from app.api.graphql.door import Door
from app.config import Settings
from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.alert import Alert
from app.domain.playing import Execute
from app.runtime import services, temporal_client
from app.store.database import Connection, Pool, pool
from tests.api.conftest import NOBODY_THERE, Service
from tests.support.databases import another_database

WAIT = {"name": "Wait", "steps": [{"id": "wait", "type": "wait", "seconds": 1}]}
EVERYTHING = """
query Page($first: Int!) {
  incidents(first: $first) {
    totalCount
    pageInfo { hasNextPage endCursor }
    edges { cursor node {
      id external_id fingerprint severity status state category environment title created_at createdAt
      assigned_to assignedTo { id name email } assignedTeam { id name members { name } }
      sla { acknowledgment_deadline resolutionBreached } metrics { mttd mtta mttr }
      related_incidents relatedIncidents { id } parentIncident { id }
      alerts { id title } timeline { seq eventType actor { name } } comments { content author { name } }
      notifications { channel status } correlationGroup { id size } escalationPolicy { name }
      playbookExecutions { status playbook { name } }
    } }
  }
}
"""


async def asked(client: httpx.AsyncClient, query: str, **variables: Any) -> dict[str, Any]:
    answer = await client.post("/graphql", json={"query": query, "variables": variables})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def data(client: httpx.AsyncClient, query: str, **variables: Any) -> dict[str, Any]:
    found = await asked(client, query, **variables)
    assert "errors" not in found, found
    said: dict[str, Any] = found["data"]
    return said


async def refused(client: httpx.AsyncClient, query: str, **variables: Any) -> dict[str, Any]:
    found = await asked(client, query, **variables)
    error: dict[str, Any] = found["errors"][0]
    return error


async def reported(client: httpx.AsyncClient, **alert: Any) -> str:
    body = {"source": "graphql", "title": f"model is slow {uuid4()}", "severity": "P2"} | alert
    answer = await client.post("/api/v1/alerts", json=body)
    return str(answer.json()["incident_id"])


async def test_one_incident_under_all_of_its_names(api: httpx.AsyncClient) -> None:
    id_ = await reported(api, severity="P1", environment="production", tags={"team": "payments"}, external_id="x-1")
    found = await data(
        api,
        """query($id: ID!) { incident(id: $id) {
            id severity status state category environment external_id externalId created_at createdAt tags labels
            isActive isCritical is_active assigned_to assignedTo { name } related_incidents relatedIncidents { id }
            duplicate_of duplicateOf { id } sla { acknowledgment_deadline acknowledgmentDeadline }
            metrics { mttd mtta mttr } resource { type } resolution { root_cause } metadata incidentType
        } }""",
        id=id_,
    )
    incident = found["incident"]
    rest = (await api.get(f"/api/v1/incidents/{id_}")).json()
    assert incident["severity"] == "P1"
    assert incident["status"] == incident["state"] == "NEW"
    assert (incident["category"], incident["environment"]) == ("other", "production")
    assert incident["created_at"] == incident["createdAt"] == rest["created_at"]
    assert incident["external_id"] == incident["externalId"] == "x-1"
    assert incident["tags"] == {"team": "payments"}
    assert incident["labels"] == ["team=payments"]
    assert incident["isActive"] is incident["is_active"] is incident["isCritical"] is True
    assert incident["sla"]["acknowledgment_deadline"] == rest["sla"]["acknowledgment_deadline"]
    assert incident["assigned_to"] is incident["assignedTo"] is incident["resolution"] is None
    assert incident["incidentType"] == "UNKNOWN"


async def test_what_is_not_there_is_null(api: httpx.AsyncClient) -> None:
    for id_ in (str(uuid4()), "no-uuid"):
        assert await data(api, "query($id: ID!) { incident(id: $id) { id } }", id=id_) == {"incident": None}


@pytest.mark.parametrize(
    "narrowing",
    [
        "severity: [P0, P1], environment: [PRODUCTION]",
        "severities: [P0, P1], environments: [production]",
        "severity: P0, environment: production, activeOnly: true",
        'states: [NEW], severities: [P0], sources: ["SOURCE"]',
        'status: NEW, severity: P0, tags: {team: "SOURCE"}',
        'search: "SOURCE"',
    ],
)
async def test_filters_in_the_words_of_every_client(api: httpx.AsyncClient, narrowing: str) -> None:
    source = f"s{uuid4().hex}"
    wanted = await reported(
        api, source=source, severity="P0", environment="production", tags={"team": source}, title=f"{source} is slow"
    )
    await reported(api, source="other", severity="P3", environment="staging")
    also = 'sources: ["SOURCE"]' if "sources" not in narrowing else ""
    filters = f"{narrowing} {also}".replace("SOURCE", source)
    found = await data(api, f"{{ incidents(filter: {{ {filters} }}) {{ totalCount nodes {{ id }} }} }}")
    assert found["incidents"] == {"totalCount": 1, "nodes": [{"id": wanted}]}


async def test_pages_forwards_and_backwards_neither_overlap_nor_skip(api: httpx.AsyncClient) -> None:
    source = f"s{uuid4().hex}"
    made = [await reported(api, source=source, severity=f"P{n % 4}") for n in range(9)]
    query = """query($after: String, $before: String, $first: Int, $last: Int, $source: String!) { incidents(
        first: $first, last: $last, after: $after, before: $before, filter: {source: [$source]}, orderBy: ORDER
    ) { pageInfo { hasNextPage hasPreviousPage startCursor endCursor } edges { cursor node { id severity } } } }"""
    for order in ("{field: CREATED_AT, direction: DESC}", "[{field: SEVERITY, direction: ASC}]"):
        text = query.replace("ORDER", order)
        seen: list[str] = []
        page: dict[str, Any] = {"pageInfo": {"endCursor": None, "hasNextPage": True}}
        pages = []
        while page["pageInfo"]["hasNextPage"]:
            after = page["pageInfo"]["endCursor"]
            page = (await data(api, text, source=source, first=4, after=after))["incidents"]
            pages.append(page)
            seen += [edge["node"]["id"] for edge in page["edges"]]
            await reported(api, source=f"{source}-beside")
        assert sorted(seen) == sorted(made)
        back = (await data(api, text, source=source, last=4, before=pages[2]["pageInfo"]["startCursor"]))["incidents"]
        assert [edge["node"]["id"] for edge in back["edges"]] == seen[4:8]
        assert back["pageInfo"]["hasPreviousPage"] is True
        assert back["pageInfo"]["hasNextPage"] is True


async def test_an_incident_that_is_reported_twice_is_one(api: httpx.AsyncClient) -> None:
    mutation = """mutation($title: String!) { createIncident(input: {
        title: $title, description: "d", severity: P1, category: PERFORMANCE, environment: PRODUCTION,
        resource: {type: "model", id: "gpt-4o"}, tags: {service: "chat"}
    }) { status duplicateOf incident { id category environment resource { type id } } } }"""
    title = f"slow {uuid4()}"
    first = (await data(api, mutation, title=title))["createIncident"]
    assert first["status"] == "created"
    assert first["incident"]["category"] == "performance"
    assert first["incident"]["resource"] == {"type": "model", "id": "gpt-4o"}
    again = (await data(api, mutation, title=title))["createIncident"]
    assert (again["status"], again["duplicateOf"]) == ("duplicate", first["incident"]["id"])


async def test_an_event_in_the_published_shape(api: httpx.AsyncClient) -> None:
    mutation = """mutation($event: RawEventInput!) { createIncident(input: {event: $event,
        options: {forceSeverity: P0}}) { status incident { severity source alerts { title } } } }"""
    event = {
        "eventId": str(uuid4()), "source": "sentinel", "title": f"drift {uuid4()}", "description": "d",
        "severity": "high", "category": "performance", "resource": {"type": "model", "id": "m"},
        "metrics": {"p95": 8.1}, "tags": {"a": "b"}, "timestamp": "2026-11-23T08:00:00Z", "eventType": "anomaly",
    }  # fmt: skip
    found = (await data(api, mutation, event=event))["createIncident"]
    assert found["status"] == "created"
    assert (found["incident"]["severity"], found["incident"]["source"]) == ("P0", "sentinel")
    read = await data(api, "query($id: ID!) { event(id: $id) { eventType metrics timestamp } }", id=event["eventId"])
    assert read["event"] == {"eventType": "anomaly", "metrics": {"p95": 8.1}, "timestamp": "2026-11-23T08:00:00Z"}


async def test_a_life_by_mutations(service: Service) -> None:
    http = service.http
    id_ = await service.incident(severity="P1")
    said = 'mutation($id: ID!) { addComment(incidentId: $id, content: "looking") { comment { reason } } }'
    await data(http, said, id=id_)
    taken = await data(
        http, 'mutation($id: ID!) { acknowledgeIncident(incidentId: $id, actor: "alice", notes: "mine")'
        " { status incident { status acknowledged_by comments { content } } } }", id=id_,
    )  # fmt: skip
    assert taken["acknowledgeIncident"] == {
        "status": "success",
        "incident": {"status": "ACKNOWLEDGED", "acknowledged_by": "alice", "comments": [{"content": "looking"}]},
    }
    changed = await data(
        http, 'mutation($id: ID!) { updateIncident(id: $id, input: {severity: P0, title: "worse", assignedTo: "bob"})'
        " { incident { severity title assigned_to } } }", id=id_,
    )  # fmt: skip
    assert changed["updateIncident"]["incident"] == {"severity": "P0", "title": "worse", "assigned_to": "bob"}
    resolved = await data(
        http, "mutation($id: ID!) { resolveIncident(input: {incidentId: $id, resolvedBy: \"bob\", method: \"Manual\","
        " rootCause: \"quota\", notes: \"raised it\"}) { incident { status resolution { root_cause resolvedBy } } } }",
        id=id_,
    )  # fmt: skip
    assert resolved["resolveIncident"]["incident"]["status"] == "RESOLVED"
    assert resolved["resolveIncident"]["incident"]["resolution"] == {"root_cause": "quota", "resolvedBy": "bob"}
    wrong = await refused(http, "mutation($id: ID!) { acknowledgeIncident(id: $id) { status } }", id=id_)
    assert wrong["extensions"]["code"] == "CONFLICT"
    assert wrong["extensions"]["reason"] == "INVALID_STATE_TRANSITION"
    assert "RESOLVED cannot become ACKNOWLEDGED" in wrong["message"]
    reopened = await data(
        http, 'mutation($id: ID!) { reopenIncident(incidentId: $id, actor: "bob", reason: "again")'
        " { incident { status } } }", id=id_,
    )  # fmt: skip
    assert reopened["reopenIncident"]["incident"]["status"] == "NEW"


async def test_the_same_request_twice_is_one(service: Service) -> None:
    id_ = await service.incident()
    body = {"query": 'mutation($id: ID!) { addComment(incidentId: $id, content: "once") { comment { seq } } }',
            "variables": {"id": id_}}  # fmt: skip
    for _ in range(2):
        answer = await service.http.post("/graphql", json=body, headers={"Idempotency-Key": f"k-{id_}"})
        assert "errors" not in answer.json(), answer.text
    comments = (await service.http.get(f"/api/v1/incidents/{id_}/comments")).json()
    assert [comment["reason"] for comment in comments] == ["once"]


@pytest.mark.parametrize(
    ("query", "code", "says"),
    [
        ("{ incident(id: 1) { nonsense } }", "VALIDATION_ERROR", "Cannot query field 'nonsense'"),
        ("{ incidents(first: 1000) { totalCount } }", "VALIDATION_ERROR", "first: must be 1 to 100"),
        ("{ incidents(first: 1, last: 1) { totalCount } }", "VALIDATION_ERROR", "not both"),
        ('{ incidents(after: "x") { totalCount } }', "VALIDATION_ERROR", "cursor: is not one"),
        ('{ incidents(filter: {search: "\\u0000"}) { totalCount } }', "VALIDATION_ERROR", "NUL"),
        ('{ incidents(filter: {startDate: "yesterday"}) { totalCount } }', "VALIDATION_ERROR", "DateTime: must be ISO"),
        ('{ incidentTimeline(id: "nope") { seq } }', "NOT_FOUND", "There is no incident 'nope'"),
        ('{ documents(kind: "nope") { id } }', "NOT_FOUND", "nope"),
        ("mutation { acknowledgeIncident { status } }", "VALIDATION_ERROR", "incidentId: is required"),
        ('mutation { acknowledgeIncident(id: "a", incidentId: "b") { status } }', "VALIDATION_ERROR", "once"),
        ("mutation { createIncident(input: {}) { status } }", "VALIDATION_ERROR", "title: is required"),
        ('mutation { upsertDocument(kind: "x", id: "y", body: {}) { id } }', "NOT_FOUND", "kind"),
        ('mutation { upsertDocument(kind: "users", id: "y", body: []) { id } }', "VALIDATION_ERROR", "object"),
        ("{ incidents { ", "VALIDATION_ERROR", "Syntax Error"),
    ],
)
async def test_a_refusal_says_what_is_wrong(api: httpx.AsyncClient, query: str, code: str, says: str) -> None:
    error = await refused(api, query)
    assert error["extensions"]["code"] == code
    assert says in error["message"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"[]", "batches are not taken"),
        (b"[" + b'{"query": "{ version { version } }"},' * 3 + b'{"query": "{ version { version } }"}]', "batches"),
        (b'{"query": 1}', "query: is required"),
        (b'{"query": ""}', "query: is required"),
        (b'{"query": "subscription { newIncidents { id } }"}', "for WebSockets"),
        (b'{"query": "{ version { version } }", "variables": []}', "variables: must be an object"),
        (b'{"query": "{ version { version } }", "variables": {"a": NaN}}', "finite number"),
        (b"nonsense", "must be JSON"),
    ],
)
async def test_what_is_no_operation_is_refused_as_rest_does(api: httpx.AsyncClient, body: bytes, says: str) -> None:
    answer = await api.post("/graphql", content=body)
    assert answer.status_code == 400
    assert says in answer.json()["message"]


FRAGMENTS = (
    "query { ...f0 } "
    + " ".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }}" for n in range(60))
    + " fragment f60 on Query { version { version } }"
)
ALIASES = (
    "query { ...f0 } "
    + " ".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }}" for n in range(60))
    + " fragment f60 on Query { a: version { version } }"
)
DEEP = "{ incidents { nodes " + "{ relatedIncidents " * 9 + "{ id }" + " }" * 9 + " } }"


@pytest.mark.parametrize(
    ("query", "limit"),
    [
        (DEEP, "depth"),
        ("{ " + " ".join(f"a{n}: version {{ version }}" for n in range(16)) + " }", "aliases"),
        (ALIASES, "aliases"),
        (FRAGMENTS, "complexity"),
        ("{ " + "version { version } " * 21 + "}", "repetition of a field"),
        ("{ incidents(first: 100) { nodes { relatedIncidents { alerts { id } timeline { seq } } } } }", "complexity"),
        ("{ incidents(first: 100) { nodes { relatedIncidents { relatedIncidents { id } } } } }", "complexity"),
        ("{ " + "version { version } " * 400 + "}", None),
    ],
)
async def test_too_much_is_refused_before_anything_is_looked_up(
    api: httpx.AsyncClient, query: str, limit: str | None
) -> None:
    error = await refused(api, query)
    assert error["extensions"]["code"] == "COMPLEXITY_LIMITED"
    assert error["extensions"].get("limit") == limit


async def test_fragments_in_a_circle_are_refused(api: httpx.AsyncClient) -> None:
    error = await refused(api, "query { ...a } fragment a on Query { ...b } fragment b on Query { ...a }")
    assert "itself" in error["message"]


async def test_the_size_of_a_page_may_come_as_a_variable(api: httpx.AsyncClient) -> None:
    query = "query($n: Int) { incidents(first: $n) { nodes { relatedIncidents { alerts { id } } } } }"
    assert (await refused(api, query, n=100))["extensions"]["limit"] == "complexity"
    assert "errors" not in await asked(api, query, n=5)


async def test_introspection_and_hints_are_for_development(database_url: str) -> None:
    async with _door(database_url, introspection=False) as door:
        context = Context(door.gateway, ME)
        closed = await door.schema.execute("{ __schema { types { name } } }", None, context)
        assert closed.errors
        hint = await door.schema.execute("{ incidentz { id } }", None, context)
        assert hint.errors
        assert "Did you mean" not in hint.errors[0].message
    async with _door(database_url, introspection=None) as door:
        open_ = await door.schema.execute("{ __schema { types { name } } }", None, Context(door.gateway, ME))
        assert not open_.errors


async def test_the_schema_is_there_to_read(api: httpx.AsyncClient) -> None:
    sdl = (await api.get("/graphql/schema")).text
    assert "type Incident {" in sdl
    assert "external_id: String" in sdl
    assert "enum Severity {" in sdl
    assert "graphiql" in (await api.get("/graphql/playground")).text.lower()


class Counted(Pool):
    """Connections, and how often one was asked for something."""

    used = 0

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        self.used += 1
        async with super().acquire() as connection:
            yield connection


def _door(url: str, pool_: Pool | None = None, **graphql: Any) -> AbstractAsyncContextManager[Door]:
    @asynccontextmanager
    async def made() -> AsyncIterator[Door]:
        settings = Settings.model_validate(
            {"storage": {"connection_string": url}, "temporal": {"address": NOBODY_THERE}, "graphql": graphql}
        )
        temporal = await temporal_client(settings.temporal, lazy=True)
        async with pool(url, 5) as connections:
            yield Door(services(settings, pool_ or connections, temporal, {}))

    return made()


async def test_a_page_of_a_hundred_costs_as_many_statements_as_one_of_ten(database_url: str) -> None:
    async with another_database(database_url) as url, pool(url, 5) as connections:
        counted = Counted(connections.connections)
        async with _door(url, counted) as door:
            for person in ("ann", "ben"):
                await door.gateway.documents.put(ME, "users", person, {"name": person})
            await door.gateway.documents.put(ME, "teams", "ops", {"name": "Ops", "members": ["ann", "ben"]})
            at = datetime.now(UTC) - timedelta(hours=1)
            for n in range(100):
                alert = Alert(source="s", title=f"model {n} is slow", starts_at=at)
                await door.gateway.alerts.ingest(ME, [alert], assignee=("ann", "ben")[n % 2])
            await connections.execute("UPDATE incidents SET assigned_team = 'ops', policy_id = 'p'")
            await door.gateway.documents.put(ME, "playbooks", "wait", WAIT)
            for row in await connections.fetch("SELECT id FROM incidents"):
                await door.gateway.playbooks.execute(ME, "wait", Execute(incident_id=row["id"]))
            spent = {}
            for first in (10, 100):
                before = counted.used
                found = await door.schema.execute(EVERYTHING, {"first": first}, Context(door.gateway, ME))
                assert not found.errors
                spent[first] = counted.used - before
                edges = found.data["incidents"]["edges"] if found.data else []
                assert len(edges) == first
                assert {edge["node"]["assignedTo"]["name"] for edge in edges} == {"ann", "ben"}
                assert all(len(edge["node"]["alerts"]) == 1 for edge in edges)
                runs = [run for edge in edges for run in edge["node"]["playbookExecutions"]]
                assert runs == [{"status": "PENDING", "playbook": {"name": "Wait"}}] * first
            assert spent[100] <= spent[10] + 1 <= 13  # documents that are kept for a moment may be read in either


async def test_analytics_say_what_rest_says(api: httpx.AsyncClient) -> None:
    await reported(api)
    now = datetime.now(UTC)
    start, end = (now - timedelta(days=1)).isoformat(), (now + timedelta(hours=1)).isoformat()
    query = """query($r: TimeRangeInput!, $s: DateTime!, $e: DateTime!) {
        analytics(timeRange: $r) { totalIncidents incidentsBySeverity p95Mttr incidentTrend { timestamp value } }
        incidentTrends(startDate: $s, endDate: $e, interval: HOUR) { timestamp value }
        slaCompliance(startDate: $s, endDate: $e) { overall resolution }
    }"""
    found = await data(api, query, r={"start": start, "end": end}, s=start, e=end)
    rest = await api.get("/api/v1/analytics/metrics", params={"start_date": start, "end_date": end})
    assert found["analytics"]["totalIncidents"] == rest.json()["total_incidents"] > 0
    assert found["analytics"]["incidentsBySeverity"] == rest.json()["incidents_by_severity"]
    trends = await api.get(
        "/api/v1/analytics/trends", params={"start_date": start, "end_date": end, "interval": "hour"}
    )
    assert [point["value"] for point in found["incidentTrends"]] == [point["value"] for point in trends.json()]


async def test_many_at_once_are_each_answered(api: httpx.AsyncClient) -> None:
    id_ = await reported(api)
    query = "query($id: ID!) { incident(id: $id) { id alerts { id } } }"
    answers = await asyncio.gather(*(data(api, query, id=id_) for _ in range(50)))
    assert {answer["incident"]["id"] for answer in answers} == {id_}

"""REST without a workflow: what comes in, what is found again, what is refused and how."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.api.conftest import door

README = {
    "source": "monitoring", "title": "High CPU Usage", "description": "CPU usage exceeded 90% threshold",
    "severity": "P1", "incident_type": "Infrastructure",
}  # fmt: skip


def unique(**fields: Any) -> dict[str, Any]:
    return {"source": "tests", "title": f"model is slow {uuid4()}", "severity": "P2"} | fields


async def found(api: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    answer = await api.get("/api/v1/incidents", params=query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def refusal(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert body["error"].keys() == {"code", "message", "status", "details"}
    assert body["error"]["code"] == code
    assert body["error"]["message"] == body["message"]
    assert datetime.fromisoformat(body["timestamp"]).tzinfo
    return body


async def test_the_readme_creates_an_incident_once(api: httpx.AsyncClient) -> None:
    body = README | {"title": f"High CPU Usage {uuid4()}"}
    created = await api.post("/api/v1/incidents", json=body)
    assert created.status_code == 201
    incident = created.json()
    assert incident["status"] == incident["state"] == "NEW"
    assert incident["id"] == incident["incident_id"]
    assert incident["category"] == "availability"
    assert incident["created_at"].endswith("Z")
    assert incident["duplicate_of"] is None

    again = await api.post("/v1/incidents", json=body)
    assert again.status_code == 200
    merged = again.json()
    assert (merged["status"], merged["state"]) == ("duplicate", "NEW")
    assert merged["duplicate_of"] == merged["incident_id"] == merged["incident"]["id"] == incident["id"]
    assert merged["incident"]["alert_count"] == 2
    assert merged["outcome"] == "merged"


async def test_the_published_clients_envelope(api: httpx.AsyncClient) -> None:
    event = unique(
        event_id=str(uuid4()), event_type="alert", category="performance", timestamp="2026-11-23T08:00:00Z",
        metrics={"p99": 4.2}, tags={"team": "llm"}, payload={"model": "m"},
    )  # fmt: skip
    created = await api.post("/api/v1/incidents", json={"event": event})
    assert created.status_code == 201
    told = created.json()
    assert told["status"] == "created"
    assert told["incident"]["category"] == "performance"
    again = (await api.post("/api/v1/incidents", json={"event": event})).json()
    assert (again["status"], again["duplicate_of"]) == ("duplicate", told["incident_id"])

    other = {"event": event | {"event_id": str(uuid4())}, "options": {"skip_deduplication": True, "assign_to": "ada"}}
    separate = (await api.post("/api/v1/incidents", json=other)).json()
    assert separate["status"] == "created"
    assert separate["incident_id"] != told["incident_id"]
    assert separate["incident"]["assigned_to"] == "ada"


async def test_an_alert_says_truthfully_what_became_of_it(api: httpx.AsyncClient) -> None:
    alert = unique(fingerprint=str(uuid4()))

    async def send(**more: Any) -> dict[str, Any]:
        answer = await api.post("/api/v1/alerts", json=alert | more)
        assert answer.status_code == 200
        told: dict[str, Any] = answer.json()
        return told

    created, merged = await send(), await send()
    assert (created["status"], created["outcome"]) == ("Accepted", "created")
    assert (merged["status"], merged["outcome"]) == ("Duplicate", "merged")
    assert created["incident_id"] == merged["incident_id"]
    assert created["alert_id"] != merged["alert_id"]
    assert (await send(status="resolved"))["outcome"] == "resolved"
    ignored = await send(fingerprint=str(uuid4()), status="resolved")
    assert (ignored["status"], ignored["outcome"], ignored["incident_id"]) == ("Accepted", "ignored", None)

    page = (await api.get(f"/api/v1/incidents/{created['incident_id']}/alerts", params={"page_size": 1})).json()
    assert page["total"] == 3
    assert len(page["alerts"]) == 1


async def test_an_idempotency_key_makes_sending_twice_harmless(api: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    alert = unique()
    answers = [await api.post("/api/v1/alerts", json=alert, headers=key) for _ in range(2)]
    assert [answer.json()["outcome"] for answer in answers] == ["created", "repeat"]


async def test_every_item_of_a_batch_is_answered_on_its_own(api: httpx.AsyncClient) -> None:
    good = unique()
    batch = [good, unique(severity="P9"), good, "no object"]
    answer = (await api.post("/api/v1/alerts/batch", json={"alerts": batch})).json()
    assert (answer["accepted"], answer["duplicates"], answer["rejected"]) == (1, 1, 2)
    assert [result["index"] for result in answer["results"]] == [0, 1, 2, 3]
    assert answer["results"][1]["error"]["details"][0]["field"] == "alerts[1].severity"
    assert answer["results"][3]["incident_id"] is None
    assert answer["results"][0]["incident_id"] == answer["results"][2]["incident_id"]


async def test_a_batch_over_a_thousand_stores_nothing(api: httpx.AsyncClient) -> None:
    word = uuid4().hex
    alerts = [unique(title=f"{word} {n}") for n in range(1001)]
    refusal(await api.post("/api/v1/alerts/batch", json={"alerts": alerts}), 400, "VALIDATION_ERROR")
    assert (await found(api, search=word))["total"] == 0
    full = (await api.post("/api/v1/alerts/batch", json={"alerts": alerts[:1000]})).json()
    assert full["accepted"] == 1000


async def test_alertmanager_comes_in_by_both_its_doors(api: httpx.AsyncClient) -> None:
    labels = {"alertname": f"HighLatency {uuid4()}", "severity": "critical"}
    start = "2026-11-23T08:00:00Z"
    sent = {"labels": labels, "annotations": {}, "startsAt": start, "endsAt": "0001-01-01T00:00:00Z"}
    group = {"version": "4", "status": "firing", "groupKey": "{}", "alerts": [sent | {"status": "firing"}]}
    told = (await api.post("/api/v1/ingest/alertmanager", json=group)).json()
    incident = told["results"][0]["incident_id"]
    over = sent | {"endsAt": "2026-11-23T09:00:00Z"}
    assert (await api.post("/api/v2/alerts", json=[sent])).status_code == 200
    assert (await api.get(f"/api/v1/incidents/{incident}")).json()["severity"] == "P0"
    resolved = await api.post("/v1/ingest/alertmanager", json=group | {"alerts": [over | {"status": "resolved"}]})
    assert resolved.json()["results"][0]["outcome"] == "resolved"
    refusal(await api.post("/api/v1/ingest/nagios", json={}), 404, "NOT_FOUND")


async def test_pagerduty_is_answered_as_pagerduty_does(api: httpx.AsyncClient) -> None:
    payload = {
        "summary": f"down {uuid4()}",
        "source": "db",
        "severity": "error",
        "timestamp": "2026-11-23T08:00:00+00:00Z",
    }
    trigger = {"routing_key": "r" * 32, "event_action": "trigger", "payload": payload}
    answer = await api.post("/v2/enqueue", json=trigger)
    assert answer.status_code == 202
    assert answer.json().keys() == {"status", "message", "dedup_key"}
    key = answer.json()["dedup_key"]
    ended = await api.post("/v2/enqueue", json={"routing_key": "r" * 32, "event_action": "resolve", "dedup_key": key})
    assert ended.json() == {"status": "success", "message": "Event processed", "dedup_key": key}
    bad = await api.post("/v2/enqueue", json=trigger | {"payload": {}})
    assert bad.status_code == 400
    assert bad.json()["status"] == "invalid event"
    change = {"routing_key": "r" * 32, "payload": {"summary": "deploy 42", "source": "ci"}}
    assert (await api.post("/v2/change/enqueue", json=change)).status_code == 202


async def test_the_list_is_filtered_sorted_and_paged(api: httpx.AsyncClient) -> None:
    word = uuid4().hex
    for severity, source in (("P0", "a"), ("P1", "a"), ("P2", "b"), ("P3", "b"), ("P4", "c")):
        alert = unique(title=f"{word} {severity}", severity=severity, source=source, tags={"team": source})
        assert (await api.post("/api/v1/alerts", json=alert | {"environment": "staging"})).status_code == 200

    async def severities(**query: Any) -> list[str]:
        return [one["severity"] for one in (await found(api, search=word, **query))["incidents"]]

    assert await severities(sort="severity") == ["P0", "P1", "P2", "P3", "P4"]
    assert await severities(sort="created_at", order="desc") == ["P4", "P3", "P2", "P1", "P0"]
    assert set(await severities(severity=["P0", "P1"])) == {"P0", "P1"}
    assert set(await severities(**{"severity[]": ["critical", "p1"]})) == {"P0", "P1"}
    assert set(await severities(severities="P0,P1")) == {"P0", "P1"}
    assert set(await severities(sources="b", states="Detected")) == {"P2", "P3"}
    assert await severities(status="CLOSED") == []
    assert set(await severities(tag="team:c", environment="staging", active_only="true")) == {"P4"}
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    assert len(await severities(start_date=yesterday)) == 5
    assert await severities(end_date=yesterday) == []

    first = await found(api, search=word, page=0, page_size=2)
    assert first["pagination"] | {"next_cursor": ""} == {
        "page": 1, "page_size": 2, "total_count": 5, "total_pages": 3, "has_next": True, "has_previous": False,
        "next_cursor": "",
    }  # fmt: skip
    pages = [first]
    while cursor := pages[-1]["pagination"]["next_cursor"]:
        pages.append(await found(api, search=word, page_size=2, cursor=cursor))
    by_cursor = [one["id"] for page in pages for one in page["incidents"]]
    assert len(set(by_cursor)) == len(by_cursor) == 5
    third = await found(api, search=word, page=3, page_size=2)
    assert [one["id"] for one in third["incidents"]] == by_cursor[4:]
    assert not third["pagination"]["has_next"]


@pytest.mark.parametrize(("query", "field"), [
    ("colour=red", "colour"), ("severity=P9", "severity[0]"), ("status[]=ASLEEP", "status[0]"), ("page=-1", "page"),
    ("page=two", "page"), ("page_size=101", "page_size"), ("sort=title", "sort"),
    ("start_date=yesterday", "start_date"), ("start_date=2026-11-23T08:00:00", "start_date"),
    ("cursor=nonsense", "cursor"), ("tags=team", "tags"), ("page=1&page=2", "page"),
    ("search=%00", "search"), ("source[]=%00", "source[]"), ("cursor=%00", "cursor"),
])  # fmt: skip
async def test_a_filter_that_means_nothing_is_named(api: httpx.AsyncClient, query: str, field: str) -> None:
    body = refusal(await api.get(f"/api/v1/incidents?{query}"), 400, "VALIDATION_ERROR")
    assert body["error"]["details"][0]["field"] == field


BAD: list[tuple[bytes, str]] = [
    (b'{"source": "s", "title": NaN}', "title"),
    (b'{"source": "s", "title": "t", "resource": {"load": 1e400}}', "resource.load"),
    (b'{"source": "s", "title": "\\ud800"}', "title"),
    (b'{"source": "s", "title": "a\\u0000b"}', "title"),
    (b'{"source": "s", "title": "\xff"}', "body"),
    (b'{"source": "s", "title": "t", "resource": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "body"),
    (b'{"source": "s", "title": "t", "severity": "P9"}', "severity"),
    (b'{"source": "s", "title": "t", "colour": "red"}', "colour"),
    (b'{"source": "s", "title": 7}', "title"),
    (b'{"title": "t"}', "source"),
    (b"[]", "body"),
    (b"{", "body"),
    (b"", "source"),
]


@pytest.mark.parametrize(("raw", "field"), BAD)
@pytest.mark.parametrize("path", ["/api/v1/alerts", "/api/v1/incidents"])
async def test_bad_input_is_400_with_the_fields_path(api: httpx.AsyncClient, path: str, raw: bytes, field: str) -> None:
    if path.endswith("incidents") and field == "source":
        field, raw = "title", b"{}"  # the source of an incident is "api" when left out
    body = refusal(await api.post(path, content=raw), 400, "VALIDATION_ERROR")
    assert body["error"]["details"][0]["field"] == field


@pytest.mark.parametrize(("method", "path", "body", "field"), [
    ("POST", "resolve", {"metod": "x"}, "metod"),
    ("POST", "acknowledge", {"actor": 7}, "actor"),
    ("POST", "acknowledge", {"notes": "x" * 70_000}, "notes"),
    ("POST", "comment", {}, "content"),
    ("POST", "comments", {"content": ""}, "content"),
    ("POST", "severity", {"severity": "P9"}, "severity"),
    ("POST", "snooze", {}, "body"),
    ("POST", "snooze", {"minutes": 5, "duration_secs": 5}, "body"),
    ("POST", "snooze", {"until": "2026-11-23T08:00:00"}, "until"),
    ("POST", "assign", {}, "body"),
    ("PATCH", "", {"status": "ASLEEP"}, "status"),
    ("PATCH", "", {"title": " "}, "title"),
    ("PUT", "", {"assignees": ["a", "b"]}, "assignees"),
])  # fmt: skip
async def test_a_command_that_means_nothing_is_refused_before_anybody_is_asked(
    api: httpx.AsyncClient, method: str, path: str, body: dict[str, Any], field: str
) -> None:
    nobody = f"/api/v1/incidents/{uuid4()}/{path}".rstrip("/")
    told = refusal(await api.request(method, nobody, json=body), 400, "VALIDATION_ERROR")
    assert told["error"]["details"][0]["field"] == field


@pytest.mark.parametrize("id_", [str(UUID(int=1)), "no-such", "%00", "x" * 3000, "%F0%9F%98%80"])
@pytest.mark.parametrize("path", ["", "/timeline", "/escalation", "/alerts", "/notifications", "/comments"])
async def test_an_incident_that_is_not_there_is_404(api: httpx.AsyncClient, id_: str, path: str) -> None:
    refusal(await api.get(f"/api/v1/incidents/{id_}{path}"), 404, "NOT_FOUND")


async def test_unknown_routes_and_methods_have_the_same_form(api: httpx.AsyncClient) -> None:
    refusal(await api.get("/api/v1/nothing"), 404, "NOT_FOUND")
    refusal(await api.delete("/api/v1/incidents"), 405, "METHOD_NOT_ALLOWED")
    refusal(await api.get("/api/v1/alerts/batch"), 405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(("path", "limit"), [
    ("/api/v1/alerts", 2**20), ("/api/v1/incidents", 2**20), ("/api/v1/users", 2**20), ("/v2/enqueue", 2**20),
    ("/api/v1/alerts/batch", 2**23), ("/api/v1/ingest/alertmanager", 2**23),
])  # fmt: skip
async def test_a_body_that_is_too_large_is_not_read_whole(api: httpx.AsyncClient, path: str, limit: int) -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 65536
            yield b" " * 65536

    assert (await api.post(path, content=endless())).status_code == 413
    assert given <= limit + 2 * 65536
    announced = {"Content-Length": str(limit + 1)}
    given = 0
    assert (await api.post(path, content=endless(), headers=announced)).status_code == 413
    assert given <= 65536


async def test_a_request_that_takes_too_long_is_503(database_url: str) -> None:
    async def stalled() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with door(database_url, request_timeout_secs=0.2) as api:
        refusal(await api.post("/api/v1/alerts", content=stalled()), 503, "SERVICE_UNAVAILABLE")
        assert (await api.post("/api/v1/alerts", json=unique())).status_code == 200


async def test_documents_are_created_changed_and_kept(api: httpx.AsyncClient) -> None:
    id_ = f"ada-{uuid4().hex}"
    user = {"id": id_, "name": "Ada", "email": "ada@example.com"}
    created = await api.post("/api/v1/users", json=user)
    assert created.status_code == 201
    assert created.headers["etag"] == '"1"'
    refusal(await api.post("/api/v1/users", json=user), 409, "CONFLICT")

    shown = await api.get(f"/v1/users/{id_}")
    assert (shown.headers["etag"], shown.json()["version"]) == ('"1"', 1)
    renamed = shown.json() | {"name": "Ada L."}
    changed = await api.put(f"/api/v1/users/{id_}", json=renamed, headers={"If-Match": shown.headers["etag"]})
    assert changed.json()["version"] == 2
    late = await api.put(f"/api/v1/users/{id_}", json=user, headers={"If-Match": '"1"'})
    refusal(late, 409, "CONFLICT")
    versions = (await api.get(f"/api/v1/users/{id_}/versions")).json()
    assert [version["name"] for version in versions] == ["Ada", "Ada L."]
    assert id_ in [one["id"] for one in (await api.get("/api/v1/users")).json()]

    team = {"id": f"team-{id_}", "name": "LLM", "members": [id_]}
    assert (await api.put(f"/api/v1/teams/team-{id_}", json=team)).status_code == 200
    refusal(await api.delete(f"/api/v1/users/{id_}"), 409, "CONFLICT")
    assert (await api.delete(f"/api/v1/teams/team-{id_}")).status_code == 204
    assert (await api.delete(f"/api/v1/users/{id_}")).status_code == 204
    refusal(await api.get(f"/api/v1/users/{id_}"), 404, "NOT_FOUND")
    for method in ("GET", "PUT", "DELETE"):
        refusal(await api.request(method, "/api/v1/users/%00", json=user), 400, "VALIDATION_ERROR")


async def test_an_escalation_policy_has_two_addresses_and_one_meaning(api: httpx.AsyncClient) -> None:
    id_ = f"nights-{uuid4().hex}"
    target = {"type": "external", "id": "ops@example.com"}
    policy = {"id": id_, "name": "Nights", "levels": [{"targets": [target], "escalate_after_secs": 60}]}
    assert (await api.post("/api/v1/policies/escalation", json=policy)).status_code == 201
    assert (await api.get(f"/api/v1/escalation-policies/{id_}")).json()["levels"][0]["escalate_after_secs"] == 60
    policy["levels"] = [{"targets": [{"type": "pigeon", "id": "x"}]}]
    body = refusal(await api.put(f"/api/v1/escalation-policies/{id_}", json=policy), 400, "VALIDATION_ERROR")
    assert body["error"]["details"][0]["field"] == "levels[0].targets[0].type"


@pytest.mark.parametrize(("body", "headers", "field"), [
    ({"name": "Ada"}, {}, None), ({"id": "grace", "name": "Grace"}, {}, "id"), ([], {}, "body"),
    ({"name": "Ada", "shoe": 42}, {}, "shoe"), ({"name": "Ada"}, {"If-Match": "latest"}, "If-Match"),
])  # fmt: skip
async def test_a_bad_document_is_named(
    api: httpx.AsyncClient, body: object, headers: dict[str, str], field: str | None
) -> None:
    answer = await api.put("/api/v1/users/ada", json=body, headers=headers)
    if field is None:
        assert answer.status_code == 200
    else:
        assert refusal(answer, 400, "VALIDATION_ERROR")["error"]["details"][0]["field"] == field


async def test_health_names_the_part_that_is_away(api: httpx.AsyncClient) -> None:
    assert (await api.get("/health/live")).status_code == 200
    ready = await api.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json()["components"] == {"database": "up", "temporal": "down"}
    assert "Temporal" in ready.json()["failing"]["temporal"]
    for path in ("/health", "/api/v1/health"):
        health = await api.get(path)
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert (await api.get("/api/v1/ready")).status_code == 503


async def test_without_temporal_a_command_is_503_and_says_when_to_ask_again(api: httpx.AsyncClient) -> None:
    incident = (await api.post("/api/v1/alerts", json=unique())).json()["incident_id"]
    answer = await api.post(f"/api/v1/incidents/{incident}/acknowledge")
    refusal(answer, 503, "SERVICE_UNAVAILABLE")
    assert int(answer.headers["retry-after"]) > 0


async def test_metrics_count_by_route_not_by_path(api: httpx.AsyncClient) -> None:
    await api.get(f"/api/v1/incidents/{uuid4()}")
    await api.post("/v1/alerts", json=unique())
    await api.get("/wp-admin/setup.php")
    text = (await api.get("/metrics")).text
    for labels in (
        'method="GET",route="/incidents/{incident_id}",status="404"',
        'method="POST",route="/alerts",status="200"',
        'method="GET",route="none",status="404"',
    ):
        assert f"llm_incident_manager_http_requests_total{{{labels}}}" in text
    assert "wp-admin" not in text


async def test_the_description_is_whole(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    paths = document["paths"]
    for path in (
        "/api/v1/alerts",
        "/api/v1/incidents",
        "/v2/enqueue",
        "/api/v2/alerts",
        "/api/v1/users/{id}",
        "/health",
    ):
        assert path in paths
    assert {"get", "post"} <= paths["/api/v1/incidents"].keys()
    assert [path for path in paths if path.startswith("/v1/")] == ["/v1/logs"], "OpenTelemetry's own"
    operations = [operation["operationId"] for item in paths.values() for operation in item.values()]
    assert len(set(operations)) == len(operations)
    assert not missing(document, document)
    assert "swagger" in (await api.get("/docs")).text


def missing(part: Any, document: dict[str, Any]) -> list[str]:
    """Every $ref that leads nowhere."""
    if isinstance(part, list):
        return [ref for item in part for ref in missing(item, document)]
    if not isinstance(part, dict):
        return []
    here = []
    if isinstance(ref := part.get("$ref"), str):
        target: Any = document
        for step in ref.removeprefix("#/").split("/"):
            target = target.get(step, {})
        here = [] if target else [ref]
    return here + [ref for value in part.values() for ref in missing(value, document)]

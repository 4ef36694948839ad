"""Services over REST: kept by hand, taken over from Backstage; changes; what was found around an incident."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from app.domain.vocabulary import Role
from tests.api.test_rest import refusal
from tests.support.house import a_house

INFO = """\
apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: {0}-checkout
  title: Checkout
  description: Takes the money
  annotations:
    llmops/tier: "1"
    llmops/runbook: https://wiki.example/checkout
    llmops/model-groups: gpt-4o, claude
    backstage.io/kubernetes-id: {0}-checkout-k8s
    unknown/annotation: {{nested: [1, 2]}}
  tags: [payments]
  links: [{{url: "https://grafana.example/d/1", title: Dashboard}}, {{url: "javascript:alert(1)"}}]
spec:
  type: service
  lifecycle: production
  owner: group:default/shop
  dependsOn: ["component:default/{0}-gateway", "resource:infra/{0}-db", "not a ref at all"]
  consumesApis: [{0}-prices]
  whatever: {{else: 1}}
---
kind: API
metadata: {{name: {0}-prices}}
spec: {{owner: prices}}
---
kind: Group
metadata: {{name: shop}}
---
kind: Component
metadata: {{}}
---
kind: System
metadata: {{name: {0}-prices}}
---
kind: Resource
metadata: {{name: "no good name!"}}
---
"""


async def imports(api: httpx.AsyncClient, text: str | bytes) -> httpx.Response:
    return await api.post("/api/v1/services/import", content=text, headers={"content-type": "application/yaml"})


async def imported(api: httpx.AsyncClient, text: str) -> dict[str, Any]:
    answer = await imports(api, text)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_a_service_is_kept_like_everything_else(api: httpx.AsyncClient) -> None:
    id_ = f"s-{uuid4()}"
    body = {"name": "Checkout", "tier": 1, "dependencies": ["gateway"], "owner": "shop"}
    made = await api.put(f"/api/v1/services/{id_}", json=body)
    assert (made.status_code, made.headers["etag"]) == (200, '"1"')
    assert (await api.get(f"/v1/services/{id_}")).json()["dependencies"] == ["gateway"]
    assert id_ in [one["id"] for one in (await api.get("/api/v1/services")).json()]
    assert (await api.delete(f"/api/v1/services/{id_}")).status_code == 204
    for wrong, field in (
        ({"tier": 5}, "tier"),
        ({"runbook_url": "javascript:x"}, "runbook_url"),
        ({"tire": 1}, "tire"),
    ):
        answer = await api.put(f"/api/v1/services/{id_}", json={"name": "x"} | wrong)
        assert refusal(answer, 400, "VALIDATION_ERROR")["error"]["details"][0]["field"] == field
    itself = await api.put(f"/api/v1/services/{id_}", json={"name": "x", "dependencies": [id_]})
    assert "itself" in refusal(itself, 400, "VALIDATION_ERROR")["message"]


async def test_backstage_is_taken_over_entity_by_entity(api: httpx.AsyncClient) -> None:
    mark = uuid4().hex[:8]
    said = await imported(api, INFO.format(mark))
    assert said["counts"] == {"created": 2, "ignored": 1, "refused": 3}
    assert [(one["entity"].replace(mark, "m"), one["outcome"]) for one in said["entities"]] == [
        ("component:default/m-checkout", "created"), ("api:default/m-prices", "created"),
        ("group:default/shop", "ignored"), ("component:default/?", "refused"), ("system:default/m-prices", "refused"),
        ("resource:default/no good name!", "refused"),
    ]  # fmt: skip
    reasons = [one["reason"] for one in said["entities"] if one["outcome"] == "refused"]
    assert reasons[0] == "metadata.name: is required"
    assert f"api:default/{mark}-prices has the same id" in reasons[1]
    assert reasons[2].startswith("id: ")
    found = (await api.get(f"/api/v1/services/{mark}-checkout")).json()
    said_of_it = {
        "name": "Checkout", "owner": "shop", "tier": 1, "lifecycle": "production", "models": ["gpt-4o", "claude"],
        "runbook_url": "https://wiki.example/checkout", "aliases": [f"{mark}-checkout-k8s"],
    }  # fmt: skip
    assert {name: found[name] for name in said_of_it} == said_of_it
    assert found["dependencies"] == [f"{mark}-gateway", f"infra.{mark}-db", f"{mark}-prices"]
    assert found["links"] == [{"url": "https://grafana.example/d/1", "title": "Dashboard"}]


async def test_again_changes_nothing_and_what_a_file_does_not_say_stays(api: httpx.AsyncClient) -> None:
    mark = uuid4().hex[:8]
    await imported(api, INFO.format(mark))
    assert (await imported(api, INFO.format(mark)))["counts"] == {"unchanged": 2, "ignored": 1, "refused": 3}
    id_ = f"{mark}-checkout"
    body = (await api.get(f"/api/v1/services/{id_}")).json() | {"providers": ["openai"]}
    assert (await api.put(f"/api/v1/services/{id_}", json=body)).status_code == 200
    said = await imported(api, f"kind: Component\nmetadata: {{name: {id_}, title: Check-out}}\n")
    assert said["counts"] == {"updated": 1}
    found = (await api.get(f"/api/v1/services/{id_}")).json()
    assert (found["name"], found["providers"], found["tier"], found["version"]) == ("Check-out", ["openai"], 1, 3)


@pytest.mark.parametrize(
    ("annotations", "field"),
    [("llmops/tier: gold", "tier"), ("llmops/tier: 9", "tier"), ("llmops/runbook: 'file:///x'", "runbook_url")],
)  # fmt: skip
async def test_an_entity_with_one_bad_value_is_refused_as_a_whole(
    api: httpx.AsyncClient, annotations: str, field: str
) -> None:
    id_ = f"s-{uuid4()}"
    said = await imported(api, f"kind: Component\nmetadata:\n  name: {id_}\n  annotations:\n    {annotations}\n")
    [one] = said["entities"]
    assert (one["outcome"], one["reason"].split(":")[0]) == ("refused", field)
    refusal(await api.get(f"/api/v1/services/{id_}"), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "aliases"),
        ("kind: !!python/object/apply:os.system [id]", "is not YAML in line 1"),
        ("kind: Component\nmetadata: {name: x", "is not YAML in line 3"),
        ("[" * 100_000, "nested deeper than 32"),
        ("--- a\n" * 2000, "at most 1000 entities"),
        ("kind: 2026-99-99\nx: 0000-00-00", "can't hold"),
        ("", "no entity"),
        ("\0", "is not YAML"),
        (b"\xff\xfe\xff", "UTF-8"),
    ],
)  # fmt: skip
async def test_a_hostile_file_is_refused_as_a_whole(api: httpx.AsyncClient, text: str | bytes, says: str) -> None:
    body = refusal(await imports(api, text), 400, "VALIDATION_ERROR")
    assert says in body["message"]
    assert body["error"]["details"][0]["field"] == "body"


async def test_what_is_no_entity_harms_nobody(api: httpx.AsyncClient) -> None:
    odd = [
        "just text",
        "[1, 2]",
        "kind: [Component]",
        "kind: Component\nmetadata: {name: {a: b}}",
        "1: 2",
        "kind: true",
    ]
    for text in odd:
        assert (await imported(api, text))["counts"] == {"refused": 1}, text
    surrogate = 'kind: Component\nmetadata: {name: "\\uD800"}'
    assert (await imports(api, surrogate)).status_code in (200, 400)
    refusal(await imports(api, "x" * 1_100_000), 413, "PAYLOAD_TOO_LARGE")


async def test_a_change_is_kept_listed_and_the_same_twice_is_one(api: httpx.AsyncClient) -> None:
    service, at = f"s-{uuid4()}", datetime.now(UTC) - timedelta(minutes=5)
    body = {
        "summary": "checkout 2.1", "at": at.isoformat(), "source": "argo", "services": [service.upper()],
        "environment": "prod", "author": "ann", "links": [{"href": "https://git.example/1"}], "details": {"sha": "1f"},
    }  # fmt: skip
    ids = {(await api.post("/api/v1/changes", json=body)).json()["id"] for _ in range(2)}
    assert len(ids) == 1
    assert (await api.post("/api/v1/changes", json={"summary": "flag on", "services": [service]})).status_code == 201
    listed = (await api.get("/api/v1/changes", params={"service": service})).json()
    assert [one["summary"] for one in listed] == ["flag on", "checkout 2.1"]
    assert (listed[1]["environment"], listed[1]["author"], listed[1]["details"]) == ("production", "ann", {"sha": "1f"})
    since = {"service": service, "since": (at + timedelta(minutes=1)).isoformat()}
    assert len((await api.get("/api/v1/changes", params=since)).json()) == 1


async def test_pagerdutys_change_events_say_which_service_they_touch(api: httpx.AsyncClient) -> None:
    service = f"s-{uuid4()}"
    event = {
        "routing_key": "k", "payload": {
            "summary": "Build 12", "source": "jenkins",
            "custom_details": {"service": service, "environment": "staging", "user": "ben"},
        },
    }  # fmt: skip
    assert (await api.post("/v2/change/enqueue", json=event)).status_code == 202
    [found] = (await api.get("/api/v1/changes", params={"service": service})).json()
    assert (found["source"], found["environment"], found["author"]) == ("jenkins", "staging", "ben")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "summary"), ({"summary": ""}, "summary"), ({"at": "noon"}, "at"), ({"at": "2999-01-01T00:00:00Z"}, "at"),
        ({"services": "checkout"}, "services"), ({"services": [""]}, "services[0]"), ({"by": "x"}, "by"),
        ({"links": [{"href": "javascript:x"}]}, "links[0].href"), ({"details": {"x": "y" * 20_000}}, "body"),
        ({"environment": "moon"}, "environment"),
    ],
)  # fmt: skip
async def test_a_change_that_makes_no_sense_is_refused_by_the_field(
    api: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    answer = await api.post("/api/v1/changes", json={"summary": "x"} | body if body else body)
    assert refusal(answer, 400, "VALIDATION_ERROR")["error"]["details"][0]["field"] == field


async def test_a_list_of_changes_is_asked_for_in_words_that_are_known(api: httpx.AsyncClient) -> None:
    for query, field in (("since=x", "since"), ("limit=0", "limit"), ("limit=501", "limit"), ("srvice=a", "srvice")):
        body = refusal(await api.get(f"/api/v1/changes?{query}"), 400, "VALIDATION_ERROR")
        assert body["error"]["details"][0]["field"] == field


async def test_what_was_found_is_shown_and_nothing_is_yet(api: httpx.AsyncClient) -> None:
    made = await api.post("/api/v1/alerts", json={"source": "tests", "title": f"slow {uuid4()}", "severity": "P2"})
    assert (await api.get(f"/api/v1/incidents/{made.json()['incident_id']}/enrichment")).json() == []
    refusal(await api.get(f"/api/v1/incidents/{uuid4()}/enrichment"), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("role", "reports", "reads", "imports_"),
    [
        (Role.INGEST, 201, 403, 403), (Role.VIEWER, 403, 200, 403), (Role.RESPONDER, 201, 200, 403),
        (Role.ADMIN, 201, 200, 200),
    ],
)  # fmt: skip
async def test_each_deed_needs_its_role(database_url: str, role: Role, reports: int, reads: int, imports_: int) -> None:
    async with a_house(database_url) as house:
        key = await house.keys.create("somebody", role)
        async with house.visitor(key) as visitor:
            assert (await visitor.post("/api/v1/changes", json={"summary": "x"})).status_code == reports
            assert (await visitor.get("/api/v1/changes")).status_code == reads
            assert (await imports(visitor, INFO.format("r"))).status_code == imports_
        async with house.visitor() as stranger:
            refusal(await imports(stranger, INFO.format("r")), 401, "AUTHENTICATION_ERROR")

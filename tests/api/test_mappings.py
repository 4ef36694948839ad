"""Mappings, OpenTelemetry's logs and Sentinel's anomalies at the real gateway."""

import gzip
import hmac
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse

from app.api.http import create_app
from app.config import Settings
from app.runtime import gateway
from tests.api.conftest import NOBODY_THERE
from tests.support.databases import another_database

MAPPING = {
    "each": "checks", "resolved": "ok", "labels": {"check": "name"},
    "fields": {"title": "join(' ', ['Check', name, 'fails'])", "identity": "name", "severity": "level"},
}  # fmt: skip
BODY = {"checks": [{"name": "ttft", "ok": False, "level": "P1"}]}
SIGNED = {"header": "X-Sig", "prefix": "v1="}


@pytest.fixture(scope="module")
async def tools(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    settings = {
        "tools": {
            "signed": {"source": "generic", "secrets": ["s1", "s2"], "service": "chat"},
            "sentinel": {"secrets": ["s1"]},
        }
    }
    async with another_database(database_url) as url:
        said = Settings.model_validate({
            "storage": {"connection_string": url}, "temporal": {"address": NOBODY_THERE}, "intake": settings,
        })  # fmt: skip
        async with gateway(said) as made:
            transport = httpx.ASGITransport(create_app(made))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080/api/v1") as client:
                yield client


async def put(tools: httpx.AsyncClient, name: str, **parts: object) -> httpx.Response:
    return await tools.put(f"/mappings/{name}", json=MAPPING | parts)


async def outcomes(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["outcome"] for one in answer.json()["results"]]


async def test_a_tool_nobody_knew_is_understood_once_a_mapping_is_saved(tools: httpx.AsyncClient) -> None:
    assert (await tools.post("/ingest/acme", json=BODY)).status_code == 404
    assert (await put(tools, "acme")).status_code == 200
    created = await tools.post("/ingest/acme", json=BODY)
    assert await outcomes(created) == ["created"]
    incident = (await tools.get(f"/incidents/{created.json()['results'][0]['incident_id']}")).json()
    assert (incident["title"], incident["severity"], incident["source"]) == ("Check ttft fails", "P1", "acme")
    assert await outcomes(await tools.post("/ingest/acme", json=BODY)) == ["merged"]
    assert await outcomes(await tools.post("/ingest/acme", json={"checks": [{"name": "ttft", "ok": True}]})) == [
        "resolved"
    ]


async def test_what_it_cannot_map_is_an_incident_that_says_so(tools: httpx.AsyncClient) -> None:
    await put(tools, "odd")
    for raw in (b'{"something": "else"}', b"no json", b'{"checks": [{"nom": 1}]}'):
        answer = await tools.post("/ingest/odd", content=raw)
        assert await outcomes(answer) in (["created"], ["merged"])
    incident = (await tools.get(f"/incidents/{answer.json()['results'][0]['incident_id']}")).json()
    assert (incident["title"], incident["severity"]) == ("odd sent something that could not be read", "P4")


async def test_a_newer_version_counts_at_once_and_one_that_is_off_is_not_there(tools: httpx.AsyncClient) -> None:
    await put(tools, "versions")
    await put(tools, "versions", fields={"title": "'Something'"}, enabled=True)
    versions = (await tools.get("/mappings/versions/versions")).json()
    assert [version["version"] for version in versions] == [1, 2]
    created = (await tools.post("/ingest/versions", json=BODY)).json()["results"][0]["incident_id"]
    assert (await tools.get(f"/incidents/{created}")).json()["title"] == "Something"
    await put(tools, "versions", enabled=False)
    assert (await tools.post("/ingest/versions", json=BODY)).status_code == 404
    for nobody in ("nobody", "%00", "a%20b"):
        assert (await tools.post(f"/ingest/{nobody}", json=BODY)).status_code == 404


async def test_secrets_in_the_settings_make_signatures_needed(tools: httpx.AsyncClient) -> None:
    await put(tools, "signed", signature=SIGNED)
    raw = json.dumps(BODY).encode()

    async def post(secret: str) -> httpx.Response:
        given = "v1=" + hmac.new(secret.encode(), raw, "sha256").hexdigest()
        return await tools.post("/ingest/signed", content=raw, headers={"X-Sig": given})

    assert (await post("wrong")).status_code == 401
    assert (await tools.post("/ingest/signed", content=raw)).status_code == 401
    created = await post("s1")
    assert await outcomes(created) == ["created"]
    assert await outcomes(await post("s2")) == ["merged"]
    incident = (await tools.get(f"/incidents/{created.json()['results'][0]['incident_id']}")).json()
    assert incident["affected_resources"] == ["chat"], "as the settings say of all that it sends"


async def test_an_anomaly_of_sentinel_is_known_by_its_signature_and_once(tools: httpx.AsyncClient) -> None:
    event = {"alert_id": "a-1", "anomaly_type": "hallucination", "service_name": "chat", "severity": "critical"}
    now = datetime.now(UTC).isoformat()
    bare = json.dumps({"event_type": "anomaly.detected", "timestamp": now, "data": event}).encode()
    signature = hmac.new(b"s1", bare, "sha256").hexdigest()
    raw = bare[:-1] + f', "signature": "{signature}"}}'.encode()
    said = [
        await tools.post("/ingest/sentinel", content=raw, headers={"X-Sentinel-Signature": signature}) for _ in "12"
    ]
    assert [await outcomes(one) for one in said] == [["created"], ["repeat"]]
    forged = raw.replace(b"critical", b"low")
    answer = await tools.post("/ingest/sentinel", content=forged, headers={"X-Sentinel-Signature": signature})
    assert answer.status_code == 401


async def test_what_a_body_would_become_is_shown_and_nothing_is_kept(tools: httpx.AsyncClient) -> None:
    await put(tools, "tried")
    saved = (await tools.post("/mappings/tried/test", json={"body": BODY})).json()
    draft = (await tools.post("/mappings/test", json={"mapping": MAPPING, "body": BODY})).json()
    [one], [other] = saved["alerts"], draft["alerts"]
    assert (one["title"], one["labels"]) == ("Check ttft fails", {"check": "ttft"})
    assert one | {"source": "draft"} == other
    fault = MAPPING | {"labels": {"n": "length(`3`)"}}
    tried: Any = (await tools.post("/mappings/test", json={"mapping": fault, "body": BODY})).json()
    assert "labels.n" in tried["faults"]
    none = (await tools.post("/mappings/tried/test", json={"body": {}})).json()
    assert none["alerts"][0]["title"] == "tried sent something that could not be read"
    found = (await tools.get("/incidents", params={"source": "tried"})).json()
    assert found["total"] == 0


async def test_a_mapping_that_cannot_work_is_refused_with_every_path(tools: httpx.AsyncClient) -> None:
    refused = await put(tools, "broken", fields={"title": "a..b"}, drop="x(")
    assert refused.status_code == 400
    assert [one["field"] for one in refused.json()["error"]["details"]] == ["drop", "fields.title"]
    taken = await put(tools, "grafana")
    assert "is the name of a source" in taken.json()["message"]
    typed = await put(tools, "typed", fields={"name": "x"}, kind="news", labels={"a": ""})
    assert {one["field"] for one in typed.json()["error"]["details"]} >= {"fields.title", "fields.name", "kind"}
    large = await tools.post("/ingest/tried", content=b"[" + b"1," * 600_000 + b"1]")
    assert large.status_code == 413


async def test_logs_are_answered_in_their_own_encoding(tools: httpx.AsyncClient) -> None:
    url, protobuf = "http://localhost:8080/v1/logs", {"Content-Type": "application/x-protobuf"}
    logs: dict[str, Any] = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"eventName": "gen_ai.user.message"}]}]}]}
    as_json = await tools.post(url, json=logs)
    assert (as_json.status_code, as_json.json()) == (200, {})
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.add(event_name="gen_ai.evaluation.result")
    packed = gzip.compress(request.SerializeToString())
    for content, more in ((request.SerializeToString(), {}), (packed, {"Content-Encoding": "gzip"}), (b"", {})):
        answer = await tools.post(url, content=content, headers=protobuf | more)
        assert (answer.status_code, answer.headers["content-type"]) == (200, protobuf["Content-Type"])
        assert ExportLogsServiceResponse.FromString(answer.content) == ExportLogsServiceResponse()


@pytest.mark.parametrize(("content", "headers", "status"), [
    (b"{", {}, 400), (b"\xff", {"Content-Type": "application/x-protobuf"}, 400),
    (b"x", {"Content-Encoding": "br"}, 400), (b"x", {"Content-Encoding": "gzip"}, 400),
    (gzip.compress(b"{}", mtime=0)[:-4], {"Content-Encoding": "gzip"}, 400),
    (gzip.compress(b" " * 20_000_000, mtime=0), {"Content-Encoding": "gzip"}, 413),
])  # fmt: skip
async def test_logs_that_are_none_are_refused(
    tools: httpx.AsyncClient, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await tools.post("http://localhost:8080/v1/logs", content=content, headers=headers)
    assert answer.status_code == status

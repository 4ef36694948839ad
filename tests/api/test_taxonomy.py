"""The taxonomy over REST and GraphQL, and lists of incidents by class."""

from typing import Any

import httpx
import pytest

from app.domain.taxonomy import CLASSES

ASKS = """{ taxonomy { name severity category owner } incidentClass(name: "security.guardrail_outage") {
title incidentType floor signals tags fingerprint enrichers suggestedPlaybook } nothing: incidentClass(name: "ssh") {
name } incidents(filter: {incidentClass: ["cost.budget"], incidentClasses: ["cost.runaway"]}) { nodes {
incidentClass suggestedPlaybook } } }"""


async def asked(api: httpx.AsyncClient, query: str) -> dict[str, Any]:
    answer = (await api.post("/graphql", json={"query": query})).json()
    assert "errors" not in answer, answer
    return dict(answer["data"])


async def test_every_class_can_be_read(api: httpx.AsyncClient) -> None:
    listed = (await api.get("/api/v1/taxonomy")).json()
    assert [one["name"] for one in listed["classes"]] == [*CLASSES]
    assert listed["total"] == len(CLASSES) == 37
    one = (await api.get("/v1/taxonomy/availability.provider_outage")).json()
    assert one in listed["classes"]
    assert (one["severity"], one["floor"], one["suggested_playbook"], one["owner"]) == (
        "P1", None, "provider-outage-reroute", "oncall",
    )  # fmt: skip
    assert one["fingerprint"] == ["provider", "region"]
    missing = await api.get("/api/v1/taxonomy/ssh")
    assert (missing.status_code, missing.json()["message"]) == (404, "There is no incident class 'ssh'.")


async def test_graphql_says_the_same(api: httpx.AsyncClient) -> None:
    said = await asked(api, ASKS)
    assert [one["name"] for one in said["taxonomy"]] == [*CLASSES]
    one = said["incidentClass"]
    assert (one["floor"], one["incidentType"], one["suggestedPlaybook"]) == ("P1", "AVAILABILITY", "guardrail-outage")
    assert (said["nothing"], said["incidents"]["nodes"]) == (None, [])


@pytest.mark.parametrize("name", ["class", "classes", "incident_class"])
async def test_lists_are_narrowed_by_class(api: httpx.AsyncClient, name: str) -> None:
    found = await api.get("/api/v1/incidents", params={name: "cost.budget,cost.runaway", "search": "agent.loop"})
    assert (found.status_code, found.json()["total"]) == (200, 0)


@pytest.mark.parametrize(
    ("body", "severity"),
    [
        ({"labels": {"class": "availability.gateway_down"}}, "P0"),
        ({"labels": {"class": "eval.regression"}}, "P3"),
        ({"labels": {"class": "eval.regression"}, "severity": "P1"}, "P1"),
        ({"labels": {"class": "ssh"}}, "P2"),
    ],
)
async def test_an_alert_without_a_severity_begins_where_its_class_does(
    api: httpx.AsyncClient, body: dict[str, Any], severity: str
) -> None:
    sent = {"source": "api", "title": f"{body}"} | body
    incident = (await api.post("/api/v1/alerts", json=sent)).json()["incident_id"]
    shown = (await api.get(f"/api/v1/incidents/{incident}")).json()
    assert (shown["severity"], shown["incident_class"]) == (severity, None)

"""Governance in both dialects, its word beside our own rules, and what the API says of all four."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.actions.base import Failed
from app.crew import enriching
from app.domain.access import Principal
from app.domain.compliance import Evidence, Framework, Verdict
from app.domain.enrichment import About
from app.domain.errors import Forbidden, NotFound
from app.domain.sla import Targets
from app.domain.vocabulary import Role, Severity
from app.enrichers import INTEGRATED
from app.integrating import Integrations as Said
from app.integrations.governance import POLICIES
from app.integrations.trouble import Trouble
from app.net.http import LOOPBACK, Http
from app.service.integrations import Integrations
from app.siblings import opened
from app.store.database import Pool
from app.store.incidents import IncidentStore
from app.surroundings import Enrichment
from tests.support.acting import action, at, incident, ran, tools
from tests.support.enriching import Study
from tests.support.grpc import house
from tests.support.receivers import SILENCE, Reply, Request
from tests.support.siblings import NOW, FakeHttp, four, wrapped
from tests.support.vendor import Answered, up

KEPT = {
    "contains_pii": True, "contains_phi": False, "contains_cardholder_data": False, "notification_sent": True,
    "data_subject_rights_protected": True, "data_minimized": True, "incident_response_plan_executed": True,
    "audit_logging_enabled": True, "security_controls_implemented": True,
}  # fmt: skip
BREACH: dict[str, object] = {
    "policy_id": "p", "policy_name": "EU", "rule_violated": "residency", "severity": "high", "message": "left the EU",
}  # fmt: skip
DIALECTS = pytest.mark.parametrize("dialect", ["seed", "real"])
VIEWER = Principal(name="ann", role=Role.VIEWER)
RESPONDER = Principal(name="bob", role=Role.RESPONDER)


@pytest.fixture
async def other() -> AsyncIterator[FakeHttp]:
    async with up(FakeHttp()) as made:
        yield made


def there(other: FakeHttp, dialect: str = "real", **more: object) -> dict[str, object]:
    return {"endpoint": other.base, "dialect": dialect, **more}


@DIALECTS
async def test_its_violations_count_and_its_passes_prove_nothing(other: FakeHttp, dialect: str) -> None:
    async with four(llm_governance_core=there(other, dialect)) as made:
        nothing = await made.governance.check_compliance("i-1", {}, NOW, NOW)
        assert (nothing.asked, nothing.verdict) == (True, Verdict.UNKNOWN)
        kept = await made.governance.check_compliance("i-1", KEPT, NOW, NOW)
        assert (kept.asked, kept.verdict, kept.problem) == (True, Verdict.COMPLIANT, None)
        other.violations, other.compliant = [BREACH], False
        broken = await made.governance.check_compliance("i-1", KEPT, NOW, NOW)
        assert broken.verdict == Verdict.VIOLATION
        assert (broken.violations[0].policy, broken.violations[0].reason) == ("residency", "left the EU")
        assert {one.verdict for one in broken.results} == {Verdict.COMPLIANT}


async def test_a_no_without_reasons_is_a_no(other: FakeHttp) -> None:
    other.compliant = False
    async with four(llm_governance_core=there(other, "seed")) as made:
        assert (await made.governance.check_compliance("i-1", KEPT, NOW, NOW)).verdict == Verdict.VIOLATION


async def test_the_first_versions_request_says_what_is_known(other: FakeHttp) -> None:
    async with four(llm_governance_core=there(other, "seed", frameworks=("GDPR",), token="s3")) as made:
        await made.governance.check_compliance("i-1", {"contains_pii": "true"}, NOW, NOW)
    body = other.bodies[-1]
    assert body["frameworks"] == ["GDPR"]
    assert body["data"]["personal_data"]["contains_pii"] is True
    assert body["data"]["health_data"] is None
    assert other.items[-1].headers["authorization"] == "Bearer s3"
    async with four(llm_governance_core=there(other, "seed", frameworks=())) as made:
        asked = {"contains_pii": "yes", "contains_phi": "perhaps", "contains_cardholder_data": False}
        await made.governance.check_compliance("i-1", asked, NOW, NOW)
    data = other.bodies[-1]["data"]
    assert (data["personal_data"]["contains_pii"], data["health_data"]) == (True, None)
    assert data["payment_data"]["contains_cardholder_data"] is False
    assert len(other.bodies[-1]["frameworks"]) == len(Framework)


async def test_where_it_is_away_our_own_rules_stand_and_nothing_is_better_for_it(other: FakeHttp) -> None:
    async with four(llm_governance_core=there(other)) as made:
        other.usually = Reply(503)
        other.replies.extend([Reply(503)] * 3)
        found = await made.governance.check_compliance("i-1", {}, NOW, NOW)
        assert (found.asked, found.verdict) == (False, Verdict.UNKNOWN)
        assert "503" in (found.problem or "")


async def test_a_violation_counts_though_governance_then_falls_silent(other: FakeHttp) -> None:
    """And our own rules' verdict is there before nobody waits for the enricher any more."""

    class Two(FakeHttp):
        def does(self, request: Request, path: str, query: dict[str, str]) -> Answered:
            if path == "/api/v1/policies":
                self.replies.extend([broken, SILENCE])
                return 200, wrapped({"policies": [{"id": "p-1"}, {"id": "p-2"}]})
            return super().does(request, path, query)

    broken = Reply(200, body=json.dumps(wrapped({"passed": False, "violations": [{"policy_id": "p-1"}]})).encode())
    about = About(
        incident_id="1", title="leak", source="guard", severity=Severity.P1, incident_class="privacy.pii_leak",
        started_at=NOW, at=NOW,
    )  # fmt: skip
    async with up(Two()) as two, four(llm_governance_core=there(two, "real", enrich=True)) as made:
        patient = INTEGRATED["governance"](Enrichment.model_validate({"timeouts_secs": {"governance": 0.3}}), made)
        assert patient is not None
        async with asyncio.timeout(0.3):
            found = await patient.look_up(about)
        assert found is not None
        assert found.data["verdict"] == Verdict.VIOLATION
        assert found.summary.startswith("broken: p-1 ()")
        assert found.summary.endswith("Governance: not all of it was answered within 0.24 s")


async def test_more_policies_than_are_asked_are_told_of(other: FakeHttp) -> None:
    class Many(FakeHttp):
        def does(self, request: Request, path: str, query: dict[str, str]) -> Answered:
            if path == "/api/v1/policies":
                return 200, wrapped({"policies": [{"id": f"p-{n}"} for n in range(POLICIES)]})
            return super().does(request, path, query)

    async with up(Many()) as many, four(llm_governance_core=there(many, "real")) as made:
        found = await made.governance.check_compliance("i-1", {}, NOW, NOW)
    assert (found.asked, found.problem) == (False, "only its first 100 policies were asked")


@DIALECTS
async def test_reports_and_figures(other: FakeHttp, dialect: str) -> None:
    async with four(llm_governance_core=there(other, dialect)) as made:
        report = await made.governance.audit_report("i-1", "key", {"verdict": "unknown"})
        again = await made.governance.audit_report("i-1", "key", {"verdict": "unknown"})
        assert report == again
        assert await made.governance.metrics()
        await made.governance.health()
        other.replies.append(Reply(200, body=b"[]"))
        with pytest.raises(Trouble):
            await made.governance.metrics()
    assert len(other.log) == (dialect == "real")
    if dialect == "seed":
        assert (report.total_checks, report.compliant_checks) == (3, 2)
        assert other.items[0].headers["idempotency-key"] == "key"


async def test_an_entry_whose_answer_was_lost_is_found_by_the_next_try(other: FakeHttp) -> None:
    async with four(llm_governance_core=there(other)) as made, Http(LOOPBACK) as http:
        step = action("governance_audit_report", replace(tools(http), four=made))
        other.loses_entry = True
        with pytest.raises(Failed) as caught:
            await ran(step, at(), evidence={"contains_pii": True})
        assert caught.value.doubtful
        assert caught.value.retry_after is not None
        done = await ran(step, at(), evidence={"contains_pii": True})
        assert len(other.log) == 1
        assert other.log[0]["details"]["rules"]["GDPR-001"] == "unknown"
        assert done.summary.startswith("report log-0: unknown")
        late = at(incident(tags={"contains_pii": "true", "notification_sent": "false"}), now=NOW + timedelta(days=9))
        assert "GDPR-001" in await step.check(step.Parameters(), late)


async def test_an_incident_of_privacy_is_told_its_rules(other: FakeHttp) -> None:
    about = About(
        incident_id="1", title="leak", source="guard", severity=Severity.P1, incident_class="privacy.pii_leak",
        tags={"data_minimized": "false"}, started_at=NOW, at=NOW,
    )  # fmt: skip
    async with four(llm_governance_core={"enrich": True}) as made:
        enricher = INTEGRATED["governance"](Enrichment(), made)
        assert enricher is not None
        found = await enricher.look_up(about)
        assert found is not None
        assert found.summary.startswith("broken: GDPR-003 (data_minimized is false); not known: GDPR-001, GDPR-002, ")
        assert await enricher.look_up(about.model_copy(update={"incident_class": "cost.budget"})) is None
    async with four(llm_governance_core={"endpoint": other.base}) as made:
        assert INTEGRATED["governance"](Enrichment(), made) is None


async def test_what_the_api_says(other: FakeHttp, connections: Pool) -> None:
    said: dict[str, Any] = {
        "llm_governance_core": there(other),
        "llm_sentinel": {"endpoint": "http://127.0.0.1:1", "attempts": 1},
    }
    async with four(connections, None, **said) as made:
        asked = Integrations(made, Said.model_validate(said), IncidentStore(connections, Targets()))
        states = {one.name: one for one in await asked.states(VIEWER)}
        assert {name: one.healthy for name, one in states.items()} == {
            "sentinel": False, "shield": None, "edge-agent": None, "governance": True,
        }  # fmt: skip
        assert states["sentinel"].last_error is not None
        assert (states["shield"].configured, states["governance"].configured) == (False, True)
        came = len(other.items)
        await asked.states(VIEWER)
        assert len(other.items) == came  # what was found a moment ago is told again
        assert (await asked.metrics_of(VIEWER, "edge_agent")).integration == "edge-agent"
        assert len(await asked.metrics(VIEWER)) == 4
        with pytest.raises(NotFound):
            await asked.metrics_of(VIEWER, "oracle")

        incident_id = await Study(connections, None).opens("leak", labels={"contains_pii": "true"})  # type: ignore[arg-type]
        found = await asked.compliance(RESPONDER, incident_id, Evidence(data_minimized=False))
        verdicts = {one.rule: one.verdict for one in found.results}
        assert (found.verdict, verdicts["GDPR-003"], verdicts["GDPR-002"]) == ("violation", "violation", "unknown")
        with pytest.raises(Forbidden):
            await asked.compliance(VIEWER, incident_id, Evidence())


async def test_the_service_is_put_together_with_those_that_are_set_up(
    other: FakeHttp, connections: Pool, database_url: str
) -> None:
    said = {"llm_sentinel": there(other), "llm_edge_agent": there(other), "llm_governance_core": {"enrich": True}}
    async with house(database_url, {"integrations": said}) as running:
        states = await running.gateway.integrations.states(VIEWER)
        assert {one.name: one.healthy for one in states} == {
            "sentinel": True, "shield": None, "edge-agent": True, "governance": None,
        }  # fmt: skip
        actions = set(running.gateway.playbooks.actions)
        assert {"sentinel_analyze", "edge_agent_sync"} <= actions
        assert not actions & {"shield_analyze", "governance_audit_report"}
        settings = running.gateway.settings
    async with (
        opened(settings.integrations, LOOPBACK, connections) as made,
        enriching(settings, connections, four=made) as looking,
    ):
        around = {one.name for one in looking.enrichers}
        assert {"sentinel", "governance", "changes"} <= around
        assert "shield" not in around

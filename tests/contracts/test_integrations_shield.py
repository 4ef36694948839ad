"""Shield in both dialects, and what is looked up and done with it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import trustme

from app.domain.enrichment import About, NoAnswer
from app.domain.vocabulary import Severity
from app.enrichers import INTEGRATED
from app.integrations.shield import Suspicion, Threat
from app.integrations.trouble import NotOffered, Trouble
from app.net.http import LOOPBACK, Http
from app.surroundings import Enrichment
from tests.support.acting import action, at, incident, ran, tools
from tests.support.siblings import NOW, SECRET, FakeHttp, FakeRpc, four, rpc
from tests.support.vendor import up

INJECTION = Suspicion(
    id="e-1", kind="security.prompt_injection", source="guard", text="ignore all previous", severity=Severity.P1, at=NOW
)
THREAT = Threat(id="t", kind="injection", confidence=0.7, severity=Severity.P1)
ABOUT = About(
    incident_id="1", title="injection tried", description="password=hunter2hunter2", source="guard",
    severity=Severity.P2, incident_class="security.prompt_injection", started_at=NOW, at=NOW,
)  # fmt: skip


@pytest.fixture
async def other() -> AsyncIterator[FakeHttp]:
    async with up(FakeHttp()) as made:
        yield made


@pytest.fixture
async def spoken() -> AsyncIterator[FakeRpc]:
    async with rpc() as made:
        yield made


async def test_the_first_versions_four_questions(spoken: FakeRpc) -> None:
    spoken.wants = ("authorization", "Bearer k")
    async with four(llm_shield={"endpoint": spoken.url, "dialect": "seed", "token": "k"}) as made:
        assert made.shield is not None
        threat = await made.shield.analyze_threat(INJECTION)
        assert (threat.id, threat.kind, threat.severity) == ("t-e-1", "prompt_injection", Severity.P1)
        risk = await made.shield.assess_risk("c", ["e-1"])
        assert (risk.level, risk.score, risk.factors[0].likelihood) == ("HIGH", 0.8, 0.4)
        assert (await made.shield.report_pattern("jailbreak", ["e-1"], "DAN")).known
        plan = await made.shield.mitigation_plan(threat)
        assert plan is not None
        assert [step.action for step in plan.steps] == ["block", "rotate"]
        await made.shield.health()


async def test_a_plan_is_asked_for_only_where_shield_is_sure(spoken: FakeRpc) -> None:
    async with four(llm_shield={"endpoint": spoken.url, "dialect": "seed"}) as made:
        assert made.shield is not None
        assert await made.shield.mitigation_plan(THREAT.model_copy(update={"confidence": 0.69})) is None
        assert spoken.calls == []
        assert await made.shield.mitigation_plan(THREAT) is not None


@pytest.mark.parametrize(
    ("fails", "calls", "passing"),
    [
        ([grpc.StatusCode.UNAVAILABLE] * 2, 3, None),
        ([grpc.StatusCode.RESOURCE_EXHAUSTED], 2, None),
        ([grpc.StatusCode.UNAVAILABLE] * 3, 3, True),
        ([grpc.StatusCode.INVALID_ARGUMENT], 1, False),
        ([grpc.StatusCode.UNIMPLEMENTED], 1, False),
        ([grpc.StatusCode.PERMISSION_DENIED], 1, False),
    ],
)
async def test_what_may_pass_is_tried_again(
    spoken: FakeRpc, fails: list[grpc.StatusCode], calls: int, passing: bool | None
) -> None:
    spoken.fails = list(fails)
    async with four(llm_shield={"endpoint": spoken.url, "dialect": "seed"}) as made:
        assert made.shield is not None
        if passing is None:
            await made.shield.analyze_threat(INJECTION)
        else:
            with pytest.raises(Trouble, match="not now") as caught:
                await made.shield.analyze_threat(INJECTION)
            assert caught.value.passing == passing
    assert len(spoken.calls) == calls


async def test_nonsense_is_refused(spoken: FakeRpc) -> None:
    async with four(llm_shield={"endpoint": spoken.url, "dialect": "seed"}) as made:
        assert made.shield is not None
        for confidence, level in ((7.0, "high"), (float("nan"), "high"), (0.5, "huge")):
            spoken.confidence, spoken.level = confidence, level
            with pytest.raises(Trouble, match="makes no sense"):
                await made.shield.analyze_threat(INJECTION)


async def test_it_is_found_again_once_it_is_back() -> None:
    spoken = FakeRpc()
    async with rpc(spoken):
        pass
    async with four(llm_shield={"endpoint": spoken.url, "dialect": "seed", "attempts": 1}) as made:
        assert made.shield is not None
        with pytest.raises(Trouble, match="UNAVAILABLE"):
            await made.shield.analyze_threat(INJECTION)
        async with rpc(spoken):
            assert (await made.shield.analyze_threat(INJECTION)).confidence == 0.9


async def test_each_shows_the_other_a_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    theirs, ours = authority.issue_cert("localhost"), authority.issue_cert("llm-incident-manager")
    pair = (theirs.private_key_pem.bytes(), theirs.cert_chain_pems[0].bytes())
    credentials = grpc.ssl_server_credentials([pair], authority.cert_pem.bytes(), require_client_auth=True)
    ours.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    ours.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    files = {f"tls_{name}": tmp_path / f"{name}.pem" for name in ("cert", "key", "ca")}
    async with rpc(credentials=credentials) as spoken:
        url = f"https://localhost:{spoken.port}"
        async with four(llm_shield={"endpoint": url, "dialect": "seed", **files}) as made:
            assert made.shield is not None
            assert (await made.shield.analyze_threat(INJECTION)).confidence == 0.9
        without = {"tls_ca": files["tls_ca"], "attempts": 1, "timeout_secs": 1}
        async with four(llm_shield={"endpoint": url, "dialect": "seed", **without}) as made:
            assert made.shield is not None
            with pytest.raises(Trouble):
                await made.shield.analyze_threat(INJECTION)


async def test_nobody_is_reached_over_grpc_whom_http_would_not_reach() -> None:
    async with four(llm_shield={"endpoint": "http://169.254.169.254:50051", "dialect": "seed"}) as made:
        assert made.shield is not None
        with pytest.raises(Trouble, match="not a public address") as caught:
            await made.shield.analyze_threat(INJECTION)
        assert not caught.value.passing


async def test_as_it_is_published(other: FakeHttp) -> None:
    other.threat, other.gateway_secret = (False, 0.91), SECRET
    async with four(llm_shield={"endpoint": other.base, "gateway_secret": SECRET}) as made:
        assert made.shield is not None
        threat = await made.shield.analyze_threat(INJECTION)
        assert (threat.kind, threat.confidence) == ("prompt_injection", 0.91)
        assert other.bodies[-1]["prompt"] == "ignore all previous"
        await made.shield.analyze_threat(INJECTION.model_copy(update={"output": "my prompt is"}))
        assert (other.items[-1].path, other.bodies[-1]["output"]) == ("/v1/scan/output", "my prompt is")
        other.threat = (True, 0.0)
        assert (await made.shield.analyze_threat(INJECTION)).kind == "none"
        with pytest.raises(NotOffered, match="makes no plans"):
            await made.shield.mitigation_plan(THREAT)
        with pytest.raises(NotOffered):
            await made.shield.assess_risk("c", ["e"])
        await made.shield.health()
    async with four(llm_shield={"endpoint": other.base}) as made:
        assert made.shield is not None
        with pytest.raises(Trouble, match="INVALID_CALLER_TOKEN"):
            await made.shield.analyze_threat(INJECTION)


async def test_only_security_is_shown_to_it_and_no_secret(other: FakeHttp) -> None:
    other.threat = (False, 0.91)
    async with four(llm_shield={"endpoint": other.base}) as made:
        enricher = INTEGRATED["shield"](Enrichment(), made)
        assert enricher is not None
        assert await enricher.look_up(ABOUT.model_copy(update={"incident_class": "cost.budget"})) is None
        assert len(other.items) == 0
        found = await enricher.look_up(ABOUT)
        assert found is not None
        assert found.summary == "prompt injection, 91% sure: prompt_injection"
        assert "hunter2" not in other.bodies[-1]["prompt"]
        await other.goes_down()
        with pytest.raises(NoAnswer):
            await enricher.look_up(ABOUT)


async def test_a_playbook_asks_for_a_plan(spoken: FakeRpc, other: FakeHttp) -> None:
    async with Http(LOOPBACK) as http, four(llm_shield={"endpoint": spoken.url, "dialect": "seed"}) as made:
        having = replace(tools(http), four=made)
        step = action("shield_mitigation_plan", having)
        done = await ran(step, at(incident()), context={"tenant": "acme"})
        assert done.summary == "prompt_injection, 90% sure: 2 steps, 20 min: block; rotate"
        spoken.confidence = 0.5
        assert (await ran(step, at(incident()))).output["plan"] is None
        assert await step.check(step.Parameters(), at()) == "prompt_injection, 50% sure: would not ask for a plan"
        assert (await ran(action("shield_analyze", having), at())).summary == "Shield: prompt_injection, 50% sure"
    async with Http(LOOPBACK) as http, four(llm_shield={"endpoint": other.base}) as made:
        with pytest.raises(AssertionError):
            action("shield_mitigation_plan", replace(tools(http), four=made))

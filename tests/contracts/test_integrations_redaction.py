"""Nobody's data and no key reaches the four, whatever a playbook or an incident says."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from app.actions.base import Tools
from app.config import Settings
from app.crew import enriching
from app.domain.enrichment import About, Found
from app.domain.vocabulary import Severity
from app.enrichers import INTEGRATED
from app.integrations.edge_agent import Inference
from app.integrations.four import Four
from app.integrations.shield import Suspicion, Threat
from app.net.http import LOOPBACK, Http
from app.redaction import Outgoing
from app.store.database import Pool
from app.store.edge import EdgeQueue
from app.surroundings import Enrichment
from tests.support.acting import action, at, incident, ran, tools
from tests.support.enriching import study
from tests.support.siblings import NOW, FakeHttp, FakeRpc, anomaly, four, rpc
from tests.support.vendor import up

EMAIL, PHONE, CARD, KEY = "ada@example.com", "+49 30 12345678", "4111 1111 1111 1111", "sk-proj-Ab12" + "x" * 40
SECRET = "correct-horse"
SAID = f"{EMAIL} called {PHONE}, paid by {CARD}, with {KEY}, password: {SECRET}"
LEFT = "[e-mail] called [phone], paid by [card], with [key], password: ***"
PRIVATE = (EMAIL, "ada@", "ada%40", PHONE, "12345678", CARD, "1111", KEY, "Ab12", SECRET)
TELEMETRY = {"latency_ms": 9000, "prompt": SAID, "user": {"contact": [SAID]}, SAID: 1, "api_key": SECRET}


@pytest.fixture
async def other() -> AsyncIterator[FakeHttp]:
    async with up(FakeHttp()) as made:
        yield made


@pytest.fixture
async def spoken() -> AsyncIterator[FakeRpc]:
    async with rpc() as made:
        yield made


def none_of_it(*heard: str) -> None:
    assert heard
    for text in heard:
        assert not [part for part in PRIVATE if part in text], text


def received(other: FakeHttp) -> list[str]:
    return [f"{item.path} {item.body.decode()}" for item in other.items]


@pytest.mark.parametrize("dialect", ["real", "seed"])
async def test_sentinel(other: FakeHttp, dialect: str) -> None:
    async with four(llm_sentinel={"endpoint": other.base, "dialect": dialect}) as made, Http(LOOPBACK) as http:
        assert made.sentinel is not None
        await made.sentinel.fetch_alerts(5, service=SAID, model=SAID)
        if dialect == "seed":
            await made.sentinel.predict_severity(SAID, "Performance", {"who": SAID})
            assert other.bodies[-1]["description"] == LEFT
        await ran(action("sentinel_analyze", acting(http, made)), at(), telemetry=TELEMETRY)
    shown = other.bodies[-1] if dialect == "seed" else other.bodies[-1]["telemetry"]
    assert shown == {"latency_ms": 9000, "prompt": LEFT, "user": {"contact": [LEFT]}, LEFT: 1, "api_key": "***"}
    none_of_it(*received(other))


async def test_shield_over_http(other: FakeHttp) -> None:
    about = About(
        incident_id="1", title="injection tried", description=SAID, source="guard", severity=Severity.P2,
        incident_class="security.prompt_injection", started_at=NOW, at=NOW,
    )  # fmt: skip
    async with four(llm_shield={"endpoint": other.base}) as made, Http(LOOPBACK) as http:
        assert made.shield is not None
        enricher = INTEGRATED["shield"](Enrichment(), made)
        assert enricher is not None
        await enricher.look_up(about)
        assert other.bodies[-1]["prompt"] == f"injection tried\n{LEFT}"
        await ran(action("shield_analyze", acting(http, made)), at(), text=SAID)
        await ran(action("shield_analyze", acting(http, made)), at(incident(description=SAID)))
        await made.shield.analyze_threat(
            Suspicion(id="e", kind="pii", source="guard", text="hello", output=SAID, at=NOW)
        )
        assert other.bodies[-1]["output"] == LEFT
    none_of_it(*received(other))


async def test_shield_over_grpc(spoken: FakeRpc) -> None:
    async with four(llm_shield={"endpoint": spoken.url, "dialect": "seed"}) as made, Http(LOOPBACK) as http:
        assert made.shield is not None
        await ran(action("shield_mitigation_plan", acting(http, made)), at(), text=SAID, context={"who": SAID})
        await made.shield.mitigation_plan(Threat(id="t", kind="pii", confidence=1), {"who": SAID})
        await made.shield.assess_risk("c", ["e"], parameters={"who": SAID})
        await made.shield.report_pattern("leak", ["e"], SAID, {"who": SAID})
        await made.shield.analyze_threat(
            Suspicion(id="e", kind="pii", source="guard", text=SAID, metadata={"who": SAID}, at=NOW)
        )
    assert {"analyze", "plan", "risk", "pattern"} == {*spoken.calls}
    none_of_it(*spoken.shown)


async def test_an_edge_agent_and_what_waits_for_it(other: FakeHttp, spoken: FakeRpc, connections: Pool) -> None:
    await connections.execute("DELETE FROM edge_queue")
    asks = {"model": "tiny", "input": SAID, "parameters": {"user": SAID}}
    one = Inference.model_validate({**asks, "request_id": "1", "at": NOW})

    async def several() -> AsyncIterator[Inference]:
        yield one

    async with four(connections, llm_edge_agent={"endpoint": other.base}) as made, Http(LOOPBACK) as http:
        done = await ran(action("edge_agent_infer", acting(http, made)), at(), **asks)
        assert done.output["result"] == f"re: {LEFT}"
    async with four(connections, llm_edge_agent={"endpoint": spoken.url, "dialect": "seed"}) as made:
        assert made.edge_agent is not None
        await made.edge_agent.process_request(one)
        assert [answer.request_id async for answer in made.edge_agent.stream(several())] == ["1"]
        await made.edge_agent.submit_batch("b", [one], NOW)
        spoken.silent = True
    none_of_it(*received(other), *spoken.shown, *map(str, spoken.inferred))
    async with four(connections, llm_edge_agent={"endpoint": "http://127.0.0.1:9", "attempts": 1}) as made:
        assert made.edge_agent is not None
        assert (await made.edge_agent.process_request(one)).status == "QUEUED"
    none_of_it(*[str(row["payload"]) for row in await connections.fetch("SELECT payload FROM edge_queue")])
    await EdgeQueue(connections).done("1")


async def test_a_text_that_grows_by_what_stands_for_it_still_fits_the_queue(connections: Pool) -> None:
    await connections.execute("DELETE FROM edge_queue")
    one = Inference(request_id="1", model="tiny", input="a@b.co " * 9362, at=NOW)
    async with four(connections, llm_edge_agent={"endpoint": "http://127.0.0.1:9", "attempts": 1}) as made:
        assert made.edge_agent is not None
        await made.edge_agent.process_request(one)
        [kept] = await made.edge_agent.queue.take(1, NOW, NOW - NOW)
        assert "@" not in kept.input
    await EdgeQueue(connections).done("1")


@pytest.mark.parametrize("dialect", ["real", "seed"])
async def test_governance(other: FakeHttp, dialect: str) -> None:
    async with four(llm_governance_core={"endpoint": other.base, "dialect": dialect}) as made:
        await made.governance.check_compliance("1", {"data_encrypted": SAID, "contains_pii": True}, NOW, NOW)
        await made.governance.audit_report("1", "k", {"verdict": SAID})
    none_of_it(*received(other))


async def test_what_one_of_them_says_of_an_incident_is_kept_without_it(other: FakeHttp, connections: Pool) -> None:
    """And what our own PostgreSQL says, like who is on duty, as it is."""
    settings = Settings.model_validate({"enrichment": {"cache_ttl_secs": 0.001}})
    other.found = [anomaly(root_cause=SAID)]
    async with (
        four(llm_sentinel={"endpoint": other.base}) as made,
        enriching(settings, connections, four=made) as looking,
        study(connections) as studied,
    ):
        assert [one.name for one in looking.enrichers if one.external] == ["sentinel"]
        incident_id = await studied.opens(affected_services=["chat"])
        await studied.ask(looking, incident_id)
        found = (await studied.findings(incident_id))["sentinel"]
        assert looking.clean(Found(summary=SAID, at=NOW, source="x")).summary == LEFT.replace("***", SECRET)
    assert found.status == "found"
    assert "[e-mail] called [phone], paid by [card], with [key]" in found.summary
    none_of_it(found.model_dump_json().replace(SECRET, ""))


def test_what_the_operator_wants_recognised_is() -> None:
    german = Outgoing(region="DE")
    assert german.texts({"n": ["030 12345678", 7, None]}) == {"n": ["[phone]", 7, None]}


def acting(http: Http, made: Four) -> Tools:
    return replace(tools(http), four=made)

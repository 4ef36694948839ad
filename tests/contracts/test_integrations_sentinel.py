"""Sentinel in both dialects, and what is looked up and done with it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from app.actions.base import Failed
from app.domain.enrichment import About, NoAnswer
from app.domain.vocabulary import Severity
from app.enrichers import INTEGRATED
from app.integrations.four import NOBODY
from app.integrations.trouble import NotOffered, Trouble
from app.net.http import LOOPBACK, Http
from app.surroundings import Enrichment
from tests.support.acting import action, at, incident, ran, tools
from tests.support.receivers import Reply
from tests.support.siblings import NOW, FakeHttp, anomaly, four
from tests.support.vendor import up

ABOUT = About(
    incident_id="1", title="chat is slow", source="prometheus", severity=Severity.P2, services=("chat",),
    started_at=NOW, at=NOW,
)  # fmt: skip


@pytest.fixture
async def other() -> AsyncIterator[FakeHttp]:
    async with up(FakeHttp()) as made:
        yield made


async def test_as_it_is_published(other: FakeHttp) -> None:
    other.found = [anomaly(minutes_ago=9, anomaly_type={"custom": "tantrum"}), anomaly(), anomaly("search")]
    async with four(llm_sentinel={"endpoint": other.base}) as made:
        assert made.sentinel is not None
        newest, older = await made.sentinel.fetch_alerts(10, service="chat", hours=2)
        assert other.items[-1].path == "/api/v1/anomalies?service=chat&hours=2&limit=10"
        assert (newest.severity, newest.kind, newest.value, newest.advice) == (
            Severity.P1, "latency_spike", 5000, ("scale out",),
        )  # fmt: skip
        assert (newest.at - older.at, older.kind) == (timedelta(minutes=4), "tantrum")
        analysis = await made.sentinel.analyze_anomaly({"latency_ms": 9000})
        assert not analysis.anomalous
        assert other.bodies[-1] == {"telemetry": {"latency_ms": 9000}, "dry_run": True}
        with pytest.raises(NotOffered):
            await made.sentinel.predict_severity("slow", "Performance", {})
        await made.sentinel.health()
        assert other.items[-1].path == "/health"


async def test_as_the_first_version_asked_it(other: FakeHttp) -> None:
    async with four(llm_sentinel={"endpoint": other.base, "dialect": "seed", "auth": "api_key", "token": "k"}) as made:
        assert made.sentinel is not None
        [found] = await made.sentinel.fetch_alerts(5, service="chat")
        assert other.items[-1].path == "/api/v1/alerts?limit=5"
        assert other.items[-1].headers["x-api-key"] == "k"
        assert (found.id, found.severity, found.kind, found.confidence) == ("a-1", Severity.P0, "model_drift", 0.9)
        analysis = await made.sentinel.analyze_anomaly({"latency_ms": 9000})
        assert (analysis.anomalous, analysis.severity, analysis.kind) == (True, Severity.P1, "latency")
        said = await made.sentinel.predict_severity("it is slow", "Performance", {"p95": 9})
        assert (said.severity, said.confidence, said.alternatives[0].severity) == (Severity.P2, 0.66, Severity.P3)
        await made.sentinel.health()
        other.replies.append(Reply(200, body=b'{"success": false, "error": "no\\nmodel", "data": null}'))
        with pytest.raises(Trouble, match="says no model"):
            await made.sentinel.fetch_alerts()


async def test_an_incident_is_told_what_sentinel_found(other: FakeHttp) -> None:
    async with four(llm_sentinel={"endpoint": other.base}) as made:
        enricher = INTEGRATED["sentinel"](Enrichment(), made)
        assert enricher is not None
        found = await enricher.look_up(ABOUT)
        assert found is not None
        assert found.summary == ("chat: 1 × latency spike; newest 5 min ago, P1, latency_ms 5000 (usually 800)")
        assert await enricher.look_up(ABOUT.model_copy(update={"services": ()})) is None
        other.found = []
        assert await enricher.look_up(ABOUT) is None
        other.replies.append(Reply(403, body=b"not you"))
        with pytest.raises(NoAnswer, match="answered 403: not you"):
            await enricher.look_up(ABOUT)
        assert enricher.key(ABOUT) != enricher.key(ABOUT.model_copy(update={"services": ("search",)}))


def test_nobody_is_asked_who_is_not_set_up() -> None:
    assert [name for name, made in INTEGRATED.items() if made(Enrichment(), NOBODY)] == []


async def test_a_playbook_asks_it(other: FakeHttp) -> None:
    async with four(llm_sentinel={"endpoint": other.base}) as made, Http(LOOPBACK) as http:
        step = action("sentinel_analyze", replace(tools(http), four=made))
        done = await ran(step, at(incident(tags={"service": "chat"})), telemetry={"latency_ms": 1})
        assert done.summary == "Sentinel found 1 anomalies of chat in 1 h; the event is no anomaly"
        assert done.output["count"] == 1
        other.replies.append(Reply(429, {"retry-after": "30"}))
        with pytest.raises(Failed) as caught:
            await ran(step, at())
        assert caught.value.retry_after == timedelta(seconds=30)
        assert not caught.value.doubtful

"""What a model is taught and what it says, over REST and the command line, and which models count."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from temporalio.client import (
    Client,
    CreateScheduleInput,
    Interceptor,
    OutboundInterceptor,
    ScheduleHandle,
    ScheduleOverlapPolicy,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import TimeSkipper

from activities.classifying import Champion, Classified, Classifying
from activities.upkeep import trained
from app.config import MachineLearning, Settings
from app.domain.severity import FIRST_MODEL
from app.domain.vocabulary import Role, Severity
from app.ml.ensemble import Model
from app.ml.training import train
from app.store.database import pool
from app.store.models import KEPT, ModelStore, ModelView
from tests.api.conftest import Service, door
from tests.api.test_rest import refusal
from tests.ml.labels import labels, relabelled
from tests.support.databases import another_database
from tests.support.house import a_house
from workers.schedules import ensure, keep, planned
from workflows import names

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
RESOLVED = """
WITH over AS (
    UPDATE incidents SET status = 'RESOLVED', severity = $2, resolved_at = $3, resolved_by = 'ada', collecting = false
    WHERE id = $1
)
INSERT INTO timeline (incident_id, seq, type, at, actor_name, actor_type) VALUES ($1, 1, 'resolved', $3, 'ada', $4)
"""
APPLIED = """
INSERT INTO classifications (incident_id, reported, predicted, applied, reason, at)
VALUES ($1, 'P2', $2, true, 'sure', $3)
"""
TOUCHED = """
INSERT INTO timeline (incident_id, seq, type, at, actor_name, actor_type)
VALUES ($1, 0, 'severity_changed', $2, 'ada', 'user')
"""


@dataclass
class School:
    """A gateway whose Temporal is away, over a database of its own."""

    http: httpx.AsyncClient
    store: ModelStore

    async def opens(self, title: str | None = None) -> str:
        alert = {"source": "prometheus", "title": title or f"slow answers from {uuid4()}", "severity": "P2"}
        answer = await self.http.post("/api/v1/alerts", json=alert)
        return str(answer.json()["incident_id"])

    async def resolves(self, severity: Severity, actor: str = "user") -> str:
        """The id of an incident that somebody resolved, as its workflow would have it in PostgreSQL."""
        id_ = await self.opens()
        await self.store.pool.execute(RESOLVED, UUID(id_), severity, NOW, actor)
        return id_

    async def corrects(self, incident_id: str, severity: str) -> dict[str, Any]:
        answer = await self.http.post(
            f"/api/v1/incidents/{incident_id}/classification/feedback",
            json={"severity": severity, "incident_type": "Performance"},
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def stats(self) -> dict[str, Any]:
        answer = await self.http.get("/api/v1/ml/stats")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def keeps(self, model: Model | None = None, *, after: float = 0, **more: Any) -> ModelView:
        """A model as a training leaves it, good enough unless said otherwise."""
        artifact, held = model.dump() if model else b"none", await self.store.champion()
        asked: dict[str, Any] = {
            "verdict": "better", "labels": 200, "promoted": True, "beaten": held, "at": NOW + timedelta(minutes=after),
        } | more  # fmt: skip
        return await self.store.add(asked.pop("request", str(uuid4())), artifact, {}, **asked)

    async def classifies(self, incident_id: str) -> Classified:
        """As a worker does that has just started."""
        classifying = Classifying(self.store, Champion(self.store), 0.5, lambda *_: None)
        return await classifying.classify(incident_id, NOW)


@pytest.fixture
async def school(database_url: str) -> AsyncIterator[School]:
    async with another_database(database_url) as url, door(url) as client, pool(url, 5) as connections:
        yield School(client, ModelStore(connections))


@pytest.fixture(scope="module")
def policies() -> tuple[Model, Model]:
    """What 200 labels of a team teach, and what the same alerts teach where all of them are P4."""
    taught = labels(200, noise=0)
    return train(taught), train([*taught[:5], *relabelled(taught, Severity.P4)])


async def test_a_prediction_says_how_sure_it_is_what_would_stand_and_why(school: School) -> None:
    question = {"title": "OpenAI API returns 503 for every model", "severity": "P2", "tags": {"provider": "openai"}}
    async with asyncio.timeout(60):
        while (answer := await school.http.post("/api/v1/ml/predict/all", json=question)).status_code == 503:
            assert "one is being made" in answer.text, "for whom that takes too long it is there when they ask again"
    said = answer.json()
    assert (said["incident_class"], said["incident_type"]) == ("availability.provider_outage", "Availability")
    assert abs(sum(said["probabilities"].values()) - 1) < 1e-6
    assert said["confidence"] == max(said["probabilities"].values())
    assert (said["stands"], said["applied"]) == ("P2", False)
    assert said["reason"] == "learned from 0 of the team's labels, 100 are needed"
    brief = (await school.http.post("/api/v1/ml/predict/severity", json=question)).json()
    assert "incident_class" not in brief
    assert brief["severity"] == said["severity"]


@pytest.mark.parametrize(("path", "body", "field"), [
    ("/ml/predict/all", {}, "title"),
    ("/ml/predict/severity", {"title": "x", "severity": "P9"}, "severity"),
    ("/ml/predict/all", {"title": "x", "tittle": "y"}, "tittle"),
    ("/ml/labels", {"labels": []}, "labels"),
    ("/ml/labels", {"labels": [{"title": "x", "severity": "P1"}] * 1001}, "labels"),
    ("/ml/labels", {"labels": [{"title": "x"}]}, "labels[0].severity"),
    ("/ml/models/none/rollback", {}, "version"),
    ("/ml/models/0/pin", {}, "version"),
    (f"/incidents/{UUID(int=1)}/classification/feedback", {}, "severity"),
    (f"/incidents/{UUID(int=1)}/classification/feedback", {"severity": "P1", "incident_type": "Odd"}, "incident_type"),
])  # fmt: skip
async def test_what_cannot_be_read_is_refused_by_its_field(
    api: httpx.AsyncClient, path: str, body: dict[str, Any], field: str
) -> None:
    refused = refusal(await api.post(f"/api/v1{path}", json=body), 400, "VALIDATION_ERROR")
    assert refused["error"]["details"][0]["field"] == field


async def test_what_is_not_there_is_not_found_and_without_temporal_no_training_starts(school: School) -> None:
    for path in (f"/incidents/{uuid4()}/classification/feedback", "/incidents/nonsense/classification/feedback"):
        refusal(await school.http.post(f"/api/v1{path}", json={"severity": "P1"}), 404, "NOT_FOUND")
    for deed in ("rollback", "pin", "unpin"):
        refusal(await school.http.post(f"/api/v1/ml/models/7/{deed}"), 404, "NOT_FOUND")
    refusal(await school.http.delete("/api/v1/ml/models/7"), 404, "NOT_FOUND")
    refusal(await school.http.post("/api/v1/ml/retrain"), 503, "SERVICE_UNAVAILABLE")


async def test_who_may_read_who_may_teach_and_who_may_decide(database_url: str) -> None:
    async with a_house(database_url) as house:
        keys = {role: await house.keys.create(role, role) for role in Role}
        for role in Role:
            async with house.visitor(keys[role]) as visitor:
                reads = (await visitor.get("/api/v1/ml/models")).status_code
                body = {"severity": "P1"}
                teaches = await visitor.post(f"/api/v1/incidents/{uuid4()}/classification/feedback", json=body)
                decides = (await visitor.delete("/api/v1/ml/models/7")).status_code
                gives = await visitor.post("/api/v1/ml/labels", json={"labels": [{"title": "x", "severity": "P1"}]})
            assert reads == (403 if role is Role.INGEST else 200)
            assert teaches.status_code == (404 if role in (Role.RESPONDER, Role.ADMIN) else 403)
            assert (decides, gives.status_code) == ((404, 200) if role is Role.ADMIN else (403, 403))


async def test_of_one_incident_the_newest_word_counts_once(school: School) -> None:
    incident = await school.opens()
    for severity in ("P3", "P1", "P1"):
        assert (await school.corrects(incident, severity))["unlearned"] == 1
    [label] = await school.store.team()
    assert (label["severity"], label["example"]["source"]) == ("P1", "prometheus")
    await school.store.pool.execute("UPDATE labels SET by = 'bob', key = 'feedback/bob', at = at - interval '1 day'")
    await school.corrects(incident, "P4")
    [label] = await school.store.team()
    assert label["severity"] == "P4"
    await school.store.pool.execute("UPDATE labels SET at = now() WHERE by = 'bob'")
    [label] = await school.store.team()
    assert label["severity"] == "P1"
    await school.corrects(incident, "P4")
    [label] = await school.store.team()
    assert label["severity"] == "P4"
    assert (await school.stats())["labels"] == {"feedback": 1, "resolved": 0, "rules": 0}


async def test_only_what_a_person_let_stand_is_learned_from(school: School) -> None:
    await school.resolves(Severity.P1)
    await school.resolves(Severity.P0, actor="integration")
    untouched, corrected = await school.resolves(Severity.P4), await school.resolves(Severity.P4)
    for incident in (untouched, corrected):
        await school.store.pool.execute(APPLIED, UUID(incident), "P4", NOW)
    assert [label["severity"] for label in await school.store.team()] == ["P1"]
    await school.store.pool.execute(TOUCHED, UUID(corrected), NOW)
    assert sorted(label["severity"] for label in await school.store.team()) == ["P1", "P4"]


async def test_the_first_model_knows_classes_only_whoever_resolved_what_before_it(school: School) -> None:
    for _ in range(3):
        await school.resolves(Severity.P1)
    made = await trained(school.store, FIRST_MODEL)
    assert made.promoted
    stats = await school.stats()
    assert stats["champion"]["labels"] == 0
    assert (stats["team_labels"], stats["unlearned"]) == (3, 3)
    later = await trained(school.store, "later")
    assert (later.promoted, later.verdict) == (False, "0 labels to judge by; 100 are needed")
    assert (await school.stats())["unlearned"] == 0


async def test_what_was_said_first_is_kept_whichever_model_counts_later(
    school: School, policies: tuple[Model, Model]
) -> None:
    incident = await school.opens("outage of checkout 1")
    await school.keeps(policies[0])
    first = await school.classifies(incident)
    assert (first.severity, first.applied) == (Severity.P0, True)
    await school.keeps(policies[1], after=1)
    assert await school.classifies(incident) == first
    other = await school.classifies(await school.opens("outage of search 2"))
    assert (other.severity, other.model_version) == (Severity.P4, (first.model_version or 0) + 1)
    shown = (await school.http.get(f"/api/v1/incidents/{incident}")).json()["classification"]
    assert (shown["severity"], shown["reported_severity"], shown["applied"]) == ("P0", "P2", True)


async def test_many_at_once_say_one_thing(school: School, policies: tuple[Model, Model]) -> None:
    incident = await school.opens("outage of checkout 1")
    await school.keeps(policies[0])
    said = await asyncio.gather(*(school.classifies(incident) for _ in range(5)))
    assert len({one.model_dump_json() for one in said}) == 1


async def test_a_running_worker_takes_up_what_counts_now(school: School, policies: tuple[Model, Model]) -> None:
    await school.keeps(policies[0])
    champion = Champion(school.store)
    before = await champion.get(10)
    await school.keeps(policies[1], after=1)

    async def other() -> int:
        async with asyncio.timeout(10):
            while (now := await champion.get()) is None or before is None or now[0] == before[0]:
                await asyncio.sleep(0.1)
        return now[0]

    assert await other() == await school.store.champion()


async def test_a_model_that_cannot_be_read_delays_one_incident_and_is_gone_back_from(
    school: School, policies: tuple[Model, Model]
) -> None:
    good = await school.keeps(policies[0])
    await school.keeps(after=1)
    champion = Champion(school.store)
    assert await champion.get(10) is None
    tried = champion.loading
    assert await champion.get(10) is None
    assert champion.loading is tried
    await school.http.post(f"/api/v1/ml/models/{good.version}/rollback")
    found = await champion.get(10)
    assert found is not None
    assert found[0] == good.version


async def test_a_training_replaces_only_what_it_has_beaten(school: School) -> None:
    first = await school.keeps(request="one")
    assert await school.keeps(request="one") == first
    late = await school.keeps(after=1, beaten=None)
    assert (late.status, late.verdict) == ("challenger", "better; another became champion meanwhile")
    await school.http.post(f"/api/v1/ml/models/{first.version}/pin")
    pinned = await school.keeps(after=2)
    assert (pinned.status, pinned.verdict) == ("challenger", "better; the champion is pinned")
    await school.http.post(f"/api/v1/ml/models/{first.version}/unpin")
    won = await school.keeps(after=3)
    statuses = {model["version"]: model["status"] for model in (await school.http.get("/api/v1/ml/models")).json()}
    expected = {first.version: "retired", late.version: "retired", pinned.version: "retired", won.version: "champion"}
    assert statuses == expected


async def test_old_models_go_and_the_champion_stays(school: School) -> None:
    champion = await school.keeps()
    for minute in range(1, KEPT + 5):
        await school.keeps(promoted=False, after=minute)
    left = [model.version for model in await school.store.all()]
    assert champion.version in left
    assert len(left) == KEPT + 1


async def test_the_daily_training_is_there_once_and_stays_paused(skipper: TimeSkipper) -> None:
    handle = skipper.client.get_schedule_handle(names.RETRAIN_DAILY)
    await ensure(skipper.client, Settings())
    await handle.pause()
    await ensure(skipper.client, Settings())
    there = (await handle.describe()).schedule
    assert (there.state.paused, there.policy.overlap) == (True, ScheduleOverlapPolicy.SKIP)
    for _ in range(2):
        await ensure(skipper.client, Settings(ml=MachineLearning(auto_train=False)))
    with pytest.raises(RPCError, match="not found"):
        await handle.describe()
    for left in planned(Settings(ml=MachineLearning(auto_train=False))):
        if left.wanted:
            await skipper.client.get_schedule_handle(left.name).delete()  # of nobody else's workers


async def test_a_schedule_that_temporal_has_lost_is_made_again(
    skipper: TimeSkipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = Settings(ml=MachineLearning(auto_train=False))
    handle = skipper.client.get_schedule_handle(names.WATCH)
    monkeypatch.setattr("workers.schedules.KEPT_EVERY_SECS", 0.01)
    keeping = asyncio.create_task(keep(skipper.client, off, done=True))
    try:
        async with asyncio.timeout(10):
            for _ in range(2):
                while not await there(handle):
                    await asyncio.sleep(0.02)
                await handle.pause()
                assert await ensure(skipper.client, off, renew=False)
                assert (await handle.describe()).schedule.state.paused
                await handle.delete()
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})
        for left in planned(off):
            if left.wanted and await there(skipper.client.get_schedule_handle(left.name)):
                await skipper.client.get_schedule_handle(left.name).delete()


async def there(handle: ScheduleHandle) -> bool:
    try:
        await handle.describe()
    except RPCError:
        return False
    return True


class Away(Interceptor, OutboundInterceptor):
    """A Temporal that takes no schedule."""

    def __init__(self) -> None: ...

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 — Temporal's word
        return self

    async def create_schedule(self, input: CreateScheduleInput) -> ScheduleHandle:  # noqa: A002 — Temporal's word
        raise RPCError("not now", RPCStatusCode.UNAVAILABLE, b"")


async def test_what_temporal_has_not_taken_is_not_done(skipper: TimeSkipper) -> None:
    away = Client(skipper.client.service_client, namespace=skipper.client.namespace, interceptors=[Away()])
    assert not await ensure(away, Settings(), renew=False)


async def test_with_postgresql_away_a_prediction_is_put_off() -> None:
    async with door("postgresql://nobody@127.0.0.1:1/nothing") as away:
        answer = await away.post("/api/v1/ml/predict/all", json={"title": "x"})
        refusal(answer, 503, "SERVICE_UNAVAILABLE")


async def test_rule_files_are_taught_from_the_command_line(service: Service, tmp_path: Path) -> None:
    (tmp_path / "host.yaml").write_text(
        "groups: [{name: g, rules: [{alert: HostDown, expr: up == 0, labels: {severity: critical}},"
        ' {alert: DiskFull, expr: disk > 9, labels: {severity: warning, text: "a\\0b"}}]}]'
    )
    (tmp_path / "broken.yaml").write_text("groups: [")
    ran = await service.cli("train", "--from", str(tmp_path))
    assert ran.code == 0, ran.complained
    assert ran.said.startswith("2 rules taught; training ")
    assert "not read: broken.yaml" in ran.complained
    assert (await service.http.get("/api/v1/ml/stats")).json()["labels"]["rules"] == 2
    async with asyncio.timeout(60):
        while True:
            models = (await service.http.get("/api/v1/ml/models")).json()
            if len(models) > 1:
                break
            await asyncio.sleep(0.2)
    assert [model["status"] for model in models] == ["challenger", "champion"]
    nothing = await service.cli("train", "--from", str(tmp_path / "nowhere"))
    assert (nothing.code, nothing.complained.strip()) == (1, f"error: {tmp_path / 'nowhere'} is no directory")

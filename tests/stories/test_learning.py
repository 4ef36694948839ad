"""A model learns the team's own severities from what people say, and is followed once it is good enough."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.access import Principal
from app.domain.alert import Alert, AlertStatus
from app.domain.errors import Conflict, Forbidden, NotFound
from app.domain.incident import CommandKind
from app.domain.representation import Classification
from app.domain.timeline import EventType
from app.domain.vocabulary import Role, Severity
from app.service.ml import Feedback, GivenLabels, Question
from tests.support.world import Story, World, world_of_its_own
from workflows import names
from workflows.upkeep import RetrainWorkflow

QUIET = ("nightly", "report", "spreadsheet", "newsletter", "archive", "thumbnail", "digest", "export")
LOUD = ("decoder", "checkout", "payment", "outage", "crash", "login", "gateway", "panic")


@pytest.fixture(scope="module")
async def world(database_url: str) -> AsyncIterator[World]:
    async with world_of_its_own(database_url, "alice") as made:
        yield made


def about(words: tuple[str, ...], chance: random.Random) -> dict[str, str]:
    """An incident that the team thinks is what its words are."""
    told = " ".join(chance.sample(words, 4))
    return {"title": f"{told} {uuid.UUID(int=chance.getrandbits(128)).hex[:6]}", "description": f"the {told} stopped"}


async def taught(world: World, count: int, seed: int) -> None:
    """Incidents that all came in as P2, and what people made of them."""
    chance = random.Random(seed)
    said = [(about(QUIET, chance), Severity.P4) for _ in range(count // 2)]
    said += [(about(LOUD, chance), Severity.P1) for _ in range(count - count // 2)]
    alerts = [
        Alert.model_validate({"source": "teacher", "identity": str(uuid.uuid4()), "severity": "P2"} | one)
        for one, _ in said
    ]
    for answer, (_, severity) in zip(await world.gateway.alerts.ingest(ME, alerts), said, strict=True):
        await world.gateway.learning.feedback(ME, answer.incident_id or "", Feedback(severity=severity))


async def retrained(world: World) -> str:
    """What came of a training."""
    started = await world.gateway.learning.retrain(ME)
    handle = world.skipper.client.get_workflow_handle_for(RetrainWorkflow.run, started.workflow_id)
    return (await handle.result()).verdict


async def reported(world: World, words: tuple[str, ...], severity: str = "P2") -> tuple[Story, Classification]:
    alert: dict[str, Any] = {"severity": severity, **about(words, random.Random(uuid.uuid4().int))}
    story = await world.opens(["alice"], **alert)
    view = await world.gateway.incidents.get(ME, story.id)
    assert view.classification is not None
    return story, view.classification


async def test_on_the_first_day_the_model_knows_classes_but_no_severity_of_ours(world: World) -> None:
    asked = Question(title="OpenAI API returns 503 for all models", description="provider outage, requests fail")
    first = await world.gateway.learning.predict(ME, asked)
    assert first.incident_class == "availability.provider_outage"
    assert (first.stands, first.applied) == (Severity.P3, False)
    assert "0 of the team's labels" in first.reason
    [only] = await world.gateway.learning.models(ME)
    assert (only.status, only.labels) == ("champion", 0)


async def test_it_abstains_until_it_has_a_hundred_labels_and_then_is_followed_at_once(world: World) -> None:
    await taught(world, 60, seed=1)
    await retrained(world)
    story, before = await reported(world, QUIET)
    assert not before.applied
    assert EventType.SEVERITY_CHANGED not in await story.events()
    await taught(world, 120, seed=2)
    verdict = await retrained(world)
    champion = (await world.gateway.learning.stats(ME)).champion
    assert champion is not None, verdict
    assert champion.labels >= 150, verdict  # the same words twice are one label
    assert champion.metrics["accuracy"] > champion.metrics["majority"]

    async def followed() -> tuple[Story, Classification]:
        async with asyncio.timeout(20):
            while (found := await reported(world, QUIET))[1].model_version != champion.version:
                pass
        return found

    story, said = await followed()
    assert (said.severity, said.applied, said.reported_severity) == (Severity.P4, True, Severity.P2)
    view = await world.gateway.incidents.get(ME, story.id)
    assert view.severity is Severity.P4
    assert {EventType.CLASSIFIED, EventType.SEVERITY_CHANGED} <= set(await story.events())
    loud, said = await reported(world, LOUD)
    assert (said.severity, said.applied) == (Severity.P1, True)
    await loud.fires_again(severity=Severity.P2)
    await loud.after(minutes=1)
    assert (await world.gateway.incidents.get(ME, loud.id)).severity is Severity.P1


async def test_a_former_model_comes_back_and_a_pin_keeps_it(world: World) -> None:
    models = await world.gateway.learning.models(ME)
    first = models[-1].version
    assert (await world.gateway.learning.roll_back(ME, first)).status == "champion"
    await world.gateway.learning.pin(ME, first, pinned=True)
    await taught(world, 20, seed=3)
    assert "pinned" in await retrained(world) or len(await world.gateway.learning.models(ME)) > len(models)
    stats = await world.gateway.learning.stats(ME)
    assert stats.champion is not None
    assert (stats.champion.version, stats.champion.pinned) == (first, True)
    with pytest.raises(Conflict):
        await world.gateway.learning.forget(ME, first)
    other = next(model.version for model in await world.gateway.learning.models(ME) if model.version != first)
    with pytest.raises(Conflict):
        await world.gateway.learning.pin(ME, other, pinned=True)
    await world.gateway.learning.forget(ME, other)
    with pytest.raises(NotFound):
        await world.gateway.learning.roll_back(ME, other)


async def test_with_nothing_new_the_daily_training_does_nothing(world: World) -> None:
    await retrained(world)
    before = await world.gateway.learning.models(ME)
    done = await world.skipper.client.execute_workflow(RetrainWorkflow.run, False, id="daily", task_queue=names.UPKEEP)
    assert (done.version, done.verdict) == (0, "there is nothing new to learn from")
    assert await world.gateway.learning.models(ME) == before


async def test_the_severity_that_somebody_resolved_it_with_is_a_label_and_a_machines_is_not(world: World) -> None:
    before = (await world.gateway.learning.stats(ME)).labels["resolved"]
    story = await world.opens(["alice"], title="resolved by somebody")
    await story.ask(CommandKind.RESOLVE)
    await story.settled()
    machine = await world.opens(["alice"], title="resolved by its source")
    await machine.fires_again(status=AlertStatus.RESOLVED)
    await machine.eventually(EventType.RESOLVED)
    assert (await world.gateway.learning.stats(ME)).labels["resolved"] == before + 1


async def test_rule_files_count_once_and_are_not_the_teams_word(world: World) -> None:
    before = await world.gateway.learning.stats(ME)
    rules = GivenLabels.model_validate({"labels": [{"title": "HostDown", "expr": "up == 0", "severity": "critical"}]})
    for _ in range(2):
        assert await world.gateway.learning.learn(ME, rules) == 1
    after = await world.gateway.learning.stats(ME)
    assert after.labels["rules"] == before.labels["rules"] + 1
    assert after.team_labels == before.team_labels


async def test_who_may_teach(world: World) -> None:
    viewer = Principal(name="v", role=Role.VIEWER)
    with pytest.raises(Forbidden):
        await world.gateway.learning.feedback(viewer, str(uuid.uuid4()), Feedback(severity=Severity.P1))
    with pytest.raises(NotFound):
        await world.gateway.learning.feedback(ME, str(uuid.uuid4()), Feedback(severity=Severity.P1))
    with pytest.raises(Forbidden):
        await world.gateway.learning.retrain(viewer)
    assert (await world.gateway.learning.stats(viewer)).needed == 100

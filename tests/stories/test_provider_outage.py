"""A provider is out: everything that suffers from it comes along and is paged for once; nothing else does."""

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.incident import CommandKind, HoldReason
from app.domain.requests import IncidentQuery
from app.domain.timeline import EventType
from app.domain.vocabulary import Environment, Severity
from app.telemetry import metrics
from tests.support.world import Story, World, world_of_its_own


@pytest.fixture(scope="module")
async def world(database_url: str) -> AsyncIterator[World]:
    async with world_of_its_own(database_url, "alice", "bob", "carol") as made:
        yield made


def about(provider: str, class_: str | None, **more: Any) -> dict[str, Any]:
    """An alert that is like no other but for its provider."""
    words = uuid.uuid4().hex
    labels = {"provider": provider} | ({"class": class_} if class_ else {}) | more.pop("labels", {})
    return {"title": f"{words[:8]} {words[8:16]}", "affected_services": (words,), "labels": labels} | more


async def out(world: World, provider: str, **more: Any) -> Story:
    return await world.opens(
        ["alice"], ["alice"], **about(provider, "availability.provider_outage", severity="P1"), **more
    )


async def long_ago(story: Story) -> None:
    """It opened two hours before whatever comes now."""
    url = story.world.settings.storage.connection_string
    assert url is not None
    connection = await asyncpg.connect(url.get_secret_value())
    await connection.execute(
        "UPDATE incidents SET created_at = created_at - $2::interval WHERE id = $1", uuid.UUID(story.id),
        timedelta(hours=2),
    )  # fmt: skip
    await connection.close()


async def lead(story: Story) -> str | None:
    return (await story.world.gateway.incidents.get(ME, story.id)).parent_incident


async def test_what_an_open_outage_explains_comes_along_whenever_and_is_silent_until_it_is_over(world: World) -> None:
    outage = await out(world, "OpenAI")
    assert await outage.told() == ["alice"]
    await outage.acknowledge()
    await long_ago(outage)
    many = [
        await world.opens(["bob"], **about("openai", "performance.rate_limit", labels={"region": "eu"})),
        await world.opens(["bob"], **about("open-ai", "performance.latency")),
        await world.opens(["carol"], **about("openai", None, labels={"status_code": "503"})),
    ]
    assert [await story.after(hours=1) for story in many] == [[], [], []]
    assert {await lead(story) for story in many} == {outage.id}
    view = await world.gateway.incidents.get(ME, many[0].id)
    assert [hold.reason for hold in view.suppression] == [HoldReason.GROUP]
    found = await world.gateway.correlations.get(ME, view.correlation_group or "")
    said = {member.incident_id: member for member in found.members}[many[0].id]
    assert said.reasons[0].said == f"the outage of openai is open: incident {outage.id}"

    await many[0].fires_again(severity=Severity.P0)
    await many[0].eventually(EventType.UNSUPPRESSED)
    assert await many[0].told() == ["bob"]
    await outage.ask(CommandKind.RESOLVE)
    await many[2].eventually(EventType.UNSUPPRESSED)
    assert await many[2].told() == ["carol"]
    late = await world.opens(["bob"], **about("openai", "performance.latency"))
    assert (await late.told(), await lead(late)) == (["bob"], None)


async def test_when_the_outage_and_one_symptom_are_over_the_other_pages(world: World) -> None:
    outage = await out(world, "mistral")
    assert await outage.told() == ["alice"]
    brief, lasting = [await world.opens(["bob"], **about("mistral", "performance.latency")) for _ in range(2)]
    assert [await story.told() for story in (brief, lasting)] == [[], []]
    await outage.ask(CommandKind.RESOLVE)
    await brief.ask(CommandKind.RESOLVE)
    await lasting.eventually(EventType.UNSUPPRESSED)
    assert await lasting.told() == ["bob"]
    assert await brief.told() == []


async def test_another_provider_region_or_environment_is_another_matter(world: World) -> None:
    here: dict[str, Any] = {"environment": Environment.PRODUCTION}
    labels = {"region": "us-east-1"}
    outage = await world.opens(
        ["alice"], **about("bedrock", "availability.provider_outage", severity="P1", labels=labels, **here)
    )
    await outage.told()
    await long_ago(outage)
    for alert in (
        about("anthropic", "performance.latency", labels=labels, **here),
        about("bedrock", "performance.latency", labels={"region": "eu-west-1"}, **here),
        about("bedrock", "performance.latency", environment=Environment.STAGING),
        about("bedrock", "quality.drop", labels=labels, **here),
        about("bedrock", None, labels=labels, **here),
    ):
        story = await world.opens(["bob"], **alert)
        assert (await story.told(), await lead(story)) == (["bob"], None), alert
        await long_ago(story)


async def test_an_outage_that_is_known_later_takes_its_symptoms_in_and_leads(world: World) -> None:
    symptoms = [
        await world.opens(["bob"], ["carol"], **alert)
        for alert in (
            about("mistral", "performance.rate_limit"),
            about("mistral", "performance.hanging"),
            about("mistral", None, labels={"status_code": "503"}),
        )
    ]
    assert [await story.told() for story in symptoms] == [["bob"], [], ["bob"]]
    assert [await lead(story) for story in symptoms] == [None, symptoms[0].id, None]
    outage = await out(world, "Mistral AI")
    assert await outage.told() == ["alice"]
    for story in symptoms:
        await story.eventually(EventType.SUPPRESSED)
        assert await story.after(hours=1) == []
    assert [await lead(story) for story in (*symptoms, outage)] == [outage.id] * 3 + [None]


async def test_a_class_that_is_stated_is_judged_by_what_is_known_and_a_person_goes_before_it(world: World) -> None:
    service = f"s-{uuid.uuid4().hex[:8]}"
    await world.gateway.documents.put(ME, "services", service, {"name": service, "tier": 1})
    created = metrics.INCIDENTS_BY_CLASS.labels("agent.tool_failure")._value
    before = created.get()
    story = await world.opens(
        ["alice"], **about("any", "agent.tool_failure", severity="P2", affected_services=(service,))
    )
    assert await story.told() == ["alice"]
    view = await world.gateway.incidents.get(ME, story.id)
    assert (view.severity, view.incident_class, view.suggested_playbook) == (Severity.P1, "agent.tool_failure", None)
    assert view.classification is not None
    why = "agent.tool_failure, reported as P2; a tier 1 service is affected: one step up"
    assert (view.classification.stated, view.classification.reason) == (True, why)
    assert [event.reason for event in await story.timeline() if event.event_type is EventType.CLASSIFIED] == [why]
    for query in ({"incident_class": ["agent.tool_failure"]}, {"search": "agent.tool_failure"}):
        page = await world.gateway.incidents.list(ME, IncidentQuery.model_validate(query))
        assert [incident.id for incident in page.incidents] == [story.id]
        assert IncidentQuery.model_validate(query).matches(view)
    assert created.get() == before + 1
    await story.ask(CommandKind.SEVERITY, severity=Severity.P3)
    await story.fires_again(severity=Severity.P2, labels={"provider": "any", "class": "agent.tool_failure", "n": "2"})
    await story.after(minutes=1)
    assert (await world.gateway.incidents.get(ME, story.id)).severity is Severity.P3


async def test_outside_production_a_class_is_capped_and_other_words_are_none(world: World) -> None:
    staged = await world.opens(
        ["alice"], **about("any", "performance.latency", severity="P1", environment=Environment.STAGING)
    )
    other = await world.opens(["alice"], **about("any", "disk", severity="P1", environment=Environment.STAGING))
    views = [await world.gateway.incidents.get(ME, story.id) for story in (staged, other)]
    assert [view.severity for view in views] == [Severity.P3, Severity.P1]
    assert views[0].incident_class == "performance.latency"
    assert views[1].classification is None or not views[1].classification.stated

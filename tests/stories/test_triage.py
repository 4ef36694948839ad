"""A new incident is understood before it pages; what holds it back, what lets it go, and what never may."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.incident import CommandKind, HoldReason
from app.domain.timeline import EventType
from app.domain.vocabulary import Severity, Status
from tests.support.world import Story, World, world_of_its_own


@pytest.fixture(scope="module")
async def world(database_url: str) -> AsyncIterator[World]:
    """A world of its own, in which related incidents are grouped."""
    async with world_of_its_own(database_url, "alice", "bob", "carol") as made:
        yield made


def unlike() -> dict[str, Any]:
    """An alert that is like no other."""
    words = uuid.uuid4().hex
    return {"title": f"{words[:8]} {words[8:16]} {words[16:24]}", "affected_services": (words,)}


async def configured(world: World, kind: str, **body: object) -> str:
    """A document of a kind; its id."""
    id_ = f"d-{uuid.uuid4().hex[:12]}"
    await world.gateway.documents.put(ME, kind, id_, {"name": id_} | body)
    return id_


def from_source(source: str) -> dict[str, object]:
    return {"field": "source", "operator": "equals", "value": source}


async def silenced(world: World, source: str, *, hours: float, later: float = 0) -> str:
    starts = datetime.now(UTC) + timedelta(hours=later)
    ends = starts + timedelta(hours=hours)
    return await configured(
        world, "silences", matchers=from_source(source), starts_at=starts.isoformat(), ends_at=ends.isoformat(),
        comment="a release",
    )  # fmt: skip


async def why(story: Story) -> set[HoldReason]:
    """Why nobody is paged, as its representation says."""
    await story.settled()
    view = await story.world.gateway.incidents.get(ME, story.id)
    assert view.suppressed == bool(view.suppression)
    return {hold.reason for hold in view.suppression}


async def test_a_silenced_incident_exists_says_why_and_pages_when_the_silence_ends(world: World) -> None:
    source = f"quiet-{uuid.uuid4()}"
    await silenced(world, source, hours=2)
    story = await world.opens(["alice"], ["bob"], **unlike() | {"source": source}, policy=everything_from(source))
    assert await why(story) == {HoldReason.SILENCE}
    assert await story.after(hours=1) == []
    assert await story.after(hours=1, minutes=1) == ["alice"]
    assert await story.after(minutes=6) == ["bob"]
    assert EventType.UNSUPPRESSED in await story.events()


def everything_from(source: str) -> dict[str, object]:
    return {"conditions": {"source": [source]}}


async def test_a_silence_outlives_a_resolve_and_what_fires_again_stays_silent(world: World) -> None:
    source = f"quiet-{uuid.uuid4()}"
    await silenced(world, source, hours=2)
    story = await world.opens(["alice"], **unlike() | {"source": source}, policy=everything_from(source))
    await story.ask(CommandKind.RESOLVE)
    await story.fires_again()
    await story.eventually(EventType.REOPENED)
    assert await story.after(minutes=30) == []
    assert await why(story) == {HoldReason.SILENCE}


async def test_a_silence_that_comes_later_stops_the_ladder_and_its_removal_lets_it_go_on(world: World) -> None:
    story = await world.opens(["alice"], ["bob"], **unlike())
    assert await story.told() == ["alice"]
    silence = await silenced(world, story.alert.source, hours=5)
    await story.eventually(EventType.SUPPRESSED)
    assert await story.after(hours=1) == []
    await world.gateway.documents.delete(ME, "silences", silence)
    await story.eventually(EventType.UNSUPPRESSED)
    assert await story.told() == ["bob"]


async def test_a_silence_that_begins_later_takes_hold_then(world: World) -> None:
    source = f"quiet-{uuid.uuid4()}"
    await silenced(world, source, hours=1, later=0.05)
    story = await world.opens(["alice"], ["bob"], **unlike() | {"source": source}, policy=everything_from(source))
    assert await story.told() == ["alice"]
    assert await story.after(minutes=30) == []
    assert await story.after(minutes=35) == ["bob"]


async def test_whoever_is_silenced_may_still_be_escalated_by_hand(world: World) -> None:
    source = f"quiet-{uuid.uuid4()}"
    await silenced(world, source, hours=2)
    story = await world.opens(["alice"], **unlike() | {"source": source}, policy=everything_from(source))
    assert await story.told() == []
    await story.ask(CommandKind.ESCALATE)
    assert await story.told() == ["alice"]


async def related(world: World, **more: object) -> tuple[Story, Story]:
    """Two incidents of one cause, a moment apart."""
    service = f"s-{uuid.uuid4().hex[:8]}"
    common: dict[str, Any] = {
        "title": f"{service} answers with errors", "affected_services": (service,),
        "labels": {"team": "llm", "cluster": service}, "incident_type": "Availability",
    }  # fmt: skip
    lead = await world.opens(["alice"], **common)
    assert await lead.told() == ["alice"]
    member = await world.opens(["bob"], **common | {"title": f"{service} answers with many errors"} | more)
    return lead, member


async def test_of_incidents_that_belong_together_one_pages(world: World) -> None:
    lead, member = await related(world)
    assert await why(member) == {HoldReason.GROUP}
    assert await member.after(hours=1) == []
    view = await world.gateway.incidents.get(ME, member.id)
    assert view.parent_incident == lead.id
    assert (await world.gateway.incidents.get(ME, lead.id)).correlation_group == view.correlation_group
    await lead.acknowledge()
    assert await member.after(hours=1) == []


async def test_a_member_pages_by_itself_when_the_lead_resolves_without_it(world: World) -> None:
    lead, member = await related(world)
    assert await why(member) == {HoldReason.GROUP}
    await lead.ask(CommandKind.RESOLVE)
    await member.eventually(EventType.UNSUPPRESSED)
    assert await member.told() == ["bob"]


async def test_a_member_that_is_worse_than_the_lead_pages_by_itself(world: World) -> None:
    _, worse = await related(world, severity="P0")
    assert await worse.told() == ["bob"]
    lead, member = await related(world)
    assert await member.told() == []
    await member.fires_again(severity=Severity.P0)
    await member.eventually(EventType.UNSUPPRESSED)
    assert await member.told() == ["bob"]
    await lead.ask(CommandKind.RESOLVE)


async def test_nobody_hides_behind_a_lead_that_is_silenced_itself(world: World) -> None:
    lead, member = await related(world)
    assert await member.told() == []
    await silenced(world, lead.alert.source, hours=3)
    await lead.eventually(EventType.SUPPRESSED)
    await member.eventually(EventType.UNSUPPRESSED)
    assert await member.told() == ["bob"]


async def test_nobody_hides_behind_a_lead_whose_pages_reach_nobody(world: World) -> None:
    await world.gateway.documents.put(ME, "users", "ghost", {"name": "Ghost"})
    service = f"s-{uuid.uuid4().hex[:8]}"
    alike: dict[str, Any] = {"title": f"{service} answers with errors", "affected_services": (service,)}
    lead = await world.opens(["ghost"], **alike)
    await lead.eventually(EventType.NOBODY_REACHED)
    member = await world.opens(["bob"], **alike)
    assert await member.told() == ["bob"]
    assert (await world.gateway.incidents.get(ME, member.id)).parent_incident == lead.id


async def test_what_a_bigger_problem_explains_is_inhibited_until_that_is_over(world: World) -> None:
    cluster = uuid.uuid4().hex[:8]
    down, slow = f"down-{cluster}", f"slow-{cluster}"
    inhibition = {"source": from_source(down), "target": from_source(slow), "equal": ["tags.cluster"]}
    await configured(world, "inhibition-rules", **inhibition)
    labels: dict[str, Any] = {"labels": {"cluster": cluster}}
    small = await world.opens(
        ["alice"], ["bob"], **unlike() | labels | {"source": slow}, policy=everything_from(slow)
    )  # fmt: skip
    assert await small.told() == ["alice"]
    big = await world.opens(["carol"], **unlike() | labels | {"source": down}, policy=everything_from(down))
    assert await big.told() == ["carol"]
    await small.eventually(EventType.SUPPRESSED)
    assert await small.after(hours=1) == []
    await big.ask(CommandKind.RESOLVE)
    await small.eventually(EventType.UNSUPPRESSED)
    assert await small.told() == ["bob"]


async def test_rules_route_raise_assign_and_tell_others_too(world: World) -> None:
    source = f"routed-{uuid.uuid4()}"
    await configured(
        world, "routing-rules", conditions=from_source(source), actions=[
            {"type": "SetSeverity", "severity": "P1"},
            {"type": "AddLabels", "labels": {"owner": "llm"}},
            {"type": "Assign", "targets": [{"type": "user", "id": "bob"}], "strategy": "direct"},
            {"type": "Notify", "targets": [{"type": "user", "id": "carol"}]},
        ],
    )  # fmt: skip
    story = await world.opens(["alice"], **unlike() | {"source": source}, policy=everything_from(source))
    assert sorted(await story.told()) == ["alice", "carol"]
    view = await world.gateway.incidents.get(ME, story.id)
    assert (view.severity, view.assigned_to, view.tags["owner"]) == (Severity.P1, "bob", "llm")
    assert {EventType.ROUTED, EventType.SEVERITY_CHANGED, EventType.ASSIGNED} <= set(await story.events())
    assert view.routing


async def test_an_alert_that_repeats_itself_does_not_undo_what_the_rules_made_of_it(world: World) -> None:
    source = f"lowered-{uuid.uuid4()}"
    await configured(
        world, "routing-rules", conditions=from_source(source), actions=[{"type": "SetSeverity", "severity": "P4"}]
    )
    story = await world.opens(
        ["alice"], **unlike() | {"source": source, "severity": "P2"}, policy=everything_from(source)
    )
    await story.told()
    await story.fires_again(severity=Severity.P1)
    await story.after(minutes=1)
    assert (await world.gateway.incidents.get(ME, story.id)).severity is Severity.P4


async def test_a_rule_may_hold_an_incident_for_a_while(world: World) -> None:
    source = f"hushed-{uuid.uuid4()}"
    await configured(
        world, "routing-rules", conditions=from_source(source), actions=[{"type": "Suppress", "duration_minutes": 30}]
    )
    story = await world.opens(["alice"], **unlike() | {"source": source}, policy=everything_from(source))
    assert await why(story) == {HoldReason.RULE}
    assert await story.after(minutes=29) == []
    assert await story.after(minutes=2) == ["alice"]


async def test_a_silenced_incident_that_is_over_pages_nobody(world: World) -> None:
    source = f"quiet-{uuid.uuid4()}"
    await silenced(world, source, hours=1)
    story = await world.opens(["alice"], **unlike() | {"source": source}, policy=everything_from(source))
    await story.ask(CommandKind.RESOLVE)
    assert await story.after(minutes=10) == []
    assert (await story.becomes(Status.RESOLVED)).suppressed is False


async def test_what_is_known_around_an_incident_is_in_its_first_message(world: World) -> None:
    service = f"s-{uuid.uuid4().hex[:8]}"
    await world.gateway.documents.put(
        ME, "services", service, {"name": service, "tier": 1, "runbook_url": "https://example.com/runbook"}
    )
    story = await world.opens(["alice"], **unlike() | {"affected_services": (service,)})
    [page] = await story.messages()
    assert "https://example.com/runbook" in str(page.incident["enrichment"])
    assert EventType.ENRICHMENT_ADDED in await story.events()


@asynccontextmanager
async def stuck(world: World, *statements: str) -> AsyncIterator[None]:
    """Something in PostgreSQL that nobody gets by, for as long as this lasts."""
    url = world.settings.storage.connection_string
    assert url is not None
    connection = await asyncpg.connect(url.get_secret_value())
    transaction = connection.transaction()
    await transaction.start()
    try:
        for statement in statements:
            await connection.execute(statement)
        yield
    finally:
        await transaction.rollback()
        await connection.close()


async def test_a_look_up_that_hangs_holds_no_page_back(world: World) -> None:
    async with stuck(world, "LOCK TABLE changes"):
        story = await world.opens(["alice"], **unlike() | {"affected_services": (uuid.uuid4().hex,)})
        await story.eventually(EventType.NOTIFICATION_SENT)
        assert await story.told() == ["alice"]
    said = {event.event_type: event.data for event in await story.timeline()}
    assert said[EventType.TRIAGE_INCOMPLETE]["skipped"] == ["enrich"]


async def test_where_groups_cannot_be_made_everybody_pages(world: World) -> None:
    service = f"s-{uuid.uuid4().hex[:8]}"
    alike: dict[str, Any] = {"title": f"{service} answers with errors", "affected_services": (service,)}
    async with stuck(world, "SELECT pg_advisory_xact_lock(hashtext('incident_groups'))"):
        stories = [await world.opens([person], **alike) for person in ("alice", "bob")]
        assert [await story.told() for story in stories] == [["alice"], ["bob"]]
    said = {event.event_type: event.data for event in await stories[1].timeline()}
    assert said[EventType.TRIAGE_INCOMPLETE]["skipped"] == ["correlate"]

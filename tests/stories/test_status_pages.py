"""A provider's status page, asked again and again: what breaks there is an incident, until it works again."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from temporalio.client import ScheduleActionExecutionStartWorkflow, WorkflowHandle
from temporalio.service import RPCError
from temporalio.testing import ActivityEnvironment, TimeSkipper

from activities.polling import Poll, Polled, Polling
from app.config import Settings
from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.alert import Alert, AlertStatus
from app.domain.requests import IncidentQuery
from app.domain.status_page import Component, Seen, Summary
from app.domain.vocabulary import Severity, Status
from app.surroundings import Enrichment, StatusPage
from tests.support.receivers import SILENCE, HttpReceiver, Reply, Request, http_receiver
from tests.support.world import Story, World, world_of_its_own
from workers.schedules import ensure
from workflows import names
from workflows.upkeep import PollStatusPagesWorkflow


class PageServer(HttpReceiver):
    """A page whose components are what a test says, with an ETag. `unchanged` counts the 304s."""

    def __init__(self) -> None:
        super().__init__()
        self.components: dict[str, str] = {"Chat Completions": "operational", "ChatGPT voice": "major_outage"}
        self.unchanged = 0

    def answer(self, request: Request) -> Reply:
        rows = [{"id": name, "name": name, "status": status} for name, status in self.components.items()]
        body = json.dumps({"page": {"id": "pg1"}, "components": rows}).encode()
        etag = f'"{hash(body)}"'
        if request.headers.get("if-none-match") == etag:
            self.unchanged += 1
            return Reply(304, {"etag": etag})
        return Reply(200, {"content-type": "application/json", "etag": etag}, body)


@dataclass
class Watch:
    world: World
    openai: PageServer
    anthropic: HttpReceiver
    polls: int = field(default=0)

    async def polled(self) -> Polled:
        """What one run of the schedule, now, has come to."""
        client = self.world.skipper.client
        schedule = client.get_schedule_handle(names.POLL_STATUS_PAGES)
        await schedule.trigger()
        self.polls += 1
        async with asyncio.timeout(20):
            while (info := (await schedule.describe()).info).num_actions < self.polls:
                await asyncio.sleep(0.02)
        begun = info.recent_actions[-1].action
        assert isinstance(begun, ScheduleActionExecutionStartWorkflow)
        handle: WorkflowHandle[PollStatusPagesWorkflow, Polled] = client.get_workflow_handle(
            begun.workflow_id, run_id=begun.first_execution_run_id, result_type=Polled
        )
        async with asyncio.timeout(20):
            return await handle.result()

    async def incident(self) -> Story:
        """The only one."""
        found = await self.world.gateway.incidents.list(ME, IncidentQuery())
        [only] = found.incidents
        story = Story(self.world, only.id, Alert(source=only.source, title=only.title))
        await story.becomes_known()
        return story


@pytest.fixture
async def watch(database_url: str) -> AsyncIterator[Watch]:
    openai = PageServer()
    await openai.comes_up()
    async with http_receiver() as anthropic:
        pages = (
            StatusPage(provider="openai", url=f"http://127.0.0.1:{openai.port}"),
            StatusPage(provider="anthropic", url=f"http://127.0.0.1:{anthropic.port}"),
        )
        around = Enrichment(status_pages=pages, status_poll_secs=86_400, timeout_secs=1)
        async with world_of_its_own(database_url, "alice", triaging=False, around=around) as world:
            await ensure(world.skipper.client, Settings(enrichment=around))
            yield Watch(world, openai, anthropic)
    await openai.goes_down()


async def test_a_component_goes_down_and_comes_back(watch: Watch) -> None:
    watch.anthropic.usually = SILENCE
    well = await watch.polled()
    assert (well.alerts, well.silent) == (1, ("anthropic",)), "that all is well, which ends nothing"
    assert (await watch.world.gateway.incidents.list(ME, IncidentQuery())).total_count == 0

    watch.anthropic.usually = Reply(200, {}, b"<html>we will be back</html>")
    watch.openai.components["Chat Completions"] = "major_outage"
    assert (await watch.polled()).alerts == 1
    story = await watch.incident()
    view = await watch.world.gateway.incidents.get(ME, story.id)
    assert (view.title, view.severity) == ("openai: Chat Completions: major outage", Severity.P2)
    assert view.tags["provider"] == "openai"

    again = await watch.polled()
    assert (again.alerts, again.silent, watch.openai.unchanged) == (0, ("anthropic",), 1)
    assert (await watch.world.gateway.incidents.get(ME, story.id)).alert_count == 1

    watch.openai.components["Chat Completions"] = "operational"
    assert (await watch.polled()).alerts == 1
    await story.becomes(Status.RESOLVED)
    assert (await watch.polled()).alerts == 0


class Flickering:
    """A page on which something is down once, and then works again."""

    provider = "openai"

    def __init__(self) -> None:
        self.states = ["major_outage", "operational"]

    async def look(self) -> Summary:
        return Summary("pg1", (Component("c1", "Responses", self.states.pop(0)),), None)


async def test_what_a_lost_try_told_of_is_over_when_the_next_one_finds_it_well() -> None:
    """Whoever had the alert accepted died before the poll was done."""
    ingested = list[Alert]()

    async def ingest(alerts: Sequence[Alert]) -> None:
        ingested.extend(alerts)

    polling = Polling((Flickering(),), ingest, lambda _provider, _answered: None)
    ask = Poll(at=datetime(2026, 11, 23, tzinfo=UTC), before={"openai": Seen(page="pg1")})
    for attempt in (1, 2):
        temporal = ActivityEnvironment()
        temporal.info = replace(temporal.info, attempt=attempt)
        await temporal.run(polling.status_pages, ask)
    assert [alert.status for alert in ingested] == [AlertStatus.FIRING, AlertStatus.RESOLVED]
    assert len({alert.identity for alert in ingested}) == 1


async def test_with_polling_off_nothing_is_scheduled(skipper: TimeSkipper) -> None:
    page, schedule = StatusPage(provider="openai"), skipper.client.get_schedule_handle(names.POLL_STATUS_PAGES)
    for every in (90, 0, 0):
        await ensure(skipper.client, Settings(enrichment=Enrichment(status_pages=(page,), status_poll_secs=every)))
        if every:
            [interval] = (await schedule.describe()).schedule.spec.intervals
            assert interval.every.total_seconds() == every
    with pytest.raises(RPCError, match="not found"):
        await schedule.describe()

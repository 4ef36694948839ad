"""A small world for stories: the services, the worker and the people, over real PostgreSQL and Temporal.

The clock of each incident is Temporal's and moves when a story says so.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from pydantic import SecretStr
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from app.automation import Playbooks
from app.channels.base import Channel
from app.channels.webhook import Webhook
from app.config import (
    Bundling,
    Correlation,
    MachineLearning,
    Notifications,
    Settings,
    Storage,
    Temporal,
)
from app.crew import crew, enriching, playing, status_pages
from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.alert import Alert
from app.domain.incident import CommandKind, Incident
from app.domain.notification import Message, Receipt, Undelivered
from app.domain.record import Record
from app.domain.representation import IncidentView, TimelineEvent
from app.domain.requests import Ask
from app.domain.timeline import EventType
from app.domain.vocabulary import ChannelName, Status
from app.net.http import LOOPBACK, Http
from app.runtime import Gateway, services, temporal_client
from app.stack import postgres, temporal
from app.store.database import Pool, pool
from app.store.messages import MessageStore
from app.store.migrate import upgrade
from app.surroundings import Enrichment
from tests.support.databases import another_database
from workers.roster import workers
from workflows import names
from workflows.incident import IncidentWorkflow


@dataclass
class Pigeon:
    """A channel that remembers what it carried; `troubles` are raised first, one a try, per target.

    It carries nothing for incidents in `refuses`, ever.
    """

    name: ChannelName = ChannelName.EMAIL
    carried: list[Message] = field(default_factory=list)
    tries: list[str] = field(default_factory=list)
    troubles: dict[str, list[Undelivered]] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    refuses: set[str] = field(default_factory=set)

    class Address(Record):
        """Any will do."""

    async def send(self, message: Message, to: Record) -> Receipt:
        self.tries.append(message.target)
        if message.incident_id in self.refuses:
            raise Undelivered("it never flies there")
        if waiting := self.troubles.get(message.target):
            raise waiting.pop(0)
        self.carried.append(message)
        self.news.set()
        return Receipt(reference=message.key)


@dataclass
class Story:
    """One incident, and who was told of it."""

    world: "World"
    id: str
    alert: Alert
    read: int = 0

    @property
    def handle(self) -> WorkflowHandle[IncidentWorkflow, None]:
        return self.world.skipper.client.get_workflow_handle_for(IncidentWorkflow.run, names.workflow_id(self.id))

    async def told(self) -> list[str]:
        """Whom the incident's pages have reached since the last time this was asked, in order."""
        return [message.target.removeprefix("user:") for message in await self.messages() if message.kind.page]

    async def messages(self) -> list[Message]:
        """Everything the pigeon has carried for the incident since the last time this was asked."""
        await self.settled()
        mine = [message for message in self.world.pigeon.carried if message.incident_id == self.id]
        fresh, self.read = mine[self.read :], len(mine)
        return fresh

    async def after(self, **time: float) -> list[str]:
        """Whom the incident's pages reach while time goes by."""
        await self.settled()
        await self.world.skipper.fast_forward(self.handle, timedelta(**time))
        return await self.told()

    async def settled(self) -> None:
        """Until every page that was decided has been sent, given up or cancelled, and PostgreSQL shows the state."""
        async with asyncio.timeout(20):
            while True:
                state = await self.state()
                later = {planned.key for planned in state.plan} if state else set()
                left = [o for o in await self.world.messages.outstanding(self.id) if o.key not in later]
                row = await self.world.gateway.incidents.store.load(self.id)
                shown = row[1].seq if row[1] else -1
                if state is not None and shown == state.seq and (not left or self.stuck(left)):
                    return
                await asyncio.sleep(0.02)

    async def becomes_known(self) -> None:
        """Until the incident's workflow has shown itself in PostgreSQL."""
        async with asyncio.timeout(20):
            while (await self.world.gateway.incidents.store.load(self.id))[1] is None:
                await asyncio.sleep(0.02)

    async def known_to_temporal(self) -> bool:
        try:
            await self.handle.describe()
        except RPCError as unknown:
            return unknown.status is not RPCStatusCode.NOT_FOUND
        return True

    async def runs(self) -> None:
        """Until Temporal knows the incident's workflow."""
        async with asyncio.timeout(20):
            while not await self.known_to_temporal():
                await asyncio.sleep(0.02)

    def stuck(self, left: Sequence[object]) -> bool:
        """Pages that wait for their next try count as settled: only time moves them."""
        return all(getattr(page, "last_error", None) for page in left)

    async def state(self) -> Incident | None:
        """None while a run has not begun yet."""
        try:
            return await self.handle.query(IncidentWorkflow.standing)
        except RPCError as early:
            if early.status is not RPCStatusCode.FAILED_PRECONDITION:
                raise
            return None

    async def ask(self, kind: CommandKind, **more: object) -> IncidentView:
        ask = Ask.model_validate({"kind": kind, "actor": "alice"} | more)
        return await self.world.gateway.incidents.ask(ME, self.id, ask)

    async def acknowledge(self, **more: object) -> IncidentView:
        return await self.ask(CommandKind.ACKNOWLEDGE, **more)

    async def fires_again(self, **changes: object) -> str:
        return await self.world.sends(self.alert.model_copy(update=changes))

    async def events(self) -> list[EventType]:
        return [event.event_type for event in await self.timeline()]

    async def timeline(self) -> list[TimelineEvent]:
        await self.settled()
        return await self.world.gateway.incidents.timeline(ME, self.id)

    async def eventually(self, event: EventType) -> list[EventType]:
        """The timeline, once the event is on it."""
        async with asyncio.timeout(20):
            while event not in (events := await self.events()):
                await asyncio.sleep(0.02)
        return events

    async def becomes(self, status: Status) -> IncidentView:
        """The incident, once PostgreSQL shows it in a status."""
        async with asyncio.timeout(20):
            while (view := await self.world.gateway.incidents.get(ME, self.id)).status is not status:
                await asyncio.sleep(0.02)
        return view


@dataclass
class World:
    settings: Settings
    gateway: Gateway
    skipper: TimeSkipper
    pigeon: Pigeon
    flock: dict[ChannelName, Pigeon]
    messages: MessageStore

    async def hires(self, *people: str) -> None:
        for person in people:
            body = {"name": person.title(), "email": f"{person}@example.com"}
            await self.gateway.documents.put(ME, "users", person, body)

    async def opens(self, *levels: Sequence[str], policy: dict[str, object] | None = None, **alert: object) -> Story:
        """An incident whose levels page these people, 5 minutes apart; `policy` says more about the policy."""
        source = f"story-{uuid.uuid4()}"
        ladder = [
            {"targets": [{"type": "user", "id": person} for person in level], "escalate_after_secs": 300}
            for level in levels
        ]
        body = {"name": source, "conditions": {"source": [source]}, "levels": ladder, "priority": 10} | (policy or {})
        await self.gateway.documents.put(ME, "escalation-policies", source, body)
        first = Alert.model_validate(
            {"source": source, "title": "checkout model is slow", "severity": "P2", "identity": source} | alert
        )
        story = Story(self, await self.sends(first), first)
        await story.becomes_known()
        return story

    async def sends(self, alert: Alert) -> str:
        [answer] = await self.gateway.alerts.ingest(ME, [alert])
        return answer.incident_id or ""


@asynccontextmanager
async def database() -> AsyncIterator[str]:
    """A PostgreSQL with the schema of today, gone afterwards."""
    async with postgres(durable=False) as url:
        await asyncio.to_thread(upgrade, url)
        yield url


@asynccontextmanager
async def time_skipping() -> AsyncIterator[TimeSkipper]:
    """A Temporal server in memory; no clock moves by itself faster than ours."""
    async with temporal() as address:
        client = await temporal_client(Temporal(address=address), lazy=False)
        yield TimeSkipper(client, config=TimeSkippingConfig(enabled=False))


@asynccontextmanager
async def world_on(
    url: str,
    connections: Pool,
    skipper: TimeSkipper,
    *,
    triaging: bool = False,
    around: Enrichment | None = None,
    reach: Playbooks | None = None,
) -> AsyncIterator[World]:
    """Services, dispatcher and workers over a database and a Temporal; webhooks are real, all else goes by pigeon.

    Unless `triaging`, incidents that look alike have nothing to do with each other, and nothing is looked up;
    `around` says who is asked, `reach` what playbooks may change.
    """
    settings = Settings(
        storage=Storage(connection_string=SecretStr(url)),
        notifications=Notifications(bundling=Bundling(enabled=False)),
        correlation=Correlation(enabled=triaging), enrichment=around or Enrichment(enabled=triaging),
        ml=MachineLearning(enabled=triaging), playbooks=reach or Playbooks(),
    )  # fmt: skip
    flock: dict[ChannelName, Pigeon] = {name: Pigeon(name) for name in ChannelName if name is not ChannelName.WEBHOOK}
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(Http(LOOPBACK, deadline_secs=2))
        channels: dict[ChannelName, Channel] = {ChannelName.WEBHOOK: Webhook(http), **flock}
        looking = await stack.enter_async_context(enriching(settings, connections))
        doing = await stack.enter_async_context(playing(settings, connections, skipper.client, channels))
        pages = await stack.enter_async_context(status_pages(settings))
        gateway = services(settings, connections, skipper.client, channels, actions=doing)
        staff = workers(skipper.client, crew(settings, connections, channels, looking, doing, pages))
        for worker in staff:
            await stack.enter_async_context(worker)
        dispatching = asyncio.create_task(gateway.dispatcher.run())
        beginning = asyncio.create_task(gateway.playbooks.run())
        try:
            yield World(settings, gateway, skipper, flock[ChannelName.EMAIL], flock, MessageStore(connections))
        finally:
            dispatching.cancel()
            beginning.cancel()


@asynccontextmanager
async def world_of_its_own(
    beside: str, *people: str, triaging: bool = True, around: Enrichment | None = None, reach: Playbooks | None = None
) -> AsyncIterator[World]:
    """A world, `triaging` or not, over a database of its own on the server of another one, and its own Temporal."""
    async with (
        another_database(beside) as url,
        pool(url, 20) as connections,
        time_skipping() as skipper,
        world_on(url, connections, skipper, triaging=triaging, around=around, reach=reach) as made,
    ):
        await made.hires(*people)
        yield made

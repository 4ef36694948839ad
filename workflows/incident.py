"""The incident's life. Its workflow is the only writer of its state: everybody else asks it."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import SearchAttributeUpdate
from temporalio.exceptions import ApplicationError

from activities.directory import Directory, Keys, Paging, Redeliver
from activities.enriching import Enrich
from activities.projection import Projection, Show
from activities.triage import About, Life, Raised, Triage
from app.domain import lifecycle, paging, triage
from app.domain.errors import Refused
from app.domain.incident import Command, CommandKind, Incident, Page
from app.domain.lifecycle import Change
from app.domain.timeline import Actor, Entry, EventType
from app.domain.vocabulary import ActorType, Status
from workflows import names
from workflows.describe import describe, next_step
from workflows.enrichment import enriched
from workflows.local import local
from workflows.pages import Pages


@workflow.defn(name="incident")
class IncidentWorkflow:
    @workflow.init
    def __init__(self, life: Life) -> None:
        self.life = life
        self.current = life.incident
        self.entries: list[Entry] = []
        self.shown_seq = life.incident.seq if life.incident else 0
        self.alerts_changed = False
        self.reroute = False
        self.stop_pages = False
        self.bounced: set[str] = set()
        self.stirred = True
        self.alarm: asyncio.Task[None] | None = None
        self.alarm_at: datetime | None = None
        self.pages = Pages(self, timedelta(seconds=life.give_up_after_secs))
        self.looking_around: asyncio.Task[None] | None = None

    @workflow.run
    async def run(self, life: Life) -> None:
        await self.begin()
        while not self.over():
            while self.stirred:
                self.stirred = False
                await self.live()
            self.set_alarm()
            await workflow.wait_condition(lambda: self.stirred or self.over() or self.long_and_quiet())
            if self.long_and_quiet():
                workflow.continue_as_new(self.life.model_copy(update={"incident": self.incident}))

    @property
    def incident(self) -> Incident:
        if self.current is None:
            raise RuntimeError("the incident is not loaded yet")
        return self.current

    async def begin(self) -> None:
        """Loads the incident as PostgreSQL knows it, unless the run before has handed it over."""
        if self.current is None:
            opened = await local(Triage.open, About(incident_id=self.life.incident_id, at=workflow.now()))
            if opened.incident is not None:
                self.current = paging.recovered(opened.incident, opened.outstanding)
                self.shown_seq = opened.incident.seq
            else:
                self.take(
                    lifecycle.opened(
                        self.life.incident_id, opened.heard, opened.policy,
                        opened_at=opened.opened_at, now=workflow.now(), assigned_to=opened.assigned_to,
                    )
                )  # fmt: skip
                self.begin_triaged(opened.triage)
            self.take(lifecycle.hear(self.incident, opened.heard, workflow.now()))
            self.take(triage.stands(self.incident, opened.heard.standing, workflow.now()))
            self.pages.send(self.incident.flying)

    def begin_triaged(self, found: triage.Triaged | None) -> None:
        """What triage made of a new incident; what it is still looking up comes later."""
        if found is None:
            return
        self.take(triage.triaged(self.incident, found, workflow.now()))
        self.reroute = False
        if found.page_wait_secs is not None:
            self.looking_around = asyncio.create_task(self.look_around())

    async def look_around(self) -> None:
        """Adds what is known around the incident, whenever it comes; that none comes is no reason to wait."""
        found = await enriched(Enrich(incident_id=self.incident.id, at=workflow.now()))
        self.take(triage.enriched(self.incident, found.found, found.missed, workflow.now()))
        self.stirred = True

    async def live(self) -> None:
        """Whatever is to be done now: listen, look at the clock, page, and show what came of it."""
        if self.alerts_changed or self.incident.looks_again(workflow.now()):
            self.alerts_changed = False
            heard = await local(Triage.listen, About(incident_id=self.incident.id, at=workflow.now()))
            self.take(lifecycle.hear(self.incident, heard, workflow.now()))
            self.take(triage.stands(self.incident, heard.standing, workflow.now()))
        if self.reroute:
            self.reroute = False
            await self.route()
        self.take(lifecycle.tick(self.incident, workflow.now()))
        while page := self.climb():
            await self.decide(page)
        self.take(paging.unconfirmed(self.incident, workflow.now()))
        self.current, outgoing = paging.due(self.incident, workflow.now())
        await self.show(again=bool(self.pages.doubted))
        await self.pages.insist()
        self.pages.send(outgoing)

    async def route(self) -> None:
        """Chooses the policy anew, for the severity as it is now."""
        raised = Raised(incident_id=self.incident.id, severity=self.incident.severity, at=workflow.now())
        fitting = await local(Triage.route, raised)
        self.take(triage.stands(self.incident, fitting.standing, workflow.now()))
        self.take(paging.rerouted(self.incident, fitting.policy, workflow.now()))

    def climb(self) -> Page | None:
        """The level that is due, if one is: it goes out."""
        incident, page, entries = paging.climb(self.incident, workflow.now())
        self.take((incident, entries))
        return page

    async def decide(self, page: Page) -> None:
        """Whom a level tells. Nobody, if somebody took the incident while we were looking them up."""
        severity = self.incident.severity
        ask = Paging(incident_id=self.incident.id, page=page, severity=severity, at=workflow.now())
        decided = await local(Directory.page, ask)
        if self.incident.wants(page):
            self.take(
                paging.paged(self.incident, page, decided.outgoing, decided.unreached, workflow.now())
            )  # fmt: skip
        else:
            self.stop_pages = True

    def take(self, change: Change) -> None:
        """Makes a change this incident's present, and everything that follows from it."""
        before = self.current
        self.current, entries = change
        self.entries += entries
        if before is None or not entries:
            return
        if not self.current.status.waits_for_somebody or self.current.cycle != before.cycle:
            self.stop_pages = True
            self.pages.stop_unwanted()
        if self.current.severity.worse_than(before.severity):
            self.reroute = True
        if self.current.triaged and not before.status.open and self.current.status.open:
            self.alerts_changed = True
        self.stirred = True

    async def show(self, *, again: bool = False) -> None:
        """Writes what has happened since the last time to PostgreSQL, and the status to Temporal's own list."""
        if not (self.entries or self.stop_pages or again):
            return
        incident, entries, stop_pages = self.incident, tuple(self.entries), self.stop_pages
        self.entries, self.stop_pages = [], False
        shown = Show(incident=incident, time_ns=workflow.time_ns(), entries=entries, stop_pages=stop_pages)
        await local(Projection.project, shown)
        await self.pages.inform(paging.notices(incident, entries), by=entries[-1].actor.name if entries else None)
        self.shown_seq = incident.seq
        if any(entry.type in TOLD_TO_TEMPORAL for entry in entries):
            workflow.upsert_search_attributes(searchable(incident))

    def set_alarm(self) -> None:
        """One timer, for the next moment at which time alone changes something."""
        workflow.set_current_details(describe(self.incident))
        wakes_at = self.incident.wakes_at if self.incident.status.open else self.ends_at()
        if wakes_at == self.alarm_at:
            return
        if self.alarm is not None:
            self.alarm.cancel()
        self.alarm_at = wakes_at
        self.alarm = asyncio.create_task(self.ring(wakes_at)) if wakes_at is not None else None

    async def ring(self, at: datetime) -> None:
        await workflow.sleep(max(at - workflow.now(), timedelta(0)), summary=next_step(self.incident))
        self.alarm_at = None
        self.stirred = True

    def ends_at(self) -> datetime | None:
        """When a resolved incident's problem has stayed away long enough; a closed one's is over at once."""
        ended = self.incident.ended_at
        linger = self.life.reopens_for_secs if self.incident.status is Status.RESOLVED else 0
        return ended + timedelta(seconds=linger) if ended else None

    def over(self) -> bool:
        ends_at = self.ends_at()
        quiet = not self.busy() and not self.under_way()
        return ends_at is not None and quiet and ends_at <= workflow.now()

    def busy(self) -> bool:
        """Something has come in that has not been seen through."""
        return bool(
            self.stirred or self.entries or self.alerts_changed or self.reroute or not workflow.all_handlers_finished()
        )

    def under_way(self) -> bool:
        """Something was begun that another run would have to take over."""
        return bool(self.pages.under_way) or (self.looking_around is not None and not self.looking_around.done())

    def long_and_quiet(self) -> bool:
        """The history has grown long, and nothing is under way."""
        return workflow.info().is_continue_as_new_suggested() and not self.busy() and not self.under_way()

    @workflow.update
    async def command(self, command: Command) -> int:
        """Carries out a command; the incident's sequence number when PostgreSQL shows it.

        Raises: ApplicationError with a refusal's code as its type.
        """
        await workflow.wait_condition(lambda: self.current is not None)
        self.take(judged(lambda: lifecycle.apply(self.incident, command, workflow.now())))
        seq = self.incident.seq
        await workflow.wait_condition(lambda: self.shown_seq >= seq)
        return seq

    @command.validator
    def may_command(self, command: Command) -> None:
        if self.current is not None:
            judged(lambda: lifecycle.apply(self.incident, command, workflow.now()))

    @workflow.update
    async def redeliver(self, ask: Redeliver) -> str:
        """Sends a message once more, whatever has become of the incident; the new notification's id."""
        await workflow.wait_condition(lambda: self.current is not None)
        again = await local(Directory.redeliver, ask)
        self.take(
            lifecycle.told(
                self.incident, workflow.now(), Actor(name=ask.by), EventType.NOTIFICATION_REDELIVERED,
                key=again.outgoing.key, target=again.outgoing.target, channel=again.outgoing.channel,
            )
        )  # fmt: skip
        self.pages.send([again.outgoing])
        return again.notification_id

    @workflow.signal
    async def undelivered(self, key: str) -> None:
        """A provider that had taken a message says that it never arrived."""
        await workflow.wait_condition(lambda: self.current is not None)
        if key in self.bounced:
            return
        self.bounced.add(key)
        for message in await local(Directory.find, Keys(keys=(key,))):
            self.take(paging.failed(self.incident, message, "the provider could not deliver it", workflow.now()))

    @workflow.signal
    def look_again(self) -> None:
        """Something about the incident's alerts has changed that bears on its fate."""
        self.alerts_changed = self.stirred = True

    @workflow.signal
    async def acknowledge(self, by: str = "temporal") -> None:
        await self.signalled(CommandKind.ACKNOWLEDGE, by)

    @workflow.signal
    async def resolve(self, by: str = "temporal") -> None:
        await self.signalled(CommandKind.RESOLVE, by)

    @workflow.signal
    async def pause(self, by: str = "temporal") -> None:
        await self.signalled(CommandKind.PAUSE, by)

    @workflow.signal
    async def resume(self, by: str = "temporal") -> None:
        await self.signalled(CommandKind.RESUME, by)

    async def signalled(self, kind: CommandKind, by: str) -> None:
        """A command nobody waits for the answer of: what cannot be done is logged."""
        await workflow.wait_condition(lambda: self.current is not None)
        actor = Actor(name=by, type=ActorType.USER)
        command = Command(id=str(workflow.uuid4()), kind=kind, actor=actor)
        try:
            self.take(lifecycle.apply(self.incident, command, workflow.now()))
        except Refused as refusal:
            workflow.logger.warning("signal %s refused: %s", kind, refusal)

    @workflow.query
    def standing(self) -> Incident | None:
        """The state as it is now; None before the incident is loaded."""
        return self.current


TOLD_TO_TEMPORAL = frozenset(
    {
        EventType.ACKNOWLEDGED, EventType.UNACKNOWLEDGED, EventType.ESCALATED, EventType.STATE_CHANGED,
        EventType.RESOLVED, EventType.CLOSED, EventType.REOPENED, EventType.SEVERITY_CHANGED, EventType.ASSIGNED,
    }
)  # fmt: skip


def searchable(incident: Incident) -> list[SearchAttributeUpdate[str]]:
    return [
        names.SEVERITY.value_set(str(incident.severity)),
        names.STATUS.value_set(str(incident.status)),
        names.TEAM.value_set(incident.assigned_team or ""),
    ]


def judged(change: Callable[[], Change]) -> Change:
    """A refusal as the caller of an update sees it."""
    try:
        return change()
    except Refused as refusal:
        raise ApplicationError(refusal.message, refusal.details, type=refusal.code, non_retryable=True) from refusal

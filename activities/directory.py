"""Who is told, at the moment a level goes out or something changes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from temporalio import activity

from app.domain.escalation import Level
from app.domain.incident import Page
from app.domain.notification import Delivery, Outgoing
from app.domain.oncall import Schedule, on_duty
from app.domain.people import Team, User
from app.domain.reach import People, Planned, Unreached, candidates, outgoing, pick, reach
from app.domain.record import Record
from app.domain.vocabulary import ChannelName, Severity, TargetType

if TYPE_CHECKING:
    from app.store.documents import DocumentStore
    from app.store.messages import MessageStore
    from app.store.turns import TurnStore


class Paging(Record):
    """A level that goes out `at` a moment."""

    incident_id: str
    page: Page
    severity: Severity
    at: datetime


class Decided(Record):
    """The pages that were written down, and the targets nobody can be reached for."""

    outgoing: tuple[Outgoing, ...]
    unreached: tuple[Unreached, ...]


class Informing(Record):
    """Notices to be written down, and who caused what they tell."""

    incident_id: str
    notices: tuple[Outgoing, ...]
    by: str | None = None


class Redeliver(Record):
    """The message of a delivery (`key`) once more, because somebody asked for it; `id` makes asking twice one."""

    key: str
    by: str
    id: str


class Redelivered(Record):
    """`notification_id` names the new message."""

    notification_id: str
    outgoing: Outgoing


class Keys(Record):
    """Of messages."""

    keys: tuple[str, ...]


@dataclass(frozen=True)
class Directory:
    """`channels` are those that are switched on."""

    documents: DocumentStore
    messages: MessageStore
    turns: TurnStore
    channels: Collection[ChannelName]

    @activity.defn(name="directory.page")
    async def page(self, paging: Paging) -> Decided:
        """Looks up whom a level reaches and writes their pages down. Twice is once: the delivery key is unique."""
        page, severity = paging.page, paging.severity
        people = await self.people(page.level, paging.at)
        turns = await self._turns(paging, people)
        found = reach(page.level, severity, people.model_copy(update={"turns": turns}), self.channels, paging.at)
        deliveries = [_delivery(paging, planned) for planned in found.messages]
        if deliveries:
            await self.messages.decide(deliveries)
        return Decided(outgoing=tuple(delivery.outgoing for delivery in deliveries), unreached=found.unreached)

    @activity.defn(name="directory.inform")
    async def inform(self, informing: Informing) -> None:
        """Writes notices down, to the addresses the pages went to. Twice is once: their keys are unique."""
        await self.messages.inform(informing.incident_id, informing.notices, informing.by)

    @activity.defn(name="directory.redeliver")
    async def redeliver(self, ask: Redeliver) -> Redelivered:
        """Writes a message down once more. Twice is once: its key is made of the request's."""
        again = await self.messages.redeliver(ask.key, ask.id)
        return Redelivered(notification_id=again.id, outgoing=again.outgoing)

    @activity.defn(name="directory.find")
    async def find(self, asked: Keys) -> tuple[Outgoing, ...]:
        """The messages with these keys that were ever written down. Reads only."""
        return tuple(delivery.outgoing for delivery in await self.messages.by_key(asked.keys))

    @activity.defn(name="directory.insist")
    async def insist(self, asked: Keys) -> Keys:
        """Messages that were called off by mistake are to be sent after all: those there are. Twice is once."""
        return Keys(keys=tuple(await self.messages.insist(asked.keys)))

    async def people(self, level: Level, at: datetime) -> People:
        """Those a level names, as they stand now."""
        named = {kind: {t.id for t in level.everybody if t.type is kind} for kind in TargetType}
        documents = await self.documents.some({"teams": named[TargetType.TEAM], "schedules": named[TargetType.ON_CALL]})
        teams = {d.id: Team.model_validate(d.body) for d in documents if d.kind == "teams"}
        schedules = {d.id: Schedule.model_validate(d.body) for d in documents if d.kind == "schedules"}
        ids = named[TargetType.USER].union(
            *(team.members for team in teams.values()), *(on_duty(schedule, at) for schedule in schedules.values())
        )
        users = {d.id: User.model_validate(d.body) for d in await self.documents.some({"users": ids})}
        return People(users=users, teams=teams, schedules=schedules)

    async def _turns(self, paging: Paging, people: People) -> dict[str, str]:
        """Whose turn it is in those teams of a level that take turns."""
        turns: dict[str, str] = {}
        page, level = paging.page, paging.page.level
        allowed = [channel for channel in level.channels if channel in self.channels]
        for team in (people.teams[id_] for id_ in level.in_turns if id_ in people.teams):
            reachable = candidates(team, paging.severity, people, allowed, paging.at)
            choice = partial(pick, level.in_turns[team.id], team.members, reachable)
            turn = await self.turns.take(team.id, team.members, paging.incident_id, page.cycle, page.rung, choice)
            turns |= {team.id: turn} if turn is not None else {}
        return turns


def _delivery(paging: Paging, planned: Planned) -> Delivery:
    page = paging.page
    message = outgoing(paging.incident_id, page, planned, paging.at)
    return Delivery(
        **message.model_dump(), id="", incident_id=paging.incident_id, address=planned.address,
        template=page.level.template,
    )  # fmt: skip

"""What would happen: a policy played through with the code that runs the incidents, the clock apart."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Self

from pydantic import Field, model_validator

from app.domain import lifecycle, paging
from app.domain.errors import Invalid, Refused
from app.domain.escalation import LONGEST, Policy
from app.domain.incident import Command, CommandKind, Heard, Incident, Page
from app.domain.notification import Outgoing
from app.domain.reach import People, candidates, outgoing, pick, reach
from app.domain.record import Record
from app.domain.timeline import Actor, Entry, EventType
from app.domain.vocabulary import ChannelName, Severity

EVENTS_AT_MOST = 2000
SOURCE = "simulation"

Standing = tuple[str | None, Mapping[str, int]]
"""Of a team that takes turns: who was last, and everybody's number of open incidents."""


class Assumption(Record):
    """Something that happens `after_secs`: one of the others. Who acts may be named; a failing channel fails for good.

    `escalate` may be the level to go to.
    """

    after_secs: float = Field(ge=0, le=LONGEST)
    ack: str | bool | None = None
    unacknowledge: str | bool | None = None
    start: str | bool | None = None
    resolve: str | bool | None = None
    pause: str | bool | None = None
    resume: str | bool | None = None
    escalate: int | bool | None = None
    channel_fails: ChannelName | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if len(self._said()) != 1:
            raise ValueError(f"must say one of {', '.join((*KINDS, 'channel_fails'))}")
        return self

    def _said(self) -> list[str]:
        return [name for name in (*KINDS, "channel_fails") if getattr(self, name) not in (None, False)]

    def command(self, number: int) -> Command | None:
        [said] = self._said()
        kind, value = KINDS.get(said), getattr(self, said)
        if kind is None:
            return None
        to_level = value if kind is CommandKind.ESCALATE and value is not True else None
        actor = Actor(name=value if isinstance(value, str) else SOURCE)
        return Command(id=f"assume[{number}]", kind=kind, actor=actor, to_level=to_level)


KINDS = {
    "ack": CommandKind.ACKNOWLEDGE, "unacknowledge": CommandKind.UNACKNOWLEDGE, "start": CommandKind.START,
    "resolve": CommandKind.RESOLVE, "pause": CommandKind.PAUSE, "resume": CommandKind.RESUME,
    "escalate": CommandKind.ESCALATE,
}  # fmt: skip


class Happening(Record):
    """One line of the timeline, `after_secs` after the beginning."""

    at: datetime
    after_secs: float
    event: EventType
    actor: str
    data: dict[str, object]


class World(Record):
    """What a simulation knows: the directory, the channels that are on, and whose turn it was in which team."""

    people: People
    channels: frozenset[ChannelName]
    standing: dict[str, Standing] = {}


def simulate(
    policy: Policy, severity: Severity, world: World, at: datetime, assume: Sequence[Assumption]
) -> tuple[list[Happening], bool]:
    """The whole timeline in order, and whether it was cut off after `EVENTS_AT_MOST`.

    Every message is taken at once, unless its channel is assumed to fail; nobody does anything that isn't assumed.

    Raises: Invalid naming the assumption that cannot be.
    """
    heard = Heard(severity=severity, last_firing_at=at, source=SOURCE)
    incident, entries = lifecycle.opened(SOURCE, heard, policy, opened_at=at, now=at)
    play = Play(world, incident, list(entries))
    coming = sorted(enumerate(assume), key=lambda numbered: numbered[1].after_secs)
    now: datetime | None = at
    while now is not None and len(play.book) < EVENTS_AT_MOST:
        while coming and at + timedelta(seconds=coming[0][1].after_secs) <= now:
            play.assume(*coming.pop(0), now)
        play.settle(now)
        wakes_at = play.incident.wakes_at if play.incident.status.open else None
        assumed = at + timedelta(seconds=coming[0][1].after_secs) if coming else None
        now = min((moment for moment in (wakes_at, assumed) if moment is not None), default=None)
    return [_happening(entry, at) for entry in play.book[:EVENTS_AT_MOST]], now is not None


class Play:
    """The incident, what has been said of it, and the channels that fail by now."""

    def __init__(self, world: World, incident: Incident, book: list[Entry]) -> None:
        self.world = world
        self.incident = incident
        self.book = book
        self.untold = list(book)
        self.failing: set[ChannelName] = set()
        self.standing = dict(world.standing)

    def take(self, change: lifecycle.Change) -> bool:
        self.incident, entries = change
        self.book += entries
        self.untold += entries
        return bool(entries)

    def assume(self, number: int, assumption: Assumption, now: datetime) -> None:
        command = assumption.command(number)
        if command is None:
            self.failing |= {assumption.channel_fails} if assumption.channel_fails else set()
            return
        try:
            self.take(lifecycle.apply(self.incident, command, now))
        except Refused as refusal:
            raise Invalid.field(f"assume[{number}]", refusal.message) from refusal

    def settle(self, now: datetime) -> None:
        """Everything that is to be done at a moment, in the workflow's order."""
        busy = True
        while busy and len(self.book) < EVENTS_AT_MOST:
            busy = self.take(lifecycle.tick(self.incident, now))
            while page := self._climb(now):
                busy |= self.take(self._paged(page, now))
            busy |= self.take(paging.unconfirmed(self.incident, now))
            self.incident, going = paging.due(self.incident, now)
            notices = paging.notices(self.incident, self.untold)
            self.untold = []
            for message in (*notices, *going):
                busy |= self.take(self._sent(message, now))

    def _climb(self, now: datetime) -> Page | None:
        incident, page, entries = paging.climb(self.incident, now)
        self.take((incident, entries))
        return page

    def _sent(self, message: Outgoing, now: datetime) -> lifecycle.Change:
        if message.channel in self.failing:
            return paging.failed(self.incident, message, f"{message.channel} is assumed to fail", now)
        return paging.sent(self.incident, message, now)

    def _paged(self, page: Page, now: datetime) -> lifecycle.Change:
        severity, world = self.incident.severity, self.world
        people = world.people.model_copy(update={"turns": self._turns(page, now)})
        found = reach(page.level, severity, people, world.channels, now)
        messages = [outgoing(self.incident.id, page, planned, now) for planned in found.messages]
        return paging.paged(self.incident, page, messages, found.unreached, now)

    def _turns(self, page: Page, now: datetime) -> dict[str, str]:
        turns: dict[str, str] = {}
        allowed = [channel for channel in page.level.channels if channel in self.world.channels]
        for team, mode in page.level.in_turns.items():
            found = self.world.people.teams.get(team)
            if found is None:
                continue
            reachable = candidates(found, self.incident.severity, self.world.people, allowed, now)
            last, load = self.standing.get(team, (None, {}))
            turn = pick(mode, found.members, reachable, last, load)
            if turn is not None:
                turns[team] = turn
                self.standing[team] = (turn, {**load, turn: max(load.get(turn, 0), 1)})
        return turns


def _happening(entry: Entry, start: datetime) -> Happening:
    return Happening(
        at=entry.at, after_secs=(entry.at - start).total_seconds(), event=entry.type, actor=entry.actor.name,
        data=entry.data,
    )  # fmt: skip

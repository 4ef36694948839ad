"""Policies played through before they matter."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import Field

from app.domain.access import Principal, Scope
from app.domain.decode import Instant
from app.domain.errors import NotFound
from app.domain.escalation import Facts, Policy, applies, choose
from app.domain.oncall import Schedule
from app.domain.people import Team, User
from app.domain.reach import People
from app.domain.record import Record
from app.domain.simulation import Assumption, Happening, World, simulate
from app.domain.vocabulary import Category, ChannelName, Environment, Severity
from app.store.database import answering
from app.store.documents import DocumentStore
from app.store.turns import TurnStore


class Supposed(Record):
    """The incident a simulation is about, as far as policies look at it."""

    source: str = ""
    category: Category = Category.OTHER
    environment: Environment | None = None
    tags: dict[str, str] = {}


class Scenario(Record):
    """`at` is the moment of the first alert; None = now."""

    at: Instant | None = None
    severity: Severity = Severity.P2
    incident: Supposed = Supposed()
    assume: tuple[Assumption, ...] = Field(default=(), max_length=100)


class Simulated(Record):
    """`applies`: the policy's conditions hold; `chosen` is the policy that production would take.

    `truncated`: there would be more after the last line.
    """

    policy_id: str
    applies: bool
    chosen: str | None
    at: datetime
    severity: Severity
    timeline: list[Happening]
    truncated: bool


@dataclass(frozen=True)
class Simulations:
    """`channels` are those that are switched on."""

    documents: DocumentStore
    turns: TurnStore
    channels: Collection[ChannelName]
    default_policy: str

    async def run(self, who: Principal, policy_id: str, scenario: Scenario) -> Simulated:
        """Who would be told what, when and through what, if this policy met that incident.

        Raises: Forbidden, NotFound, Invalid naming the assumption that cannot be, Unavailable.
        """
        who.may(Scope.READ)
        at = scenario.at or datetime.now(UTC)
        async with answering():
            found = await self.documents.all("escalation-policies")
            policies = {d.id: Policy.model_validate(d.body) for d in found}
            if policy_id not in policies:
                raise NotFound("escalation-policies", policy_id)
            world = await self.world(policies[policy_id])
        facts = Facts.model_validate(scenario.incident.model_dump() | {"severity": scenario.severity, "at": at})
        chosen = choose(tuple(policies.values()), facts, self.default_policy)
        timeline, truncated = simulate(policies[policy_id], scenario.severity, world, at, scenario.assume)
        return Simulated(
            policy_id=policy_id, applies=applies(policies[policy_id], facts), chosen=chosen.id if chosen else None,
            at=at, severity=scenario.severity, timeline=timeline, truncated=truncated,
        )  # fmt: skip

    async def world(self, policy: Policy) -> World:
        """The directory as it stands, and whose turn it is in the policy's teams."""
        everybody = await people(self.documents)
        in_turns = {team for level in policy.levels for team in level.in_turns if team in everybody.teams}
        standing = {team: await self.turns.standing(team, everybody.teams[team].members) for team in sorted(in_turns)}
        return World(people=everybody, channels=frozenset(self.channels), standing=standing)


async def people(documents: DocumentStore) -> People:
    """The whole directory as it stands."""
    kinds = {kind: {d.id: d.body for d in await documents.all(kind)} for kind in ("users", "teams", "schedules")}
    return People(
        users={id_: User.model_validate(body) for id_, body in kinds["users"].items()},
        teams={id_: Team.model_validate(body) for id_, body in kinds["teams"].items()},
        schedules={id_: Schedule.model_validate(body) for id_, body in kinds["schedules"].items()},
    )

"""Escalation policies: who is paged at which level, and when the next level goes out."""

from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from app.domain.people import Slug, external_address
from app.domain.record import Record
from app.domain.vocabulary import Category, ChannelName, Environment, Severity, TargetType


class Target(Record):
    """One whom a level pages. For an external target, `id` is the web or mail address itself."""

    type: TargetType
    id: str = Field(min_length=1, max_length=2048)

    @model_validator(mode="after")
    def _external_is_an_address(self) -> Self:
        if self.type is TargetType.EXTERNAL:
            try:
                external_address(self.id)
            except ValueError as wrong:
                raise ValueError("an external target's id must be a web address or a mail address") from wrong
        return self

    @property
    def label(self) -> str:
        return f"{self.type}:{self.id}"


class Level(Record):
    """The people paged together, and how long they have before the next level goes out.

    `escalate_after_secs` of 0 sends the next level at once.
    """

    name: str = Field(default="", max_length=200)
    targets: tuple[Target, ...] = Field(min_length=1, max_length=50)
    channels: tuple[ChannelName, ...] = Field(default=tuple(ChannelName), min_length=1)
    escalate_after_secs: int = Field(default=300, ge=0, le=30 * 86400)


class Repeat(Record):
    """The whole ladder again, `max_repeats` times, `interval_secs` after its last level."""

    max_repeats: int = Field(default=0, ge=0, le=100)
    interval_secs: int = Field(default=300, ge=0, le=30 * 86400)


class Conditions(Record):
    """An empty list allows everything; a filled one what it names. `tags` must all be there with these values."""

    severity: tuple[Severity, ...] = ()
    category: tuple[Category, ...] = ()
    source: tuple[str, ...] = ()
    environment: tuple[Environment, ...] = ()
    tags: dict[str, str] = {}


class Policy(Record):
    """Levels in order, the whole climbed `1 + repeat.max_repeats` times."""

    id: Slug
    name: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=2000)
    enabled: bool = True
    priority: int = Field(default=0, ge=-1000, le=1000)
    conditions: Conditions = Conditions()
    levels: tuple[Level, ...] = Field(min_length=1, max_length=20)
    repeat: Repeat = Repeat()
    acknowledge_timeout_secs: int = Field(default=0, ge=0, le=30 * 86400)

    @property
    def rungs(self) -> int:
        """How many times a level goes out in one climb, repeats included."""
        return len(self.levels) * (1 + self.repeat.max_repeats)

    def level_number(self, rung: int) -> int:
        """The level of a rung, counted from 1."""
        return rung % len(self.levels) + 1

    def level(self, rung: int) -> Level:
        return self.levels[rung % len(self.levels)]

    def patience(self, rung: int) -> timedelta | None:
        """How long after a rung the next one goes out, or None after the last."""
        if rung + 1 >= self.rungs:
            return None
        if (rung + 1) % len(self.levels) == 0:
            return timedelta(seconds=self.repeat.interval_secs)
        return timedelta(seconds=self.level(rung).escalate_after_secs)


class Facts(Record):
    """What a policy is chosen by."""

    severity: Severity
    category: Category = Category.OTHER
    source: str = ""
    environment: Environment | None = None
    tags: dict[str, str] = {}


def applies(policy: Policy, facts: Facts) -> bool:
    wanted = policy.conditions
    return (
        policy.enabled
        and (not wanted.severity or facts.severity in wanted.severity)
        and (not wanted.category or facts.category in wanted.category)
        and (not wanted.source or facts.source in wanted.source)
        and (not wanted.environment or facts.environment in wanted.environment)
        and all(facts.tags.get(tag) == value for tag, value in wanted.tags.items())
    )


def choose(policies: tuple[Policy, ...], facts: Facts, default: str) -> Policy | None:
    """The policy for an incident: of those that apply the highest priority, ties by id.

    The default policy stands in when no other applies, whatever its own conditions say.
    """
    fitting = sorted(
        (-policy.priority, policy.id) for policy in policies if policy.id != default and applies(policy, facts)
    )
    wanted = fitting[0][1] if fitting else default
    return next((policy for policy in policies if policy.id == wanted), None)

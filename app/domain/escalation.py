"""Escalation policies: who is paged at which level, and when the next level goes out."""

from datetime import datetime, timedelta
from typing import Self

from pydantic import AliasChoices, Field, model_validator

from app.domain.calendar import Hours, Zone, within
from app.domain.people import EXTERNAL, Slug, external_address, veiled
from app.domain.record import Record
from app.domain.vocabulary import Category, ChannelName, Environment, Severity, TargetType, TeamMode

LONGEST = 30 * 86400


class Recipient(Record):
    """Whom a level pages. An external one's `id` is the address itself (`external_address`); `mode` is for teams."""

    type: TargetType
    id: str = Field(min_length=1, max_length=2048, validation_alias=AliasChoices("id", "identifier"))
    mode: TeamMode = TeamMode.EVERYONE

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.mode is not TeamMode.EVERYONE and self.type is not TargetType.TEAM:
            raise ValueError("mode is for a team")
        if self.type is TargetType.EXTERNAL:
            try:
                external_address(self.id)
            except ValueError as wrong:
                raise ValueError(f"an external target's id {EXTERNAL}") from wrong
        return self

    @property
    def label(self) -> str:
        """Whom it stands for, in a word; an integration key is veiled."""
        kind, _, key = self.id.partition(":")
        secret = self.type is TargetType.EXTERNAL and kind == "pagerduty" and key
        return f"{self.type}:{f'{kind}:{veiled(key)}' if secret else self.id}"


class Target(Recipient):
    """A recipient, and who is paged in its stead when it can't be reached. `channels` go before the level's."""

    fallback: Recipient | None = None
    channels: tuple[ChannelName, ...] = ()


class Level(Record):
    """The people paged together, and how long they have before the next level goes out.

    `escalate_after_secs` of 0 sends the next level at once. A level that does not `stop_on_ack` goes out at
    its time although somebody has taken the incident, unless it is over. `template` says its messages.
    """

    name: str = Field(default="", max_length=200)
    targets: tuple[Target, ...] = Field(min_length=1, max_length=50)
    channels: tuple[ChannelName, ...] = Field(
        default=tuple(ChannelName), min_length=1, validation_alias=AliasChoices("channels", "notification_channels")
    )
    template: Slug | None = Field(default=None, validation_alias=AliasChoices("template", "notification_template"))
    escalate_after_secs: int = Field(
        default=300, ge=0, le=LONGEST, validation_alias=AliasChoices("escalate_after_secs", "escalate_after")
    )
    stop_on_ack: bool = True

    @property
    def everybody(self) -> list[Recipient]:
        """The targets and what they fall back to."""
        return [t for target in self.targets for t in (target, target.fallback) if t is not None]

    @property
    def in_turns(self) -> dict[str, TeamMode]:
        """The teams of which not everybody is paged, and how one is chosen."""
        return {t.id: t.mode for t in self.everybody if t.type is TargetType.TEAM and t.mode is not TeamMode.EVERYONE}


class Repeat(Record):
    """The whole ladder again, `max_repeats` times, `interval_secs` after its last level."""

    max_repeats: int = Field(default=0, ge=0, le=100)
    interval_secs: int = Field(default=300, ge=0, le=LONGEST)


class Daytime(Hours):
    """Wall-clock hours in a zone."""

    timezone: Zone = "UTC"


class Conditions(Record):
    """An empty list allows everything; a filled one what it names. `tags` must all be there with these values."""

    severity: tuple[Severity, ...] = ()
    category: tuple[Category, ...] = ()
    source: tuple[str, ...] = ()
    environment: tuple[Environment, ...] = ()
    tags: dict[str, str] = {}
    time_of_day: Daytime | None = None


class Policy(Record):
    """Levels in order, the whole climbed `1 + repeat.max_repeats` times.

    An acknowledged incident without progress for `acknowledge_timeout_secs` (0 = for ever) starts again;
    whoever took it is reminded `acknowledge_reminder_secs` before that (0 = not at all). A message that nobody
    has confirmed after `failover_after_secs` brings the person's next channel forward (0 = never).
    """

    id: Slug
    name: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=2000)
    enabled: bool = True
    priority: int = Field(default=0, ge=-1000, le=1000)
    conditions: Conditions = Conditions()
    levels: tuple[Level, ...] = Field(min_length=1, max_length=20)
    repeat: Repeat = Repeat()
    acknowledge_timeout_secs: int = Field(default=0, ge=0, le=LONGEST)
    acknowledge_reminder_secs: int = Field(default=0, ge=0, le=LONGEST)
    failover_after_secs: int = Field(default=30, ge=0, le=3600)

    @model_validator(mode="after")
    def _reminds_before_it_lapses(self) -> Self:
        if self.acknowledge_reminder_secs and self.acknowledge_reminder_secs >= self.acknowledge_timeout_secs:
            raise ValueError("acknowledge_reminder_secs must be less than acknowledge_timeout_secs")
        return self

    @property
    def rungs(self) -> int:
        """How many times a level goes out in one climb, repeats included."""
        return len(self.levels) * (1 + self.repeat.max_repeats)

    def level_number(self, rung: int) -> int:
        """The level of a rung, counted from 1."""
        return rung % len(self.levels) + 1

    def level(self, rung: int) -> Level:
        return self.levels[rung % len(self.levels)]

    def round_of(self, rung: int) -> range:
        """The rungs of the round that a rung belongs to."""
        first = rung - rung % len(self.levels)
        return range(first, first + len(self.levels))

    def patience(self, rung: int) -> timedelta | None:
        """How long after a rung the next one goes out, or None after the last."""
        if rung + 1 >= self.rungs:
            return None
        if (rung + 1) % len(self.levels) == 0:
            return timedelta(seconds=self.repeat.interval_secs)
        return timedelta(seconds=self.level(rung).escalate_after_secs)

    def despite_acknowledge(self, rung: int, due: datetime) -> tuple[int, datetime | None]:
        """From a rung and when it is due: the next of its round that goes out although somebody is at it, and when.

        The time is None when there is none.
        """
        for candidate in range(rung, self.round_of(rung).stop):
            if not self.level(candidate).stop_on_ack:
                return candidate, due
            due += timedelta(seconds=self.level(candidate).escalate_after_secs)
        return rung, None


class Facts(Record):
    """What a policy is chosen by, at a moment."""

    severity: Severity
    at: datetime
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
        and (wanted.time_of_day is None or within(wanted.time_of_day, wanted.time_of_day.timezone, facts.at))
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

"""What a simulation foretells is what happens: many policies, both ways."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.alert import Alert
from app.domain.incident import CommandKind
from app.domain.simulation import KINDS, Assumption
from app.domain.timeline import EventType
from app.domain.vocabulary import ChannelName, Severity
from app.service.simulate import Scenario
from tests.support.world import Story, World

POLICIES = int(os.environ.get("POLICIES", "80"))
"""Of 200 that are all tried when time is no matter (`POLICIES=200`)."""
AT_ONCE = 8
SLACK_SECS = 20
"""Waits are whole minutes and what people do falls between them, so that this much jitter changes no order."""

CONTACTS: list[dict[str, Any]] = [
    {"email": "somebody@example.com"},
    {"phone": "+4930123456"},
    {"email": "somebody@example.com", "phone": "+4930123456", "slack_id": "U012AB3CD"},
    {"slack_id": "U012AB3CD", "email": "somebody@example.com"},
    {},
]
RULES: list[dict[str, Any]] = [
    {},
    {"default": [{"channel": "email"}, {"wait_secs": 120}, {"channel": "sms"}]},
    {"default": [{"channel": "slack"}, {"wait_secs": 60}, {"channel": "email"}, {"wait_secs": 240}, {"channel": "sms"}],
     "important": [{"channel": "sms"}, {"channel": "email"}]},
    {"default": [{"channel": "sms"}, {"wait_secs": 180}, {"channel": "email"}, {"wait_secs": 60},
                 {"channel": "email"}]},
]  # fmt: skip


@dataclass
class Case:
    """One generated policy with its own people, and what is assumed to happen."""

    number: int
    chance: random.Random
    severity: Severity = Severity.P2
    levels: int = 1
    assume: list[dict[str, Any]] = field(default_factory=list)

    @property
    def id(self) -> str:
        return f"case-{self.number}"

    async def furnish(self, world: World) -> None:
        """Writes the people, the team, the schedule and the policy down."""
        some, put = self.chance, world.gateway.documents.put
        people = [f"{self.id}-{n}" for n in range(4)]
        for person in people:
            preferences: dict[str, Any] = {"rules": some.choice(RULES)}
            if some.random() < 0.2:
                preferences["severity_filter"] = some.sample(["P0", "P1", "P2", "P3"], 2)
            if some.random() < 0.15:
                preferences["quiet_hours"] = {"start": "00:00", "end": "00:00"}
            body = {"name": person, "notification_preferences": preferences, "active": some.random() > 0.1}
            await put(ME, "users", person, body | some.choice(CONTACTS))
        await put(ME, "teams", self.id, {"name": self.id, "members": people[: some.randint(0, 4)]})
        layers = [{"name": "daily", "users": people[:2], "rotation": "daily", "start_date": "2026-01-01"}]
        await put(ME, "schedules", self.id, {"name": self.id, "layers": layers if some.random() < 0.7 else []})
        await put(ME, "escalation-policies", self.id, self.policy(people))
        self.severity = some.choice(list(Severity))
        self.assume = self.deeds()

    def policy(self, people: Sequence[str]) -> dict[str, Any]:
        some = self.chance
        timeout = some.choice([0, 0, 600])
        self.levels = some.randint(1, 4)
        return {
            "name": self.id,
            "conditions": {"source": [self.id]},
            "priority": 5,
            "levels": [
                {
                    "targets": [self.target(people) for _ in range(some.randint(1, 2))],
                    "escalate_after_secs": 60 * some.choice([0, 1, 3, 5]),
                    "stop_on_ack": some.random() < 0.8,
                    "channels": some.sample(["email", "sms", "slack"], some.randint(1, 3)),
                }
                for _ in range(self.levels)
            ],
            "repeat": {"max_repeats": some.choice([0, 0, 1, 2]), "interval_secs": 60 * some.choice([1, 4])},
            "acknowledge_timeout_secs": timeout,
            "acknowledge_reminder_secs": timeout and 120,
            "failover_after_secs": some.choice([0, 60]),
        }

    def target(self, people: Sequence[str]) -> dict[str, Any]:
        some = self.chance
        mode = some.choice(["everyone", "round_robin", "load_balanced"])
        found: dict[str, Any] = some.choice(
            [{"type": "user", "id": some.choice(people)}, {"type": "team", "id": self.id, "mode": mode},
             {"type": "on_call", "id": self.id}]
        )  # fmt: skip
        if some.random() < 0.2:
            found |= {"fallback": {"type": "external", "id": "someone@else.example"}}
        return found

    def deeds(self) -> list[dict[str, Any]]:
        """In an order that is always possible."""
        some = self.chance
        story = some.choice(
            [[], ["ack"], ["ack", "unacknowledge"], ["pause", "resume"], ["pause", "resume", "ack"], ["start"],
             ["resolve"], ["ack", "resolve"], ["escalate", "ack"], ["ack", "pause", "resume", "resolve"]]
        )  # fmt: skip
        moments = sorted(some.sample([30 + 60 * n for n in range(12)], len(story)))
        who = f"{self.id}-{some.randint(0, 3)}"
        deeds: list[dict[str, Any]] = [
            {"after_secs": moment, deed: self.levels if deed == "escalate" else who}
            for moment, deed in zip(moments, story, strict=True)
        ]
        if some.random() < 0.3:
            deeds.append({"after_secs": 0, "channel_fails": some.choice(["email", "sms", "slack"])})
        return sorted(deeds, key=lambda deed: deed["after_secs"])


Line = tuple[str, str, float]


def lines(events: Sequence[tuple[EventType, dict[str, Any], float]]) -> list[Line]:
    """Who is told what through which channel, and everything else that is said; times apart."""
    said = []
    for event, data, secs in events:
        named = [str(data.get(name)) for name in ("level", "target", "channel", "message", "to", "told", "targets")]
        later = sorted(data.get("later", {}))
        said.append((f"{event} {' '.join(named)} {later}", str(event), secs))
    return sorted(said, key=lambda line: (line[0], line[2]))


async def lived(case: Case, world: World) -> tuple[list[Line], list[Line]]:
    """What was foretold and what happened."""
    await case.furnish(world)
    scenario = Scenario.model_validate(
        {"severity": case.severity, "incident": {"source": case.id}, "assume": case.assume}
    )
    foretold = await world.gateway.simulations.run(ME, case.id, scenario)
    assert not foretold.truncated
    end = foretold.timeline[-1].after_secs + 2 * SLACK_SECS
    alert = Alert.model_validate({"source": case.id, "title": case.id, "severity": case.severity, "identity": case.id})
    story = Story(world, await world.sends(alert), alert)
    for assumption in scenario.assume:
        if assumption.channel_fails and not assumption.after_secs:
            world.flock[assumption.channel_fails].refuses.add(story.id)
    began, skipped = monotonic(), 0.0
    await story.becomes_known()

    async def reach(moment: float) -> None:
        nonlocal skipped
        await story.settled()
        ahead = moment - skipped - (monotonic() - began)
        if ahead > 0:
            await story.after(seconds=ahead)
            skipped += ahead
        await story.settled()

    for number, assumption in enumerate(scenario.assume):
        if command := assumption.command(number):
            await reach(assumption.after_secs)
            await story.ask(CommandKind(command.kind), actor=command.actor.name, to_level=command.to_level)
    await reach(end)
    async with asyncio.timeout(20):
        while len(timeline := await story.timeline()) < len(foretold.timeline):
            await asyncio.sleep(0.02)
    first = timeline[0].timestamp
    return (
        lines([(h.event, h.data, h.after_secs) for h in foretold.timeline]),
        lines([(e.event_type, e.data, (e.timestamp - first).total_seconds()) for e in timeline]),
    )


async def test_what_is_foretold_is_what_happens(world: World) -> None:
    chance = random.Random(20261123)
    cases = [Case(n, random.Random(chance.random())) for n in range(POLICIES)]
    turn = asyncio.Semaphore(AT_ONCE)

    async def compared(case: Case) -> int:
        async with turn:
            try:
                foretold, happened = await lived(case, world)
            except Exception as failed:
                failed.add_note(f"case {case.number}: {case.assume}")
                raise
        missed, surprises = (
            Counter(said for said, _, _ in one) - Counter(said for said, _, _ in other)
            for one, other in ((foretold, happened), (happened, foretold))
        )
        assert not missed, f"case {case.number}: {missed} did not happen, but {surprises}; {case.assume}"
        assert not surprises, f"case {case.number}: {surprises} was not foretold; {case.assume}"
        for (said, _, expected), (_, _, actual) in zip(foretold, happened, strict=True):
            assert abs(actual - expected) < SLACK_SECS, f"case {case.number}: {said} at {actual}, not {expected}"
        return len(foretold)

    told = await asyncio.gather(*(compared(case) for case in cases))
    assert sum(told) > 10 * POLICIES, "the policies say something"


def test_every_deed_can_be_assumed() -> None:
    for deed in KINDS:
        assert Assumption.model_validate({"after_secs": 1, deed: True}).command(0) is not None
    assert Assumption.model_validate({"after_secs": 1, "channel_fails": ChannelName.SMS}).command(0) is None

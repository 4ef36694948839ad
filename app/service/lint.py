"""Is everything ready for the night? What the directory says, and who answers at the addresses in it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from app.domain.access import Principal, Scope
from app.domain.breaker import State
from app.domain.escalation import Policy
from app.domain.lint import Finding, Setup, lint
from app.domain.oncall import Schedule
from app.domain.people import Team, User, external_address
from app.domain.reach import People
from app.domain.record import Record
from app.domain.template import Template
from app.domain.vocabulary import ChannelName, TargetType
from app.service.breakers import BreakerView, Breaking
from app.store.database import answering
from app.store.documents import DocumentStore

WAYS = frozenset({"slack", "pagerduty", "teams", "smtp", "sms", "apprise", "webhook"})
"""Breakers, and kinds of them, that stand between us and people."""


class Linted(Record):
    errors: int
    warnings: int
    findings: list[Finding]
    checked_at: datetime


@dataclass(frozen=True)
class Lint:
    """`answers` says of web addresses why nobody can be connected to there, or None; nothing is sent."""

    documents: DocumentStore
    channels: Collection[ChannelName]
    services: Collection[str]
    default_policy: str
    answers: Callable[[Collection[str]], Awaitable[dict[str, str | None]]]
    breaking: Breaking

    async def check(self, who: Principal, *, reach: bool) -> Linted:
        """`reach` also tries to connect to every webhook. Raises: Forbidden, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            setup = await self._setup()
        now = datetime.now(UTC)
        found = await asyncio.to_thread(lint, setup, now) + await self._unasked(who)
        if reach:
            found += await self._unreachable(setup)
        errors = sum(finding.level == "error" for finding in found)
        return Linted(errors=errors, warnings=len(found) - errors, findings=found, checked_at=now)

    async def _setup(self) -> Setup:
        kinds = ("users", "teams", "schedules", "escalation-policies", "notification-templates")
        bodies = {kind: {d.id: d.body for d in await self.documents.all(kind)} for kind in kinds}
        return Setup(
            people=People(
                users={id_: User.model_validate(body) for id_, body in bodies["users"].items()},
                teams={id_: Team.model_validate(body) for id_, body in bodies["teams"].items()},
                schedules={id_: Schedule.model_validate(body) for id_, body in bodies["schedules"].items()},
            ),
            policies=tuple(Policy.model_validate(body) for body in bodies["escalation-policies"].values()),
            templates=tuple(Template.model_validate(body) for body in bodies["notification-templates"].values()),
            default_policy=self.default_policy, channels=frozenset(self.channels), services=frozenset(self.services),
        )  # fmt: skip

    async def _unasked(self, who: Principal) -> list[Finding]:
        """Circuit breakers that are open. One that somebody opened holds every page back until somebody closes it."""
        breakers = (await self.breaking.list(who)).circuit_breakers
        return [_open(one) for one in breakers if one.state is State.OPEN]

    async def _unreachable(self, setup: Setup) -> list[Finding]:
        """Every webhook that nobody answers at."""
        named = {
            (user.webhook_url, "users", user.id, "webhook_url")
            for user in setup.people.users.values() if user.webhook_url and user.active
        } | {
            (address["url"], "escalation-policies", policy.id, f"levels[{n}]")
            for policy in setup.policies for n, level in enumerate(policy.levels) for target in level.everybody
            if target.type is TargetType.EXTERNAL
            for channel, address in [external_address(target.id)]
            if channel in (ChannelName.WEBHOOK, ChannelName.TEAMS) and address["url"]
        }  # fmt: skip
        answers = await self.answers({url for url, *_ in named})
        return [
            Finding(
                level="error", code="webhook_unreachable", kind=kind, id=id_, field=field,
                message=f"Nobody can be connected to there: {answers[url]}.",
            )
            for url, kind, id_, field in sorted(named) if answers[url] is not None
        ]  # fmt: skip


def _open(one: BreakerView) -> Finding:
    way = one.name.partition(":")[0] in WAYS
    if one.forced:
        why = f" ({one.reason})" if one.reason else ""
        message = f"{one.by or 'Somebody'} opened it{why}: nobody there is asked until somebody closes it."
    else:
        message = "Nobody answered there of late; it is tried again by itself."
    return Finding(
        level="error" if way and one.forced else "warning", code="breaker_open", kind="circuit-breakers", id=one.name,
        message=message + (" No page goes out that way meanwhile." if way else ""),
    )  # fmt: skip

"""Routing rules: why an incident went where it did, and what other rules would have done."""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from pydantic import Field, model_validator

from activities.routing import assign, saved_rules
from app.domain.access import Principal, Scope
from app.domain.assignment import Assignment
from app.domain.errors import Invalid, NotFound
from app.domain.escalation import Level, Policy
from app.domain.matching import Subject
from app.domain.reach import Planned, Unreached
from app.domain.record import Record
from app.domain.rehearsal import METHOD, Difference, Rehearsal, Totals, Went, added, changed, reached, summary
from app.domain.routing import Decision, decide, policy_of
from app.domain.rules import Rule
from app.domain.vocabulary import ChannelName, Severity
from app.service.documents import references
from app.service.simulate import Simulations, people
from app.sources import native
from app.store.database import answering
from app.store.documents import DocumentStore
from app.store.routing import FIRST, RoutingStore

DAYS_MAX = 90
INCIDENTS_MAX = 10_000
WITHIN_SECS = 15.0
"""How long incidents are looked through (chosen: half of what a request may take)."""
BATCH = 500
SHOWN = 500
NOT_YET = "00000000-0000-0000-0000-000000000000"


class Trial(Record):
    """An incident as it would be posted, or the incidents of the last days; with the saved rules, or others.

    `rules` stand in for all saved ones; those in `draft` for the saved ones of the same id, or beside them.
    """

    incident: dict[str, Any] | None = None
    days: int | None = Field(default=None, ge=1, le=DAYS_MAX)
    rules: tuple[Rule, ...] | None = Field(default=None, max_length=500)
    draft: tuple[Rule, ...] = Field(default=(), max_length=500)

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if (self.incident is None) == (self.days is None):
            raise ValueError("must have either an incident or a number of days")
        if self.rules is not None and self.draft:
            raise ValueError("must have either rules, which replace all, or a draft, which replaces some")
        return self


class Told(Record):
    """One message that would go out with the first level."""

    target: str
    channel: ChannelName
    due_at: datetime


class Tried(Record):
    """What would become of an incident. `first_level` are its pages at `pages_at`, None when nobody is ever paged."""

    at: datetime
    rules: list[str]
    severity: Severity
    policy_id: str | None
    labels: dict[str, str]
    assignment: Assignment | None
    playbooks: list[str]
    suppressed_until: datetime | None
    pages_at: datetime | None
    first_level: list[Told]
    unreached: list[Unreached]
    explanation: list[dict[str, Any]]


class Compared(Record):
    """What would have been different. `truncated`: there were more incidents than were looked at.

    `changed` are the newest `SHOWN` of those that differ; `method` says how pages were counted.
    """

    since: datetime
    truncated: bool
    summary: str
    totals: Totals
    changed: list[Difference]
    method: str = METHOD


Row = Mapping[str, Any]


@dataclass(frozen=True)
class Routes:
    documents: DocumentStore
    store: RoutingStore
    simulations: Simulations
    default_policy: str

    async def of(self, who: Principal, incident_id: str) -> dict[str, Any]:
        """What the rules made of an incident and why: every rule that was asked, its tests, and what it did.

        Raises: Forbidden, NotFound (also while no rule has been asked), Unavailable.
        """
        who.may(Scope.READ)
        async with answering():
            found = await self.store.of(incident_id)
        if found is None:
            raise NotFound("routing of the incident", incident_id)
        return {"incident_id": incident_id, **found}

    async def dry_run(self, who: Principal, trial: Trial) -> Tried | Compared:
        """What rules would do, or would have done. Nothing is written, nobody is told.

        Raises: Forbidden, Invalid (the field and what is allowed), Unavailable.
        """
        who.may(Scope.READ)
        now = datetime.now(UTC)
        async with answering():
            rules = await self._rules(trial)
            policies = tuple(Policy.model_validate(d.body) for d in await self.documents.all("escalation-policies"))
            if trial.incident is not None:
                return await self._tried(trial.incident, rules, policies, now)
            everybody = await people(self.documents)
        rehearsal = Rehearsal(policies, self.default_policy, everybody, self.simulations.channels, now)
        return await self._compared(rules, rehearsal, now - timedelta(days=trial.days or 0))

    async def _rules(self, trial: Trial) -> tuple[Rule, ...]:
        """The rules to try. Raises: Invalid where one names what isn't there."""
        field, given = ("draft", trial.draft) if trial.rules is None else ("rules", trial.rules)
        ids = [rule.id for rule in given]
        if len(set(ids)) < len(ids):
            raise Invalid.field(field, "must not have the same id twice")
        named = [
            (f"{field}[{n}].{path}", kind, id_) for n, rule in enumerate(given) for path, kind, id_ in references(rule)
        ]
        wanted = {kind: {id_ for _, of, id_ in named if of == kind} for _, kind, _ in named}
        known = {(d.kind, d.id) for d in await self.documents.some(wanted)}
        for path, kind, id_ in named:
            if (kind, id_) not in known:
                raise Invalid.field(path, f"there is no {kind.removesuffix('s')} {id_!r}")
        if trial.rules is not None:
            return trial.rules
        return (*(rule for rule in await saved_rules(self.documents) if rule.id not in ids), *given)

    async def _tried(
        self, incident: dict[str, Any], rules: Collection[Rule], policies: tuple[Policy, ...], at: datetime
    ) -> Tried:
        alert = native.alert(incident, prefix="incident")
        subject = Subject.model_validate(alert.model_dump() | {"tags": alert.labels, "at": at, "status": "NEW"})
        decision = decide(rules, subject)
        policy = policy_of(decision, policies, self.default_policy)
        until = max((hold.until for hold in decision.holds(at, at) if hold.until is not None), default=None)
        pages_at = (until or at) if policy is not None else None
        told, unreached = await self._first_level(decision, policy, until or at) if policy is not None else ([], [])
        return Tried(
            at=at, rules=list(decision.rules), severity=decision.subject.severity,
            policy_id=policy.id if policy else None, labels=decision.labels,
            assignment=await assign(decision, self.documents, self.store, NOT_YET, at),
            playbooks=list(decision.playbooks), suppressed_until=until, pages_at=pages_at,
            first_level=[Told(target=m.target, channel=m.channel, due_at=m.due_at) for m in told],
            unreached=unreached, explanation=decision.explanation(),
        )  # fmt: skip

    async def _first_level(
        self, decision: Decision, policy: Policy, at: datetime
    ) -> tuple[list[Planned], list[Unreached]]:
        """Whom the policy's first level and the rules tell, each once through a channel, and whom they can't."""
        levels = [policy.levels[0]]
        if decision.targets:
            levels.append(Level(targets=decision.targets, channels=decision.channels or tuple(ChannelName)))
        messages: dict[tuple[str, str, int], Planned] = {}
        unreached: list[Unreached] = []
        world = await self.simulations.world(policy.model_copy(update={"levels": tuple(levels)}))
        for level in levels:
            found = reached(level, decision.subject.severity, world.people, world.channels, at, world.standing)
            unreached += found.unreached
            for message in found.messages:
                messages.setdefault((message.target, message.channel, message.step), message)
        return list(messages.values()), unreached

    async def _compared(self, rules: Collection[Rule], rehearsal: Rehearsal, since: datetime) -> Compared:
        """The incidents since a moment, the newest first, in pages, so that no transaction stays open."""
        until, totals, different = time.monotonic() + WITHIN_SECS, Totals(), list[Difference]()
        before, below = rehearsal.now + timedelta(days=1), FIRST
        more = True
        while more and totals.incidents < INCIDENTS_MAX and time.monotonic() < until:
            async with answering():
                rows = await self.store.recent(since, before, below, BATCH)
            for difference in await asyncio.to_thread(
                _differences, rules, rehearsal, [dict(row.items()) for row in rows]
            ):
                totals = added(totals, difference)
                if changed(difference) and len(different) < SHOWN:
                    different.append(difference)
            more = len(rows) == BATCH
            if more:
                before, below = rows[-1]["created_at"], rows[-1]["id"]
        return Compared(since=since, truncated=more, summary=summary(totals), totals=totals, changed=different)


def _differences(rules: Collection[Rule], rehearsal: Rehearsal, rows: Sequence[Row]) -> list[Difference]:
    found = []
    for row in rows:
        went = _went(row)
        found.append(rehearsal.compare(went, decide(rules, went.subject, explained=False)))
    return found


def _went(row: Row) -> Went:
    subject = Subject.model_validate(dict(row.items()) | {"at": row["created_at"]})
    routing = row["routing"] or {}
    return Went(
        id=str(row["id"]), subject=subject, ended_at=row["ended_at"], policy_id=row["policy_id"], level=row["level"],
        severity=routing.get("severity", subject.severity), rules=routing.get("rules", ()),
        notify=routing.get("notify", ()), suppressed=bool(routing.get("suppress_minutes")), paged=row["paged"],
    )  # fmt: skip

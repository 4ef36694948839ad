"""Where a new incident goes: the team's rules, asked and followed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from app.domain.assignment import BY_LOAD, Assignment, assigned, candidates
from app.domain.escalation import Target
from app.domain.incident import Hold
from app.domain.matching import Subject
from app.domain.oncall import Schedule, on_duty
from app.domain.people import Team, User
from app.domain.reach import People
from app.domain.record import Record
from app.domain.routing import Decision, decide
from app.domain.rules import Assign, Rule
from app.domain.vocabulary import ChannelName, Severity, TargetType

if TYPE_CHECKING:
    from app.store.documents import DocumentStore
    from app.store.routing import RoutingStore


class Route(Record):
    """What the rules made of an incident. `rules` are those that matched; `severity` the incident's own without any.

    `notify` are told with the first level, through `notify_channels` (empty = all). `explanation` is as stored.
    """

    severity: Severity
    policy_id: str | None = None
    labels: dict[str, str] = {}
    assigned_to: str | None = None
    assigned_team: str | None = None
    notify: tuple[Target, ...] = ()
    notify_channels: tuple[ChannelName, ...] = ()
    playbooks: tuple[str, ...] = ()
    holds: tuple[Hold, ...] = ()
    rules: tuple[str, ...] = ()
    explanation: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Routing:
    """`count` counts an action that was taken, by its type."""

    documents: DocumentStore
    store: RoutingStore
    count: Callable[[str], None]

    async def route(self, subject: Subject, incident_id: str, opened_at: datetime, at: datetime) -> Route:
        """What the rules make of an incident, its labels and the reasons stored. Twice is once.

        Without rules one read is all that is done.
        """
        rules = await saved_rules(self.documents)
        if not rules:
            return Route(severity=subject.severity)
        before = await self.store.of(incident_id) or {}
        decision = decide(rules, as_it_came(subject, before))
        assignment = await self._assignment(decision, before, incident_id, at)
        if await self.store.keep(incident_id, decision.labels, kept(decision, assignment, len(rules), at)):
            for action in taken(decision):
                self.count(action)
        return Route(
            severity=decision.subject.severity, policy_id=decision.policy_id, labels=decision.labels,
            assigned_to=assignment.user if assignment else None, assigned_team=assignment.team if assignment else None,
            notify=decision.targets, notify_channels=decision.channels, playbooks=decision.playbooks,
            holds=decision.holds(opened_at, at), rules=decision.rules, explanation=tuple(decision.explanation()),
        )  # fmt: skip

    async def read_severity(self, subject: Subject, incident_id: str) -> Severity:
        """The severity the rules leave an incident with. Reads only."""
        rules = await saved_rules(self.documents)
        if not rules:
            return subject.severity
        came = as_it_came(subject, await self.store.of(incident_id) or {})
        return decide(rules, came, explained=False).subject.severity

    async def _assignment(
        self, decision: Decision, before: Mapping[str, Any], incident_id: str, at: datetime
    ) -> Assignment | None:
        """Whom it goes to: whom it went to before, if the same rule says so."""
        if decision.assign is None:
            return None
        given = before.get("assignment")
        if given is not None and given["rule"] == decision.assign[0] and (given["user"] or given["team"]):
            return Assignment.model_validate(given)
        return await assign(decision, self.documents, self.store, incident_id, at)


def as_it_came(subject: Subject, before: Mapping[str, Any]) -> Subject:
    """An incident without the labels that rules have given it, so that being asked again is answered the same."""
    ours = {name for name, value in before.get("labels", {}).items() if subject.tags.get(name) == value}
    own = {name: value for name, value in before.get("replaced", {}).items() if name in ours}
    tags = {name: value for name, value in subject.tags.items() if name not in ours} | own
    return subject.model_copy(update={"tags": tags})


async def saved_rules(documents: DocumentStore) -> tuple[Rule, ...]:
    """The team's rules as they stand."""
    return tuple(Rule.model_validate(document.body) for document in await documents.all("routing-rules"))


async def assign(
    decision: Decision, documents: DocumentStore, store: RoutingStore, incident_id: str, at: datetime
) -> Assignment | None:
    """Whom the decision gives the incident to `at` a moment, None when it gives it to nobody. Reads only."""
    if decision.assign is None:
        return None
    rule, action = decision.assign
    people = await _people(documents, action, at)
    loads: dict[str, int] = {}
    if action.strategy in BY_LOAD:
        loads = await store.loads({c.user.id for c in candidates(action, people, at)}, incident_id)
    return assigned(rule, action, people, loads, decision.subject, at)


def kept(decision: Decision, assignment: Assignment | None, judged: int, at: datetime) -> dict[str, Any]:
    """A decision as it is stored: what was decided, and why. Source of `GET /incidents/{id}/routing`."""
    return {
        "at": at.isoformat(), "rules": list(decision.rules), "rules_in_all": judged,
        "severity": decision.subject.severity, "policy_id": decision.policy_id, "labels": decision.labels,
        "replaced": decision.replaced,
        "assignment": assignment.model_dump(mode="json") if assignment else None,
        "notify": [target.label for target in decision.targets], "playbooks": list(decision.playbooks),
        "suppress_minutes": max((minutes for _, minutes in decision.suppress), default=0),
        "explanation": decision.explanation(),
    }  # fmt: skip


def taken(decision: Decision) -> Collection[str]:
    """The types of the actions that took effect; `none` when no rule matched."""
    done = [effect.action for verdict in decision.verdicts for effect in verdict.effects if effect.done]
    return done if decision.rules else ["none"]


async def _people(documents: DocumentStore, action: Assign, at: datetime) -> People:
    """Those an assignment could give an incident to, as they stand now."""
    named = {kind: {target.id for target in action.targets if target.type is kind} for kind in TargetType}
    found = await documents.some({"teams": named[TargetType.TEAM], "schedules": named[TargetType.ON_CALL]})
    teams = {d.id: Team.model_validate(d.body) for d in found if d.kind == "teams"}
    theirs = {team.on_call_schedule_id for team in teams.values() if team.on_call_schedule_id is not None}
    found += await documents.some({"schedules": theirs - named[TargetType.ON_CALL]})
    schedules = {d.id: Schedule.model_validate(d.body) for d in found if d.kind == "schedules"}
    ids = named[TargetType.USER].union(
        *(team.members for team in teams.values()), *(on_duty(schedule, at) for schedule in schedules.values())
    )
    users = {d.id: User.model_validate(d.body) for d in await documents.some({"users": ids})}
    return People(users=users, teams=teams, schedules=schedules)

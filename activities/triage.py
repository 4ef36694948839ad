"""What the workflow needs to know of its incident: what its alerts say, and which policy it climbs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from temporalio import activity

from app.domain.escalation import Facts, Policy, Repeat, choose
from app.domain.incident import Heard, Incident, Standing
from app.domain.notification import Outgoing
from app.domain.record import Record
from app.domain.triage import Triaged
from app.domain.vocabulary import Severity

if TYPE_CHECKING:
    from app.store.documents import DocumentStore
    from app.store.incidents import IncidentStore
    from app.store.messages import MessageStore


class About(Record):
    """An incident, and the moment that is asked about."""

    incident_id: str
    at: datetime


class Life(Record):
    """What a run is started with. `incident` comes from the run before, if there was one.

    `reopens_for_secs`: how long a resolved incident waits for its problem to come back.
    """

    incident_id: str
    reopens_for_secs: float = 900
    give_up_after_secs: float = 3600
    incident: Incident | None = None


class Opened(Record):
    """`incident` is the state an earlier run of the workflow was last in, with the pages it had not sent."""

    heard: Heard
    opened_at: datetime
    policy: Policy | None = None
    incident: Incident | None = None
    outstanding: tuple[Outgoing, ...] = ()
    triage: Triaged | None = None


class Raised(Record):
    incident_id: str
    severity: Severity
    at: datetime


class Fitting(Record):
    policy: Policy | None
    standing: Standing | None = None


@dataclass(frozen=True)
class Triage:
    incidents: IncidentStore
    documents: DocumentStore
    messages: MessageStore
    default_policy: str
    escalation_enabled: bool = True

    @activity.defn(name="triage.open")
    async def open(self, about: About) -> Opened:
        """Everything a run starts with. Reads only."""
        heard, before, row = await self.incidents.load(about.incident_id)
        if before is not None:
            waiting = await self.messages.outstanding(about.incident_id)
            outgoing = tuple(delivery.outgoing for delivery in waiting)
            return Opened(heard=heard, opened_at=row["created_at"], incident=before, outstanding=outgoing)
        facts = Facts.model_validate(dict(row.items()) | {"severity": heard.severity, "at": about.at})
        return Opened(heard=heard, opened_at=row["created_at"], policy=await self._policy(facts))

    @activity.defn(name="triage.listen")
    async def listen(self, about: About) -> Heard:
        """What the alerts say now. Reads only."""
        heard, _, _ = await self.incidents.load(about.incident_id)
        return heard

    @activity.defn(name="triage.route")
    async def route(self, routing: Raised) -> Fitting:
        """The policy that fits the incident at a severity. Reads only."""
        _, _, row = await self.incidents.load(routing.incident_id)
        facts = Facts.model_validate(dict(row.items()) | {"severity": routing.severity, "at": routing.at})
        return Fitting(policy=await self._policy(facts))

    async def _policy(self, facts: Facts) -> Policy | None:
        documents = await self.documents.all("escalation-policies")
        policies = tuple(Policy.model_validate(document.body) for document in documents)
        policy = choose(policies, facts, self.default_policy)
        if policy is None or self.escalation_enabled:
            return policy
        return policy.model_copy(update={"levels": policy.levels[:1], "repeat": Repeat()})

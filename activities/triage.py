"""What the workflow needs to know of its incident: what its alerts say, what they mean, and who is to hear of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from temporalio import activity

from activities.enriching import Enrich
from app.domain.escalation import Facts, Policy, Repeat, choose
from app.domain.incident import Heard, HoldReason, Incident, Standing
from app.domain.matching import Subject
from app.domain.notification import Outgoing
from app.domain.record import Record
from app.domain.routing import telling
from app.domain.taxonomy import stated
from app.domain.triage import Classified, Routed, Triaged
from app.domain.vocabulary import Severity

if TYPE_CHECKING:
    from activities.classifying import Classifying
    from activities.correlating import Correlating
    from activities.enriching import Enriching
    from activities.holding import Holding
    from activities.judging import Judging
    from activities.routing import Route, Routing
    from app.store.documents import DocumentStore
    from app.store.incidents import IncidentStore
    from app.store.messages import MessageStore

log = logging.getLogger(__name__)

STAGE_SECS = 1.5
"""How long one stage may take before the incident goes on without it (chosen: all of them within a store's timeout)."""

T = TypeVar("T")
Observe = Callable[[str, float, bool], None]
"""Is told a stage's name, how many seconds it took, and whether it came to its end."""


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
    """`incident` is the state an earlier run of the workflow was last in, with the pages it had not sent.

    `triage` is None for an incident that isn't new. `assigned_to` is whom its reporter gave it to.
    """

    heard: Heard
    opened_at: datetime
    policy: Policy | None = None
    assigned_to: str | None = None
    incident: Incident | None = None
    outstanding: tuple[Outgoing, ...] = ()
    triage: Triaged | None = None


class Raised(Record):
    """An incident whose severity was raised."""

    incident_id: str
    severity: Severity
    at: datetime


class Fitting(Record):
    """The policy that fits an incident now, and whether anybody is to be paged (None: nobody has looked)."""

    policy: Policy | None
    standing: Standing | None = None


@dataclass(frozen=True)
class Triage:
    """A stage that is switched off is None.

    Where only PostgreSQL is asked what is known around an incident, that is a stage like the others; where other
    systems are, an activity of its own asks, and the first page waits `page_wait_secs` for it.
    """

    incidents: IncidentStore
    documents: DocumentStore
    messages: MessageStore
    default_policy: str
    classifying: Classifying | None
    correlating: Correlating | None
    routing: Routing
    holding: Holding
    observe: Observe
    judging: Judging | None = None
    enriching: Enriching | None = None
    page_wait_secs: float = 2
    escalation_enabled: bool = True

    @activity.defn(name="triage.open")
    async def open(self, about: About) -> Opened:
        """Everything a run starts with. Twice is once: each stage writes under the incident's id."""
        heard, before, row = await self.incidents.load(about.incident_id)
        if before is not None:
            waiting = await self.messages.outstanding(about.incident_id)
            outgoing = tuple(delivery.outgoing for delivery in waiting)
            heard = await self._look(heard, before, row, about)
            return Opened(heard=heard, opened_at=row["created_at"], incident=before, outstanding=outgoing)
        return await self._triage(heard, dict(row.items()), about)

    async def _triage(self, heard: Heard, row: dict[str, Any], about: About) -> Opened:
        id_, at, stages = about.incident_id, about.at, Stages(self.observe)
        said, name = None, stated(row["tags"])
        row["incident_class"] = name
        if self.judging is not None and name is not None:
            said = await stages.run("classify", self.judging.classify(id_, row, at))
        elif self.classifying is not None:
            said = await stages.run("classify", self.classifying.classify(id_, at))
        row |= _learned(row, said) | {"severity": said.severity if said else heard.severity}
        route = await stages.run("route", self.routing.route(_subject(row, at), id_, row["created_at"], at))
        if route is not None:
            team = route.assigned_team or row["assigned_team"]
            row |= {"severity": route.severity, "tags": row["tags"] | route.labels, "assigned_team": team}
        if row["severity"] is not heard.severity:
            await self.incidents.read_as(id_, row["severity"])
        grouped = None
        if self.correlating is not None:
            grouped = await stages.run("correlate", self.correlating.correlate(id_, at))
        rule_holds = route.holds if route else ()
        standing = await stages.run(
            "suppress", self.holding.holds(_subject(row, at), id_, row["created_at"], rule_holds, at)
        )
        around = None
        if self.enriching is not None and not self.enriching.external:
            ask = Enrich(incident_id=id_, at=at)
            around = await stages.run("enrich", self.enriching.enrich(ask))
        return Opened(
            heard=heard.model_copy(update={"severity": row["severity"], "reported": heard.severity}),
            opened_at=row["created_at"],
            policy=await self._policy(row, route, at),
            assigned_to=row["assigned_to"],
            triage=Triaged(
                classified=Classified.model_validate(said.model_dump()) if said else None,
                grouped=grouped,
                routed=Routed.model_validate(route.model_dump() | {"labels": tuple(route.labels)}) if route else None,
                standing=standing or Standing(),
                skipped=tuple(stages.skipped),
                found=around.found if around else (),
                missed=around.missed if around else (),
                page_wait_secs=self.page_wait_secs if self.enriching and self.enriching.external else None,
            ),
        )

    @activity.defn(name="triage.listen")
    async def listen(self, about: About) -> Heard:
        """What the alerts say now, and whether anybody is to be paged. Writes nothing but who is to look again."""
        heard, before, row = await self.incidents.load(about.incident_id)
        return await self._look(heard, before, row, about)

    async def _look(self, heard: Heard, before: Incident | None, row: Any, about: About) -> Heard:
        """The severity as the model and the rules read it; a reading that fails leaves the alerts' own."""
        row, stages = dict(row.items()), Stages(self.observe)
        reported = heard.severity
        severity = await stages.run("classify", self._said(about.incident_id, row, reported)) or reported
        subject = _subject(row | {"severity": severity}, about.at)
        severity = await stages.run("route", self.routing.read_severity(subject, about.incident_id)) or severity
        standing = await self._standing(stages, before, row, about)
        return heard.model_copy(update={"severity": severity, "reported": reported, "standing": standing})

    async def _said(self, incident_id: str, row: dict[str, Any], reported: Severity) -> Severity:
        """What the taxonomy or the model makes of a severity that is reported now."""
        found = await self.judging.said(incident_id, row, reported) if self.judging else None
        if found is None and self.classifying:
            found = await self.classifying.said(incident_id, reported)
        return found or reported

    async def _standing(self, stages: Stages, before: Incident | None, row: Any, about: About) -> Standing | None:
        held = tuple(hold for hold in before.holds if hold.reason is HoldReason.RULE) if before else ()
        severity = before.severity if before else Severity(row["severity"])
        subject = _subject(row | {"severity": severity}, about.at)
        judging = self.holding.holds(subject, about.incident_id, row["created_at"], held, about.at)
        return await stages.run("suppress", judging)

    @activity.defn(name="triage.route")
    async def route(self, raised: Raised) -> Fitting:
        """What fits the incident at a severity: its policy, and whether anybody is to be paged. Twice is once."""
        _, before, found = await self.incidents.load(raised.incident_id)
        row = dict(found.items()) | {"severity": raised.severity}
        subject, stages = _subject(row, raised.at), Stages(self.observe)
        route = await stages.run("route", self.routing.route(subject, raised.incident_id, row["created_at"], raised.at))
        about = About(incident_id=raised.incident_id, at=raised.at)
        before = before and before.with_(severity=raised.severity)
        standing = await self._standing(stages, before, row, about)
        return Fitting(policy=await self._policy(row, route, raised.at), standing=standing)

    async def _policy(self, row: dict[str, Any], route: Route | None, at: datetime) -> Policy | None:
        documents = await self.documents.all("escalation-policies")
        policies = tuple(Policy.model_validate(document.body) for document in documents)
        wanted = route.policy_id if route else None
        policy = next((policy for policy in policies if policy.id == wanted and policy.enabled), None)
        policy = policy or choose(policies, Facts.model_validate(row | {"at": at}), self.default_policy)
        policy = telling(policy, route.notify, route.notify_channels) if route else policy
        if policy is None or self.escalation_enabled:
            return policy
        return policy.model_copy(update={"levels": policy.levels[:1], "repeat": Repeat()})


class Stages:
    """Runs what must never hold a page back: a stage that fails or takes too long is skipped, counted and named."""

    def __init__(self, observe: Observe) -> None:
        self.observe = observe
        self.skipped: list[str] = []

    async def run(self, name: str, stage: Awaitable[T]) -> T | None:
        began, done = perf_counter(), False
        try:
            async with asyncio.timeout(STAGE_SECS):
                answer = await stage
            done = True
        except Exception:
            log.exception("triage: %s was skipped", name)
            self.skipped.append(name)
            return None
        finally:
            self.observe(name, perf_counter() - began, done)
        return answer


def _subject(row: dict[str, Any], at: datetime) -> Subject:
    return Subject.model_validate(row | {"at": at})


def _learned(row: dict[str, Any], said: Any) -> dict[str, Any]:
    """What the model adds where the reporter said nothing."""
    if said is None:
        return {}
    told = {"category": said.category, "incident_type": said.incident_type}
    silent = {"category": "other", "incident_type": "Unknown"}
    learned = {name: value for name, value in told.items() if value is not None and row[name] == silent[name]}
    return learned | {"incident_class": said.incident_class}

"""What may be listened to. Every client's names for it, from one feed."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime
from typing import cast

import strawberry
from strawberry.scalars import JSON

from app.api.graphql import inputs
from app.api.graphql.context import Info
from app.api.graphql.event import Event
from app.api.graphql.incident import CorrelationGroup, Incident, Notification, TimelineEvent
from app.api.graphql.people import Actor, EscalationPolicy
from app.api.graphql.playbooks import Watching
from app.api.graphql.queries import HealthStatus, condition
from app.api.graphql.scalars import CategoryIn, EnvironmentIn
from app.domain import news
from app.domain.news import UpdateType
from app.domain.representation import IncidentView, LiveEvent
from app.domain.timeline import EventType
from app.domain.vocabulary import Severity, Status

HEALTH_SECS = 5.0
strawberry.enum(UpdateType, name="UpdateType")

ID = strawberry.ID
Wanted = Callable[[LiveEvent], bool]


@strawberry.type
class IncidentUpdate:
    """What became of an incident. `changes` is the decision's own data."""

    update_type: str
    incident_id: ID
    timestamp: datetime
    changes: JSON


@strawberry.type
class IncidentUpdated:
    incident: Incident
    update_type: UpdateType
    changed_fields: list[str]
    updated_fields: list[str]
    actor: Actor
    timestamp: datetime


@strawberry.type
class IncidentStateChange:
    """Under the names of all clients."""

    incident: Incident
    incident_id: ID
    old_state: Status
    new_state: Status
    previous_state: Status
    changed_by: str
    actor: Actor
    timestamp: datetime


@strawberry.type
class IncidentEscalated:
    incident: Incident
    escalation_level: int
    level: int
    escalated_at: datetime
    reason: str | None
    policy: EscalationPolicy | None


@strawberry.type
class NotificationSent:
    notification: Notification | None
    incident: Incident
    sent_at: datetime


@strawberry.type
class IncidentEvent:
    """One decision. After a break go on with `after: cursor`: nothing is missed, (incidentId, seq) names an event.

    The states are null unless it changed the status.
    """

    cursor: str
    event: TimelineEvent
    update_type: UpdateType
    old_state: Status | None
    new_state: Status | None
    becomes_critical: bool
    incident: Incident


def _shown(incident: IncidentView) -> Incident:
    return cast("Incident", incident)


async def heard(info: Info, wanted: Wanted, after: str | None = None) -> AsyncGenerator[LiveEvent, None]:
    """The events that are wanted, as they happen."""
    async with aclosing(info.context.gateway.live.follow(info.context.caller, after)) as events:
        async for event in events:
            if wanted(event):
                yield event


def matching(info: Info, asked: inputs.Filter | None) -> Callable[[IncidentView], bool]:
    """Whether an incident is one that a filter means. Raises: Invalid."""
    query = inputs.query_of(inputs.narrowed(info.context.caller, asked))
    return query.matches


@strawberry.type
class Published:
    """The five operations of the published client."""

    @strawberry.subscription
    async def critical_incidents(self, info: Info) -> AsyncGenerator[Incident, None]:
        """P0 and P1: whenever one opens, opens again, or becomes so."""
        async with aclosing(heard(info, lambda e: news.becomes_critical(e.entry, e.incident))) as events:
            async for event in events:
                yield _shown(event.incident)

    @strawberry.subscription
    async def incident_updates(
        self,
        info: Info,
        incident_ids: list[ID] | None = None,
        severities: list[Severity] | None = None,
        active_only: bool | None = None,
    ) -> AsyncGenerator[IncidentUpdate, None]:
        """`activeOnly`: of open incidents, and what ends them."""

        def wanted(event: LiveEvent) -> bool:
            return (
                (not incident_ids or event.incident.id in incident_ids)
                and (not severities or event.incident.severity in severities)
                and (not active_only or news.concerns_active(event.entry, event.incident))
            )

        async with aclosing(heard(info, wanted)) as events:
            async for event in events:
                changes = {"event": event.entry.event_type, "reason": event.entry.reason, **event.entry.data}
                yield IncidentUpdate(
                    update_type=news.older_kind(event.entry), incident_id=ID(event.incident.id),
                    timestamp=event.entry.timestamp, changes=cast("JSON", changes),
                )  # fmt: skip

    @strawberry.subscription
    async def new_incidents(
        self, info: Info, severities: list[Severity] | None = None
    ) -> AsyncGenerator[Incident, None]:
        def wanted(event: LiveEvent) -> bool:
            new = event.entry.event_type is EventType.INCIDENT_CREATED
            return new and (not severities or event.incident.severity in severities)

        async with aclosing(heard(info, wanted)) as events:
            async for event in events:
                yield _shown(event.incident)

    @strawberry.subscription
    async def incident_state_changes(
        self, info: Info, incident_id: ID | None = None
    ) -> AsyncGenerator[IncidentStateChange, None]:
        async with aclosing(_transitions(info, str(incident_id) if incident_id else None, None)) as changes:
            async for change in changes:
                yield change

    @strawberry.subscription
    async def alerts(self, info: Info, sources: list[str] | None = None) -> AsyncGenerator[Event, None]:
        """Every alert that is accepted, duplicates too."""
        async with aclosing(info.context.gateway.live.alerts(info.context.caller)) as alerts:
            async for alert in alerts:
                if not sources or alert.source in sources:
                    yield cast("Event", alert)


async def _transitions(
    info: Info, incident_id: str | None, states: list[Status] | None
) -> AsyncGenerator[IncidentStateChange, None]:
    def wanted(event: LiveEvent) -> bool:
        return incident_id is None or event.incident.id == incident_id

    async with aclosing(heard(info, wanted)) as events:
        async for event in events:
            change = news.transition(event.entry)
            if change is not None and (not states or change[1] in states):
                yield IncidentStateChange(
                    incident=_shown(event.incident), incident_id=ID(event.incident.id), old_state=change[0],
                    new_state=change[1], previous_state=change[0], changed_by=event.entry.actor.name,
                    actor=cast("Actor", event.entry.actor), timestamp=event.entry.timestamp,
                )  # fmt: skip


@strawberry.type
class Documented:
    """Those of the README and of the schema file."""

    @strawberry.subscription
    async def incident_updated(
        self, info: Info, id: ID | None = None, filter: inputs.Filter | None = None  # noqa: A002
    ) -> AsyncGenerator[IncidentUpdated, None]:  # fmt: skip
        matches = matching(info, filter)
        async with aclosing(heard(info, lambda e: id in (None, e.incident.id) and matches(e.incident))) as events:
            async for event in events:
                fields = list(news.changed_fields(event.entry))
                yield IncidentUpdated(
                    incident=_shown(event.incident), update_type=news.kind(event.entry), changed_fields=fields,
                    updated_fields=fields, actor=cast("Actor", event.entry.actor), timestamp=event.entry.timestamp,
                )  # fmt: skip

    @strawberry.subscription
    async def incident_created(
        self,
        info: Info,
        severity: list[Severity] | None = None,
        environment: list[EnvironmentIn] | None = None,
        category: list[CategoryIn] | None = None,
        filter: inputs.Filter | None = None,  # noqa: A002
    ) -> AsyncGenerator[Incident, None]:
        own = inputs.Filter(severity=severity, environment=environment, category=category)
        matches, also = matching(info, filter), matching(info, own)

        def wanted(event: LiveEvent) -> bool:
            new = event.entry.event_type is EventType.INCIDENT_CREATED
            return new and matches(event.incident) and also(event.incident)

        async with aclosing(heard(info, wanted)) as events:
            async for event in events:
                yield _shown(event.incident)

    @strawberry.subscription
    async def incident_state_changed(
        self, info: Info, id: ID | None = None, states: list[Status] | None = None  # noqa: A002
    ) -> AsyncGenerator[IncidentStateChange, None]:  # fmt: skip
        """`states`: those it changed to."""
        async with aclosing(_transitions(info, str(id) if id else None, states)) as changes:
            async for change in changes:
                yield change

    @strawberry.subscription
    async def incident_escalated(
        self, info: Info, team_id: str | None = None, user_id: str | None = None
    ) -> AsyncGenerator[IncidentEscalated, None]:
        def wanted(event: LiveEvent) -> bool:
            return team_id in (None, event.incident.assigned_team) and user_id in (None, event.incident.assigned_to)

        async with aclosing(_escalations(info, wanted)) as escalations:
            async for escalation in escalations:
                yield escalation

    @strawberry.subscription
    async def escalation_triggered(self, info: Info) -> AsyncGenerator[IncidentEscalated, None]:
        async with aclosing(_escalations(info, lambda _: True)) as escalations:
            async for escalation in escalations:
                yield escalation

    @strawberry.subscription
    async def incident_resolved(self, info: Info, team_id: str | None = None) -> AsyncGenerator[Incident, None]:
        def wanted(event: LiveEvent) -> bool:
            over = event.entry.event_type is EventType.RESOLVED
            return over and team_id in (None, event.incident.assigned_team)

        async with aclosing(heard(info, wanted)) as events:
            async for event in events:
                yield _shown(event.incident)

    @strawberry.subscription
    async def incidents(self, info: Info, filter: JSON | None = None) -> AsyncGenerator[Incident, None]:  # noqa: A002
        """The incident, whenever something became of it. `filter` takes the fields of GET /api/v1/incidents."""
        query = inputs.loose(filter or {})
        async with aclosing(heard(info, lambda event: query.matches(event.incident))) as events:
            async for event in events:
                yield _shown(event.incident)

    @strawberry.subscription
    async def timeline_event(self, info: Info, incident_id: ID) -> AsyncGenerator[TimelineEvent, None]:
        async with aclosing(heard(info, lambda event: event.incident.id == incident_id)) as events:
            async for event in events:
                yield cast("TimelineEvent", event.entry)

    @strawberry.subscription
    async def notification_sent(
        self, info: Info, incident_id: ID | None = None
    ) -> AsyncGenerator[NotificationSent, None]:
        def wanted(event: LiveEvent) -> bool:
            sent = event.entry.event_type is EventType.NOTIFICATION_SENT
            return sent and incident_id in (None, event.incident.id)

        async with aclosing(heard(info, wanted)) as events:
            async for event in events:
                known = await info.context.loaders.notifications.load(event.incident.id)
                key = event.entry.data.get("key")
                one = next((message for message in known if message.idempotency_key == key), None)
                yield NotificationSent(
                    notification=cast("Notification | None", one), incident=_shown(event.incident),
                    sent_at=event.entry.timestamp,
                )  # fmt: skip

    @strawberry.subscription
    async def correlation_group_updated(self, info: Info) -> AsyncGenerator[CorrelationGroup, None]:
        """A group that an incident has come to, or founded."""
        async with aclosing(heard(info, lambda event: event.entry.event_type is EventType.CORRELATED)) as events:
            async for event in events:
                group = await info.context.loaders.groups.load(str(event.entry.data["group"]))
                if group is not None:
                    yield cast("CorrelationGroup", group)

    @strawberry.subscription
    async def event_received(self, info: Info, sources: list[str] | None = None) -> AsyncGenerator[Event, None]:
        """The alerts, by their other name."""
        async with aclosing(info.context.gateway.live.alerts(info.context.caller)) as alerts:
            async for alert in alerts:
                if not sources or alert.source in sources:
                    yield cast("Event", alert)

    @strawberry.subscription
    async def health_updated(self, info: Info) -> AsyncGenerator[HealthStatus, None]:
        """Now, and whenever it changes; looked at every 5 s."""
        shown = None
        while True:
            now = await condition(info)
            if (now.status, now.components) != shown:
                shown = (now.status, now.components)
                yield now
            await asyncio.sleep(HEALTH_SECS)

    @strawberry.subscription
    async def incident_events(
        self, info: Info, after: str | None = None, filter: inputs.Filter | None = None  # noqa: A002
    ) -> AsyncGenerator[IncidentEvent, None]:  # fmt: skip
        """Every decision; with `after` first what was missed since that cursor. `eventsCursor` is one to begin with."""
        matches = matching(info, filter)
        async with aclosing(heard(info, lambda event: matches(event.incident), after)) as events:
            async for event in events:
                before, after_it = news.transition(event.entry) or (None, None)
                yield IncidentEvent(
                    cursor=event.cursor, event=cast("TimelineEvent", event.entry),
                    update_type=news.kind(event.entry), old_state=before, new_state=after_it,
                    becomes_critical=news.becomes_critical(event.entry, event.incident),
                    incident=_shown(event.incident),
                )  # fmt: skip


async def _escalations(info: Info, wanted: Wanted) -> AsyncGenerator[IncidentEscalated, None]:
    def escalated(event: LiveEvent) -> bool:
        return event.entry.event_type is EventType.ESCALATED and wanted(event)

    async with aclosing(heard(info, escalated)) as events:
        async for event in events:
            policy = event.incident.escalation_policy_id
            found = await info.context.loaders.documents.load(("escalation-policies", policy)) if policy else None
            level = int(str(event.entry.data.get("level", event.incident.escalation_level)))
            yield IncidentEscalated(
                incident=_shown(event.incident), escalation_level=level, level=level,
                escalated_at=event.entry.timestamp, reason=event.entry.reason,
                policy=cast("EscalationPolicy | None", found),
            )  # fmt: skip


@strawberry.type
class Subscription(Published, Documented, Watching):
    pass

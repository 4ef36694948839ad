"""An incident and what belongs to it, as GraphQL shows it. Each field is there in camelCase and in snake_case."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, cast

import strawberry
from strawberry.scalars import JSON

from app.api.graphql.context import Info
from app.api.graphql.people import Actor, EscalationPolicy, Team, User
from app.api.graphql.scalars import IncidentState
from app.domain import grouping, representation
from app.domain.representation import IncidentView
from app.domain.timeline import EventType
from app.domain.vocabulary import ChannelName, DeliveryStatus, IncidentType, MessageKind, Severity, Status

if TYPE_CHECKING:
    from app.api.graphql.playbooks import PlaybookExecution

Root = strawberry.Parent[IncidentView]
One = Annotated["Incident", strawberry.lazy("app.api.graphql.incident")]
Run = Annotated["PlaybookExecution", strawberry.lazy("app.api.graphql.playbooks")]


@strawberry.type(name="SLATracking")
class Sla:
    """By when somebody takes it and by when it is over. Seconds remain; None once it has happened."""

    acknowledgment_deadline: datetime
    resolution_deadline: datetime
    acknowledgment_breached: bool
    resolution_breached: bool
    acknowledgment_time_remaining: float | None
    resolution_time_remaining: float | None


@strawberry.type(name="IncidentMetrics")
class Metrics:
    """Seconds, from the first alert; mttd from when the problem began."""

    mttd: float | None
    mtta: float | None
    mttr: float | None


@strawberry.type(name="ResourceInfo")
class Resource:
    """What it is about, as far as its source says."""

    @strawberry.field
    def type(self, root: strawberry.Parent[dict[str, object]]) -> str:
        return str(root.get("type", ""))

    @strawberry.field
    def id(self, root: strawberry.Parent[dict[str, object]]) -> str:
        return str(root.get("id", ""))

    @strawberry.field
    def name(self, root: strawberry.Parent[dict[str, object]]) -> str | None:
        return str(root["name"]) if root.get("name") is not None else None

    @strawberry.field
    def metadata(self, root: strawberry.Parent[dict[str, object]]) -> JSON:
        return cast("JSON", root.get("metadata") or {})


@strawberry.type(name="ResolutionAction")
class Action:
    """Something that was done to resolve it."""

    @strawberry.field
    def id(self, root: strawberry.Parent[dict[str, object]]) -> strawberry.ID:
        return strawberry.ID(str(root.get("id", "")))

    @strawberry.field
    def type(self, root: strawberry.Parent[dict[str, object]]) -> str | None:
        return cast("str | None", root.get("type"))

    @strawberry.field
    def description(self, root: strawberry.Parent[dict[str, object]]) -> str | None:
        return cast("str | None", root.get("description"))

    @strawberry.field
    def executed_by(self, root: strawberry.Parent[dict[str, object]]) -> str | None:
        return cast("str | None", root.get("executed_by"))

    @strawberry.field
    def executed_at(self, root: strawberry.Parent[dict[str, object]]) -> str | None:
        return cast("str | None", root.get("executed_at"))

    @strawberry.field
    def result(self, root: strawberry.Parent[dict[str, object]]) -> str | None:
        return cast("str | None", root.get("result"))

    @strawberry.field
    def metadata(self, root: strawberry.Parent[dict[str, object]]) -> JSON | None:
        return cast("JSON | None", root.get("metadata"))


@strawberry.type
class Resolution:
    """How it was resolved."""

    root_cause: str | None
    resolution_notes: str | None
    resolved_by: str | None
    resolved_at: datetime | None
    method: str | None
    playbook_used: str | None
    actions_taken: list[Action]

    @strawberry.field
    async def resolved_by_user(self, root: strawberry.Parent[representation.Resolution], info: Info) -> User | None:
        return cast("User | None", await info.context.user(root.resolved_by))


@strawberry.type
class Alert:
    """One alert as it was received."""

    id: strawberry.ID
    incident_id: strawberry.ID
    external_id: str | None
    source: str
    status: str
    severity: Severity
    title: str
    description: str
    labels: JSON
    annotations: JSON
    affected_services: list[str]
    runbook_url: str | None
    starts_at: datetime | None
    received_at: datetime
    deduplicated: bool


@strawberry.type
class TimelineEvent:
    """One decision. `reason` is what the actor wrote."""

    seq: int
    incident_id: strawberry.ID
    event_type: EventType
    actor: Actor
    timestamp: datetime
    reason: str | None
    data: JSON

    @strawberry.field
    def id(self, root: strawberry.Parent[representation.TimelineEvent]) -> strawberry.ID:
        return strawberry.ID(f"{root.incident_id}/{root.seq}")

    @strawberry.field
    def description(self, root: strawberry.Parent[representation.TimelineEvent]) -> str:
        return root.reason or root.event_type.replace("_", " ")


@strawberry.type
class Comment:
    """What somebody wrote."""

    @strawberry.field
    def id(self, root: strawberry.Parent[representation.TimelineEvent]) -> strawberry.ID:
        return strawberry.ID(f"{root.incident_id}/{root.seq}")

    @strawberry.field
    def content(self, root: strawberry.Parent[representation.TimelineEvent]) -> str:
        return root.reason or ""

    @strawberry.field
    def author(self, root: strawberry.Parent[representation.TimelineEvent]) -> Actor:
        return cast("Actor", root.actor)

    @strawberry.field
    def created_at(self, root: strawberry.Parent[representation.TimelineEvent]) -> datetime:
        return root.timestamp


@strawberry.type
class Notification:
    """One message to one target through one channel, and how it fared."""

    id: strawberry.ID
    incident_id: strawberry.ID
    kind: MessageKind
    level: int
    channel: ChannelName
    target: str
    recipient: str
    status: DeliveryStatus
    attempts: int
    created_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None
    delayed_until: datetime | None

    @strawberry.field
    def error(self, root: strawberry.Parent[representation.NotificationView]) -> str | None:
        return root.last_error


@strawberry.type
class CorrelationGroup:
    """Incidents that belong together; the lead pages for all."""

    id: strawberry.ID
    status: grouping.GroupStatus
    title: str | None
    severity: Severity | None
    size: int
    open_members: int
    manual: bool
    reason: str | None
    correlation_score: float | None
    created_at: datetime
    updated_at: datetime
    resolved_at: datetime | None

    @strawberry.field
    def correlation_types(self, root: strawberry.Parent[grouping.GroupView]) -> list[str]:
        return [strategy.upper() for strategy in root.correlation_types]

    @strawberry.field
    def correlation_type(self, root: strawberry.Parent[grouping.GroupView]) -> str | None:
        return root.correlation_types[0].upper() if root.correlation_types else None

    @strawberry.field
    async def primary_incident(self, root: strawberry.Parent[grouping.GroupView], info: Info) -> One | None:
        return cast("Incident | None", await info.context.loaders.incidents.load(root.lead_id))

    @strawberry.field
    async def incidents(self, root: strawberry.Parent[grouping.GroupView], info: Info) -> list[One]:
        """The lead, and the 100 others at most that it knows of."""
        lead = await info.context.loaders.incidents.load(root.lead_id)
        others = await info.context.loaders.incidents.load_many(lead.related_incidents if lead else [])
        return cast("list[Incident]", [incident for incident in (lead, *others) if incident is not None])


def _assignee(root: Root) -> str | None:
    return root.assigned_to


def _team(root: Root) -> str | None:
    return root.assigned_team


def _related(root: Root) -> list[strawberry.ID]:
    return cast("list[strawberry.ID]", root.related_incidents)


def _parent(root: Root) -> strawberry.ID | None:
    return cast("strawberry.ID | None", root.parent_incident)


def _group(root: Root) -> strawberry.ID | None:
    return cast("strawberry.ID | None", root.correlation_group)


def _original(root: Root) -> strawberry.ID | None:
    return cast("strawberry.ID | None", root.duplicate_of)


@strawberry.type
class Incident:
    """One incident. `category` and `environment` are lower-case words; ids and people come as objects in camelCase and
    as plain ids in snake_case (`assignedTo { name }`, `assigned_to`)."""

    id: strawberry.ID
    external_id: str | None
    fingerprint: str
    severity: Severity
    status: Status
    state: IncidentState
    category: str
    incident_type: IncidentType
    environment: str | None
    title: str
    description: str
    impact: str | None
    source: str
    source_event_id: str | None
    resource: Resource | None
    affected_resources: list[str]
    assignees: list[str]
    escalation_policy_id: str | None
    escalation_level: int
    escalation_paused: bool
    created_at: datetime
    updated_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None
    closed_at: datetime | None
    last_seen_at: datetime
    alert_count: int
    duplicate_count: int
    flap_count: int
    tags: JSON
    labels: list[str]
    runbook_url: str | None
    resolution: Resolution | None
    metrics: Metrics
    sla: Sla
    metadata: JSON
    suppressed: bool
    routing: JSON | None
    incident_class: str | None
    suggested_playbook: str | None

    @strawberry.field
    def is_active(self, root: Root) -> bool:
        return root.status.open

    @strawberry.field
    def is_critical(self, root: Root) -> bool:
        return root.severity.important

    @strawberry.field
    def suppression(self, root: Root) -> JSON:
        return cast("JSON", [hold.model_dump(mode="json") for hold in root.suppression])

    @strawberry.field
    def classification(self, root: Root) -> JSON | None:
        return cast("JSON | None", root.classification.model_dump(mode="json") if root.classification else None)

    assigned_to_id: str | None = strawberry.field(name="assigned_to", resolver=_assignee)
    assigned_team_id: str | None = strawberry.field(name="assigned_team", resolver=_team)
    related_incident_ids: list[strawberry.ID] = strawberry.field(name="related_incidents", resolver=_related)
    parent_incident_id: strawberry.ID | None = strawberry.field(name="parent_incident", resolver=_parent)
    correlation_group_id: strawberry.ID | None = strawberry.field(resolver=_group)
    duplicate_of_id: strawberry.ID | None = strawberry.field(name="duplicate_of", resolver=_original)

    @strawberry.field
    async def assigned_to(self, root: Root, info: Info) -> User | None:
        """None as well where the assignee is nobody the directory knows."""
        return cast("User | None", await info.context.user(root.assigned_to))

    @strawberry.field
    async def assigned_team(self, root: Root, info: Info) -> Team | None:
        return cast("Team | None", await info.context.team(root.assigned_team))

    @strawberry.field
    async def escalation_policy(self, root: Root, info: Info) -> EscalationPolicy | None:
        if root.escalation_policy_id is None:
            return None
        found = await info.context.loaders.documents.load(("escalation-policies", root.escalation_policy_id))
        return cast("EscalationPolicy | None", found)

    @strawberry.field
    async def related_incidents(self, root: Root, info: Info) -> list[One]:
        found = await info.context.loaders.incidents.load_many(root.related_incidents)
        return cast("list[Incident]", [incident for incident in found if incident is not None])

    @strawberry.field
    async def parent_incident(self, root: Root, info: Info) -> One | None:
        parent = root.parent_incident
        return cast("Incident | None", await info.context.loaders.incidents.load(parent) if parent else None)

    @strawberry.field
    def duplicate_of(self, root: Root) -> One | None:
        """Always None: alerts are duplicates, incidents are not."""
        return None

    @strawberry.field
    async def alerts(self, root: Root, info: Info) -> list[Alert]:
        """The newest 100, newest first."""
        return cast("list[Alert]", await info.context.loaders.alerts.load(root.id))

    @strawberry.field
    async def timeline(self, root: Root, info: Info) -> list[TimelineEvent]:
        """In order, the newest 500."""
        return cast("list[TimelineEvent]", await info.context.loaders.timelines.load(root.id))

    @strawberry.field
    async def resolution_logs(self, root: Root, info: Info) -> list[TimelineEvent]:
        """The timeline, by its other name."""
        return cast("list[TimelineEvent]", await info.context.loaders.timelines.load(root.id))

    @strawberry.field
    async def comments(self, root: Root, info: Info) -> list[Comment]:
        entries = await info.context.loaders.timelines.load(root.id)
        return cast("list[Comment]", [e for e in entries if e.event_type is EventType.COMMENT_ADDED])

    @strawberry.field
    async def notifications(self, root: Root, info: Info) -> list[Notification]:
        return cast("list[Notification]", await info.context.loaders.notifications.load(root.id))

    @strawberry.field
    async def playbook_executions(self, root: Root, info: Info) -> list[Run]:
        """The newest 20, newest first."""
        return cast("list[PlaybookExecution]", await info.context.loaders.runs.load(root.id))

    @strawberry.field
    async def correlation_group(self, root: Root, info: Info) -> CorrelationGroup | None:
        group = root.correlation_group
        return cast("CorrelationGroup | None", await info.context.loaders.groups.load(group) if group else None)

    @strawberry.field
    async def correlation_score(self, root: Root, info: Info) -> float | None:
        """Of its group."""
        group = await info.context.loaders.groups.load(root.correlation_group) if root.correlation_group else None
        return group.correlation_score if group else None

    @strawberry.field
    async def enrichment(self, root: Root, info: Info) -> JSON:
        """What was found around it, each with source and age."""
        whole = await info.context.loaders.incidents.load(root.id)
        return cast("JSON", [finding.model_dump(mode="json") for finding in whole.enrichment] if whole else [])

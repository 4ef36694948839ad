"""How an incident and what belongs to it look from outside: the field names every API and message uses."""

from datetime import datetime

from app.domain.alert import Standing
from app.domain.incident import Hold
from app.domain.record import Record
from app.domain.sla import SLA
from app.domain.timeline import Actor, EventType
from app.domain.vocabulary import (
    Category,
    ChannelName,
    DeliveryStatus,
    Environment,
    IncidentType,
    MessageKind,
    Severity,
    Status,
)


class Metrics(Record):
    """Seconds from the first alert to the acknowledge (mtta) and to the resolve (mttr); None until then.

    mttd is from when the problem began, as its source says, to the first alert; None where the source doesn't say.
    """

    mttd: float | None = None
    mtta: float | None = None
    mttr: float | None = None


class Resolution(Record):
    root_cause: str | None = None
    resolution_notes: str | None = None
    resolved_by: str | None = None
    resolved_at: datetime | None = None
    method: str | None = None
    playbook_used: str | None = None
    actions_taken: list[dict[str, object]] = []


class Classification(Record):
    """What the model said of an incident. `severity` is None where it abstained altogether; `reason` says why it
    was followed or not, `confidence` and `probabilities` are 0 to 1.

    `stated`: the source said which class it is, no model was asked, and `reason` says what the taxonomy's rules made
    of the reported severity.
    """

    severity: Severity | None
    reported_severity: Severity
    applied: bool
    confidence: float | None
    probabilities: dict[str, float]
    incident_class: str | None
    incident_type: IncidentType | None
    category: Category | None
    model_version: int | None
    reason: str
    reasons: list[str]
    at: datetime
    stated: bool = False


class Finding(Record):
    """What one look-up found around an incident. `status`: found, nothing, failed, late. `at`: as old as the data."""

    enricher: str
    status: str
    summary: str
    data: dict[str, object]
    source: str
    at: datetime
    took_ms: float
    cached: bool
    error: str | None


class IncidentView(Record):
    """One incident. `state` repeats `status` for older clients; times are UTC.

    `suppressed`: nobody is paged; `suppression` says why, and until when. `correlation_group` and `parent_incident`
    (the group's lead, None for the lead itself) are None outside a group, `related_incidents` are its other members
    (100 at most). `routing` says which rules applied. `incident_class` is one of the taxonomy's, stated by the source
    or recognised; `suggested_playbook` is what the bundle llmops has for it, and begins by itself only as its triggers
    say. An incident is never a duplicate: alerts are, so `duplicate_of`
    is None.
    """

    id: str
    external_id: str | None
    fingerprint: str
    severity: Severity
    status: Status
    state: Status
    category: Category
    incident_type: IncidentType
    environment: Environment | None
    title: str
    description: str
    impact: str | None
    source: str
    source_event_id: str | None
    resource: dict[str, object] | None
    affected_resources: list[str]
    assigned_to: str | None
    assigned_team: str | None
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
    tags: dict[str, str]
    labels: list[str]
    runbook_url: str | None
    resolution: Resolution | None
    metrics: Metrics
    suppressed: bool = False
    suppression: list[Hold] = []
    routing: dict[str, object] | None = None
    classification: Classification | None = None
    incident_class: str | None = None
    suggested_playbook: str | None = None
    correlation_group: str | None = None
    parent_incident: str | None = None
    related_incidents: list[str] = []
    duplicate_of: str | None = None
    sla: SLA
    metadata: dict[str, object] = {}
    enrichment: list[Finding] = []


class AlertView(Record):
    """One alert as it was received, and the incident it went to."""

    id: str
    incident_id: str
    external_id: str | None
    source: str
    status: str
    severity: Severity
    title: str
    description: str
    labels: dict[str, str]
    annotations: dict[str, str]
    affected_services: list[str]
    runbook_url: str | None
    starts_at: datetime | None
    received_at: datetime
    deduplicated: bool


class AlertDetail(AlertView):
    """An alert and where it stands. What was done about it was done to its incident."""

    standing: Standing
    fingerprint: str
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None
    resolved_by: str | None


class EventView(Record):
    """An alert as an event: what the published clients call one. `id` is ours, `event_id` the source's own, or ours
    where it has none; `acknowledged` says that somebody took its incident; `timestamp` is when it happened.
    """

    id: str
    event_id: str
    incident_id: str
    source: str
    source_version: str | None
    timestamp: datetime
    received_at: datetime
    event_type: str
    category: Category
    title: str
    description: str
    severity: Severity
    resource: dict[str, object] | None
    metrics: dict[str, object]
    tags: dict[str, str]
    labels: list[str]
    correlation_id: str | None
    parent_event_id: str | None
    execution_id: str | None
    payload: dict[str, object]
    acknowledged: bool
    deduplicated: bool


class TimelineEvent(Record):
    """One decision. `seq` counts from 1 without a gap; `reason` is what the actor wrote (a comment, a note)."""

    seq: int
    incident_id: str
    event_type: EventType
    actor: Actor
    timestamp: datetime
    reason: str | None
    data: dict[str, object]


class LiveEvent(Record):
    """A decision, just made, and its incident as it is now. `cursor`: where to go on so that none is missed."""

    cursor: str
    entry: TimelineEvent
    incident: IncidentView


class NotificationView(Record):
    """One message to one target through one channel. `id` is the same over every retry.

    `due_at` is when the person's own rules have it go out (None = at once), `delayed_until` what a rate limit, a
    storm or the provider makes it wait for. `told_by` is the notification whose message told of this one, too.
    """

    id: str
    incident_id: str
    idempotency_key: str
    kind: MessageKind
    level: int
    channel: ChannelName
    target: str
    recipient: str
    status: DeliveryStatus
    attempts: int
    last_error: str | None
    created_at: datetime
    due_at: datetime | None
    delayed_until: datetime | None
    sent_at: datetime | None
    delivered_at: datetime | None
    told_by: str | None


class NextStep(Record):
    """The level that goes out next, whom it pages, and when.

    `at` is None while it is paused (`remaining_secs` then counts) or suppressed (it goes out at its time, if it is
    released by then, else at once when it is).
    """

    level: int
    name: str
    targets: list[str]
    at: datetime | None
    remaining_secs: float


class EscalationView(Record):
    """Where the escalation of an incident stands, as its workflow says."""

    incident_id: str
    status: Status
    policy_id: str | None
    level: int
    paused: bool
    paused_until: datetime | None
    suppressed: bool = False
    suppression: list[Hold] = []
    next: NextStep | None

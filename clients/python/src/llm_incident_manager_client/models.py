"""What the server answers. `raw` is the answer as it came, with what this version doesn't know yet.

Source: the server's OpenAPI description, /openapi.json. Words of closed lists (statuses, kinds of event) are plain
strings: a newer server may know more of them. Times are UTC.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from llm_incident_manager_client.errors import BadAnswer

T = TypeVar("T")
Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Answer:
    raw: Json = field(repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class Actor(Answer):
    """`type`: user, system or integration."""

    name: str
    type: str = "user"


@dataclass(frozen=True, kw_only=True)
class Sla(Answer):
    """By when somebody takes it and by when it is over. Seconds remain; None once it has happened."""

    acknowledgment_deadline: datetime
    resolution_deadline: datetime
    acknowledgment_breached: bool
    resolution_breached: bool
    acknowledgment_time_remaining: float | None = None
    resolution_time_remaining: float | None = None


@dataclass(frozen=True, kw_only=True)
class Metrics(Answer):
    """Seconds, from the first alert; mttd from when the problem began. None until then."""

    mttd: float | None = None
    mtta: float | None = None
    mttr: float | None = None


@dataclass(frozen=True, kw_only=True)
class Resolution(Answer):
    root_cause: str | None = None
    resolution_notes: str | None = None
    resolved_by: str | None = None
    resolved_at: datetime | None = None
    method: str | None = None
    playbook_used: str | None = None
    actions_taken: tuple[Json, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Incident(Answer):
    """`enrichment` is asked for by `get` only. `suppressed`: nobody is paged; `suppression` says why."""

    id: str
    severity: str
    status: str
    title: str
    description: str = ""
    source: str
    fingerprint: str = ""
    external_id: str | None = None
    category: str | None = None
    incident_type: str | None = None
    environment: str | None = None
    impact: str | None = None
    source_event_id: str | None = None
    resource: Json | None = None
    affected_resources: tuple[str, ...] = ()
    assigned_to: str | None = None
    assigned_team: str | None = None
    assignees: tuple[str, ...] = ()
    escalation_policy_id: str | None = None
    escalation_level: int = 0
    escalation_paused: bool = False
    created_at: datetime
    updated_at: datetime
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    resolved_at: datetime | None = None
    closed_at: datetime | None = None
    last_seen_at: datetime | None = None
    alert_count: int = 1
    duplicate_count: int = 0
    flap_count: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    runbook_url: str | None = None
    resolution: Resolution | None = None
    metrics: Metrics | None = None
    sla: Sla | None = None
    suppressed: bool = False
    suppression: tuple[Json, ...] = ()
    routing: Json | None = None
    classification: Json | None = None
    incident_class: str | None = None
    suggested_playbook: str | None = None
    correlation_group: str | None = None
    parent_incident: str | None = None
    related_incidents: tuple[str, ...] = ()
    metadata: Json = field(default_factory=dict)
    enrichment: tuple[Json, ...] = ()

    @property
    def open(self) -> bool:
        return self.status not in ("RESOLVED", "CLOSED")


@dataclass(frozen=True, kw_only=True)
class Page(Answer):
    """Incidents, and how many there are in all. `next_cursor` leads to the page after this one; None on the last."""

    incidents: tuple[Incident, ...]
    total: int

    @property
    def next_cursor(self) -> str | None:
        found: str | None = self.raw["pagination"]["next_cursor"]
        return found


@dataclass(frozen=True, kw_only=True)
class Taken(Answer):
    """What became of one alert. `status`: Accepted, Duplicate, or (in a batch) Rejected; `error` says why.

    `outcome`: created, merged, reopened, repeat, resolved, ignored. The ids are None when it was ignored or rejected.
    """

    status: str
    message: str
    alert_id: str | None = None
    incident_id: str | None = None
    outcome: str | None = None
    error: Json | None = None


@dataclass(frozen=True, kw_only=True)
class Reported(Answer):
    """What became of an incident that was reported. `incident` is None for a key that may only send alerts."""

    created: bool
    incident_id: str | None
    outcome: str
    message: str
    incident: Incident | None = None


@dataclass(frozen=True, kw_only=True)
class Alert(Answer):
    """One alert as it was received."""

    id: str
    incident_id: str
    source: str
    status: str
    severity: str
    title: str
    description: str = ""
    received_at: datetime
    external_id: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    affected_services: tuple[str, ...] = ()
    runbook_url: str | None = None
    starts_at: datetime | None = None
    deduplicated: bool = False


@dataclass(frozen=True, kw_only=True)
class Event(Answer):
    """An alert as an event. `id` is the server's, `event_id` the source's; `acknowledged`: its incident is taken."""

    id: str
    event_id: str
    incident_id: str
    source: str
    event_type: str
    title: str
    description: str = ""
    severity: str
    timestamp: datetime
    received_at: datetime
    source_version: str | None = None
    category: str | None = None
    resource: Json | None = None
    metrics: Json = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    correlation_id: str | None = None
    parent_event_id: str | None = None
    payload: Json = field(default_factory=dict)
    acknowledged: bool = False
    deduplicated: bool = False


@dataclass(frozen=True, kw_only=True)
class EventPage(Answer):
    events: tuple[Event, ...]
    next_cursor: str | None = None


@dataclass(frozen=True, kw_only=True)
class TimelineEvent(Answer):
    """One decision. `seq` counts an incident's from 1 without a gap; `reason` is what the actor wrote."""

    seq: int
    incident_id: str
    event_type: str
    actor: Actor
    timestamp: datetime
    reason: str | None = None
    data: Json = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class IncidentEvent(Answer):
    """A decision, just made, and its incident as it is now. `cursor`: where to go on so that none is missed.

    `update_type`: CREATED, UPDATED, STATUS_CHANGED, ASSIGNED, ESCALATED, RESOLVED, CLOSED, COMMENT_ADDED. The statuses
    are None unless it changed the status. `becomes_critical`: P0 or P1, and wasn't (open) before.
    """

    cursor: str
    update_type: str
    event: TimelineEvent
    incident: Incident
    previous_status: str | None = None
    new_status: str | None = None
    becomes_critical: bool = False


@dataclass(frozen=True, kw_only=True)
class Notification(Answer):
    """One message to one target through one channel, and how it fared."""

    id: str
    incident_id: str
    kind: str
    level: int
    channel: str
    target: str
    recipient: str
    status: str
    attempts: int
    created_at: datetime
    last_error: str | None = None
    due_at: datetime | None = None
    delayed_until: datetime | None = None
    sent_at: datetime | None = None
    delivered_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Happening(Answer):
    """One line of a simulation, `after_secs` after the first alert."""

    at: datetime
    after_secs: float
    event: str
    actor: str
    data: Json


@dataclass(frozen=True, kw_only=True)
class Simulated(Answer):
    """`applies`: the policy's conditions hold; `chosen` is the policy that would be taken; `truncated`: it goes on."""

    policy_id: str
    applies: bool
    chosen: str | None
    at: datetime
    severity: str
    timeline: tuple[Happening, ...]
    truncated: bool


@dataclass(frozen=True, kw_only=True)
class Health(Answer):
    """`status`: healthy, degraded (alerts are accepted) or unhealthy (they are not); `failing` says why."""

    status: str
    version: str
    components: Mapping[str, str]
    failing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Document(Answer):
    """One version of a piece of configuration; `raw` is all of it. `version` counts from 1."""

    id: str
    version: int
    updated_at: datetime
    updated_by: str


@dataclass(frozen=True, kw_only=True)
class Linted(Answer):
    errors: int
    warnings: int
    findings: tuple[Json, ...]


@dataclass(frozen=True, kw_only=True)
class RunStep(Answer):
    """One step of a playbook's run. `output` is what later steps may use."""

    step_id: str
    status: str
    attempts: int = 0
    started_at: datetime | None = None
    completed_at: datetime | None = None
    error: str | None = None
    summary: str | None = None
    output: Json | None = None


@dataclass(frozen=True, kw_only=True)
class Run(Answer):
    """A playbook on an incident. `deciding` says whose word it waits for; `steps` are those it came to, in order."""

    id: str
    playbook_id: str
    playbook_version: int
    incident_id: str
    cause: str
    started_by: str
    status: str
    created_at: datetime
    dry_run: bool = False
    error: str | None = None
    deciding: Json | None = None
    steps: tuple[RunStep, ...] = ()
    ended_at: datetime | None = None

    @property
    def over(self) -> bool:
        return self.status in ("completed", "failed", "cancelled")


@dataclass(frozen=True, kw_only=True)
class LogLine(Answer):
    """What a step of a run said. `seq` grows; there may be gaps."""

    seq: int
    step_id: str
    text: str
    at: datetime


def read(shape: type[T], value: Any) -> T:
    """The value as one of `shape`; what `shape` doesn't know stays in `raw`. Raises: BadAnswer."""
    if not isinstance(value, Mapping):
        raise BadAnswer(f"{shape.__name__}: the server answered {type(value).__name__}, not an object")
    given: dict[str, Any] = {"raw": value}
    for name, hint, needed in _fields(cast("Any", shape)):
        if name in value:
            given[name] = _read(hint, value[name], f"{shape.__name__}.{name}")
        elif needed:
            raise BadAnswer(f"{shape.__name__}.{name} is missing in the server's answer")
    return shape(**given)


@cache
def _fields(shape: Any) -> list[tuple[str, Any, bool]]:
    hints = get_type_hints(shape)
    return [
        (one.name, hints[one.name], one.default is MISSING and one.default_factory is MISSING)
        for one in fields(shape)
        if one.name != "raw"
    ]


def _read(hint: Any, value: Any, where: str) -> Any:
    if get_origin(hint) in (UnionType, Union):
        [hint] = (one for one in get_args(hint) if one is not NoneType)
        return None if value is None else _read(hint, value, where)
    try:
        if get_origin(hint) is tuple:
            return tuple(_read(get_args(hint)[0], one, where) for one in value)
        if hint is datetime:
            return datetime.fromisoformat(value)
    except (TypeError, ValueError) as wrong:
        raise BadAnswer(f"{where}: {value!r} in the server's answer can't be read") from wrong
    return read(hint, value) if is_dataclass(hint) and isinstance(hint, type) else value

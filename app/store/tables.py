"""The schema, as SQLModel tables: what migrations are made from and checked against, and what searches are built on.

Who writes what: ingest owns an incident's alert columns (`alert_count` … `source_acknowledged_at`,
`collecting` together with the projection), the incident's workflow owns the rest through its projection,
ordered by (`version_time`, `version_seq`).
"""

import uuid
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import ARRAY, BigInteger, Column, DateTime, Identity, Index, Integer, SmallInteger, String, Text, text
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR, UUID
from sqlalchemy.types import UserDefinedType
from sqlmodel import Field, SQLModel

from app.store.search import SEARCHED


class Xid8(UserDefinedType[int]):
    """The transaction that wrote a row (xid8)."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


def _written_by() -> Any:
    return Field(sa_column=Column(Xid8, nullable=False, server_default=text("pg_current_xact_id()")))


def _json(default: str = "{}") -> Any:
    return Field(sa_column=Column(JSONB, nullable=False, server_default=text(f"'{default}'::jsonb")))


def _json_or_null() -> Any:
    return Field(default=None, sa_column=Column(JSONB, nullable=True))


def _texts() -> Any:
    return Field(sa_column=Column(ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")))


def _ids() -> Any:
    return Field(sa_column=Column(ARRAY(UUID(as_uuid=True)), nullable=False, server_default=text("'{}'::uuid[]")))


def _at() -> Any:
    return Field(sa_column=Column(DateTime(timezone=True), nullable=False))


def _at_or_null() -> Any:
    return Field(default=None, sa_column=Column(DateTime(timezone=True), nullable=True))


def _text() -> Any:
    return Field(sa_column=Column(Text, nullable=False))


def _text_or_null() -> Any:
    return Field(default=None, sa_column=Column(Text, nullable=True))


def _count(default: int = 0) -> Any:
    return Field(sa_column=Column(Integer, nullable=False, server_default=text(str(default))))


def _big(default: int = 0) -> Any:
    return Field(sa_column=Column(BigInteger, nullable=False, server_default=text(str(default))))


def _flag(default: str) -> Any:
    return Field(sa_column_kwargs={"server_default": text(default)})


class IncidentRow(SQLModel, table=True):
    __tablename__: ClassVar[str] = "incidents"
    __table_args__ = (
        Index("incidents_collecting", "fingerprint", unique=True, postgresql_where=text("collecting")),
        Index("incidents_resolved", "fingerprint", "resolved_at", postgresql_where=text("status = 'RESOLVED'")),
        Index("incidents_created", "created_at", "id"),
        Index(
            "incidents_open",
            "created_at",
            "id",
            postgresql_where=text("status NOT IN ('RESOLVED', 'CLOSED')"),
        ),
        Index("incidents_search", text(SEARCHED), postgresql_using="gin"),
        Index("incidents_history", "history", postgresql_using="gin", postgresql_where=text("history IS NOT NULL")),
        Index(
            "incidents_held",
            "holds",
            postgresql_using="gin",
            postgresql_ops={"holds": "jsonb_path_ops"},
            postgresql_where=text("holds <> '[]'::jsonb"),
        ),
        Index(
            "incidents_outages",
            "created_at",
            "id",
            postgresql_where=text(
                "(tags->>'class') = 'availability.provider_outage' AND status NOT IN ('RESOLVED', 'CLOSED')"
            ),
        ),
        {"postgresql_with": {"fillfactor": "70"}},
    )
    id: uuid.UUID = Field(primary_key=True)
    fingerprint: str = _text()
    collecting: bool = _flag("true")
    source: str = _text()
    external_id: str | None = _text_or_null()
    title: str = _text()
    description: str = _text()
    impact: str | None = _text_or_null()
    category: str = _text()
    incident_type: str = _text()
    environment: str | None = _text_or_null()
    resource: dict[str, Any] | None = _json_or_null()
    affected_services: list[str] = _texts()
    tags: dict[str, str] = _json()
    runbook_url: str | None = _text_or_null()
    created_at: datetime = _at()
    began_at: datetime | None = _at_or_null()
    reported_severity: str = _text()
    alert_count: int = _count(1)
    flap_count: int = _count()
    last_seen_at: datetime = _at()
    last_firing_at: datetime = _at()
    source_resolved_at: datetime | None = _at_or_null()
    source_acknowledged_at: datetime | None = _at_or_null()
    status: str = Field(sa_column=Column(Text, nullable=False, server_default=text("'NEW'")))
    severity: str = _text()
    updated_at: datetime = _at()
    assigned_to: str | None = _text_or_null()
    assigned_team: str | None = _text_or_null()
    policy_id: str | None = _text_or_null()
    cycle: int = _count()
    level: int = _count()
    paused: bool = _flag("false")
    acknowledged_at: datetime | None = _at_or_null()
    acknowledged_by: str | None = _text_or_null()
    resolved_at: datetime | None = _at_or_null()
    resolved_by: str | None = _text_or_null()
    closed_at: datetime | None = _at_or_null()
    resolution: dict[str, Any] | None = _json_or_null()
    holds: list[Any] = _json("[]")
    routing: dict[str, Any] | None = _json_or_null()
    history: str | None = Field(default=None, sa_column=Column(TSVECTOR, nullable=True))
    workflow_state: dict[str, Any] | None = _json_or_null()
    version_time: int = _big()
    version_seq: int = _count()


class AlertRow(SQLModel, table=True):
    """`firing`: the alert's problem still stands, as far as its source has said."""

    __tablename__: ClassVar[str] = "alerts"
    __table_args__ = (
        Index("alerts_delivery", "delivery", unique=True, postgresql_where=text("delivery IS NOT NULL")),
        Index("alerts_firing", "incident_id", "alert_key", postgresql_where=text("firing")),
        Index("alerts_feed", "xid"),
        Index("alerts_by_id", "id"),
        Index("alerts_events", "id", postgresql_where=text("event IS NOT NULL")),
        Index("alerts_events_by_name", "external_id", postgresql_where=text("event IS NOT NULL")),
    )
    incident_id: uuid.UUID = Field(primary_key=True)
    id: uuid.UUID = Field(primary_key=True)
    delivery: str | None = _text_or_null()
    alert_key: str = _text()
    firing: bool = Field()
    deduplicated: bool = Field()
    status: str = _text()
    severity: str = _text()
    source: str = _text()
    external_id: str | None = _text_or_null()
    title: str = _text()
    description: str = _text()
    labels: dict[str, str] = _json()
    annotations: dict[str, str] = _json()
    affected_services: list[str] = _texts()
    runbook_url: str | None = _text_or_null()
    starts_at: datetime | None = _at_or_null()
    ends_at: datetime | None = _at_or_null()
    received_at: datetime = _at()
    xid: int = _written_by()
    event: dict[str, Any] | None = _json_or_null()


class OutboxRow(SQLModel, table=True):
    """What a workflow must hear of, the most severe first (`rank` 0 is P0). Gone once it has been told."""

    __tablename__: ClassVar[str] = "outbox"
    rank: int = Field(sa_column=Column(SmallInteger, primary_key=True, autoincrement=False))
    id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    incident_id: uuid.UUID
    created_at: datetime = Field(
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=text("now()"))
    )


class TimelineRow(SQLModel, table=True):
    __tablename__: ClassVar[str] = "timeline"
    __table_args__ = (Index("timeline_feed", "xid"),)
    incident_id: uuid.UUID = Field(primary_key=True)
    seq: int = Field(primary_key=True, sa_type=Integer)
    type: str = _text()
    at: datetime = _at()
    actor_name: str = _text()
    actor_type: str = _text()
    command_id: str | None = _text_or_null()
    data: dict[str, Any] = _json()
    version_time: int = _big()
    version_seq: int = _count()
    xid: int = _written_by()


class CommandRow(SQLModel, table=True):
    """What somebody asked of an incident, word for word: the texts that stay out of Temporal's histories."""

    __tablename__: ClassVar[str] = "commands"
    id: str = Field(sa_column=Column(Text, primary_key=True))
    incident_id: uuid.UUID
    ask: dict[str, Any] = _json()
    asked_at: datetime = _at()


class DeliveryRow(SQLModel, table=True):
    """One page to one target through one channel; `key` makes deciding it twice harmless."""

    __tablename__: ClassVar[str] = "deliveries"
    __table_args__ = (
        Index("deliveries_incident", "incident_id", "created_at"),
        Index("deliveries_destination", "destination", "claimed_at"),
        Index("deliveries_waiting", "status", postgresql_where=text("status IN ('pending', 'sending')")),
    )
    key: str = Field(sa_column=Column(Text, primary_key=True))
    id: uuid.UUID = Field(unique=True)
    incident_id: uuid.UUID
    cycle: int = Field()
    rung: int = Field()
    level: int = Field()
    target: str = _text()
    channel: str = _text()
    address: dict[str, str] = _json()
    destination: str = _text()
    kind: str = _text()
    wanted: str = _text()
    template: str | None = _text_or_null()
    by: str | None = _text_or_null()
    bundle: str | None = _text_or_null()
    status: str = _text()
    attempts: int = _count()
    last_error: str | None = _text_or_null()
    reference: str | None = _text_or_null()
    created_at: datetime = _at()
    due_at: datetime | None = _at_or_null()
    claimed_at: datetime | None = _at_or_null()
    slot_at: datetime | None = _at_or_null()
    delayed_until: datetime | None = _at_or_null()
    sent_at: datetime | None = _at_or_null()
    delivered_at: datetime | None = _at_or_null()


class TurnRow(SQLModel, table=True):
    """Whose turn it was in a team that takes turns; its key makes deciding it twice harmless."""

    __tablename__: ClassVar[str] = "turns"
    __table_args__ = (Index("turns_newest", "team", "id"),)
    team: str = Field(sa_column=Column(Text, primary_key=True))
    incident_id: uuid.UUID = Field(primary_key=True)
    cycle: int = Field(primary_key=True)
    rung: int = Field(primary_key=True)
    id: int = Field(sa_column=Column(BigInteger, Identity(always=True), nullable=False))
    member: str = _text()


class RateRow(SQLModel, table=True):
    """When a rate-limited channel's bucket is full again: the one number of the generic cell rate algorithm."""

    __tablename__: ClassVar[str] = "rates"
    channel: str = Field(sa_column=Column(Text, primary_key=True))
    full_at: datetime = _at()


class DocumentRow(SQLModel, table=True):
    """Every version of every piece of configuration; the newest counts. `body` is NULL when it was deleted."""

    __tablename__: ClassVar[str] = "documents"
    kind: str = Field(sa_column=Column(String(64), primary_key=True))
    id: str = Field(sa_column=Column(String(100), primary_key=True))
    version: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    body: dict[str, Any] | None = _json_or_null()
    updated_at: datetime = _at()
    updated_by: str = _text()


class KeyRow(SQLModel, table=True):
    """An API key: only the SHA-256 of the secret is kept."""

    __tablename__: ClassVar[str] = "api_keys"
    id: uuid.UUID = Field(primary_key=True)
    name: str = _text()
    role: str = _text()
    hash: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    created_at: datetime = _at()
    revoked_at: datetime | None = _at_or_null()


class ChangeRow(SQLModel, table=True):
    """Something that was changed somewhere, to explain incidents by."""

    __tablename__: ClassVar[str] = "changes"
    __table_args__ = (Index("changes_at", "at"),)
    id: uuid.UUID = Field(primary_key=True)
    source: str = _text()
    services: list[str] = _texts()
    environment: str | None = _text_or_null()
    author: str | None = _text_or_null()
    summary: str = _text()
    at: datetime = _at()
    details: dict[str, Any] = _json()
    links: list[Any] = _json("[]")
    received_at: datetime = _at()


class GroupRow(SQLModel, table=True):
    """Incidents that belong together. `lead_id` is worked on for all of them; `status` active, stable, resolved.

    `manual`: somebody put it together.
    """

    __tablename__: ClassVar[str] = "incident_groups"
    __table_args__ = (
        Index("incident_groups_active", "updated_at", postgresql_where=text("status <> 'resolved'")),
        Index("incident_groups_lead", "lead_id"),
    )
    id: uuid.UUID = Field(primary_key=True)
    status: str = _text()
    lead_id: uuid.UUID
    manual: bool = _flag("false")
    reason: str | None = _text_or_null()
    size: int = _count(2)
    created_at: datetime = _at()
    created_by: str | None = _text_or_null()
    updated_at: datetime = _at()
    resolved_at: datetime | None = _at_or_null()


class MemberRow(SQLModel, table=True):
    """An incident's place in its one group. `overflow`: it came when the group was full, and nothing joins by it."""

    __tablename__: ClassVar[str] = "incident_members"
    __table_args__ = (Index("incident_members_group", "group_id"),)
    incident_id: uuid.UUID = Field(primary_key=True)
    group_id: uuid.UUID
    joined_at: datetime = _at()
    overflow: bool = _flag("false")
    score: float = Field()
    reasons: list[Any] = _json("[]")


class EdgeRow(SQLModel, table=True):
    """Two incidents that were found to belong together (`a` < `b`), how strongly (0 to 1), and why."""

    __tablename__: ClassVar[str] = "incident_edges"
    __table_args__ = (Index("incident_edges_back", "b"),)
    a: uuid.UUID = Field(primary_key=True)
    b: uuid.UUID = Field(primary_key=True)
    score: float = Field()
    reasons: list[Any] = _json("[]")
    at: datetime = _at()


class EnrichmentRow(SQLModel, table=True):
    """What one enricher found around an incident: `status` found, nothing, failed, late. `at` = as old as the data."""

    __tablename__: ClassVar[str] = "enrichments"
    incident_id: uuid.UUID = Field(primary_key=True)
    enricher: str = Field(sa_column=Column(Text, primary_key=True))
    status: str = _text()
    summary: str = _text()
    data: dict[str, Any] = _json()
    source: str = _text()
    at: datetime = _at()
    took_ms: float = Field()
    cached: bool = _flag("false")
    error: str | None = _text_or_null()


class ClassificationRow(SQLModel, table=True):
    """What the model said of an incident as it was reported, and whether it was followed.

    `stated`: the source said which class it is, and the taxonomy's rules judged.
    """

    __tablename__: ClassVar[str] = "classifications"
    __table_args__ = (
        Index(
            "classifications_class", "incident_class", "incident_id",
            postgresql_where=text("incident_class IS NOT NULL"),
        ),
    )  # fmt: skip
    incident_id: uuid.UUID = Field(primary_key=True)
    reported: str = _text()
    predicted: str | None = _text_or_null()
    applied: bool = _flag("false")
    confidence: float | None = Field(default=None)
    probabilities: dict[str, float] = _json()
    incident_class: str | None = _text_or_null()
    incident_type: str | None = _text_or_null()
    category: str | None = _text_or_null()
    model_version: int | None = Field(default=None, sa_type=Integer)
    reason: str = _text()
    reasons: list[Any] = _json("[]")
    at: datetime = _at()
    stated: bool = _flag("false")


class LabelRow(SQLModel, table=True):
    """A severity that a person vouched for. `origin` feedback, resolved or rules; `key` makes saying it twice one."""

    __tablename__: ClassVar[str] = "labels"
    key: str = Field(sa_column=Column(Text, primary_key=True))
    origin: str = _text()
    incident_id: uuid.UUID | None = Field(default=None)
    example: dict[str, Any] = _json()
    severity: str = _text()
    incident_type: str | None = _text_or_null()
    by: str = _text()
    at: datetime = _at()


class ModelRow(SQLModel, table=True):
    """A trained model. `status` champion (at most one), challenger, retired; `pinned`: no training replaces it."""

    __tablename__: ClassVar[str] = "models"
    __table_args__ = (Index("models_champion", "status", unique=True, postgresql_where=text("status = 'champion'")),)
    version: int = Field(sa_column=Column(Integer, Identity(always=True), primary_key=True))
    status: str = _text()
    pinned: bool = _flag("false")
    artifact: bytes = Field()
    metrics: dict[str, Any] = _json()
    verdict: str = _text()
    labels: int = _count()
    request: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    created_at: datetime = _at()
    promoted_at: datetime | None = _at_or_null()


class PlaybookRunRow(SQLModel, table=True):
    """One run of a playbook. Its workflow alone writes `status` and `state`, ordered by (version_time, seq)."""

    __tablename__: ClassVar[str] = "playbook_runs"
    __table_args__ = (
        Index(
            "playbook_runs_under_way", "playbook_id", "incident_id", unique=True,
            postgresql_where=text("status IN ('pending', 'running', 'waiting') AND NOT dry_run"),
        ),
        Index("playbook_runs_incident", "incident_id", "id"),
        Index("playbook_runs_to_start", "id", postgresql_where=text("NOT handed")),
    )  # fmt: skip
    id: uuid.UUID = Field(primary_key=True)
    playbook_id: str = _text()
    version: int = Field(sa_type=Integer)
    incident_id: uuid.UUID
    cause: str = _text()
    dry_run: bool = Field()
    started_by: str = _text()
    by_hand: bool = Field()
    from_run: uuid.UUID | None = Field(default=None)
    from_step: str | None = _text_or_null()
    status: str = _text()
    state: dict[str, Any] = _json()
    handed: bool = _flag("false")
    created_at: datetime = _at()
    ended_at: datetime | None = _at_or_null()
    version_time: int = _big()
    seq: int = _count(-1)


class PlaybookStepRow(SQLModel, table=True):
    """What a step gave, written down as soon as it was done."""

    __tablename__: ClassVar[str] = "playbook_steps"
    run_id: uuid.UUID = Field(primary_key=True)
    step_id: str = Field(sa_column=Column(Text, primary_key=True))
    parameters: dict[str, Any] = _json()
    output: dict[str, Any] = _json()
    summary: str = _text()
    at: datetime = _at()


class PlaybookLogRow(SQLModel, table=True):
    __tablename__: ClassVar[str] = "playbook_log"
    run_id: uuid.UUID = Field(primary_key=True)
    id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    step_id: str = _text()
    text: str = _text()
    at: datetime = _at()


class PlaybookEventRow(SQLModel, table=True):
    """What happened to an incident and may begin playbooks. Gone once that was considered."""

    __tablename__: ClassVar[str] = "playbook_events"
    id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    incident_id: uuid.UUID
    seq: int = Field(sa_type=Integer)


class EvidenceRow(SQLModel, table=True):
    """What a tool sent, encrypted with a key of the settings; `sha256` and `size` are of the body before that."""

    __tablename__: ClassVar[str] = "evidence"
    __table_args__ = (
        Index("evidence_at", "at"),
        Index("evidence_incidents", "incident_ids", postgresql_using="gin"),
    )
    id: uuid.UUID = Field(primary_key=True)
    tool: str = _text()
    at: datetime = _at()
    sha256: str = _text()
    size: int = Field(sa_type=Integer)
    ciphertext: bytes = Field()
    alert_ids: list[uuid.UUID] = _ids()
    incident_ids: list[uuid.UUID] = _ids()


class BreakerRow(SQLModel, table=True):
    """A circuit breaker. A transition is written by one process, the first one from `version` on."""

    __tablename__: ClassVar[str] = "breakers"
    name: str = Field(sa_column=Column(Text, primary_key=True))
    state: str = Field(sa_column=Column(Text, nullable=False, server_default="closed"))
    since: datetime | None = _at_or_null()
    until: datetime | None = _at_or_null()
    forced: bool = _flag("false")
    openings: int = _count()
    changed_by: str | None = _text_or_null()
    reason: str | None = _text_or_null()
    version: int = _big()
    requests: int = _big()
    failures: int = _big()
    rejected: int = _big()
    opened: int = _big()
    used_at: datetime = _at()


class FactRow(SQLModel, table=True):
    """Something the installation knows about its surroundings, like which Temporal namespace holds its incidents."""

    __tablename__: ClassVar[str] = "facts"
    name: str = Field(sa_column=Column(Text, primary_key=True))
    value: str = _text()


class SeriesRow(SQLModel, table=True):
    """Something of which telemetry is counted (app/domain/telemetry.py); `parent`: what a session is compared by."""

    __tablename__: ClassVar[str] = "series"
    __table_args__ = (
        Index("series_siblings", "parent", postgresql_where=text("parent IS NOT NULL")),
        Index("series_by_age", "last_at"),
        Index("series_presence", "last_at", postgresql_where=text("detector = 'no_data'")),
    )
    id: str = Field(sa_column=Column(Text, primary_key=True))
    parent: str | None = _text_or_null()
    detector: str = _text()
    signal: str = _text()
    source: str = _text()
    subject: dict[str, Any] = _json()
    service: str | None = _text_or_null()
    environment: str | None = _text_or_null()
    labels: dict[str, Any] = _json()
    first_at: datetime = _at()
    last_at: datetime = _at()


class BucketRow(SQLModel, table=True):
    """What a series came to in one minute."""

    __tablename__: ClassVar[str] = "buckets"
    __table_args__ = (Index("buckets_by_age", "minute"),)
    series: str = Field(sa_column=Column(Text, primary_key=True))
    minute: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    total: int = _big()
    bad: int = _big()
    amount: float = Field()


class TelemetryPostRow(SQLModel, table=True):
    """A post of telemetry that was counted, so that it counts once."""

    __tablename__: ClassVar[str] = "telemetry_posts"
    __table_args__ = (Index("telemetry_posts_by_age", "at"),)
    delivery: str = Field(sa_column=Column(Text, primary_key=True))
    at: datetime = _at()


class EpisodeRow(SQLModel, table=True):
    """A series or heartbeat that is wrong now; `news` is the alert that still has to be accepted."""

    __tablename__: ClassVar[str] = "episodes"
    subject: str = Field(sa_column=Column(Text, primary_key=True))
    since: datetime = _at()
    severity: str = _text()
    threshold: float = Field()
    over: bool = _flag("false")
    news: dict[str, Any] | None = _json_or_null()


class BeatRow(SQLModel, table=True):
    """When a heartbeat pinged last, and since when it is waited for."""

    __tablename__: ClassVar[str] = "beats"
    heartbeat: str = Field(sa_column=Column(Text, primary_key=True))
    since: datetime = _at()
    at: datetime | None = _at_or_null()


class EdgeQueueRow(SQLModel, table=True):
    """A request that waits for an edge agent. `key` makes it one, however often it is sent; `priority` 4 goes first."""

    __tablename__: ClassVar[str] = "edge_queue"
    __table_args__ = (Index("edge_queue_order", text("priority DESC"), "created_at", "id"),)
    id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    key: str = Field(sa_column=Column(Text, nullable=False, unique=True))
    priority: int = Field(sa_type=Integer)
    payload: dict[str, Any] = _json()
    created_at: datetime = _at()
    attempts: int = _count()
    leased_until: datetime | None = _at_or_null()

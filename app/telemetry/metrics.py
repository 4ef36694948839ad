"""Every metric, by name, and how Prometheus gets them.

The gateway and the worker are two processes of one service. Where `PROMETHEUS_MULTIPROC_DIR` named a directory before
this module was imported, each process writes its figures there and either exposes those of both; a process that
died keeps its part in the counters. Without it each process exposes its own.
"""

import os
from collections import deque
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    start_http_server,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector

from app.domain.grouping import Grouped
from app.domain.incident import HoldReason, Incident
from app.domain.rules import ACTIONS
from app.domain.run import Run, RunStatus
from app.domain.taxonomy import CLASSES, KINDS
from app.domain.timeline import EventType
from app.domain.vocabulary import ChannelName, Severity
from app.telemetry.integrations import Collector, Figures, WithIntegrations, figures

SOURCES = frozenset({
    "api", "alertmanager", "pagerduty", "grafana", "litellm", "langfuse", "email", "cloudevents", "evidently",
    "garak", "otlp", "promptfoo", "sentinel", "statuspage", "openai", "anthropic", "sentry", "datadog", "opik",
    "github", "detector", "heartbeat",
})  # fmt: skip
RESULTS = frozenset({"created", "merged", "reopened", "repeat", "resolved", "ignored", "rejected"})
LEVELS = frozenset(str(level) for level in range(1, 11))
STAGES = ("classify", "route", "correlate", "suppress", "enrich")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

disable_created_metrics()  # type: ignore[no-untyped-call]

ALERTS_PROCESSED = Counter(
    "incident_manager_alerts_processed_total", "Alerts answered, by adapter and outcome.", ("source", "result")
)
INCIDENTS_CREATED = Counter("incident_manager_incidents_created_total", "Incidents opened.", ("severity",))
INCIDENTS_BY_CLASS = Counter(
    "incident_manager_incidents_created_by_class_total",
    "Incidents opened, by their class as stated or recognised; none = of no class.",
    ("class",),
)
INCIDENTS_RESOLVED = Counter("incident_manager_incidents_resolved_total", "Incidents resolved.", ("severity",))
DEDUPLICATION_HITS = Counter(
    "incident_manager_deduplication_hits_total", "Alerts that were merged into an incident that existed."
)
ESCALATIONS_TRIGGERED = Counter(
    "incident_manager_escalations_triggered_total", "Escalation levels that became due.", ("level",)
)
UNREACHABLE_TARGETS = Counter(
    "incident_manager_unreachable_targets_total", "Targets of a level behind which nobody could be reached."
)
NOTIFICATIONS_SENT = Counter(
    "incident_manager_notifications_sent_total", "Messages a provider has taken.", ("channel",)
)
NOTIFICATIONS_FAILED = Counter("incident_manager_notifications_failed_total", "Messages given up on.", ("channel",))
NOTIFICATION_DELIVERY = Histogram(
    "incident_manager_notification_delivery_duration_seconds",
    "From the first attempt until a provider took the message.",
    ("channel",),
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600),
)
NOTIFICATION_QUEUE_SIZE = Gauge(
    "incident_manager_notification_queue_size",
    "Messages that are decided and neither taken nor given up.",
    ("channel",),
    multiprocess_mode="mostrecent",
)
ESCALATION_LEVEL = Histogram(
    "incident_manager_escalation_level",
    "The level an incident had reached when somebody took it, or when it ended without.",
    buckets=(1, 2, 3, 4, 5, 10),
)
ESCALATION_DURATION = Histogram(
    "incident_manager_escalation_duration_seconds",
    "From the opening of an incident until somebody took it, or until it ended without.",
    buckets=(10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400),
)
GRAPHQL_QUERIES = Counter("llm_incident_manager_graphql_queries_total", "GraphQL operations answered over HTTP.")
GRAPHQL_ERRORS = Counter("llm_incident_manager_graphql_errors_total", "Errors in their answers.")
GRAPHQL_QUERY_DURATION = Histogram(
    "llm_incident_manager_graphql_query_duration_seconds",
    "What a GraphQL operation over HTTP took.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
GRAPHQL_SUBSCRIPTIONS = Gauge(
    "llm_incident_manager_graphql_subscriptions_active",
    "Different subscriptions that run; the same one of many clients is one.",
    multiprocess_mode="livesum",
)
WEBSOCKET_CONNECTIONS = Gauge("websocket_active_connections", "WebSockets that are open.", multiprocess_mode="livesum")
LISTENERS = Gauge(
    "websocket_active_subscriptions", "Listeners to the feed of incidents or alerts.", multiprocess_mode="livesum"
)
LISTENERS_BEGUN = Counter("websocket_subscriptions_total", "Listeners that began to hear the feed.")
WEBSOCKET_TOTAL = Counter("websocket_total_connections", "WebSockets that were opened.")
WEBSOCKET_SENT = Counter("websocket_messages_sent_total", "Messages to WebSockets.")
WEBSOCKET_RECEIVED = Counter("websocket_messages_received_total", "Messages from WebSockets.")
WEBSOCKET_DROPPED = Counter("websocket_send_errors_total", "Listeners that did not keep up, and were dropped.")
PROCESSING = Histogram(
    "incident_manager_processing_duration_seconds",
    "From the receipt of an alert until it was durable.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
ML_PREDICTIONS = Counter(
    "incident_manager_ml_predictions_total", "New incidents, by whether the model was followed.", ("outcome",)
)
ML_CONFIDENCE = Histogram(
    "incident_manager_ml_prediction_confidence",
    "How sure the model was of the severity, 0 to 1.",
    buckets=(0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1),
)
ML_ACCURACY = Gauge(
    "incident_manager_ml_model_accuracy", "Of the model trained last, on labels held out.",
    multiprocess_mode="mostrecent",
)  # fmt: skip
ML_TRAINING = Histogram(
    "incident_manager_ml_training_duration_seconds", "What a training took.", buckets=(1, 2.5, 5, 10, 30, 60, 300, 1800)
)
TRIAGE_DURATION = Histogram(
    "incident_manager_triage_duration_seconds",
    "What one stage of a new incident's triage took, or of looking at it again.",
    ("stage",),
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
ROUTING_DECISIONS = Counter(
    "incident_manager_routing_decisions_total", "Actions of routing rules that were taken, by type.", ("action",)
)
TRIAGE_SKIPPED = Counter(
    "incident_manager_triage_skipped_total", "Stages that failed or took too long; the incident went on.", ("stage",)
)
SUPPRESSED = Counter(
    "incident_manager_suppressed_incidents_total",
    "Incidents that something keeps from paging, by reason; one is counted anew when its reasons change.",
    ("reason",),
)
ENRICHMENT_DURATION = Histogram(
    "incident_manager_enrichment_duration_seconds",
    "What one look-up around an incident took, by enricher.",
    ("enricher",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
ENRICHMENT_CACHE_HITS = Counter("incident_manager_enrichment_cache_hits_total", "Look-ups whose answer was known.")
ENRICHMENT_CACHE_MISSES = Counter("incident_manager_enrichment_cache_misses_total", "Look-ups that had to be made.")
ENRICHMENT_CACHE_HIT_RATE = Gauge(
    "incident_manager_enrichment_cache_hit_rate",
    "Share of a worker's last 1,000 look-ups whose answer was known, 0 to 1.",
    multiprocess_mode="mostrecent",
)
CORRELATION_GROUPS = Counter("incident_manager_correlation_groups_created_total", "Groups of incidents found.")
CORRELATION_DURATION = Histogram(
    "incident_manager_correlation_duration_seconds",
    "What it took to find whom a new incident belongs with.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
CORRELATION_GROUP_SIZE = Histogram(
    "incident_manager_correlation_group_size",
    "How large a group was once an incident had come to it.",
    buckets=(2, 3, 5, 10, 20, 50, 100, 500, 1000, 10000),
)
STATUS_PAGE_POLLS = Counter(
    "incident_manager_status_page_polls_total", "Times that a status page was asked how its provider is.",
    ("provider", "result"),
)  # fmt: skip
# One process drains the outbox: what it said last is what counts, also after its restart.
OUTBOX_PENDING = Gauge(
    "incident_manager_outbox_pending", "Accepted, not yet handed to Temporal.", multiprocess_mode="mostrecent"
)
OUTBOX_OLDEST = Gauge(
    "incident_manager_outbox_oldest_seconds", "Age of the oldest of them; 0 = none.", multiprocess_mode="mostrecent"
)
HTTP_REQUESTS = Counter(
    "llm_incident_manager_http_requests_total",
    "Requests answered, by route template.",
    ("method", "route", "status"),
)
HTTP_REQUEST_DURATION = Histogram(
    "llm_incident_manager_http_request_duration_seconds",
    "From the request's head until the response's end.",
    ("method", "route"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
GRPC_REQUESTS = Counter(
    "llm_incident_manager_grpc_requests_total", "Calls that ended, by method and status.", ("method", "status")
)
GRPC_REQUEST_DURATION = Histogram(
    "llm_incident_manager_grpc_request_duration_seconds",
    "From the call's beginning to its end; of a stream, its whole life.",
    ("method",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 300, 3600),
)
GRPC_STREAMS_ACTIVE = Gauge(
    "llm_incident_manager_grpc_streams_active", "Streams under way.", multiprocess_mode="mostrecent"
)
PLAYBOOK_EXECUTIONS = Counter(
    "llm_incident_manager_playbook_executions_total", "Runs of playbooks that are over, dry runs too.", ("status",)
)
PLAYBOOK_DURATION = Histogram(
    "llm_incident_manager_playbook_execution_duration_seconds", "From a run's begin to its end, waits included.",
    buckets=(1, 5, 15, 60, 300, 900, 3600, 21_600, 86_400, 604_800),
)  # fmt: skip
PLAYBOOKS_ACTIVE = Gauge(
    "llm_incident_manager_playbook_executions_active", "Runs under way, as PostgreSQL has them, dry runs aside.",
    multiprocess_mode="mostrecent",
)  # fmt: skip
BREAKER_STATE = Gauge(
    "circuit_breaker_state", "0 closed, 1 open, 2 half-open.", ("name",), multiprocess_mode="mostrecent"
)
BREAKER_REQUESTS = Counter("circuit_breaker_requests_total", "Calls that were made.", ("name",))
# These names end without `_total`, which a counter would be given.
BREAKER_SUCCESSFUL = Gauge(
    "circuit_breaker_requests_successful", "Calls that were answered.", ("name",), multiprocess_mode="sum"
)
BREAKER_FAILED = Gauge("circuit_breaker_requests_failed", "Calls that failed.", ("name",), multiprocess_mode="sum")
BREAKER_REJECTED = Gauge(
    "circuit_breaker_requests_rejected", "Calls that were not made.", ("name",), multiprocess_mode="sum"
)
BREAKER_ERROR_RATE = Gauge(
    "circuit_breaker_error_rate", "Share of a process's calls within the window that failed, in percent.", ("name",),
    multiprocess_mode="mostrecent",
)  # fmt: skip
BREAKER_OPENED = Gauge("circuit_breaker_open_count", "How often it opened.", ("name",), multiprocess_mode="sum")
BREAKER_CLOSED = Gauge("circuit_breaker_close_count", "How often it closed.", ("name",), multiprocess_mode="sum")
BREAKER_DURATION = Histogram(
    "circuit_breaker_request_duration_seconds", "What a call took, good or bad.", ("name",),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
)  # fmt: skip

DETECTIONS = Counter(
    "incident_manager_detections_total",
    "Episodes that telemetry or a missed heartbeat began, by class.",
    ("incident_class",),
)
TELEMETRY_SAMPLES = Counter(
    "incident_manager_telemetry_samples_total",
    "Samples of telemetry: taken, repeat or (two days old) late.",
    ("result",),
)
SERIES_GAVE_WAY = Counter(
    "incident_manager_telemetry_series_gave_way_total", "New series that there was no room for, counted together."
)
HEARTBEATS_OVERDUE = Gauge(
    "incident_manager_heartbeats_overdue", "Heartbeats that have not pinged in time.", multiprocess_mode="mostrecent"
)
WATCHED = Gauge(
    "incident_manager_watched_timestamp_seconds", "When heartbeats and silent series were looked at last.",
    multiprocess_mode="mostrecent",
)  # fmt: skip


def watched(overdue: int) -> None:
    """That heartbeats and series were looked at, and how many heartbeats are overdue."""
    HEARTBEATS_OVERDUE.set(overdue)
    WATCHED.set_to_current_time()


# A series that is there from the start at 0 makes the first increase visible to rate().
for _severity in Severity:
    INCIDENTS_CREATED.labels(_severity)
    INCIDENTS_RESOLVED.labels(_severity)
for _class in (*CLASSES, "none"):
    INCIDENTS_BY_CLASS.labels(_class)
for _action in (*ACTIONS, "none"):
    ROUTING_DECISIONS.labels(_action)
for _outcome in ("followed", "abstained", "no_model"):
    ML_PREDICTIONS.labels(_outcome)
for _reason in HoldReason:
    SUPPRESSED.labels(_reason)
for _result in ("taken", "repeat", "late"):
    TELEMETRY_SAMPLES.labels(_result)
for _stage in STAGES:
    TRIAGE_SKIPPED.labels(_stage)
for _status in RunStatus:
    if _status.over:
        PLAYBOOK_EXECUTIONS.labels(_status)
for _channel in ChannelName:
    NOTIFICATIONS_SENT.labels(_channel)
    NOTIFICATIONS_FAILED.labels(_channel)
    NOTIFICATION_QUEUE_SIZE.labels(_channel).set(0)


def counted(*, taken: int, repeated: int, late: int) -> None:
    """Counts the samples of a post."""
    TELEMETRY_SAMPLES.labels("taken").inc(taken)
    TELEMETRY_SAMPLES.labels("repeat").inc(repeated)
    TELEMETRY_SAMPLES.labels("late").inc(0 if repeated else late)


def detected(incident_class: str) -> None:
    """Counts an episode that began."""
    DETECTIONS.labels(one_of(KINDS, incident_class)).inc()


def one_of(known: Collection[str], value: object) -> str:
    """A label whose values cannot grow: `value` where it is known, else `other`."""
    text = str(value)
    return text if text in known else "other"


def count(incident: Incident, event: EventType, data: Mapping[str, object]) -> None:
    """Counts a timeline entry that was written."""
    match event:
        case EventType.INCIDENT_CREATED:
            INCIDENTS_CREATED.labels(incident.severity).inc()
            class_ = data.get("incident_class")
            INCIDENTS_BY_CLASS.labels(class_ if class_ in CLASSES else "none").inc()
        case EventType.ACKNOWLEDGED:
            _taken(incident, incident.acknowledged_at)
        case EventType.RESOLVED:
            INCIDENTS_RESOLVED.labels(incident.severity).inc()
            if incident.acknowledged_at is None:
                _taken(incident, incident.resolved_at)
        case EventType.ESCALATED:
            ESCALATIONS_TRIGGERED.labels(one_of(LEVELS, data.get("level"))).inc()
        case EventType.SUPPRESSED:
            for reason in {hold.reason for hold in incident.holds}:
                SUPPRESSED.labels(reason).inc()
        case EventType.NOBODY_REACHED:
            UNREACHABLE_TARGETS.inc()
        case EventType.NOTIFICATION_FAILED:
            NOTIFICATIONS_FAILED.labels(one_of(tuple(ChannelName), data.get("channel"))).inc()


def _taken(incident: Incident, at: datetime | None) -> None:
    if at is not None:
        ESCALATION_LEVEL.observe(incident.level)
        ESCALATION_DURATION.observe(max((at - incident.opened_at).total_seconds(), 0))


def waiting(by_channel: Mapping[str, int]) -> None:
    """Sets how many messages wait, per channel."""
    for channel in ChannelName:
        NOTIFICATION_QUEUE_SIZE.labels(channel).set(by_channel.get(channel, 0))


def played(run: Run) -> None:
    """Counts a run that is over."""
    PLAYBOOK_EXECUTIONS.labels(run.status).inc()
    if run.ended_at is not None:
        PLAYBOOK_DURATION.observe(max((run.ended_at - run.started_at).total_seconds(), 0))


def took(channel: str, seconds: float) -> None:
    """Counts a message that a provider has taken, and how long that took."""
    NOTIFICATIONS_SENT.labels(channel).inc()
    NOTIFICATION_DELIVERY.labels(channel).observe(seconds)


def routed(action: str) -> None:
    """Counts an action that a routing rule took, or `none` of an incident that no rule matched."""
    ROUTING_DECISIONS.labels(one_of((*ACTIONS, "none"), action)).inc()


def correlated(seconds: float, grouped: Grouped | None) -> None:
    """Counts what became of a new incident that was compared with others."""
    CORRELATION_DURATION.observe(seconds)
    if grouped is None:
        return
    CORRELATION_GROUPS.inc(grouped.founded)
    if grouped.founded or grouped.joined:
        CORRELATION_GROUP_SIZE.observe(grouped.size)


def predicted(outcome: str, confidence: float | None) -> None:
    """Counts what a model said of a new incident."""
    ML_PREDICTIONS.labels(outcome).inc()
    if confidence is not None:
        ML_CONFIDENCE.observe(confidence)


def trained(seconds: float, accuracy: float | None) -> None:
    """Counts a training, and says how good its model is."""
    ML_TRAINING.observe(seconds)
    if accuracy is not None:
        ML_ACCURACY.set(accuracy)


def polled(provider: str, answered: bool) -> None:
    """Counts a status page that was asked."""
    STATUS_PAGE_POLLS.labels(provider, "answered" if answered else "failed").inc()


def triaged(stage: str, seconds: float, done: bool) -> None:
    """Counts a stage of triage."""
    TRIAGE_DURATION.labels(stage).observe(seconds)
    if not done:
        TRIAGE_SKIPPED.labels(stage).inc()


def enriched(enricher: str, seconds: float, cached: bool) -> None:
    """Counts one look-up around an incident."""
    ENRICHMENT_DURATION.labels(enricher).observe(seconds)
    (ENRICHMENT_CACHE_HITS if cached else ENRICHMENT_CACHE_MISSES).inc()
    _looked_up.append(cached)
    ENRICHMENT_CACHE_HIT_RATE.set(sum(_looked_up) / len(_looked_up))


_looked_up: deque[bool] = deque(maxlen=1000)

BREAKERS_SHOWN = 200
"""Names that metrics tell apart; those that come later are `webhook:other` (hosts may be any number)."""
BREAKER_STATES = {"closed": 0, "open": 1, "half_open": 2}


def breaker_answered(name: str, good: bool, seconds: float, recently: tuple[int, int]) -> None:
    """Counts a call; `recently` are the calls within the window, and how many of them failed."""
    name = _breaker(name)
    BREAKER_REQUESTS.labels(name).inc()
    (BREAKER_SUCCESSFUL if good else BREAKER_FAILED).labels(name).inc()
    BREAKER_DURATION.labels(name).observe(seconds)
    calls, failures = recently
    BREAKER_ERROR_RATE.labels(name).set(100 * failures / calls if calls else 0)


def breaker_rejected(name: str) -> None:
    """Counts a call that was not made."""
    BREAKER_REJECTED.labels(_breaker(name)).inc()


def breaker_turned(name: str, state: str, here: bool) -> None:
    """Shows a breaker's state; `here`: it was this process that changed it, and counts that."""
    name = _breaker(name)
    BREAKER_STATE.labels(name).set(BREAKER_STATES[state])
    if here and state != "half_open":
        (BREAKER_OPENED if state == "open" else BREAKER_CLOSED).labels(name).inc()


def _breaker(name: str) -> str:
    if name in _breakers or len(_breakers) < BREAKERS_SHOWN:
        _breakers.add(name)
        return name
    return f"{name.partition(':')[0]}:other"


_breakers: set[str] = set()


def exposition() -> tuple[bytes, str]:
    """Prometheus' text format 0.0.4: the body and its Content-Type."""
    return generate_latest(_registry()), CONTENT_TYPE_PLAIN_0_0_4


def serve(host: str, port: int) -> WSGIServer:
    """Answer every GET on `port` with the metrics, from a daemon thread, until `shutdown()` of what is returned.

    Raises:
        OSError: the port is taken.
    """
    server, _ = start_http_server(port, host, _registry())
    return server


def prepare(directory: Path) -> None:
    """Make `directory` ready as PROMETHEUS_MULTIPROC_DIR: the figures of an earlier run go. No process may use it."""
    directory.mkdir(parents=True, exist_ok=True)
    for left in directory.glob("*.db"):
        left.unlink()


def integrations() -> dict[str, Figures]:
    """The figures of Sentinel, Shield, Edge-Agent and Governance, of every process that shares its own."""
    return figures(_everything().collect())


def _everything() -> Collector:
    # The variable is the library's own switch: it chose between memory and files by it at import.
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    return MultiProcessCollector(None)  # type: ignore[no-untyped-call]


def _registry() -> CollectorRegistry:
    shown = CollectorRegistry(support_collectors_without_names=True)
    shown.register(WithIntegrations(_everything()))
    return shown

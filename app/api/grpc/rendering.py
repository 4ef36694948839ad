"""Incidents, alerts and correlations as messages."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson

from app.api.grpc.pb import alerts_pb2, incidents_pb2
from app.api.grpc.pb.incident_manager.v1 import incident_service_pb2 as v1
from app.api.grpc.wire import moment
from app.domain.alert import Alert
from app.domain.representation import AlertDetail, AlertView, IncidentView, Resolution, TimelineEvent
from app.domain.requests import Ingested
from app.domain.timeline import EventType
from app.domain.vocabulary import IncidentType, Status
from app.service.correlations import Correlation
from app.sources.protobuf import MEASURED

STATES = {
    Status.NEW: "OPEN", Status.ACKNOWLEDGED: "ACKNOWLEDGED", Status.IN_PROGRESS: "INVESTIGATING",
    Status.ESCALATED: "INVESTIGATING", Status.RESOLVED: "RESOLVED", Status.CLOSED: "CLOSED",
}  # fmt: skip
EVENTS = {
    EventType.INCIDENT_CREATED: "CREATED", EventType.STATE_CHANGED: "STATE_CHANGED",
    EventType.ACKNOWLEDGED: "STATE_CHANGED", EventType.UNACKNOWLEDGED: "STATE_CHANGED",
    EventType.CLOSED: "STATE_CHANGED", EventType.REOPENED: "STATE_CHANGED",
    EventType.NOTIFICATION_SENT: "NOTIFICATION_SENT", EventType.ASSIGNED: "ASSIGNMENT_CHANGED",
    EventType.COMMENT_ADDED: "COMMENT_ADDED", EventType.ESCALATED: "ESCALATED", EventType.RESOLVED: "RESOLVED",
}  # fmt: skip
METHODS = {"automated": "AUTOMATED", "manual": "MANUAL", "autoassistedmanual": "AUTO_ASSISTED_MANUAL"}


def incident(view: IncidentView, timeline: Iterable[TimelineEvent] = ()) -> incidents_pb2.Incident:
    return incidents_pb2.Incident(**_common(view, timeline))


def incident_v1(view: IncidentView, timeline: Iterable[TimelineEvent] = ()) -> v1.Incident:
    return v1.Incident(
        **_common(view, timeline),
        category=view.category, environment=view.environment or "", assigned_team=view.assigned_team or "",
        escalation_level=view.escalation_level, alert_count=view.alert_count,
        acknowledged_at=moment(view.acknowledged_at), acknowledged_by=view.acknowledged_by or "",
        closed_at=moment(view.closed_at), affected_services=view.affected_resources,
        runbook_url=view.runbook_url or "", suppressed=view.suppressed,
        correlation_group=view.correlation_group or "", parent_incident=view.parent_incident or "",
    )  # fmt: skip


def _common(view: IncidentView, timeline: Iterable[TimelineEvent]) -> dict[str, Any]:
    """The fields that both packages have, with the same names and numbers."""
    events = list(timeline)
    kind = view.incident_type
    return {
        "id": view.id,
        "title": view.title,
        "description": view.description,
        "severity": view.severity,
        "status": view.status,
        "source": view.source,
        "assigned_to": view.assigned_to or "",
        "created_at": moment(view.created_at),
        "updated_at": moment(view.updated_at),
        "resolved_at": moment(view.resolved_at),
        "metadata": view.tags,
        "tags": [name if not value else f"{name}={value}" for name, value in sorted(view.tags.items())],
        "notes": [_note(event) for event in events if event.event_type is EventType.COMMENT_ADDED],
        "fingerprint": view.fingerprint,
        "resolution": _resolution(view.resolution, view.metrics.mttr) if view.resolution else None,
        "timeline": [_event(event) for event in events],
        "incident_type": f"INCIDENT_TYPE_{'UNSPECIFIED' if kind is IncidentType.UNKNOWN else kind.name}",
        "incident_state": f"INCIDENT_STATE_{STATES[view.status]}",
    }


def _note(event: TimelineEvent) -> dict[str, Any]:
    return {
        "id": str(event.seq), "content": event.reason or "", "author": event.actor.name,
        "created_at": moment(event.timestamp),
    }  # fmt: skip


def _event(event: TimelineEvent) -> dict[str, Any]:
    return {
        "id": str(event.seq),
        "event_type": f"EVENT_TYPE_{EVENTS.get(event.event_type, 'UNSPECIFIED')}",
        "description": event.reason or event.event_type.replace("_", " "),
        "actor": event.actor.name,
        "timestamp": moment(event.timestamp),
        "metadata": {"event_type": event.event_type} | _texts(event.data),
    }


def _texts(data: Mapping[str, object]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else orjson.dumps(value).decode() for name, value in data.items()}


def _resolution(said: Resolution, took_secs: float | None) -> dict[str, Any]:
    method = METHODS.get((said.method or "").lower().replace("_", ""), "UNSPECIFIED")
    return {
        "method": f"RESOLUTION_METHOD_{method}",
        "summary": said.resolution_notes or said.root_cause or "",
        "resolved_by": said.resolved_by or "",
        "resolved_at": moment(said.resolved_at),
        "time_to_resolve_seconds": round(took_secs or 0),
    }


def correlations(found: Correlation) -> v1.CorrelationResult:
    group = found.group
    links = [
        v1.Correlation(
            incident_id=edge.target if edge.source == found.incident_id else edge.source,
            score=edge.score,
            reasons=[
                v1.CorrelationReason(type=reason.strategy, evidence=reason.evidence, description=reason.said)
                for reason in edge.reasons
            ],
        )
        for edge in found.edges
    ]
    return v1.CorrelationResult(
        incident_id=found.incident_id, threshold=found.threshold, correlations=links,
        group=None if group is None else v1.CorrelationGroup(
            id=group.id, status=group.status, lead_id=group.lead_id, title=group.title or "",
            severity=group.severity or "", size=group.size, open_incidents=group.open_members, manual=group.manual,
            score=group.correlation_score or 0, types=group.correlation_types, created_at=moment(group.created_at),
            updated_at=moment(group.updated_at),
        ),
    )  # fmt: skip


def alert(view: AlertDetail) -> alerts_pb2.Alert:
    """An alert as it stands."""
    return alerts_pb2.Alert(
        **_stated(view, view.starts_at or view.received_at), id=view.id, status=view.standing,
        fingerprint=view.fingerprint, acknowledged_at=moment(view.acknowledged_at),
        acknowledged_by=view.acknowledged_by or "", resolved_at=moment(view.resolved_at),
        resolved_by=view.resolved_by or "",
    )  # fmt: skip


def submitted(said: Alert, answer: Ingested) -> alerts_pb2.Alert:
    """An alert of somebody who may send alerts but not read them."""
    return alerts_pb2.Alert(**_stated(said, said.starts_at), id=answer.alert_id or "", status="FIRING")


def _stated(said: Alert | AlertView, fired_at: datetime | None) -> dict[str, Any]:
    """What its sender says."""
    measured = {name: value for name, value in said.annotations.items() if name in MEASURED}
    rest = {name: value for name, value in said.annotations.items() if name not in MEASURED}
    if isinstance(said, AlertView):
        rest["incident_id"] = said.incident_id
    return {
        "name": said.title,
        "description": said.description,
        "severity": said.severity,
        "source": said.source,
        "rule_id": measured.get("rule_id", ""),
        "labels": said.labels,
        "annotations": rest,
        "value": _number(measured.get("value")),
        "threshold_operator": measured.get("threshold_operator", ""),
        "threshold_value": _number(measured.get("threshold_value")),
        "fired_at": moment(fired_at),
    }


def _number(text: str | None) -> float:
    """0 where there is none: another source may call anything its value."""
    try:
        return float(text or 0)
    except ValueError:
        return 0.0

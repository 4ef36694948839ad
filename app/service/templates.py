"""Templates tried out before they are used."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.channels.rendering import Unsayable, render
from app.domain.access import Principal, Scope
from app.domain.decode import decode
from app.domain.errors import Invalid, NotFound
from app.domain.notification import Bundled, Message
from app.domain.record import Record
from app.domain.representation import IncidentView
from app.domain.template import Template
from app.domain.vocabulary import ChannelName, MessageKind
from app.store.database import answering
from app.store.documents import DocumentStore
from app.store.incidents import IncidentStore

SAMPLE: dict[str, Any] = {
    "id": "00000000-0000-7000-8000-000000000000", "external_id": None, "fingerprint": "sample", "severity": "P1",
    "status": "NEW", "state": "NEW", "category": "performance", "incident_type": "Performance",
    "environment": "production", "title": "Sample: p95 latency of gpt-4o above 8 s",
    "description": "A sample incident: time to first token has tripled within ten minutes.", "impact": None,
    "source": "sample", "resource": None, "affected_resources": ["llm-gateway"], "assigned_to": None,
    "assigned_team": None, "assignees": [], "escalation_policy_id": "default", "escalation_level": 1,
    "escalation_paused": False, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    "acknowledged_at": None, "acknowledged_by": None, "resolved_at": None, "closed_at": None,
    "last_seen_at": "2026-01-01T00:00:00Z", "alert_count": 3, "duplicate_count": 2, "flap_count": 0,
    "tags": {"service": "llm-gateway"}, "labels": ["service=llm-gateway"], "runbook_url": None, "resolution": None,
    "metrics": {"mtta": None, "mttr": None}, "source_event_id": None,
    "sla": {
        "acknowledgment_deadline": "2026-01-01T00:15:00Z", "resolution_deadline": "2026-01-01T01:00:00Z",
        "acknowledgment_breached": False, "resolution_breached": False,
        "acknowledgment_time_remaining": 900, "resolution_time_remaining": 3600,
    },
}  # fmt: skip


class Preview(Record):
    """What to try a template on: an incident that is there, one that is described, or (neither) a sample.

    Without a channel all of the template's are tried.
    """

    incident_id: str | None = None
    incident: dict[str, object] | None = None
    kind: MessageKind = MessageKind.CREATED
    channel: ChannelName | None = None
    by: str | None = None


class Previewed(Record):
    """What would be said, per channel, field by field."""

    sample: bool
    channels: dict[ChannelName, dict[str, object]]


@dataclass(frozen=True)
class Templates:
    documents: DocumentStore
    incidents: IncidentStore
    link: Callable[[str], str]

    async def preview_saved(self, who: Principal, id_: str, ask: Preview) -> Previewed:
        """Raises: Forbidden, NotFound, Invalid (field and line), Unavailable."""
        who.may(Scope.READ)
        async with answering():
            found = await self.documents.get("notification-templates", id_)
        if found is None:
            raise NotFound("notification-templates", id_)
        return await self.preview(who, Template.model_validate(found.body), ask)

    async def preview(self, who: Principal, template: Template, ask: Preview) -> Previewed:
        """Raises: Forbidden, NotFound (the incident), Invalid (field and line), Unavailable."""
        who.may(Scope.READ)
        if ask.channel is not None and ask.channel not in template.channels:
            raise Invalid.field("channel", f"must be one of the template's: {', '.join(template.channels)}")
        incident = await self._incident(ask)
        about = message(incident, ask.kind, self.link(incident.id), ask.by)
        wanted = [ask.channel] if ask.channel is not None else list(template.channels)
        said = {channel: _said(template, about, channel) for channel in wanted}
        return Previewed(sample=ask.incident_id is None and ask.incident is None, channels=said)

    async def _incident(self, ask: Preview) -> IncidentView:
        if ask.incident_id is None:
            return decode(IncidentView, SAMPLE | (ask.incident or {}))
        async with answering():
            return await self.incidents.get(ask.incident_id)


def checked(template: Template) -> None:
    """Raises: Invalid when a template can't be rendered, naming field and line."""
    sample = decode(IncidentView, SAMPLE)
    other = Bundled(incident_id=sample.id, title=sample.title, severity=sample.severity, link=None)
    for kind in MessageKind:
        about = message(sample, kind, "http://localhost/sample", "somebody")
        for one in (about, about.model_copy(update={"bundled": (other,)})):
            for channel in template.channels:
                _said(template, one, channel)


def message(incident: IncidentView, kind: MessageKind, link: str, by: str | None) -> Message:
    return Message(
        key="preview", notification_id="preview", incident_id=incident.id, kind=kind, level=1, target="user:preview",
        title=incident.title, body=incident.description, link=link, severity=incident.severity,
        status=incident.status, by=by, incident=incident.model_dump(mode="json"),
    )  # fmt: skip


def _said(template: Template, about: Message, channel: ChannelName) -> dict[str, object]:
    try:
        said = render(template, about, channel)
    except Unsayable as no:
        raise Invalid.field(no.field, no.problem) from no
    return {name: getattr(said, name) for name in template.channels[channel].said}

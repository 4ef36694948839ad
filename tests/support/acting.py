"""A playbook's step under test: where it runs, what it may use, and an incident that does what it is asked."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.actions import ACTIONS
from app.actions.base import Action, Done, Failed, Situation, Tools
from app.channels import CHANNELS
from app.config import Settings
from app.domain.record import Record
from app.domain.representation import IncidentView, Metrics, Resolution
from app.domain.sla import Targets, sla
from app.domain.vocabulary import Category, ChannelName, IncidentType, Severity, Status
from app.net.http import Http

NOW = datetime(2026, 11, 27, 9, 30, tzinfo=UTC)
"""A Friday."""
ID = str(UUID(int=7))
LINK = f"https://im.example.com/api/v1/incidents/{ID}"


def incident(**more: object) -> IncidentView:
    at = NOW - timedelta(minutes=10)
    said: dict[str, Any] = dict.fromkeys(IncidentView.model_fields) | {
        "id": ID, "fingerprint": "f", "severity": Severity.P2, "status": Status.ACKNOWLEDGED,
        "state": Status.ACKNOWLEDGED, "category": Category.AVAILABILITY, "incident_type": IncidentType.AVAILABILITY,
        "title": "chat answers slowly", "description": "p95 is 9 s", "source": "prometheus", "affected_resources": [
            "chat"
        ], "assignees": [], "escalation_level": 1, "escalation_paused": False, "created_at": at, "updated_at": at,
        "last_seen_at": at, "alert_count": 1, "duplicate_count": 0, "flap_count": 0, "tags": {}, "labels": [],
        "metrics": Metrics(), "sla": sla(Severity.P2, at, None, None, Targets(), NOW), "suppressed": False,
        "suppression": [], "related_incidents": [], "metadata": {}, "enrichment": [],
    }  # fmt: skip
    return IncidentView.model_validate(said | more)


def at(view: IncidentView | None = None, **more: Any) -> Situation:
    step = Situation("run-1/notify", "run-1", "notify", "playbook:slow-chat", view or incident(), NOW)
    return replace(step, **more)


@dataclass
class Desk:
    """An incident's workflow, as far as playbooks ask it: a key is used once, and for one thing only.

    `lost`: so many answers are lost, after it was done.
    """

    incident: IncidentView = field(default_factory=incident)
    asked: dict[str, tuple[str, dict[str, object]]] = field(default_factory=dict)
    lost: int = 0

    async def __call__(self, at: Situation, kind: str, **said: object) -> IncidentView:
        if self.asked.setdefault(at.key, (kind, said)) != (kind, said):
            raise Failed("The Idempotency-Key was used before, for a different request.")
        if kind == "assign":
            names = {"assignee": "assigned_to", "team": "assigned_team"}
            self._becomes(**{names[name]: value for name, value in said.items()})
        elif kind == "severity":
            self._becomes(severity=said["severity"])
        elif kind == "resolve":
            self._becomes(status=Status.RESOLVED, resolution=Resolution(resolved_by=at.actor))
        elif kind == "reopen":
            self._becomes(status=Status.NEW, resolution=None)
        if self.lost:
            self.lost -= 1
            raise Failed("no answer", timedelta(seconds=1), doubtful=True)
        return self.incident

    def _becomes(self, **changes: object) -> None:
        self.incident = self.incident.model_copy(update=changes)


def tools(http: Http, settings: Settings | None = None, desk: Desk | None = None) -> Tools:
    said = settings or Settings()
    ways = {name: made(said.notifications, http) for name, made in CHANNELS.items()}
    channels = {ChannelName(name): way for name, way in ways.items() if way is not None}
    return Tools(http, said, desk or Desk(), channels, "https://im.example.com/api/v1/incidents/{}".format)


def action(name: str, with_: Tools) -> Action:
    made = ACTIONS[name](with_)
    assert made is not None
    return made


def asked(one: Action, **parameters: object) -> Record:
    """Its parameters, as a playbook's step has them."""
    return one.Parameters.model_validate(parameters, extra="forbid")


async def ran(one: Action, where: Situation, **parameters: object) -> Done:
    return await one.run(asked(one, **parameters), where)

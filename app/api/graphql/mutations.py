"""What may be done. Each has its REST counterpart, and asks the same service."""

from typing import Any, cast

import strawberry
from strawberry.scalars import JSON

from app.api.graphql import inputs
from app.api.graphql.context import Info
from app.api.graphql.incident import CorrelationGroup, Incident, TimelineEvent
from app.api.graphql.people import EscalationPolicy, Kept
from app.api.graphql.playbooks import Playing
from app.domain.access import Scope
from app.domain.decode import decode
from app.domain.dedup import Outcome
from app.domain.editing import Change
from app.domain.errors import Invalid, NotFound
from app.domain.incident import CommandKind
from app.domain.representation import IncidentView
from app.domain.requests import Ask, Ingested
from app.domain.vocabulary import Severity
from app.service.correlations import Gather
from app.service.ml import Feedback
from app.sources import native

ID = strawberry.ID
JOINED = (Outcome.MERGED, Outcome.REPEAT)


@strawberry.type
class IncidentPayload:
    """`status`: success, created or duplicate; `duplicateOf` the incident that an alert was merged into."""

    incident: Incident | None
    status: str = "success"
    message: str | None = None
    duplicate_of: ID | None = None


@strawberry.type
class AlertPayload:
    """`status`: ACCEPTED or DUPLICATE. The alert is durable."""

    alert_id: ID | None
    incident_id: ID | None
    status: str
    outcome: str
    duplicate_of: ID | None
    incident: Incident | None


@strawberry.type
class CommentPayload:
    comment: TimelineEvent
    incident: Incident


@strawberry.type
class FeedbackPayload:
    incident: Incident
    labels: JSON


async def ask(info: Info, incident_id: str, kind: CommandKind, **said: object) -> IncidentPayload:
    """Has a command carried out. Raises: what `Incidents.ask` raises."""
    given = {name: value for name, value in said.items() if value is not None}
    asked = decode(Ask, {**given, "kind": kind, "key": info.context.key})
    incident = await info.context.gateway.incidents.ask(info.context.caller, incident_id, asked)
    return IncidentPayload(incident=cast("Incident", incident))


async def reported(info: Info, wanted: native.Create) -> tuple[Ingested, IncidentView | None]:
    """Takes an alert in; what became of it, and its incident for those who may read."""
    gateway, who = info.context.gateway, info.context.caller
    [answer] = await gateway.alerts.ingest(who, [wanted.alert], assignee=wanted.assign_to)
    if answer.incident_id is None or not who.allowed(Scope.READ):
        return answer, None
    return answer, await gateway.incidents.get(who, answer.incident_id)


def _headers(info: Info) -> dict[str, str]:
    return {"idempotency-key": info.context.key} if info.context.key is not None else {}


def _wire(given: dict[str, Any]) -> dict[str, Any]:
    """As REST's bodies have it: lower-case words, moments as text."""
    return {
        name: value.lower() if name in ("category", "environment") and value
        else value.isoformat() if hasattr(value, "isoformat") else _wire(value) if name == "event" else value
        for name, value in given.items()
    }  # fmt: skip


@strawberry.type
class Reporting:
    """Alerts and incidents that are new."""

    @strawberry.mutation
    async def create_incident(self, info: Info, input: inputs.CreateIncident) -> IncidentPayload:  # noqa: A002
        """A problem that is known already is merged, and its incident answered."""
        wanted = native.incident(_wire(inputs.given(input)), headers=_headers(info))
        answer, incident = await reported(info, wanted)
        created = answer.outcome is Outcome.CREATED
        return IncidentPayload(
            incident=cast("Incident | None", incident), status="created" if created else "duplicate",
            message=answer.outcome, duplicate_of=None if created else cast("ID | None", answer.incident_id),
        )  # fmt: skip

    @strawberry.mutation
    async def submit_alert(self, info: Info, input: inputs.AlertIn) -> AlertPayload:  # noqa: A002
        alert = native.alert(_wire(inputs.given(input)), headers=_headers(info))
        answer, incident = await reported(info, native.Create(alert=alert))
        known = answer.outcome in JOINED
        return AlertPayload(
            alert_id=cast("ID | None", answer.alert_id), incident_id=cast("ID | None", answer.incident_id),
            status="DUPLICATE" if known else "ACCEPTED", outcome=answer.outcome,
            duplicate_of=cast("ID | None", answer.incident_id) if known else None,
            incident=cast("Incident | None", incident),
        )  # fmt: skip


@strawberry.type
class Commanding:
    """What may be asked of an incident. It is named by `id`, by `incidentId`, or in the input: once."""

    @strawberry.mutation
    async def update_incident(
        self,
        info: Info,
        input: inputs.UpdateIncident,  # noqa: A002
        id: ID | None = None,  # noqa: A002
        incident_id: ID | None = None,
    ) -> IncidentPayload:
        said = inputs.given(input)
        named = inputs.identified(id, incident_id, said.pop("incident_id", None))
        change = decode(Change, said)
        found = await info.context.gateway.incidents.change(info.context.caller, named, change, info.context.key)
        return IncidentPayload(incident=cast("Incident", found))

    @strawberry.mutation
    async def acknowledge_incident(
        self,
        info: Info,
        id: ID | None = None,  # noqa: A002
        incident_id: ID | None = None,
        actor: str | None = None,
        notes: str | None = None,
    ) -> IncidentPayload:
        """Nobody is paged for it any more."""
        named = inputs.identified(id, incident_id)
        return await ask(info, named, CommandKind.ACKNOWLEDGE, actor=actor, reason=notes)

    @strawberry.mutation
    async def unacknowledge_incident(
        self, info: Info, id: ID | None = None, incident_id: ID | None = None, reason: str | None = None,  # noqa: A002
    ) -> IncidentPayload:  # fmt: skip
        return await ask(info, inputs.identified(id, incident_id), CommandKind.UNACKNOWLEDGE, reason=reason)

    @strawberry.mutation
    async def start_incident(
        self, info: Info, id: ID | None = None, incident_id: ID | None = None, actor: str | None = None,  # noqa: A002
    ) -> IncidentPayload:  # fmt: skip
        """In progress."""
        return await ask(info, inputs.identified(id, incident_id), CommandKind.START, actor=actor)

    @strawberry.mutation
    async def resolve_incident(
        self,
        info: Info,
        id: ID | None = None,  # noqa: A002
        incident_id: ID | None = None,
        input: inputs.ResolveIncident | None = None,  # noqa: A002
    ) -> IncidentPayload:
        said = inputs.given(input)
        named = inputs.identified(id, incident_id, said.get("incident_id"))
        extra = {"playbook_used": said["playbook_used"]} if said.get("playbook_used") else None
        return await ask(
            info, named, CommandKind.RESOLVE, actor=said.get("resolved_by"), method=said.get("method"),
            root_cause=said.get("root_cause"), reason=said.get("notes") or said.get("resolution_notes"), extra=extra,
        )  # fmt: skip

    @strawberry.mutation
    async def close_incident(
        self,
        info: Info,
        id: ID | None = None,  # noqa: A002
        incident_id: ID | None = None,
        input: inputs.CloseIncident | None = None,  # noqa: A002
        actor: str | None = None,
        notes: str | None = None,
    ) -> IncidentPayload:
        said = inputs.given(input)
        extra = {"post_mortem_url": said["post_mortem_url"]} if said.get("post_mortem_url") else None
        named = inputs.identified(id, incident_id)
        return await ask(info, named, CommandKind.CLOSE, actor=actor, reason=notes or said.get("notes"), extra=extra)

    @strawberry.mutation
    async def reopen_incident(
        self,
        info: Info,
        id: ID | None = None,  # noqa: A002
        incident_id: ID | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> IncidentPayload:
        return await ask(info, inputs.identified(id, incident_id), CommandKind.REOPEN, actor=actor, reason=reason)

    @strawberry.mutation
    async def escalate_incident(
        self,
        info: Info,
        id: ID | None = None,  # noqa: A002
        incident_id: ID | None = None,
        input: inputs.EscalateIncident | None = None,  # noqa: A002
        reason: str | None = None,
        level: int | None = None,
    ) -> IncidentPayload:
        """Pages the next level now, or `level`."""
        said = inputs.given(input)
        extra = {"escalate_to": said["escalate_to"]} if said.get("escalate_to") else None
        named = inputs.identified(id, incident_id)
        reason = reason or said.get("reason")
        return await ask(info, named, CommandKind.ESCALATE, reason=reason, to_level=level, extra=extra)

    @strawberry.mutation
    async def assign_incident(
        self,
        info: Info,
        id: ID | None = None,  # noqa: A002
        incident_id: ID | None = None,
        input: inputs.AssignIncident | None = None,  # noqa: A002
        user_id: str | None = None,
        team_id: str | None = None,
        actor: str | None = None,
    ) -> IncidentPayload:
        """What is left out stays as it is."""
        said = inputs.given(input)
        person, team = user_id or said.get("user_id"), team_id or said.get("team_id")
        if person is None and team is None:
            raise Invalid.field("userId", "is required, or teamId")
        named = inputs.identified(id, incident_id)
        return await ask(info, named, CommandKind.ASSIGN, assignee=person, team=team, actor=actor)

    @strawberry.mutation
    async def pause_incident(self, info: Info, id: ID, reason: str | None = None) -> IncidentPayload:  # noqa: A002
        """Its escalation waits."""
        return await ask(info, str(id), CommandKind.PAUSE, reason=reason)

    @strawberry.mutation
    async def resume_incident(self, info: Info, id: ID, reason: str | None = None) -> IncidentPayload:  # noqa: A002
        return await ask(info, str(id), CommandKind.RESUME, reason=reason)

    @strawberry.mutation
    async def add_comment(
        self,
        info: Info,
        incident_id: ID,
        content: str | None = None,
        comment: str | None = None,
        actor: str | None = None,
    ) -> CommentPayload:
        text = content or comment
        if not text:
            raise Invalid.field("content", "is required")
        found = await ask(info, str(incident_id), CommandKind.COMMENT, reason=text, actor=actor)
        comments = await info.context.gateway.incidents.comments(info.context.caller, str(incident_id))
        mine = next(one for one in reversed(comments) if one.reason == text)
        return CommentPayload(comment=cast("TimelineEvent", mine), incident=cast("Incident", found.incident))

    @strawberry.mutation
    async def provide_classification_feedback(
        self, info: Info, incident_id: ID, correct_severity: Severity, notes: str | None = None
    ) -> FeedbackPayload:
        """The model learns from it."""
        said = decode(Feedback, {"correct_severity": correct_severity} | ({"notes": notes} if notes else {}))
        kept = await info.context.gateway.learning.feedback(info.context.caller, str(incident_id), said)
        incident = await info.context.gateway.incidents.get(info.context.caller, str(incident_id))
        return FeedbackPayload(incident=cast("Incident", incident), labels=cast("JSON", kept.model_dump(mode="json")))

    @strawberry.mutation
    async def link_incidents(self, info: Info, incident_ids: list[ID], reason: str = "") -> CorrelationGroup:
        """Makes one group of them."""
        gathered = decode(Gather, {"incident_ids": list(incident_ids), "reason": reason})
        found = await info.context.gateway.correlations.gather(info.context.caller, gathered)
        return cast("CorrelationGroup", found)


def _known(info: Info, kind: str) -> None:
    if kind not in info.context.gateway.documents.KINDS:
        raise NotFound("kind of document", kind)


@strawberry.type
class Configuring:
    """Configuration, as REST takes it."""

    @strawberry.mutation
    async def upsert_escalation_policy(self, info: Info, id: ID, input: JSON) -> EscalationPolicy:  # noqa: A002
        body = inputs.json_object(input, "input")
        put = info.context.gateway.documents.put
        return cast("EscalationPolicy", await put(info.context.caller, "escalation-policies", str(id), body))

    @strawberry.mutation
    async def delete_escalation_policy(self, info: Info, id: ID) -> bool:  # noqa: A002
        await info.context.gateway.documents.delete(info.context.caller, "escalation-policies", str(id))
        return True

    @strawberry.mutation
    async def upsert_document(
        self, info: Info, kind: str, id: ID, body: JSON, expected_version: int | None = None  # noqa: A002
    ) -> Kept:  # fmt: skip
        put = info.context.gateway.documents.put
        said = inputs.json_object(body, "body")
        _known(info, kind)
        return cast("Kept", await put(info.context.caller, kind, str(id), said, expected_version))

    @strawberry.mutation
    async def delete_document(self, info: Info, kind: str, id: ID) -> bool:  # noqa: A002
        _known(info, kind)
        await info.context.gateway.documents.delete(info.context.caller, kind, str(id))
        return True


@strawberry.type
class Mutation(Reporting, Commanding, Configuring, Playing):
    pass

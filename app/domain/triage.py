"""What triage makes of an incident: before its first page, when something around it changes, and when it knows more."""

from datetime import datetime, timedelta

from app.domain.grouping import Grouped
from app.domain.incident import Hold, HoldReason, Incident, Standing
from app.domain.lifecycle import Change, told
from app.domain.record import Record
from app.domain.timeline import SYSTEM, Actor, Entry, EventType
from app.domain.vocabulary import ActorType, Severity

SOONEST = timedelta(seconds=1)
"""A moment to look again that has passed already is this far away, so that no workflow spins."""
AFTER_A_FAILURE = timedelta(minutes=1)
MODEL = Actor(name="classifier", type=ActorType.SYSTEM)
TAXONOMY = Actor(name="taxonomy", type=ActorType.SYSTEM)
ROUTING = Actor(name="routing", type=ActorType.SYSTEM)


class Classified(Record):
    """What the model said: the severity that stands after it, whether that is its own, and why.

    `stated`: the source said what it is, and what stands is what the taxonomy makes of that.
    """

    severity: Severity
    applied: bool = False
    confidence: float | None = None
    incident_class: str | None = None
    model_version: int | None = None
    reason: str = ""
    stated: bool = False


class Routed(Record):
    """What the routing rules made of it: by id those that matched, and what they asked for."""

    severity: Severity
    rules: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    playbooks: tuple[str, ...] = ()
    assigned_to: str | None = None
    assigned_team: str | None = None


class Triaged(Record):
    """Everything triage has to say of a new incident.

    `skipped` names the stages that failed or took too long, `found` and `missed` those who were asked what is known
    around it; `page_wait_secs` is how long the first page waits for others who will be asked, None when none will be.
    """

    classified: Classified | None = None
    grouped: Grouped | None = None
    routed: Routed | None = None
    standing: Standing = Standing()
    skipped: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    page_wait_secs: float | None = None


def triaged(incident: Incident, triage: Triaged, now: datetime) -> Change:
    """A new incident with what triage made of it, told in the order in which it was done."""
    incident = incident.with_(triaged=True)
    entries: tuple[Entry, ...] = ()
    for step in (_classified, _routed, _grouped, _skipped, _waiting):
        incident, more = step(incident, triage, now)
        entries += more
    incident, more = stands(incident, triage.standing, now)
    entries += more
    incident, more = _known(incident, triage.found, triage.missed, now)
    return incident, entries + more


def _classified(incident: Incident, triage: Triaged, now: datetime) -> Change:
    said = triage.classified
    if said is None or not (said.applied or said.incident_class):
        return incident, ()
    by = TAXONOMY if said.stated else MODEL
    before, after = incident.severity, incident.with_(severity=said.severity, heard_severity=said.severity)
    after, entries = told(
        after, now, by, EventType.CLASSIFIED, severity=said.severity, applied=said.applied,
        confidence=said.confidence, incident_class=said.incident_class, model_version=said.model_version,
        reason=said.reason,
    )  # fmt: skip
    if said.severity is before:
        return after, entries
    after, more = told(after, now, by, EventType.SEVERITY_CHANGED, **{"from": before, "to": said.severity})
    return after, entries + more


def _grouped(incident: Incident, triage: Triaged, now: datetime) -> Change:
    group = triage.grouped
    if group is None:
        return incident, ()
    return told(incident, now, SYSTEM, EventType.CORRELATED, group=group.group_id, lead=group.lead_id)


def _routed(incident: Incident, triage: Triaged, now: datetime) -> Change:
    routed = triage.routed
    if routed is None or not routed.rules:
        return incident, ()
    before, after = incident, incident.with_(severity=routed.severity, heard_severity=routed.severity)
    after = after.with_(
        assigned_to=routed.assigned_to or after.assigned_to, assigned_team=routed.assigned_team or after.assigned_team
    )
    policy = after.policy.id if after.policy else None
    after, entries = told(
        after, now, ROUTING, EventType.ROUTED, rules=routed.rules, to=policy, labels=routed.labels,
        playbooks=routed.playbooks,
    )  # fmt: skip
    if after.severity is not before.severity:
        after, more = told(
            after, now, ROUTING, EventType.SEVERITY_CHANGED, **{"from": before.severity, "to": after.severity}
        )
        entries += more
    if (after.assigned_to, after.assigned_team) != (before.assigned_to, before.assigned_team):
        after, more = told(
            after, now, ROUTING, EventType.ASSIGNED, assigned_to=after.assigned_to, assigned_team=after.assigned_team
        )
        entries += more
    return after, entries


def _skipped(incident: Incident, triage: Triaged, now: datetime) -> Change:
    if not triage.skipped:
        return incident, ()
    return told(incident, now, SYSTEM, EventType.TRIAGE_INCOMPLETE, skipped=triage.skipped)


def _waiting(incident: Incident, triage: Triaged, now: datetime) -> Change:
    if incident.due_at is None or not triage.page_wait_secs:
        return incident, ()
    return incident.with_(due_at=now + timedelta(seconds=triage.page_wait_secs)), ()


def stands(incident: Incident, standing: Standing | None, now: datetime) -> Change:
    """Whether anybody is to be paged, as it stands now. The same again tells nothing.

    None: nobody could look. What was to end by now has ended, and somebody looks again in a while.
    """
    if standing is None:
        if incident.look_again_at is None or incident.look_again_at > now:
            return incident, ()
        left = tuple(hold for hold in incident.holds if hold.until is None or hold.until > now)
        standing = Standing(holds=left, look_again_at=now + AFTER_A_FAILURE)
    look_again_at = standing.look_again_at
    if look_again_at is not None:
        look_again_at = max(look_again_at, now + SOONEST)
    before, incident = incident.holds, incident.with_(holds=standing.holds, look_again_at=look_again_at)
    if not incident.status.open or _reasons(before) == _reasons(standing.holds):
        return incident, ()
    if not standing.holds:
        return told(incident, now, SYSTEM, EventType.UNSUPPRESSED, was=[hold.reason for hold in before])
    holds = [hold.model_dump(mode="json") for hold in standing.holds]
    return told(incident, now, SYSTEM, EventType.SUPPRESSED, holds=holds)


def _reasons(holds: tuple[Hold, ...]) -> set[tuple[HoldReason, str]]:
    return {(hold.reason, hold.by) for hold in holds}


def enriched(incident: Incident, found: tuple[str, ...], missed: tuple[str, ...], now: datetime) -> Change:
    """What there is to know is known: a first page that waited for it goes out now."""
    waits = incident.rung == 0 and incident.cycle == 0 and incident.due_at is not None and incident.due_at > now
    if waits:
        incident = incident.with_(due_at=now)
    return _known(incident, found, missed, now)


def _known(incident: Incident, found: tuple[str, ...], missed: tuple[str, ...], now: datetime) -> Change:
    if not (found or missed):
        return incident, ()
    return told(incident, now, SYSTEM, EventType.ENRICHMENT_ADDED, found=found, missed=missed)

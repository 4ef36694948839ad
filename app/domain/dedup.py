"""Which incident an alert belongs to, and what it changes there. Pure: the store only loads and saves."""

import hashlib
import unicodedata
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from app.domain.alert import Alert, AlertStatus
from app.domain.taxonomy import problem, stated
from app.domain.vocabulary import Severity, Status

SOONEST = timedelta(microseconds=1)
COUNT_MAX = 2**31 - 1


def _digest(parts: Iterable[str]) -> str:
    """SHA-256 over length-prefixed parts: ("ab", "c") and ("a", "bc") differ."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


def normalized(text: str) -> str:
    """NFKC, case folded, every run of whitespace one blank: how titles are compared."""
    if text.isascii():
        return " ".join(text.lower().split())
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def fingerprint(alert: Alert) -> str:
    """64 hex digits naming the problem: the source's own identity, or source, type, title, services, environment.

    Of a class that the source states: what tells its problems apart instead of type and title, where the labels say it.
    """
    if alert.identity is not None:
        return _digest(("identity", alert.source, alert.identity))
    services = sorted({normalized(service) for service in alert.affected_services})
    environment = alert.environment or ""
    name = stated(alert.labels)
    told = problem(name, alert.labels) if name is not None else ()
    if name is not None and told:
        apart = sorted(map(normalized, told))
        return _digest(("class", normalized(alert.source), name, environment, *services, "", *apart))
    return _digest(
        ("content", normalized(alert.source), alert.incident_type, normalized(alert.title), environment, *services)
    )


def delivery_id(alert: Alert, fingerprint: str) -> str | None:
    """64 hex digits naming this delivery, or None when the source gives nothing to tell two apart by."""
    if alert.delivery is not None:
        return _digest(("delivery", alert.source, alert.delivery))
    if alert.starts_at is not None:
        return _digest(
            ("episode", fingerprint, alert_key(alert, fingerprint), alert.starts_at.isoformat(), alert.status)
        )
    return None


class Outcome(StrEnum):
    """What an alert turned out to be; on the wire as it stands."""

    CREATED = "created"
    MERGED = "merged"
    REOPENED = "reopened"
    REPEAT = "repeat"
    RESOLVED = "resolved"
    IGNORED = "ignored"

    @property
    def duplicate(self) -> bool:
        """It told of nothing new."""
        return self in (Outcome.MERGED, Outcome.REPEAT)

    @property
    def sentence(self) -> str:
        """What became of it, for people."""
        return SENTENCES[self]


SENTENCES = {
    Outcome.CREATED: "A new incident was opened.",
    Outcome.MERGED: "Merged into an open incident.",
    Outcome.REOPENED: "The incident was resolved a short while ago, and is open again.",
    Outcome.REPEAT: "This very delivery was received before; nothing changed.",
    Outcome.RESOLVED: "The source says that it is over; the incident is being resolved.",
    Outcome.IGNORED: "Nothing is open that this alert could end.",
}


class Known(NamedTuple):
    """What ingest knows and owns of the incident that a fingerprint leads to.

    `collecting`: further alerts of the fingerprint belong here (at most one incident per fingerprint
    collects). `firing` maps each alert of the incident that still fires to the start of its newest
    episode (None when the source names none).
    """

    id: str
    status: Status
    collecting: bool
    severity: Severity
    alert_count: int
    last_seen_at: datetime
    last_firing_at: datetime
    flaps: int = 0
    resolved_at: datetime | None = None
    source_resolved_at: datetime | None = None
    source_acknowledged_at: datetime | None = None
    firing: dict[str, datetime | None] = {}


class Received(NamedTuple):
    """`incident` is the incident after the alert (None when there is none to change).

    `hear` says that the workflow must hear of it: the incident's fate changes.
    """

    incident: Known | None
    outcome: Outcome
    hear: bool


def alert_key(alert: Alert, fingerprint: str) -> str:
    """What tells the alerts of one incident apart: the source's id for the alert, or the fingerprint."""
    return alert.external_id or fingerprint


def receive(
    known: Known | None,
    alert: Alert,
    fingerprint: str,
    *,
    candidate: str,
    at: datetime,
    window: timedelta,
    auto_resolve: bool = True,
) -> Received:
    """What an alert does to the incident its fingerprint leads to.

    `known` is the collecting incident of the fingerprint, or else its last resolved one; `candidate`
    the id a new incident would get; `window` how long after its resolve an incident still reopens.
    """
    if known is not None and not known.collecting and not _reopens(known, at, window):
        known = None
    key = alert_key(alert, fingerprint)
    if alert.status is AlertStatus.RESOLVED:
        return _resolved(known, key, alert, at, auto_resolve)
    if alert.status is AlertStatus.ACKNOWLEDGED:
        if known is None or not known.collecting:
            return Received(None, Outcome.IGNORED, hear=False)
        seen = max(at, known.last_seen_at)
        return Received(known._replace(source_acknowledged_at=at, last_seen_at=seen), Outcome.MERGED, hear=True)
    if known is None:
        return Received(_created(candidate, key, alert, at), Outcome.CREATED, hear=True)
    return _fired(known, key, alert, at)


def _fired(known: Known, key: str, alert: Alert, at: datetime) -> Received:
    raised = alert.severity.worse_than(known.severity)
    reopened = not known.collecting
    fired_at = at
    if reopened and known.resolved_at is not None:
        fired_at = max(at, known.resolved_at + SOONEST)  # the workflow's clock may be ahead of the door's
    merged = known._replace(
        collecting=True,
        severity=alert.severity if raised else known.severity,
        alert_count=min(known.alert_count + alert.occurrences, COUNT_MAX),
        last_seen_at=max(at, known.last_seen_at),
        last_firing_at=max(fired_at, known.last_firing_at),
        flaps=known.flaps + reopened,
        source_resolved_at=None,
        firing={**known.firing, key: _newest(known.firing.get(key), alert.starts_at)},
    )
    return Received(merged, Outcome.REOPENED if reopened else Outcome.MERGED, hear=raised or reopened)


def _newest(*starts: datetime | None) -> datetime | None:
    return max((start for start in starts if start is not None), default=None)


def _reopens(known: Known, at: datetime, window: timedelta) -> bool:
    return known.status is Status.RESOLVED and known.resolved_at is not None and at - known.resolved_at <= window


def _created(candidate: str, key: str, alert: Alert, at: datetime) -> Known:
    return Known(
        id=candidate,
        status=Status.NEW,
        collecting=True,
        severity=alert.severity,
        alert_count=alert.occurrences,
        last_seen_at=at,
        last_firing_at=at,
        firing={key: alert.starts_at},
    )


def _resolved(known: Known | None, key: str, alert: Alert, at: datetime, auto_resolve: bool) -> Received:
    """The source says the problem is over: true of the present episode, or a late word about an earlier one."""
    if known is None or not known.collecting or key not in known.firing:
        return Received(None, Outcome.IGNORED, hear=False)
    episode = known.firing[key]
    if episode is not None and alert.starts_at is not None and alert.starts_at < episode:
        return Received(None, Outcome.IGNORED, hear=False)
    firing = {other: start for other, start in known.firing.items() if other != key}
    over = not firing and auto_resolve
    after = known._replace(
        firing=firing, last_seen_at=max(at, known.last_seen_at),
        source_resolved_at=at if over else known.source_resolved_at,
    )  # fmt: skip
    return Received(after, Outcome.RESOLVED if over else Outcome.MERGED, hear=over)

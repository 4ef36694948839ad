"""Accepting alerts: one transaction makes them, their incidents and the outbox durable together."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
from uuid_utils import uuid7

from app.domain.alert import Alert, AlertStatus
from app.domain.dedup import Known, Outcome, alert_key, delivery_id, fingerprint, receive
from app.domain.errors import NotFound
from app.domain.representation import AlertView
from app.domain.requests import Ingested
from app.domain.vocabulary import Severity, Status
from app.store.database import CONTENDED, Connection, Pool

ATTEMPTS = 10

REPEATS = "SELECT delivery, incident_id, id FROM alerts WHERE delivery = ANY($1::text[])"

NAMED = "SELECT external_id FROM alerts WHERE delivery = ANY($1::text[]) ORDER BY id LIMIT 1"

# No subquery: a row that changed while its lock was waited for is judged again by this condition alone.
KNOWN = """
SELECT id, fingerprint, status, collecting, reported_severity, alert_count, last_seen_at, last_firing_at,
       flap_count, resolved_at, source_resolved_at, source_acknowledged_at
FROM incidents
WHERE (collecting AND fingerprint = ANY($1::text[]))
   OR (status = 'RESOLVED' AND fingerprint = ANY($1::text[]) AND resolved_at >= $2)
ORDER BY fingerprint, id
FOR UPDATE
"""

FIRING = """
SELECT incident_id, alert_key, max(starts_at) AS starts_at FROM alerts
WHERE firing AND incident_id = ANY($1::uuid[]) GROUP BY incident_id, alert_key
"""

STOP_FIRING = """
UPDATE alerts SET firing = false
FROM unnest($1::uuid[], $2::text[]) AS over(incident_id, alert_key)
WHERE firing AND alerts.incident_id = over.incident_id AND alerts.alert_key = over.alert_key
"""

# A title that no alert has is a person's, and stays.
MERGE = """
UPDATE incidents SET
    collecting = u.collecting, reported_severity = u.severity, alert_count = u.alert_count,
    last_seen_at = u.last_seen_at, last_firing_at = u.last_firing_at, flap_count = u.flaps,
    source_resolved_at = u.source_resolved_at, source_acknowledged_at = u.source_acknowledged_at,
    tags = CASE WHEN u.tags <@ incidents.tags THEN incidents.tags ELSE u.tags || incidents.tags END,
    title = CASE WHEN u.title IS NOT NULL AND EXISTS (
        SELECT FROM alerts a WHERE a.incident_id = incidents.id AND a.title = incidents.title
    ) THEN u.title ELSE incidents.title END,
    description = CASE WHEN u.description IS NOT NULL AND EXISTS (
        SELECT FROM alerts a WHERE a.incident_id = incidents.id AND a.description = incidents.description
    ) THEN u.description ELSE incidents.description END
FROM unnest($1::uuid[], $2::bool[], $3::text[], $4::int[], $5::timestamptz[], $6::timestamptz[], $7::int[],
            $8::timestamptz[], $9::timestamptz[], $10::jsonb[], $11::text[], $12::text[])
    AS u(id, collecting, severity, alert_count, last_seen_at, last_firing_at, flaps, source_resolved_at,
         source_acknowledged_at, tags, title, description)
WHERE incidents.id = u.id
"""

INCIDENT = {
    "id": "uuid", "fingerprint": "text", "collecting": "bool", "source": "text", "external_id": "text",
    "title": "text", "description": "text", "impact": "text", "category": "text", "incident_type": "text",
    "environment": "text", "resource": "jsonb", "affected_services": "text[]", "tags": "jsonb", "runbook_url": "text",
    "created_at": "timestamptz", "began_at": "timestamptz", "reported_severity": "text", "alert_count": "int",
    "flap_count": "int", "last_seen_at": "timestamptz", "last_firing_at": "timestamptz",
    "source_resolved_at": "timestamptz", "source_acknowledged_at": "timestamptz", "severity": "text",
    "updated_at": "timestamptz", "assigned_to": "text",
}  # fmt: skip
ALERT = {
    "incident_id": "uuid", "id": "uuid", "delivery": "text", "alert_key": "text", "firing": "bool",
    "deduplicated": "bool", "status": "text", "severity": "text", "source": "text", "external_id": "text",
    "title": "text", "description": "text", "labels": "jsonb", "annotations": "jsonb", "affected_services": "text[]",
    "runbook_url": "text", "starts_at": "timestamptz", "ends_at": "timestamptz", "received_at": "timestamptz",
    "event": "jsonb",
}  # fmt: skip
OUTBOX = {"rank": "smallint", "incident_id": "uuid"}


def _insert(table: str, columns: dict[str, str], first: int) -> str:
    """An INSERT of any number of rows, each column an array of its own: $`first` and those after it."""
    arrays, values = [], []
    for number, (name, kind) in enumerate(columns.items(), first):
        # Arrays of arrays cannot be of different lengths, nor be unnested by row.
        several = kind == "text[]"
        arrays.append(f"${number}::{'jsonb' if several else kind}[]")
        values.append(f"ARRAY(SELECT jsonb_array_elements_text(u.{name}))" if several else f"u.{name}")
    names = ", ".join(columns)
    return f"INSERT INTO {table} ({names}) SELECT {', '.join(values)} FROM unnest({', '.join(arrays)}) AS u({names})"


# One statement, as each one is a round trip, and while it lasts nobody else's alert is accepted.
STORE = f"""
WITH i AS ({_insert("incidents", INCIDENT, 1)}), a AS ({_insert("alerts", ALERT, 1 + len(INCIDENT))})
{_insert("outbox", OUTBOX, 1 + len(INCIDENT) + len(ALERT))}
"""

QUIET = """
SELECT i.id, i.fingerprint, i.source, i.severity, i.last_seen_at
FROM incidents i
WHERE i.collecting AND i.source = ANY($1::text[])
  AND $4 - greatest(i.last_seen_at, i.acknowledged_at) > (
    SELECT after FROM unnest($1::text[], $2::text[], $3::interval[]) AS said(source, class, after)
    WHERE said.source = i.source AND said.class IN ('', i.tags->>'class') ORDER BY said.class DESC LIMIT 1)
  AND EXISTS (SELECT FROM alerts a WHERE a.incident_id = i.id AND a.firing)
ORDER BY i.fingerprint, i.id LIMIT 100 FOR UPDATE
"""
"""Whom nothing was heard of for too long, judged again once it is locked: an alert that comes meanwhile is not lost."""

ALERT_SHOWN = """
a.id, a.incident_id, a.external_id, a.source, a.status, a.severity, a.title, a.description, a.labels, a.annotations,
a.affected_services, a.runbook_url, a.starts_at, a.received_at, a.deduplicated
"""

OF_INCIDENT = f"""
SELECT {ALERT_SHOWN}, count(*) OVER () AS total
FROM alerts a WHERE a.incident_id = $1 ORDER BY a.id DESC LIMIT $2 OFFSET $3
"""


@dataclass(frozen=True)
class Arrival:
    """An alert at the door: when it came, and what names its problem and this delivery of it."""

    alert: Alert
    at: datetime
    fingerprint: str
    delivery: str | None
    assignee: str | None = None

    @classmethod
    def of(cls, alert: Alert, at: datetime, assignee: str | None = None) -> "Arrival":
        mark = fingerprint(alert)
        return cls(alert, at, mark, delivery_id(alert, mark), assignee)


@dataclass
class _Row:
    """An alert that will be stored."""

    id: str
    incident_id: str
    arrival: Arrival
    key: str
    firing: bool
    outcome: Outcome


@dataclass
class _Batch:
    """What a group of alerts comes to, worked out before a byte is written."""

    window: timedelta
    auto_resolves: Callable[[str], bool]
    known: dict[str, Known] = field(default_factory=dict)
    repeats: dict[str, tuple[str, str]] = field(default_factory=dict)
    new: dict[str, Arrival] = field(default_factory=dict)
    changed: dict[str, dict[str, str]] = field(default_factory=dict)
    worst: dict[str, Alert] = field(default_factory=dict)
    rows: list[_Row] = field(default_factory=list)
    over: set[tuple[str, str]] = field(default_factory=set)
    hear: dict[str, Severity] = field(default_factory=dict)

    def take(self, arrival: Arrival) -> Ingested:
        alert, mark = arrival.alert, arrival.fingerprint
        if arrival.delivery is not None and arrival.delivery in self.repeats:
            incident_id, alert_id = self.repeats[arrival.delivery]
            return Ingested.model_construct(alert_id=alert_id, incident_id=incident_id, outcome=Outcome.REPEAT)
        received = receive(
            self.known.get(mark), alert, mark, candidate=str(uuid7()), at=arrival.at, window=self.window,
            auto_resolve=self.auto_resolves(alert.source),
        )  # fmt: skip
        if received.incident is None:
            return Ingested.model_construct(alert_id=None, incident_id=None, outcome=received.outcome)
        before, incident = self.known.get(mark), received.incident
        self.known[mark] = incident
        if received.outcome is Outcome.CREATED:
            self.new[mark] = arrival
        elif before is not None and incident.severity.worse_than(before.severity):
            self.worst[mark] = alert
        if mark not in self.new:
            self.changed[mark] = alert.labels | self.changed.get(mark, {})
        if received.hear:
            self.hear[incident.id] = incident.severity
        alert_id = self._store(arrival, incident.id, received.outcome)
        return Ingested.model_construct(alert_id=alert_id, incident_id=incident.id, outcome=received.outcome)

    def _store(self, arrival: Arrival, incident_id: str, outcome: Outcome) -> str:
        key = alert_key(arrival.alert, arrival.fingerprint)
        if arrival.alert.status is AlertStatus.RESOLVED:
            self.over.add((incident_id, key))
            for row in self.rows:
                row.firing = row.firing and (row.incident_id, row.key) != (incident_id, key)
        firing = arrival.alert.status is AlertStatus.FIRING
        row = _Row(str(uuid7()), incident_id, arrival, key, firing, outcome)
        self.rows.append(row)
        if arrival.delivery is not None:
            self.repeats[arrival.delivery] = (incident_id, row.id)
        return row.id


@dataclass(frozen=True)
class AlertStore:
    """`window`: how long after its resolve an incident still reopens. `kept_open`: sources that never resolve one.

    `quiet_over`: source, or source/class, → after how long without an alert an incident of it is over.
    """

    pool: Pool
    window: timedelta
    kept_open: frozenset[str] = frozenset()
    quiet_over: Mapping[str, timedelta] = field(default_factory=dict)

    async def claim(self, arrivals: Sequence[Arrival]) -> tuple[list[Ingested], bool]:
        """Stores alerts with the incidents they open, join or reopen, all or none.

        Returns: one answer each, in order, and whether any workflow has something to hear.

        At most one incident per fingerprint collects alerts, however many gateways ask at once: who
        loses a race for one starts over and finds it.
        """
        for attempt in range(ATTEMPTS):
            try:
                async with self.pool.transaction() as connection:
                    return await self._claim(connection, arrivals)
            except CONTENDED:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    async def end_quiet(self, at: datetime) -> int:
        """Says that those are over which `quiet_over` speaks of, as their source would; how many. Twice is once."""
        named = [name.partition("/") for name in self.quiet_over]
        sources, classes = [source for source, _, _ in named], [incident_class for _, _, incident_class in named]
        async with self.pool.transaction() as connection:
            quiet = {
                found["id"]: found
                for found in await connection.fetch(QUIET, sources, classes, list(self.quiet_over.values()), at)
            }
            firing = await connection.fetch(FIRING, list(quiet)) if quiet else []
            arrivals = [_over(quiet[still["incident_id"]], still["alert_key"], at) for still in firing]
            answers, _ = await self._claim(connection, arrivals) if arrivals else ([], False)
        return sum(answer.outcome is Outcome.RESOLVED for answer in answers)

    async def _claim(self, connection: Connection, arrivals: Sequence[Arrival]) -> tuple[list[Ingested], bool]:
        batch = _Batch(self.window, lambda source: source not in self.kept_open)
        await self._look_up(connection, arrivals, batch)
        answers = [batch.take(arrival) for arrival in arrivals]
        await self._write(connection, batch)
        return answers, bool(batch.hear)

    async def _look_up(self, connection: Connection, arrivals: Sequence[Arrival], batch: _Batch) -> None:
        if deliveries := [arrival.delivery for arrival in arrivals if arrival.delivery is not None]:
            for seen in await connection.fetch(REPEATS, deliveries):
                batch.repeats[seen["delivery"]] = (str(seen["incident_id"]), str(seen["id"]))
        marks = list({arrival.fingerprint for arrival in arrivals})
        since = min(arrival.at for arrival in arrivals) - self.window
        ids: dict[UUID, str] = {}
        for found in await connection.fetch(KNOWN, marks, since):
            before = batch.known.get(found["fingerprint"])
            if before is None or (found["collecting"] or not before.collecting):
                batch.known[found["fingerprint"]] = _known(found)
                ids[found["id"]] = found["fingerprint"]
        if ids and any(arrival.alert.status is AlertStatus.RESOLVED for arrival in arrivals):
            for still in await connection.fetch(FIRING, list(ids)):
                known = batch.known[ids[still["incident_id"]]]
                known.firing[still["alert_key"]] = still["starts_at"]

    async def _write(self, connection: Connection, batch: _Batch) -> None:
        if batch.over:
            await connection.execute(STOP_FIRING, *zip(*sorted(batch.over), strict=True))
        if batch.changed:
            marks = sorted(batch.changed)
            changes = (_change(batch.known[mark], batch.changed[mark], batch.worst.get(mark)) for mark in marks)
            await connection.execute(MERGE, *zip(*changes, strict=True))
        if batch.rows or batch.hear:
            incidents = [
                _incident(batch.known[mark], batch.new[mark], batch.worst.get(mark)) for mark in sorted(batch.new)
            ]
            alerts = [_alert(row) for row in batch.rows]
            due = [(severity.rank, incident_id) for incident_id, severity in batch.hear.items()]
            columns = (*_turned(incidents, INCIDENT), *_turned(alerts, ALERT), *_turned(due, OUTBOX))
            await connection.execute(STORE, *columns)

    async def named(self, source: str, deliveries: Sequence[str]) -> str | None:
        """What the source calls the problem that the first of these deliveries told of."""
        told = (delivery_id(Alert(source=source, title="-", delivery=one), "") for one in deliveries)
        found: str | None = await self.pool.fetchval(NAMED, list(told))
        return found

    async def of_incident(self, incident_id: UUID, limit: int, offset: int) -> tuple[list[AlertView], int]:
        """The incident's alerts, newest first, and how many there are. Raises: NotFound."""
        found = await self.pool.fetch(OF_INCIDENT, incident_id, limit, offset)
        if not found:
            total = await self.pool.fetchval("SELECT count(*) FROM alerts WHERE incident_id = $1", incident_id)
            if not total:  # an incident has one alert at least
                raise NotFound("incident", str(incident_id))
            return [], total
        return [alert_view(row) for row in found], found[0]["total"]


def _over(quiet: asyncpg.Record, key: str, at: datetime) -> Arrival:
    """The word of a source that never says it."""
    mark, last = quiet["fingerprint"], quiet["last_seen_at"]
    said = Alert(
        source=quiet["source"], title="Silent for so long that it is over", severity=quiet["severity"],
        status=AlertStatus.RESOLVED,
        description=f"Nothing was heard of it since {last:%Y-%m-%d %H:%M} UTC; {quiet['source']} itself says no end.",
        external_id=key if key != mark else None, delivery=f"{quiet['id']} {key} quiet since {last.isoformat()}",
    )  # fmt: skip
    return Arrival(said, at, mark, delivery_id(said, mark))


def alert_view(row: asyncpg.Record) -> AlertView:
    """An alert's public representation, made of the columns `ALERT_SHOWN`."""
    return AlertView.model_validate(dict(row.items()) | {"id": str(row["id"]), "incident_id": str(row["incident_id"])})


def _turned(rows: Sequence[tuple[object, ...]], columns: Collection[str]) -> Sequence[Sequence[object]]:
    """Rows as columns."""
    return list(zip(*rows, strict=True)) or [()] * len(columns)


def _known(found: asyncpg.Record) -> Known:
    return Known(
        id=str(found["id"]), status=Status(found["status"]), collecting=found["collecting"],
        severity=Severity(found["reported_severity"]), alert_count=found["alert_count"],
        last_seen_at=found["last_seen_at"], last_firing_at=found["last_firing_at"], flaps=found["flap_count"],
        resolved_at=found["resolved_at"], source_resolved_at=found["source_resolved_at"],
        source_acknowledged_at=found["source_acknowledged_at"], firing={},
    )  # fmt: skip


def _change(known: Known, labels: dict[str, str], worst: Alert | None) -> tuple[object, ...]:
    """What has become worse is called as the alert calls it that says so."""
    return (
        known.id, known.collecting, known.severity, known.alert_count, known.last_seen_at, known.last_firing_at,
        known.flaps, known.source_resolved_at, known.source_acknowledged_at, labels,
        worst and worst.title, worst and (worst.description or None),
    )  # fmt: skip


def _incident(known: Known, arrival: Arrival, worst: Alert | None) -> tuple[object, ...]:
    alert = arrival.alert
    title, description = (worst or alert).title, (worst and worst.description) or alert.description
    return (
        known.id, arrival.fingerprint, known.collecting, alert.source, alert.external_id or alert.identity,
        title, description, alert.impact, alert.category, alert.incident_type, alert.environment,
        alert.resource, alert.affected_services, alert.labels, alert.runbook_url, arrival.at, alert.starts_at,
        known.severity, known.alert_count, known.flaps, known.last_seen_at, known.last_firing_at,
        known.source_resolved_at, known.source_acknowledged_at, known.severity, arrival.at, arrival.assignee,
    )  # fmt: skip


def _alert(row: _Row) -> tuple[object, ...]:
    alert = row.arrival.alert
    return (
        row.incident_id, row.id, row.arrival.delivery, row.key, row.firing, row.outcome is not Outcome.CREATED,
        alert.status, alert.severity, alert.source, alert.external_id, alert.title, alert.description, alert.labels,
        alert.annotations, alert.affected_services, alert.runbook_url, alert.starts_at, alert.ends_at, row.arrival.at,
        alert.event.model_dump(mode="json") if alert.event is not None else None,
    )  # fmt: skip

"""Incidents as they are read, and the one way their workflows' decisions get into PostgreSQL."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from app.domain.errors import NotFound
from app.domain.incident import BEHIND_ANOTHER, Heard, Incident
from app.domain.representation import IncidentView, Metrics, Resolution, TimelineEvent
from app.domain.requests import IncidentPage, IncidentQuery
from app.domain.sla import Targets, sla
from app.domain.taxonomy import playbook_for
from app.domain.timeline import Actor, Entry, EventType
from app.domain.triggering import MAY_BEGIN
from app.domain.vocabulary import Severity, Status
from app.store import search
from app.store.database import Connection, Pool
from app.store.history import REMEMBER

SHOWN = """
id, external_id, fingerprint, severity, status, category, incident_type, environment, title, description, impact,
source, resource, affected_services, assigned_to, assigned_team, policy_id, level, paused, created_at, updated_at,
acknowledged_at, acknowledged_by, resolved_at, resolved_by, closed_at, last_seen_at, alert_count, flap_count, tags,
runbook_url, resolution, holds, routing, began_at,
ARRAY(SELECT o.incident_id::text FROM incident_members m JOIN incident_members o ON o.group_id = m.group_id
      WHERE m.incident_id = incidents.id AND o.incident_id <> m.incident_id ORDER BY o.incident_id LIMIT 100)
    AS related_incidents,
(SELECT m.group_id::text FROM incident_members m WHERE m.incident_id = incidents.id) AS correlation_group,
(SELECT g.lead_id::text FROM incident_members m JOIN incident_groups g ON g.id = m.group_id
 WHERE m.incident_id = incidents.id AND g.lead_id <> incidents.id AND g.status <> 'resolved') AS parent_incident,
(SELECT to_jsonb(c) || jsonb_build_object('severity', predicted, 'reported_severity', reported)
 FROM classifications c WHERE c.incident_id = incidents.id) AS classification
"""

ALL_SHOWN = f"""
{SHOWN},
(SELECT jsonb_agg(to_jsonb(e) ORDER BY e.enricher) FROM enrichments e WHERE e.incident_id = incidents.id) AS enrichment
"""

PROJECT = """
UPDATE incidents SET
    status = $4, severity = $5, updated_at = $6, assigned_to = $7, assigned_team = $8, policy_id = $9, cycle = $10,
    level = $11, paused = $12, acknowledged_at = $13, acknowledged_by = $14, resolved_at = $15, resolved_by = $16,
    closed_at = $17, workflow_state = $18, holds = $20, version_time = $2, version_seq = $3,
    resolution = CASE WHEN $19::timestamptz IS NULL THEN NULL ELSE resolution END,
    collecting = CASE
        WHEN $19::timestamptz IS NOT NULL AND last_firing_at <= $19 THEN false
        ELSE NOT EXISTS (SELECT 1 FROM incidents other WHERE other.fingerprint = incidents.fingerprint
                         AND other.collecting AND other.id <> incidents.id)
    END
WHERE id = $1 AND (version_time, version_seq) < ($2, $3)
RETURNING collecting AND $19::timestamptz IS NOT NULL AS younger_alert, reported_severity
"""

# What stands after the newest entry was written by a worker that died before Temporal heard of it.
TELL = """
WITH undone AS (
    DELETE FROM timeline WHERE incident_id = $1 AND seq > $3 AND (version_time, version_seq) < ($2, $3)
)
INSERT INTO timeline (incident_id, seq, type, at, actor_name, actor_type, command_id, data, version_time, version_seq)
SELECT $1, u.seq, u.type, u.at, u.actor_name, u.actor_type, u.command_id, u.data, $2, $3
FROM unnest($4::int[], $5::text[], $6::timestamptz[], $7::text[], $8::text[], $9::text[], $10::jsonb[])
    AS u(seq, type, at, actor_name, actor_type, command_id, data)
ON CONFLICT (incident_id, seq) DO UPDATE SET
    type = excluded.type, at = excluded.at, actor_name = excluded.actor_name, actor_type = excluded.actor_type,
    command_id = excluded.command_id, data = excluded.data, version_time = excluded.version_time,
    version_seq = excluded.version_seq, xid = excluded.xid
WHERE (timeline.version_time, timeline.version_seq) < (excluded.version_time, excluded.version_seq)
"""

BEGINS = """
INSERT INTO playbook_events (incident_id, seq) SELECT $1, unnest($2::int[])
WHERE EXISTS (SELECT FROM documents WHERE kind = 'playbooks')
"""
"""What may begin a playbook, where there are any."""

TOLD = 7
"""Columns of an entry."""

WORDS = """
UPDATE incidents SET
    title = coalesce(c.ask->>'title', title),
    description = coalesce(c.ask->>'description', description),
    tags = coalesce(nullif(c.ask->'tags', 'null'::jsonb), tags),
    resolution = CASE WHEN c.ask->>'kind' IN ('resolve', 'close')
        THEN coalesce(resolution, '{}'::jsonb) || jsonb_strip_nulls(jsonb_build_object(
            'root_cause', c.ask->'root_cause', 'method', c.ask->'method', 'resolution_notes', c.ask->'reason',
            'playbook_used', c.ask->'extra'->'playbook_used'))
        ELSE resolution END
FROM commands c WHERE incidents.id = $1 AND c.id = $2 AND c.incident_id = $1
"""

CANCEL = """
UPDATE deliveries SET status = 'cancelled'
WHERE incident_id = $1 AND status IN ('pending', 'sending') AND wanted <> 'always'
    AND (cycle < $2 OR $4 OR ($3 AND wanted = 'untaken'))
"""

ENTRY_SHOWN = "t.seq, t.incident_id, t.type, t.actor_name, t.actor_type, t.at, t.data, c.ask"

TIMELINE = f"""
SELECT {ENTRY_SHOWN}
FROM timeline t LEFT JOIN commands c ON c.id = t.command_id AND c.incident_id = t.incident_id
WHERE t.incident_id = $1 AND ($2::text IS NULL OR t.type = $2) ORDER BY t.seq
"""

HEARD = """
SELECT id::text, fingerprint, reported_severity, last_firing_at, source, source_resolved_at, source_acknowledged_at,
       created_at, status, severity, category, incident_type, environment, tags, title, description, affected_services,
       runbook_url, alert_count, flap_count, assigned_to, assigned_team, workflow_state,
       (SELECT incident_class FROM classifications WHERE incident_id = $1) AS incident_class
FROM incidents WHERE id = $1
"""

BESIDE = """
INSERT INTO outbox (rank, incident_id)
SELECT substr(severity, 2)::smallint, id FROM incidents
WHERE id <> $1::uuid AND status NOT IN ('RESOLVED', 'CLOSED') AND id = ANY(ARRAY(
    SELECT id FROM incidents
    WHERE holds <> '[]'::jsonb AND holds @> jsonb_build_array(jsonb_build_object('by', $1::uuid::text))
    UNION
    SELECT m.incident_id FROM incident_members m JOIN incident_groups g ON g.id = m.group_id WHERE g.lead_id = $1::uuid
))
"""
"""Those that hide behind an incident, or could: they look again when it changes."""
LOOK_AGAIN = "INSERT INTO outbox (rank, incident_id) VALUES ($1, $2)"
HIDES = "SELECT status, holds FROM incidents WHERE id = $1 FOR SHARE"
"""Waits for whoever is about to change it."""
BEARS_ON_OTHERS = frozenset(
    {
        EventType.RESOLVED, EventType.CLOSED, EventType.REOPENED, EventType.SEVERITY_CHANGED,
        EventType.SUPPRESSED, EventType.UNSUPPRESSED, EventType.NOBODY_REACHED,
    }
)  # fmt: skip


@dataclass(frozen=True)
class IncidentStore:
    """`targets` are what the service level of an incident is reckoned by."""

    pool: Pool
    targets: Targets = field(default_factory=Targets)

    async def project(self, incident: Incident, time_ns: int, entries: Sequence[Entry], *, stop_pages: bool) -> None:
        """Writes a state and its entries, unless a newer one was written; announces entries on `incident_events`.

        An alert that came in while the incident was being resolved is younger than the resolve: the
        incident keeps collecting and its workflow will hear of it. `stop_pages`: pages nobody needs any
        more may be waiting to be sent.
        """
        await self._write(incident, time_ns, entries, stop_pages)
        if incident.held and any(entry.type is EventType.SUPPRESSED for entry in entries):
            for other in {hold.by for hold in incident.holds if hold.reason in BEHIND_ANOTHER}:
                await self._still_hides(incident, other)

    async def _still_hides(self, incident: Incident, other: str) -> None:
        """What an incident hides behind may have changed before it could be told that somebody does: it looks again.

        Now that the hold can be seen, whoever changes the other one later tells this one; who is at it is waited for.
        """
        async with self.pool.transaction() as connection:
            row = await connection.fetchrow(HIDES, UUID(other))
            if row is None or not Status(row["status"]).open or row["holds"]:
                await connection.execute(LOOK_AGAIN, incident.severity.rank, UUID(incident.id))

    async def _write(self, incident: Incident, time_ns: int, entries: Sequence[Entry], stop_pages: bool) -> None:
        id_ = UUID(incident.id)
        async with self.pool.transaction() as connection:
            written = await connection.fetchrow(PROJECT, id_, time_ns, incident.seq, *_columns(incident, entries))
            await _tell(connection, incident, time_ns, entries)
            if written is None:
                return
            for command in {entry.command for entry in entries if entry.command}:
                await connection.execute(WORDS, id_, command)
            if stop_pages:
                await connection.execute(
                    CANCEL, id_, incident.cycle, not incident.status.waits_for_somebody, not incident.status.open
                )
            if not incident.status.open:
                await connection.execute(REMEMBER, [id_])
            if any(entry.type in BEARS_ON_OTHERS for entry in entries):
                await connection.execute(BESIDE, id_)
            if written["younger_alert"]:
                await connection.execute(LOOK_AGAIN, int(written["reported_severity"][1]), id_)

    async def read_as(self, incident_id: str, severity: Severity) -> None:
        """What a new incident's severity is, until its workflow has shown itself: others compare themselves with it."""
        await self.pool.execute(
            "UPDATE incidents SET severity = $2 WHERE id = $1 AND workflow_state IS NULL", UUID(incident_id), severity
        )

    async def load(self, incident_id: str) -> tuple[Heard, Incident | None, asyncpg.Record]:
        """What ingest knows of an incident, the state its workflow was last in (None before the first), and the row.

        Raises: NotFound.
        """
        found = await self.pool.fetchrow(HEARD, UUID(incident_id))
        if found is None:
            raise NotFound("incident", incident_id)
        heard = Heard(
            severity=found["reported_severity"], last_firing_at=found["last_firing_at"], source=found["source"],
            source_resolved_at=found["source_resolved_at"], source_acknowledged_at=found["source_acknowledged_at"],
        )  # fmt: skip
        state = found["workflow_state"]
        return heard, Incident.model_validate(state) if state else None, found

    async def remember(
        self, command_id: str, incident_id: str, ask: dict[str, object], at: datetime
    ) -> dict[str, object]:
        """Keeps a command's own words under its id; what was kept first when it is repeated."""
        return await self.pool.fetchval(  # type: ignore[no-any-return]
            "INSERT INTO commands (id, incident_id, ask, asked_at) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (id) DO UPDATE SET asked_at = commands.asked_at RETURNING ask",
            command_id, UUID(incident_id), ask, at,
        )  # fmt: skip

    async def get(self, incident_id: str) -> IncidentView:
        """Raises: NotFound."""
        found = await self.pool.fetchrow(f"SELECT {ALL_SHOWN} FROM incidents WHERE id = $1", as_uuid(incident_id))
        if found is None:
            raise NotFound("incident", incident_id)
        return view(found, self.targets)

    async def timeline(self, incident_id: str, kind: str | None = None) -> list[TimelineEvent]:
        """Every decision about the incident in order. Raises: NotFound."""
        id_ = as_uuid(incident_id)
        found = await self.pool.fetch(TIMELINE, id_, kind)
        if not found and not await self.pool.fetchval("SELECT true FROM incidents WHERE id = $1", id_):
            raise NotFound("incident", incident_id)
        return [entry_view(row) for row in found]

    async def search(self, query: IncidentQuery) -> IncidentPage:
        """One page of the incidents a query finds, and how many there are in all. Raises: Invalid (the cursor)."""
        page, arguments = search.page(query, SHOWN)
        count, filters = search.count(query)
        async with self.pool.acquire() as connection:
            found = await connection.fetch(page, *arguments)
            total = await connection.fetchval(count, *filters)
        more = len(found) > query.page_size
        shown = [view(row, self.targets) for row in found[: query.page_size]]
        cursor = search.cursor_of(query.sort, shown[-1]) if more else None
        return IncidentPage(incidents=shown, total_count=total, next_cursor=cursor)


def entry_view(row: asyncpg.Record) -> TimelineEvent:
    """A decision's public representation, made of the columns `ENTRY_SHOWN`."""
    return TimelineEvent(
        seq=row["seq"], incident_id=str(row["incident_id"]), event_type=row["type"], timestamp=row["at"],
        actor=Actor(name=row["actor_name"], type=row["actor_type"]),
        reason=(row["ask"] or {}).get("reason") or row["data"].get("reason"), data=row["data"],
    )  # fmt: skip


def as_uuid(text: str, kind: str = "incident") -> UUID:
    """Raises: NotFound, since what is no UUID names nothing of the kind."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(kind, text) from None


def _columns(incident: Incident, entries: Sequence[Entry]) -> tuple[object, ...]:
    at = max((entry.at for entry in entries), default=incident.opened_at)
    return (
        incident.status, incident.severity, at, incident.assigned_to, incident.assigned_team,
        incident.policy.id if incident.policy else None, incident.cycle, incident.level, incident.paused,
        incident.acknowledged_at, incident.acknowledged_by, incident.resolved_at, incident.resolved_by,
        incident.closed_at, incident.model_dump(mode="json"), incident.ended_at,
        [hold.model_dump(mode="json") for hold in incident.holds] if incident.held else [],
    )  # fmt: skip


async def _tell(connection: Connection, incident: Incident, time_ns: int, entries: Sequence[Entry]) -> None:
    rows = [
        (e.seq, e.type, e.at, e.actor.name, e.actor.type, e.command, e.model_dump(mode="json")["data"]) for e in entries
    ]
    columns = list(zip(*rows, strict=True)) or [()] * TOLD
    await connection.execute(TELL, UUID(incident.id), time_ns, incident.seq, *columns)
    if not entries:
        return
    if heard := [entry.seq for entry in entries if entry.type in MAY_BEGIN]:
        await connection.execute(BEGINS, UUID(incident.id), heard)
    await connection.execute("SELECT pg_notify('incident_events', $1)", incident.id)


def view(row: asyncpg.Record, targets: Targets) -> IncidentView:
    """An incident's public representation as of now, made of the columns `SHOWN`."""
    status = Status(row["status"])
    resolution = row["resolution"] or {}
    if row["resolved_at"] is not None:
        resolution = resolution | {"resolved_by": row["resolved_by"], "resolved_at": row["resolved_at"]}
    columns = dict(row.items())
    incident_class = (columns["classification"] or {}).get("incident_class")
    ended_at = min((at for at in (row["resolved_at"], row["closed_at"]) if at is not None), default=None)
    return IncidentView.model_validate(
        columns
        | {
            "id": str(row["id"]),
            "state": status,
            "affected_resources": row["affected_services"],
            "assignees": [row["assigned_to"]] if row["assigned_to"] else [],
            "escalation_policy_id": row["policy_id"],
            "escalation_level": row["level"],
            "escalation_paused": row["paused"],
            "duplicate_count": row["alert_count"] - 1,
            "labels": [f"{name}={value}" for name, value in sorted(row["tags"].items())],
            "suppressed": bool(row["holds"]) and status.open,
            "suppression": row["holds"] if status.open else [],
            "enrichment": columns.get("enrichment") or [],
            "incident_class": incident_class,
            "suggested_playbook": playbook_for(incident_class),
            "resolution": Resolution.model_validate(resolution) if resolution else None,
            "source_event_id": row["external_id"],
            "sla": sla(
                Severity(row["severity"]),
                row["created_at"],
                row["acknowledged_at"],
                ended_at,
                targets,
                datetime.now(UTC),
            ),
            "metrics": Metrics(
                mttd=_seconds(row["began_at"], row["created_at"]),
                mtta=_seconds(row["created_at"], row["acknowledged_at"]),
                mttr=_seconds(row["created_at"], row["resolved_at"]),
            ),
        }
    )


def _seconds(since: datetime | None, until: datetime | None) -> float | None:
    """None as well where the source's clock says that it began only later."""
    return (until - since).total_seconds() if since is not None and until is not None and since <= until else None

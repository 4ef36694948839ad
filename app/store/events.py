"""Events as they are read: alerts, with what their clients said of them."""

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from app.domain.errors import NotFound
from app.domain.representation import EventView
from app.domain.requests import EventPage, EventQuery
from app.store.database import Pool
from app.store.search import Clause

EVENT_SHOWN = """
a.id, a.incident_id, a.external_id, a.source, a.title, a.description, a.severity, a.labels, a.starts_at,
a.received_at, a.deduplicated, a.event, i.category, i.acknowledged_at IS NOT NULL AS acknowledged
"""
EVENTS = f"SELECT {EVENT_SHOWN} FROM alerts a JOIN incidents i ON i.id = a.incident_id"
ONE = f"{EVENTS} WHERE a.event IS NOT NULL AND (a.id = $1 OR a.external_id = $2) ORDER BY a.id DESC LIMIT 1"


@dataclass(frozen=True)
class EventStore:
    pool: Pool

    async def get(self, id_: str) -> EventView:
        """By our id or by its own, and of several sources' that of the newest. Raises: NotFound."""
        found = await self.pool.fetchrow(ONE, _uuid(id_), id_)
        if found is None:
            raise NotFound("event", id_)
        return event_view(found)

    async def page(self, query: EventQuery) -> EventPage:
        """One page, the newest first."""
        where = Clause(["a.event IS NOT NULL"])
        if query.source:
            where.add("a.source = ANY({0}::text[])", list(query.source))
        if query.incident_id is not None:
            where.add("a.incident_id = {0}", query.incident_id)
        if query.since is not None:
            where.add("a.received_at >= {0}", query.since)
        if query.until is not None:
            where.add("a.received_at < {0}", query.until)
        if query.cursor is not None:
            where.add("a.id < {0}", query.cursor)
        rows = await self.pool.fetch(
            f"{EVENTS} {where.sql} ORDER BY a.id DESC LIMIT {query.limit + 1}", *where.arguments
        )
        events = [event_view(row) for row in rows[: query.limit]]
        return EventPage(events=events, next_cursor=events[-1].id if len(rows) > query.limit else None)


def event_view(row: asyncpg.Record) -> EventView:
    """Any alert as an event, made of the columns `EVENT_SHOWN`: also one that was not sent as an event."""
    said = row["event"] or {"tags": row["labels"], "event_type": "alert"}
    return EventView.model_validate(
        {name: said.get(name) for name in EventView.model_fields}
        | {name: row[name] for name in ("source", "title", "description", "severity", "received_at", "deduplicated")}
        | {
            "id": str(row["id"]),
            "event_id": said.get("event_id") or row["external_id"] or str(row["id"]),
            "incident_id": str(row["incident_id"]),
            "timestamp": said.get("timestamp") or row["starts_at"] or row["received_at"],
            "event_type": said.get("event_type") or "alert",
            "category": said.get("category") or row["category"],
            "metrics": said.get("metrics") or {},
            "tags": said.get("tags") or {},
            "labels": said.get("labels") or [f"{name}={value}" for name, value in sorted(row["labels"].items())],
            "payload": said.get("payload") or {},
            "acknowledged": row["acknowledged"],
        }
    )


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None

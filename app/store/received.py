"""Alerts as they are read: by their own id, and lists of them over all incidents."""

from dataclasses import dataclass

import asyncpg

from app.domain.errors import NotFound
from app.domain.representation import AlertDetail
from app.domain.requests import AlertPage, AlertQuery
from app.store.alerts import ALERT_SHOWN, alert_view
from app.store.database import Pool
from app.store.incidents import as_uuid
from app.store.search import Clause

STANDING = """
CASE
    WHEN i.status IN ('RESOLVED', 'CLOSED') OR a.status = 'resolved' OR (a.status = 'firing' AND NOT a.firing)
        THEN 'RESOLVED'
    WHEN i.status IN ('ACKNOWLEDGED', 'IN_PROGRESS') OR a.status = 'acknowledged' THEN 'ACKNOWLEDGED'
    ELSE 'FIRING'
END
"""
SHOWN = f"""
{ALERT_SHOWN}, i.fingerprint, i.acknowledged_at, i.acknowledged_by, i.resolved_at, i.resolved_by,
{STANDING} AS standing
"""
BESIDE_ITS_INCIDENT = "FROM alerts a JOIN incidents i ON i.id = a.incident_id"


@dataclass(frozen=True)
class ReceivedStore:
    pool: Pool

    async def get(self, alert_id: str) -> AlertDetail:
        """Raises: NotFound."""
        id_ = as_uuid(alert_id, "alert")
        found = await self.pool.fetchrow(f"SELECT {SHOWN} {BESIDE_ITS_INCIDENT} WHERE a.id = $1", id_)
        if found is None:
            raise NotFound("alert", alert_id)
        return _detail(found)

    async def page(self, query: AlertQuery) -> AlertPage:
        """The newest first."""
        where, offset = _conditions(query), (query.page - 1) * query.page_size
        sql = f"""SELECT {SHOWN} {BESIDE_ITS_INCIDENT} {where.sql}
            ORDER BY a.id DESC LIMIT {query.page_size} OFFSET {offset}"""
        async with self.pool.acquire() as connection:
            found = await connection.fetch(sql, *where.arguments)
            count = f"SELECT count(*) {BESIDE_ITS_INCIDENT} {where.sql}"
            total: int = await connection.fetchval(count, *where.arguments)
        return AlertPage(alerts=[_detail(row) for row in found], total_count=total)


def _conditions(query: AlertQuery) -> Clause:
    where = Clause()
    if query.standing is not None:
        where.add(f"{STANDING} = {{0}}", query.standing.value)
    for column in ("severity", "source"):
        if (value := getattr(query, column)) is not None:
            where.add(f"a.{column} = {{0}}", str(value))
    if query.labels:
        where.add("a.labels @> {0}::jsonb", query.labels)
    if query.from_time is not None:
        where.add("a.received_at >= {0}", query.from_time)
    if query.to_time is not None:
        where.add("a.received_at <= {0}", query.to_time)
    return where


def _detail(row: asyncpg.Record) -> AlertDetail:
    more = ("fingerprint", "acknowledged_at", "acknowledged_by", "resolved_at", "resolved_by", "standing")
    return AlertDetail.model_validate(alert_view(row).model_dump() | {name: row[name] for name in more})

"""What workflows must still be told. Rows go only after the telling succeeded."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from app.domain.record import Record
from app.domain.vocabulary import Severity, Status
from app.store.database import Pool

DUE = """
SELECT o.rank, o.id, o.incident_id, i.severity, i.status, i.source, i.assigned_team, i.affected_services,
       i.workflow_state IS NULL AS fresh, i.environment
FROM outbox o JOIN incidents i ON i.id = o.incident_id
ORDER BY o.rank, o.id LIMIT $1 FOR UPDATE OF o SKIP LOCKED
"""

EVERY_OPEN_ONE = """
INSERT INTO outbox (rank, incident_id)
SELECT substr(severity, 2)::smallint, id FROM incidents WHERE status NOT IN ('RESOLVED', 'CLOSED')
"""


class Due(Record):
    """An incident whose workflow must be started (`fresh`) or told to look again."""

    incident_id: str
    severity: Severity
    status: Status
    source: str
    team: str
    service: str
    fresh: bool


@dataclass(frozen=True)
class Outbox:
    pool: Pool

    async def deliver(self, tell: Callable[[Sequence[Due]], Awaitable[set[str]]], limit: int) -> tuple[int, int]:
        """Tells the most severe `limit` first and forgets those whose ids `tell` returns: (rows told, rows not).

        The rows stay locked meanwhile: another gateway takes others, and a killed one loses none.
        """
        async with self.pool.transaction() as connection:
            rows = await connection.fetch(DUE, limit)
            due: dict[str, Due] = {}
            for row in rows:
                due.setdefault(
                    str(row["incident_id"]),
                    Due(
                        incident_id=str(row["incident_id"]), severity=row["severity"], status=row["status"],
                        source=row["source"], team=row["assigned_team"] or "",
                        service=(row["affected_services"] or [""])[0], fresh=row["fresh"],
                    ),
                )  # fmt: skip
            told = await tell(list(due.values()))
            done = [row["id"] for row in rows if str(row["incident_id"]) in told]
            if done:
                await connection.execute("DELETE FROM outbox WHERE id = ANY($1::bigint[])", done)
            return len(done), len(rows) - len(done)

    async def waiting(self) -> tuple[int, float]:
        """How many rows wait, and the age of the oldest in seconds."""
        row = await self.pool.fetchrow(
            "SELECT count(*) AS n, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS age FROM outbox"
        )
        return (row["n"], row["age"]) if row else (0, 0.0)

    async def adopt(self, namespace_id: str) -> int:
        """Notes which Temporal namespace holds the workflows; how many incidents must be told to it anew.

        None, unless it is another than before: then its server has lost them, and every open incident's
        workflow is started again from what PostgreSQL knows.
        """
        async with self.pool.transaction() as connection:
            before = await connection.fetchval("SELECT value FROM facts WHERE name = 'temporal_namespace' FOR UPDATE")
            if before == namespace_id:
                return 0
            await connection.execute(
                "INSERT INTO facts (name, value) VALUES ('temporal_namespace', $1)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                namespace_id,
            )
            return int((await connection.execute(EVERY_OPEN_ONE)).rpartition(" ")[2]) if before is not None else 0

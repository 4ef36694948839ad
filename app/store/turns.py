"""Whose turn it is in teams that take turns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from app.store.database import Connection, Pool

Pick = Callable[[str | None, Mapping[str, int]], str | None]
"""From whoever was last and everybody's number of open incidents to whose turn it is."""

LAST = "SELECT member FROM turns WHERE team = $1 ORDER BY id DESC LIMIT 1"
LOAD = """
SELECT m.id, count(*) AS open FROM unnest($1::text[]) AS m(id) JOIN incidents i
    ON i.status NOT IN ('RESOLVED', 'CLOSED') AND (i.assigned_to = m.id OR EXISTS (
        SELECT 1 FROM turns t WHERE t.incident_id = i.id AND t.member = m.id))
GROUP BY m.id
"""


@dataclass(frozen=True)
class TurnStore:
    pool: Pool

    async def take(
        self, team: str, members: Sequence[str], incident_id: str, cycle: int, rung: int, pick: Pick
    ) -> str | None:
        """Whose turn a page is, decided once: asked again for the same page it is the same person's.

        Teams decide one page at a time, so that two incidents at the same moment go to two people.
        """
        page = (team, UUID(incident_id), cycle, rung)
        async with self.pool.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", f"turn of {team}")
            taken = await connection.fetchval(
                "SELECT member FROM turns WHERE (team, incident_id, cycle, rung) = ($1, $2, $3, $4)", *page
            )
            if taken is not None:
                return str(taken)
            turn = pick(await _last(connection, team), await _load(connection, members))
            if turn is not None:
                await connection.execute(
                    "INSERT INTO turns (team, incident_id, cycle, rung, member) VALUES ($1, $2, $3, $4, $5)",
                    *page, turn,
                )  # fmt: skip
            return turn

    async def standing(self, team: str, members: Sequence[str]) -> tuple[str | None, dict[str, int]]:
        """Who was last, and everybody's number of open incidents, as a simulation begins with."""
        async with self.pool.acquire() as connection:
            return await _last(connection, team), await _load(connection, members)


async def _last(connection: Connection, team: str) -> str | None:
    return await connection.fetchval(LAST, team)  # type: ignore[no-any-return]


async def _load(connection: Connection, members: Sequence[str]) -> dict[str, int]:
    return {row["id"]: row["open"] for row in await connection.fetch(LOAD, list(members))}

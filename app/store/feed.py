"""What was decided and what came in, in the order it became visible: readable from any point on without a gap.

Transactions become visible in another order than they begin in, so that no counter can mark a place between them. A
snapshot of PostgreSQL's can: it says of every transaction whether it was over. What it doesn't see is new.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

import asyncpg

from app.domain.errors import Invalid
from app.domain.playing import RunView
from app.domain.representation import EventView, IncidentView, LiveEvent
from app.domain.sla import Targets
from app.store.database import Pool
from app.store.events import EVENT_SHOWN, event_view
from app.store.incidents import ENTRY_SHOWN, SHOWN, entry_view, view
from app.store.runs import as_run, views

T = TypeVar("T")

PAGE = 500
CHANNEL, RUNS = "incident_events", "playbook_runs"
WRITTEN = re.compile(r"(\d{1,20}):(\d{1,20}):((?:\d{1,20}(?:,\d{1,20})*)?)")
NEW = (
    "{0}.xid >= pg_snapshot_xmin($1::text::pg_snapshot) AND NOT pg_visible_in_snapshot({0}.xid, $1::text::pg_snapshot)"
)
OVER = "pg_visible_in_snapshot({0}.xid, $2::text::pg_snapshot)"

ENTRIES = f"""
SELECT {ENTRY_SHOWN}, t.xid::text::bigint AS xid, t.version_time
FROM timeline t LEFT JOIN commands c ON c.id = t.command_id AND c.incident_id = t.incident_id
WHERE {NEW.format("t")} AND {OVER.format("t")} AND (t.version_time, t.incident_id, t.seq) > ($3, $4, $5)
ORDER BY t.version_time, t.incident_id, t.seq LIMIT {PAGE}
"""

ALERTS = f"""
SELECT {EVENT_SHOWN}, a.xid::text::bigint AS xid
FROM alerts a JOIN incidents i ON i.id = a.incident_id
WHERE {NEW.format("a")} AND {OVER.format("a")} AND a.id > $3
ORDER BY a.id LIMIT {PAGE}
"""


@dataclass(frozen=True)
class Snapshot:
    """Which transactions were over at a moment. As text it is a cursor: `xmin:xmax:running,…` (pg_snapshot)."""

    xmin: int
    xmax: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str, field: str = "cursor") -> "Snapshot":
        """Raises: Invalid."""
        found = WRITTEN.fullmatch(text)
        if found is None:
            raise Invalid.field(field, "is not a cursor that an event came with")
        xmin, xmax, running = found.groups()
        made = cls(int(xmin), int(xmax), frozenset(int(xid) for xid in running.split(",") if xid))
        if not 0 < made.xmin <= made.xmax < 2**63 or any(not made.xmin <= xid < made.xmax for xid in made.running):
            raise Invalid.field(field, "is not a cursor that an event came with")
        return made

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, sorted(self.running)))}"

    def sees(self, xid: int) -> bool:
        """What the transaction wrote was there already."""
        return xid < self.xmin or (xid < self.xmax and xid not in self.running)


@dataclass(frozen=True)
class News(Generic[T]):
    """Something new and the transaction that wrote it."""

    xid: int
    value: T


@dataclass(frozen=True)
class FeedStore:
    """`targets` are what the service level of an incident is reckoned by."""

    pool: Pool
    targets: Targets

    async def now(self) -> Snapshot:
        return Snapshot.parse(await self.pool.fetchval("SELECT pg_current_snapshot()::text"))

    @asynccontextmanager
    async def listening(self, wake: Callable[[], None], tell: Callable[[str], None]) -> AsyncIterator[asyncio.Event]:
        """Calls `wake` when something was decided, in any process, and `tell` with the id of a run of a playbook that

        something became of. Yields what is set when it no longer can.
        """
        lost = asyncio.Event()

        def heard(*_: object) -> None:
            wake()

        def played(connection: object, pid: int, channel: str, run_id: object) -> None:
            tell(str(run_id))
            wake()

        def gone(*_: object) -> None:
            lost.set()
            wake()

        async with self.pool.acquire() as connection:
            connection.add_termination_listener(gone)
            await connection.add_listener(CHANNEL, heard)
            await connection.add_listener(RUNS, played)
            try:
                yield lost
            finally:
                connection.remove_termination_listener(gone)
                if not connection.is_closed():
                    await connection.remove_listener(CHANNEL, heard)
                    await connection.remove_listener(RUNS, played)

    async def events(self, since: Snapshot, until: Snapshot) -> AsyncIterator[list[News[LiveEvent]]]:
        """The entries of all timelines between two moments, an incident's in order, by the page.

        Until the last one of all, an event's cursor is `since`: whoever begins anew there hears those before it twice,
        and misses none.
        """
        after: tuple[int, UUID, int] = (-1, UUID(int=0), 0)
        while page := await self.pool.fetch(ENTRIES, str(since), str(until), *after):
            incidents = await self._incidents({row["incident_id"] for row in page})
            last = len(page) < PAGE
            yield [
                News(row["xid"], LiveEvent(
                    cursor=str(until if last and row is page[-1] else since), entry=entry_view(row),
                    incident=incidents[row["incident_id"]],
                ))
                for row in page
            ]  # fmt: skip
            if last:
                return
            after = (page[-1]["version_time"], page[-1]["incident_id"], page[-1]["seq"])

    async def _incidents(self, ids: set[UUID]) -> dict[UUID, IncidentView]:
        found = await self.pool.fetch(f"SELECT {SHOWN} FROM incidents WHERE id = ANY($1::uuid[])", list(ids))
        return {row["id"]: view(row, self.targets) for row in found}

    async def runs(self, ids: Collection[str]) -> list[RunView]:
        """As they are now."""
        return await views(self.pool, [as_run(id_) for id_ in ids])

    async def alerts(self, since: Snapshot, until: Snapshot) -> AsyncIterator[list[News[EventView]]]:
        """The alerts that came in between two moments, by the page."""
        after = UUID(int=0)
        while page := await self.pool.fetch(ALERTS, str(since), str(until), after):
            yield [News(row["xid"], event_view(row)) for row in page]
            if len(page) < PAGE:
                return
            after = _id(page[-1])


def _id(row: asyncpg.Record) -> UUID:
    found: UUID = row["id"]
    return found

"""Runs of playbooks: which there are, where they stand, what their steps gave, and what is to begin one."""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
from uuid_utils import uuid7

from app.domain.errors import Conflict, NotFound
from app.domain.matching import Subject
from app.domain.playbook import Playbook
from app.domain.playing import LogLine, RunQuery, RunView, StepView
from app.domain.representation import IncidentView, TimelineEvent
from app.domain.run import Done, Run, StepState
from app.store.database import AWAY, Pool
from app.store.incidents import ENTRY_SHOWN, IncidentStore, entry_view

log = logging.getLogger(__name__)

ADD = """
INSERT INTO playbook_runs (id, playbook_id, version, incident_id, cause, dry_run, started_by, by_hand, from_run,
                           from_step, status, state, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'pending', $11, $12)
ON CONFLICT (playbook_id, incident_id) WHERE status IN ('pending', 'running', 'waiting') AND NOT dry_run DO NOTHING
RETURNING id
"""
UNDER_WAY = """
SELECT id FROM playbook_runs
WHERE playbook_id = $1 AND incident_id = $2 AND status IN ('pending', 'running', 'waiting') AND NOT dry_run
"""
PROJECT = """
UPDATE playbook_runs SET status = $4, state = $5, ended_at = $6, version_time = $2, seq = $3
WHERE id = $1 AND (version_time, seq) < ($2, $3)
"""
SHOWN = """
r.id::text, r.playbook_id, r.version AS playbook_version, r.incident_id::text, r.cause, r.dry_run, r.started_by,
r.by_hand, r.from_run::text, r.from_step, r.status, r.state, r.created_at, r.ended_at
"""
ALL_STEPS = """
SELECT run_id::text, step_id, summary, output FROM playbook_steps WHERE run_id = ANY($1::uuid[]) ORDER BY at
"""
STEPS = "SELECT step_id, summary, output, at FROM playbook_steps WHERE run_id = $1"
EVENTS = f"""
SELECT e.id AS event, {ENTRY_SHOWN} FROM playbook_events e
JOIN timeline t ON t.incident_id = e.incident_id AND t.seq = e.seq
LEFT JOIN commands c ON c.id = t.command_id AND c.incident_id = t.incident_id
ORDER BY e.id LIMIT $1 FOR UPDATE OF e SKIP LOCKED
"""
ACTIVE = """
SELECT count(*) FROM playbook_runs WHERE status IN ('pending', 'running', 'waiting') AND NOT dry_run
"""
RECENT = """
SELECT count(*) FROM playbook_runs
WHERE playbook_id = $1 AND incident_id = $2 AND NOT by_hand AND NOT dry_run AND created_at > $3
"""

NO_OUTPUTS: Mapping[str, asyncpg.Record] = {}


@dataclass(frozen=True)
class Kept:
    """A run with what it needs: its playbook in the version it began with, and its incident as it is now."""

    id: str
    playbook: Playbook
    incident: IncidentView
    dry_run: bool
    state: Run

    def subject(self, now: datetime) -> Subject:
        said = self.incident.model_dump()
        return Subject.model_validate(
            said | {"at": now, "affected_services": self.incident.affected_resources,
                    "incident_class": self.incident.classification and self.incident.classification.incident_class}
        )  # fmt: skip


@dataclass(frozen=True)
class Beginning:
    """A run that is to be. `cause` says what begins it."""

    playbook_id: str
    version: int
    incident_id: str
    cause: str
    started_by: str
    by_hand: bool = False
    dry_run: bool = False
    from_run: str | None = None
    from_step: str | None = None


@dataclass(frozen=True)
class RunStore:
    pool: Pool
    incidents: IncidentStore

    async def add(self, begin: Beginning, now: datetime) -> str:
        """The new run's id. Raises: Conflict while another run of the playbook is under way on the incident."""
        id_ = str(uuid7())
        state = Run(id=id_, started_by=begin.started_by, by_hand=begin.by_hand, started_at=now,
                    wanted_by=(begin.started_by,) if begin.by_hand else ())  # fmt: skip
        async with self.pool.transaction() as connection:
            found = await connection.fetchval(
                ADD, UUID(id_), begin.playbook_id, begin.version, UUID(begin.incident_id), begin.cause, begin.dry_run,
                begin.started_by, begin.by_hand, UUID(begin.from_run) if begin.from_run else None, begin.from_step,
                state.model_dump(mode="json"), now,
            )  # fmt: skip
            if found is not None and begin.from_run and begin.from_step:
                await connection.execute(
                    "INSERT INTO playbook_steps (run_id, step_id, parameters, output, summary, at)"
                    " SELECT $1, step_id, parameters, output, summary, at FROM playbook_steps WHERE run_id = $2"
                    " AND step_id <> $3",
                    UUID(id_), UUID(begin.from_run), begin.from_step,
                )  # fmt: skip
        if found is None:
            other = await self.pool.fetchval(UNDER_WAY, begin.playbook_id, UUID(begin.incident_id))
            raise Conflict(
                f"Playbook {begin.playbook_id!r} is already running on this incident: run {other}.",
                {"run_id": str(other) if other else None},
            )
        return id_

    async def get(self, run_id: str) -> Kept:
        """Raises: NotFound."""
        row = await self.pool.fetchrow(
            "SELECT r.id, r.incident_id, r.dry_run, r.state, d.body FROM playbook_runs r JOIN documents d"
            " ON d.kind = 'playbooks' AND d.id = r.playbook_id AND d.version = r.version WHERE r.id = $1",
            as_run(run_id),
        )  # fmt: skip
        if row is None:
            raise NotFound("run", run_id)
        incident = await self.incidents.get(str(row["incident_id"]))
        return Kept(
            id=run_id, playbook=Playbook.model_validate(row["body"]), incident=incident, dry_run=row["dry_run"],
            state=Run.model_validate(row["state"]),
        )  # fmt: skip

    async def project(self, run: Run, time_ns: int) -> bool:
        """Writes a state, unless a newer one was written; whoever watches the run is told. Whether it was."""
        async with self.pool.transaction() as connection:
            written = await connection.execute(
                PROJECT, UUID(run.id), time_ns, run.seq, run.status, run.model_dump(mode="json"), run.ended_at
            )
            await connection.execute("SELECT pg_notify('playbook_runs', $1)", run.id)
        return written == "UPDATE 1"

    async def under_way(self) -> int:
        """How many runs are, dry runs aside."""
        return int(await self.pool.fetchval(ACTIVE))

    async def done(self, run_id: str, step_id: str) -> Done | None:
        """What a step gave, if it was done."""
        row = await self.pool.fetchrow(f"{STEPS} AND step_id = $2", UUID(run_id), step_id)
        return Done(summary=row["summary"], output=row["output"]) if row is not None else None

    async def parameters(self, run_id: str, step_id: str) -> dict[str, object]:
        """What a step that was done was done with."""
        return await self.pool.fetchval(  # type: ignore[no-any-return]
            "SELECT parameters FROM playbook_steps WHERE run_id = $1 AND step_id = $2", UUID(run_id), step_id
        )

    async def record(self, run_id: str, step_id: str, done: Done, parameters: dict[str, object], at: datetime) -> None:
        """What a step gave. The first word counts."""
        await self.pool.execute(
            "INSERT INTO playbook_steps (run_id, step_id, parameters, output, summary, at)"
            " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            UUID(run_id), step_id, parameters, done.output, done.summary, at,
        )  # fmt: skip
        await self.say(run_id, step_id, done.summary, at)

    async def outputs(self, run_id: str) -> dict[str, dict[str, object]]:
        return {row["step_id"]: row["output"] for row in await self.pool.fetch(STEPS, UUID(run_id))}

    async def say(self, run_id: str, step_id: str, text: str, at: datetime) -> None:
        """A line of the run's log."""
        async with self.pool.transaction() as connection:
            await connection.execute(
                "INSERT INTO playbook_log (run_id, step_id, text, at) VALUES ($1, $2, $3, $4)",
                UUID(run_id), step_id, text[:2000], at,
            )  # fmt: skip
            await connection.execute("SELECT pg_notify('playbook_runs', $1)", run_id)

    async def log(self, run_id: str, after: int, limit: int) -> list[LogLine]:
        rows = await self.pool.fetch(
            "SELECT id AS seq, step_id, text, at FROM playbook_log WHERE run_id = $1 AND id > $2 ORDER BY id LIMIT $3",
            as_run(run_id), after, limit,
        )  # fmt: skip
        return [LogLine.model_validate(dict(row.items())) for row in rows]

    async def view(self, run_id: str) -> RunView:
        """Raises: NotFound."""
        for found in await views(self.pool, [as_run(run_id)]):
            return found
        raise NotFound("run", run_id)

    async def list(self, query: RunQuery) -> "list[RunView]":
        """The newest first."""
        rows = await self.pool.fetch(
            f"SELECT {SHOWN} FROM playbook_runs r WHERE ($1::uuid IS NULL OR incident_id = $1)"
            " AND ($2::text IS NULL OR playbook_id = $2) AND ($3::text[] IS NULL OR status = ANY($3))"
            " AND ($4::uuid IS NULL OR id < $4) ORDER BY id DESC LIMIT $5",
            query.incident_id, query.playbook_id, [str(s) for s in query.status] or None, query.cursor, query.limit,
        )  # fmt: skip
        return [run_view(row) for row in rows]

    async def recent(self, playbook_id: str, incident_id: str, cooldown_secs: float, now: datetime) -> int:
        """Runs that began by themselves within the last seconds."""
        since = now - timedelta(seconds=cooldown_secs)
        return int(await self.pool.fetchval(RECENT, playbook_id, UUID(incident_id), since))

    async def hear(self, limit: int, consider: Callable[[TimelineEvent], Awaitable[None]]) -> int:
        """Has what happened to incidents considered, in order; forgotten once it was. How many.

        What can't be considered is named in the log, and does not keep the others from it.
        """
        async with self.pool.transaction() as connection:
            rows = await connection.fetch(EVENTS, limit)
            for row in rows:
                try:
                    await consider(entry_view(row))
                except AWAY:
                    raise
                except Exception:
                    log.exception("event %s of incident %s begins no playbook", row["event"], row["incident_id"])
            done = [row["event"] for row in rows]
            await connection.execute("DELETE FROM playbook_events WHERE id = ANY($1::bigint[])", done)
            return len(rows)

    async def hand_over(self, limit: int, start: Callable[[str, str | None], Awaitable[bool]]) -> tuple[int, int]:
        """Has runs started that nobody has started yet: how many were, and how many were not.

        Two at once may start the same one, which Temporal takes once; no row is locked while it is asked, as the run
        writes there as soon as it has begun.
        """
        rows = await self.pool.fetch(
            "SELECT id::text, from_step FROM playbook_runs WHERE NOT handed ORDER BY id LIMIT $1", limit
        )
        done = [row["id"] for row in rows if await start(row["id"], row["from_step"])]
        await self.pool.execute(
            "UPDATE playbook_runs SET handed = true WHERE id = ANY($1::uuid[])", [UUID(id_) for id_ in done]
        )
        return len(done), len(rows) - len(done)


def as_run(run_id: str) -> UUID:
    """Raises: NotFound, since what is no UUID names no run."""
    try:
        return UUID(run_id)
    except ValueError:
        raise NotFound("run", run_id) from None


async def views(pool: Pool, ids: Collection[UUID]) -> list[RunView]:
    """Those of the runs that are there, whole."""
    found = await pool.fetch(f"SELECT {SHOWN} FROM playbook_runs r WHERE r.id = ANY($1::uuid[])", list(ids))
    gave: dict[str, dict[str, asyncpg.Record]] = {row["id"]: {} for row in found}
    for step in await pool.fetch(ALL_STEPS, list(ids)) if found else ():
        gave[step["run_id"]][step["step_id"]] = step
    return [run_view(row, gave[row["id"]]) for row in found]


def run_view(row: asyncpg.Record, outputs: Mapping[str, asyncpg.Record] = NO_OUTPUTS) -> RunView:
    state = Run.model_validate(row["state"])
    steps = []
    for id_ in dict.fromkeys((*state.order, *outputs)):
        known, gave = state.steps.get(id_, StepState()), outputs.get(id_)
        steps.append(
            StepView(
                step_id=id_, **known.model_dump(), summary=gave["summary"] if gave else None,
                output=gave["output"] if gave else None,
            )
        )  # fmt: skip
    deciding = state.deciding
    return RunView.model_validate(
        dict(row.items())
        | {
            "steps": steps, "error": state.error, "deciding": deciding.model_dump() if deciding else None,
            "started_at": state.started_at,
        }
    )  # fmt: skip

"""What a severity is learned from, the models that were made of it, and what they said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from app.domain.errors import Conflict, NotFound
from app.domain.record import Record
from app.domain.severity import FIRST_MODEL
from app.store.database import Pool
from app.store.incidents import as_uuid

LOOKED_BACK = 20_000
"""So many of the newest incidents are asked whether somebody has resolved them."""
KEPT = 20
"""Versions that are kept beside the champion and those that are pinned (2 MB each)."""

LABEL = """
INSERT INTO labels (key, origin, incident_id, example, severity, incident_type, by, at)
SELECT u.key, $2, u.incident_id, u.example, u.severity, u.incident_type, $3, $4
FROM unnest($1::text[], $5::uuid[], $6::jsonb[], $7::text[], $8::text[])
    AS u(key, incident_id, example, severity, incident_type)
ON CONFLICT (key) DO UPDATE SET example = excluded.example, severity = excluded.severity,
    incident_type = excluded.incident_type, by = excluded.by, at = excluded.at
WHERE excluded.origin <> 'rules'
    OR (labels.example, labels.severity) IS DISTINCT FROM (excluded.example, excluded.severity)
"""
EXAMPLE = """jsonb_build_object('title', i.title, 'description', left(i.description, 4000), 'source', i.source,
    'service', to_jsonb(i.affected_services), 'environment', i.environment, 'labels', i.tags, 'at', i.created_at)"""
# What somebody resolved with a severity they let stand; a correction of theirs goes before it. A severity that a model
# gave and nobody touched is not theirs: it would be taught what it says.
TEAM = f"""
(SELECT DISTINCT ON (l.incident_id) l.example, l.severity, l.incident_type, l.at FROM labels l
WHERE l.origin = 'feedback' ORDER BY l.incident_id, l.at DESC)
UNION ALL
SELECT {EXAMPLE}, i.severity, NULL, i.resolved_at
FROM (SELECT * FROM incidents ORDER BY created_at DESC, id DESC LIMIT {LOOKED_BACK}) i, LATERAL (
    SELECT t.actor_type FROM timeline t WHERE t.incident_id = i.id AND t.type = 'resolved' ORDER BY t.seq DESC LIMIT 1
) AS over
WHERE i.status IN ('RESOLVED', 'CLOSED') AND i.resolved_at IS NOT NULL AND over.actor_type = 'user'
    AND i.id NOT IN (SELECT l.incident_id FROM labels l WHERE l.origin = 'feedback' AND l.incident_id IS NOT NULL)
    AND NOT (
        coalesce((SELECT c.applied AND c.predicted = i.severity FROM classifications c
                  WHERE c.incident_id = i.id), false)
        AND NOT EXISTS (SELECT FROM timeline t WHERE t.incident_id = i.id AND t.type = 'severity_changed'
                        AND t.actor_type = 'user')
    )
"""
CLASSIFIED = """
INSERT INTO classifications (incident_id, reported, predicted, applied, confidence, probabilities, incident_class,
    incident_type, category, model_version, reason, reasons, at, stated)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (incident_id) DO NOTHING
"""
LEARNED = """
UPDATE incidents SET
    category = CASE WHEN category = 'other' THEN coalesce($2, category) ELSE category END,
    incident_type = CASE WHEN incident_type = 'Unknown' THEN coalesce($3, incident_type) ELSE incident_type END
WHERE id = $1 AND (category = 'other' OR incident_type = 'Unknown')
"""
PRUNE = """
DELETE FROM models WHERE status = 'retired' AND NOT pinned AND version NOT IN (
    SELECT version FROM models ORDER BY greatest(created_at, promoted_at) DESC LIMIT $1)
"""
SHOWN = "version, status, pinned, metrics, verdict, labels, created_at, promoted_at, octet_length(artifact) AS bytes"


class NewLabel(NamedTuple):
    """`key` makes saying it twice one. `example` is one for a model, as JSON."""

    key: str
    incident_id: UUID | None
    example: Mapping[str, object]
    severity: str
    incident_type: str | None


class ModelView(Record):
    """A trained model. `status` champion, challenger or retired; `metrics` are of labels held out, empty when too few.

    `verdict` says why it was promoted or not, `labels` how many of the team's own it has learned from.
    """

    version: int
    status: str
    pinned: bool
    metrics: dict[str, float]
    verdict: str
    labels: int
    created_at: datetime
    promoted_at: datetime | None
    bytes: int


@dataclass(frozen=True)
class ModelStore:
    pool: Pool

    async def label(self, labels: Sequence[NewLabel], *, origin: str, by: str, at: datetime) -> None:
        """Keeps labels; of the same key the newest."""
        if labels:
            newest = {label.key: label for label in labels}
            key, incident, example, severity, kind = zip(*newest.values(), strict=True)
            await self.pool.execute(
                LABEL, list(key), origin, by, at, list(incident), [dict(one) for one in example], list(severity),
                list(kind),
            )  # fmt: skip

    async def team(self) -> list[dict[str, Any]]:
        """Every label that people of the team have given: example, severity, incident_type."""
        return [dict(row.items()) for row in await self.pool.fetch(TEAM)]

    async def rules(self) -> list[dict[str, Any]]:
        """Every label that came from rule files."""
        found = await self.pool.fetch("SELECT example, severity FROM labels WHERE origin = 'rules'")
        return [dict(row.items()) for row in found]

    async def labels_by_origin(self) -> dict[str, int]:
        """How many labels there are of each origin, those of resolved incidents among them."""
        rows = await self.pool.fetch(
            "SELECT origin, count(DISTINCT coalesce(incident_id::text, key)) AS n FROM labels GROUP BY origin"
        )
        found = {row["origin"]: row["n"] for row in rows}
        team: int = await self.pool.fetchval(f"SELECT count(*) FROM ({TEAM}) AS given")
        return {"feedback": 0, "rules": 0} | found | {"resolved": team - found.get("feedback", 0)}

    async def unlearned(self) -> int:
        """How many labels there are that no model has learned from yet."""
        return await self.pool.fetchval(  # type: ignore[no-any-return]
            f"SELECT count(*) FROM (SELECT at FROM ({TEAM}) AS given UNION ALL SELECT at FROM labels"
            " WHERE origin = 'rules') AS every WHERE at >"
            " coalesce((SELECT max(created_at) FROM models WHERE request <> $1), '-infinity')",
            FIRST_MODEL,
        )

    async def incident(self, incident_id: str) -> asyncpg.Record:
        """An incident as a model sees it, as reported, and what one has said of it already. Raises: NotFound."""
        found = await self.pool.fetchrow(
            f"SELECT {EXAMPLE} AS example, reported_severity, (SELECT to_jsonb(c) FROM classifications c"
            " WHERE c.incident_id = i.id) AS said FROM incidents i WHERE id = $1",
            as_uuid(incident_id),
        )
        if found is None:
            raise NotFound("incident", incident_id)
        return found

    async def classified(self, incident_id: str) -> asyncpg.Record | None:
        """What was said of an incident when it was new."""
        return await self.pool.fetchrow("SELECT * FROM classifications WHERE incident_id = $1", UUID(incident_id))

    async def keep(self, incident_id: str, said: Sequence[object], category: str | None, kind: str | None) -> bool:
        """Keeps what a model said, and fills in what the reporter left open. False: something was said before."""
        if category is None and kind is None:
            return await self.pool.execute(CLASSIFIED, UUID(incident_id), *said) == "INSERT 0 1"
        async with self.pool.transaction() as connection:
            first: bool = await connection.execute(CLASSIFIED, UUID(incident_id), *said) == "INSERT 0 1"
            if first:
                await connection.execute(LEARNED, UUID(incident_id), category, kind)
        return first

    async def champion(self) -> int | None:
        """The version of the model that counts."""
        return await self.pool.fetchval("SELECT version FROM models WHERE status = 'champion'")  # type: ignore[no-any-return]

    async def artifact(self, version: int) -> bytes:
        """Raises: NotFound."""
        found: bytes | None = await self.pool.fetchval("SELECT artifact FROM models WHERE version = $1", version)
        if found is None:
            raise NotFound("model", str(version))
        return found

    async def add(
        self, request: str, artifact: bytes, metrics: Mapping[str, float], *, verdict: str, labels: int,
        promoted: bool, beaten: int | None, at: datetime,
    ) -> ModelView:  # fmt: skip
        """A model that was trained; the champion from now on if it was promoted.

        Not if the champion is pinned, or isn't the one any more that was beaten. Twice (by its request) is once.
        """
        async with self.pool.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('models'))")
            row = await connection.fetchrow(f"SELECT {SHOWN} FROM models WHERE request = $1", request)
            if row is None:
                held = await connection.fetchrow("SELECT version, pinned FROM models WHERE status = 'champion'")
                but = "" if not promoted else _but(held, beaten)
                wins = promoted and not but
                await connection.execute(
                    "UPDATE models SET status = 'retired' WHERE status = 'challenger' OR ($1 AND status = 'champion')",
                    wins,
                )
                row = await connection.fetchrow(
                    "INSERT INTO models (status, artifact, metrics, verdict, labels, request, created_at, promoted_at)"
                    f" VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING {SHOWN}",
                    "champion" if wins else "challenger", artifact, dict(metrics), verdict + but, labels, request, at,
                    at if wins else None,
                )  # fmt: skip
                await connection.execute(PRUNE, KEPT)
        return _view(row)

    async def all(self) -> list[ModelView]:
        """The newest first."""
        return [_view(row) for row in await self.pool.fetch(f"SELECT {SHOWN} FROM models ORDER BY version DESC")]

    async def promote(self, version: int, at: datetime) -> ModelView:
        """Makes a model the champion, whatever it was. Raises: NotFound."""
        async with self.pool.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('models'))")
            if await connection.fetchval("SELECT true FROM models WHERE version = $1", version) is None:
                raise NotFound("model", str(version))
            await connection.execute(
                "UPDATE models SET status = 'retired', pinned = false WHERE status = 'champion' AND version <> $1",
                version,
            )
            row = await connection.fetchrow(
                f"UPDATE models SET status = 'champion', promoted_at = $2 WHERE version = $1 RETURNING {SHOWN}",
                version, at,
            )  # fmt: skip
        return _view(row)

    async def pin(self, version: int, *, pinned: bool) -> ModelView:
        """No training replaces a pinned champion. Raises: NotFound, Conflict when it isn't the champion."""
        row = await self.pool.fetchrow(
            "UPDATE models SET pinned = $2 WHERE version = $1 AND (status = 'champion' OR NOT $2)"
            f" RETURNING {SHOWN}", version, pinned,
        )  # fmt: skip
        if row is None:
            await self.artifact(version)
            raise Conflict(f"The model {version} isn't the champion: roll back to it first.", {"version": version})
        return _view(row)

    async def delete(self, version: int) -> None:
        """Raises: NotFound, Conflict when it is the champion."""
        if (
            await self.pool.execute("DELETE FROM models WHERE version = $1 AND status <> 'champion'", version)
            == "DELETE 0"
        ):
            await self.artifact(version)
            raise Conflict(f"The model {version} is the champion: roll back to another first.", {"version": version})


def _but(champion: asyncpg.Record | None, beaten: int | None) -> str:
    """Why a model that was good enough does not count nevertheless."""
    if champion is not None and champion["pinned"]:
        return "; the champion is pinned"
    if (champion["version"] if champion is not None else None) != beaten:
        return "; another became champion meanwhile"
    return ""


def _view(row: asyncpg.Record | None) -> ModelView:
    return ModelView.model_validate(dict(row.items()) if row is not None else {})

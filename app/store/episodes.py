"""What is wrong with what is watched. Each change is made by exactly one, and stays to be told until it was."""

from dataclasses import dataclass

import asyncpg

from app.domain.episode import Episode
from app.store.database import Pool

BEGIN = """
INSERT INTO episodes (subject, since, severity, threshold, over, news) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING RETURNING subject
"""
# Of one that has gone on in somebody else's hands, or whose news is still untold, nothing changes.
CHANGE = """
UPDATE episodes SET severity = $3, threshold = $4, over = $5, news = $6
WHERE subject = $1 AND since = $2 AND NOT over AND news IS NULL AND (severity, over) <> ($3, $5)
RETURNING subject
"""
TOLD = "UPDATE episodes SET news = NULL WHERE subject = $1 AND since = $2 AND severity = $3 AND NOT over"
GONE = "DELETE FROM episodes WHERE subject = $1 AND since = $2 AND over"
SHOWN = "SELECT subject, since, severity, threshold, over, news FROM episodes"


@dataclass(frozen=True)
class EpisodeStore:
    pool: Pool

    async def begin(self, episode: Episode) -> bool:
        """Whether it began here and now: of many who say so, one is right."""
        return await self._write(BEGIN, episode)

    async def change(self, episode: Episode) -> bool:
        """Whether it became more severe, or over, here and now."""
        return await self._write(CHANGE, episode)

    async def told(self, episode: Episode) -> None:
        """Its news was accepted. One that is over is gone."""
        if episode.over:
            await self.pool.execute(GONE, episode.subject, episode.since)
        else:
            await self.pool.execute(TOLD, episode.subject, episode.since, episode.severity)

    async def all(self) -> list[Episode]:
        """Everything that is wrong now, by subject."""
        return [_episode(row) for row in await self.pool.fetch(f"{SHOWN} ORDER BY subject")]

    async def of(self, subject: str) -> Episode | None:
        row = await self.pool.fetchrow(f"{SHOWN} WHERE subject = $1", subject)
        return _episode(row) if row is not None else None

    async def _write(self, sql: str, episode: Episode) -> bool:
        news = episode.news.model_dump(mode="json") if episode.news is not None else None
        written = await self.pool.fetchval(
            sql, episode.subject, episode.since, episode.severity, episode.threshold, episode.over, news
        )
        return written is not None


def _episode(row: asyncpg.Record) -> Episode:
    return Episode.model_validate(dict(row.items()))

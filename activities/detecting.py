"""From a verdict to an incident: what changes with something that is watched becomes an alert, once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from app.domain.alert import Alert, AlertStatus
from app.domain.detection import Firing, Rules, Verdict, incident_class, judged, title
from app.domain.episode import Episode
from app.domain.telemetry import Series
from app.sources.base import canonical

if TYPE_CHECKING:
    from app.store.episodes import EpisodeStore
    from app.store.telemetry import TelemetryStore

Tell = Callable[[Sequence[Alert]], Awaitable[object]]
"""Has alerts accepted: they are durable when it returns. The same again changes nothing."""
SOURCE = "detector"


@dataclass(frozen=True)
class Reporting:
    """Writes down each change together with its alert, and only then has that accepted.

    Whoever dies in between leaves the alert behind; `tell_again` is what finds it. Its delivery key makes the second
    time harmless.
    """

    episodes: EpisodeStore
    tell: Tell

    async def begin(self, episode: Episode) -> bool:
        """Whether it began here, and not in somebody else's hands; then it was told."""
        return await self.episodes.begin(episode) and await self._told([episode])

    async def change(self, episode: Episode) -> bool:
        """Whether it became more severe or over here; then it was told."""
        return await self.episodes.change(episode) and await self._told([episode])

    async def tell_again(self) -> int:
        """Has everything accepted that was left untold; how much that was."""
        left = [episode for episode in await self.episodes.all() if episode.news is not None]
        if left:
            await self._told(left)
        return len(left)

    async def _told(self, episodes: Collection[Episode]) -> bool:
        await self.tell([episode.news for episode in episodes if episode.news is not None])
        for episode in episodes:
            await self.episodes.told(episode)
        return True


@dataclass(frozen=True)
class Detecting:
    """`quiet`: so long without a sample, a series is over. `seen` is told the class of everything that begins."""

    telemetry: TelemetryStore
    reporting: Reporting
    rules: Rules
    quiet: timedelta
    seen: Callable[[str], None]

    async def judge(self, ids: Collection[str], now: datetime) -> None:
        """Begins, raises and ends what the windows of these series say. Twice is once."""
        for series, window, firing in await self.telemetry.measured(ids, self.rules, now):
            verdict = judged(series, self.rules[series.detector], window, firing, now, self.quiet)
            if verdict is not None:
                await self._change(series, verdict, firing, now)

    async def _change(self, series: Series, verdict: Verdict, firing: Firing | None, now: datetime) -> None:
        if firing is None:
            if verdict.severity is not None:
                news = alert(series, verdict, now)
                began = Episode(
                    subject=series.id, since=now, severity=verdict.severity, threshold=verdict.threshold, news=news
                )
                if await self.reporting.begin(began):
                    self.seen(incident_class(series))
            return
        there = await self.reporting.episodes.of(series.id)
        if there is None:
            return
        severity = verdict.severity or there.severity
        news = alert(series, verdict, there.since)
        over = verdict.severity is None
        await self.reporting.change(there.model_copy(update={"severity": severity, "over": over, "news": news}))


def alert(series: Series, verdict: Verdict, since: datetime) -> Alert:
    """What a verdict on a series says to whoever is on call; `since` is when the episode began."""
    over = verdict.severity is None
    said = "over" if over else verdict.severity
    return canonical(
        SOURCE, title(series), series.id,
        incident_class=incident_class(series), severity=verdict.severity,
        status=AlertStatus.RESOLVED if over else AlertStatus.FIRING,
        description=verdict.why, service=series.service, environment=series.environment,
        labels={**series.subject, "tool": series.source, "detector": series.detector, "class": incident_class(series)},
        notes={**verdict.numbers, "signal": series.signal},
        delivery=f"{series.id} {since.isoformat()} {said}", starts_at=since,
    )  # fmt: skip

"""From a verdict to an incident: what changes with something that is watched becomes an alert, once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from app.domain.alert import Alert, AlertStatus
from app.domain.detection import Rules, Verdict, incident_class, judged, title
from app.domain.episode import Episode
from app.domain.taxonomy import CLASSES
from app.domain.telemetry import Series
from app.sources.base import canonical

if TYPE_CHECKING:
    from app.store.episodes import EpisodeStore
    from app.store.telemetry import TelemetryStore

Tell = Callable[[Sequence[Alert]], Awaitable[object]]
"""Has alerts accepted: they are durable when it returns. The same again changes nothing."""
SOURCE = "detector"
TOLD_AT_ONCE = 200
"""Alerts of one transaction (chosen: however much was left untold, some of it is accepted in time)."""


@dataclass(frozen=True)
class Reporting:
    """Writes down each change together with its alert, and only then has that accepted.

    Whoever dies in between leaves the alert behind; `tell_again` is what finds it. Its delivery key makes the second
    time harmless.
    """

    episodes: EpisodeStore
    tell: Tell

    async def tell_again(self) -> int:
        """Has everything accepted that was left untold; how much that was."""
        left = [episode for episode in await self.episodes.all() if episode.news is not None]
        await self.told(left)
        return len(left)

    async def told(self, changed: Sequence[Episode]) -> None:
        """Has the news of episodes accepted, that were begun or changed here."""
        for begin in range(0, len(changed), TOLD_AT_ONCE):
            some = changed[begin : begin + TOLD_AT_ONCE]
            await self.tell([episode.news for episode in some if episode.news is not None])
            for episode in some:
                await self.episodes.told(episode)


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
        changed = []
        for series, window, firing in await self.telemetry.measured(ids, self.rules, now):
            verdict = judged(series, self.rules[series.detector], window, firing, now, self.quiet)
            if verdict is None:
                continue
            episode = await (self._begun(series, verdict, now) if firing is None else self._changed(series, verdict))
            if episode is not None:
                changed.append(episode)
        await self.reporting.told(changed)

    async def _begun(self, series: Series, verdict: Verdict, now: datetime) -> Episode | None:
        """The episode, if it began here and not in somebody else's hands."""
        news = alert(series, verdict, now)
        episode = Episode(subject=series.id, since=now, severity=news.severity, threshold=verdict.threshold, news=news)
        if not await self.reporting.episodes.begin(episode):
            return None
        self.seen(incident_class(series))
        return episode

    async def _changed(self, series: Series, verdict: Verdict) -> Episode | None:
        """The episode, if it became more severe or over here."""
        there = await self.reporting.episodes.of(series.id)
        if there is None:
            return None
        changes = {
            "severity": verdict.severity or there.severity, "over": verdict.severity is None,
            "news": alert(series, verdict, there.since),
        }  # fmt: skip
        episode = there.model_copy(update=changes)
        return episode if await self.reporting.episodes.change(episode) else None


def alert(series: Series, verdict: Verdict, since: datetime) -> Alert:
    """What a verdict on a series says to whoever is on call; `since` is when the episode began."""
    over, kind = verdict.severity is None, incident_class(series)
    said = "over" if over else verdict.severity
    about = {"tool": series.source, "detector": series.detector, "class": kind if kind in CLASSES else None}
    return canonical(
        SOURCE, title(series), series.id,
        incident_class=kind, severity=verdict.severity,
        status=AlertStatus.RESOLVED if over else AlertStatus.FIRING,
        description=verdict.why, service=series.service, environment=series.environment,
        labels={**series.labels, **series.subject, **about},
        notes={**verdict.numbers, "signal": series.signal},
        delivery=f"{series.id} {since.isoformat()} {said}", starts_at=since,
    )  # fmt: skip

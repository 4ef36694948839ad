"""What nobody reports: heartbeats that stay away, and series that are over or silent by the time alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import ValidationError
from temporalio import activity

from activities.detecting import Detecting
from app.domain.alert import Alert, AlertStatus
from app.domain.detection import Silence
from app.domain.episode import Episode
from app.domain.heartbeat import SUBJECT, Heartbeat, Pulse, Standing, standing
from app.domain.record import Record
from app.domain.telemetry import Detector
from app.sources.base import canonical

if TYPE_CHECKING:
    from app.domain.requests import Document
    from app.store.alerts import AlertStore
    from app.store.documents import DocumentStore
    from app.store.heartbeats import HeartbeatStore

log = logging.getLogger(__name__)

SOURCE = "heartbeat"
KIND = "heartbeats"


class Watch(Record):
    """`at` None: now."""

    at: datetime | None = None


class Watched(Record):
    """What a look found: heartbeats overdue, alerts that had been left untold, incidents that nothing is heard of any
    more; and old rows that are gone."""

    overdue: int
    told_again: int
    forgotten: int
    quiet: int = 0


@dataclass(frozen=True)
class Watching:
    """`overdue` is told how many heartbeats are, at every look; `detecting.seen` the class of each that begins to."""

    documents: DocumentStore
    heartbeats: HeartbeatStore
    detecting: Detecting
    alerts: AlertStore
    overdue: Callable[[int], None]

    @activity.defn(name="watching.watch")
    async def watch(self, ask: Watch) -> Watched:
        """Looks at everything that only time changes. Twice is once: a change is made by one, and told by its key."""
        now = ask.at or datetime.now(UTC)
        resumed = await self.heartbeats.watched(now)
        told = await self.detecting.reporting.tell_again()
        overdue = await self._look_at_heartbeats(resumed, now)
        await self._look_at_series(resumed, now)
        self.overdue(overdue)
        quiet = await self.alerts.end_quiet(now)
        forgotten = await self.detecting.telemetry.clean_up(now)
        return Watched(overdue=overdue, told_again=told, forgotten=forgotten, quiet=quiet)

    async def _look_at_heartbeats(self, resumed: datetime, now: datetime) -> int:
        """How many are overdue."""
        written = await self.documents.all(KIND)
        known = {f"{SUBJECT}{document.id}" for document in written}
        watched = [heartbeat for document in written if (heartbeat := _read(document)) is not None]
        off = [heartbeat.id for heartbeat in watched if not heartbeat.enabled]
        beats = await self.heartbeats.awaited({document.id: document.updated_at for document in written}, off, now)
        wrong = {one.subject: one for one in await self.detecting.reporting.episodes.all()}
        overdue = 0
        for heartbeat in watched:
            episode = wrong.get(heartbeat.subject)
            failing = episode is not None and not episode.over
            found = standing(heartbeat, beats[heartbeat.id], resumed, now, failing=failing)
            overdue += found.pulse is Pulse.OVERDUE
            if found.pulse is Pulse.OVERDUE and episode is None:
                await self._missed(heartbeat, found, beats[heartbeat.id].at, now)
            elif found.pulse is not Pulse.OVERDUE and episode is not None:
                await self.end(episode, "It was switched off." if found.pulse is Pulse.OFF else "It pinged again.")
        for subject, episode in wrong.items():
            if subject.startswith(SUBJECT) and subject not in known:
                await self.end(episode, "The heartbeat was deleted.")
        return overdue

    async def _missed(self, heartbeat: Heartbeat, found: Standing, last: datetime | None, now: datetime) -> None:
        news = alert(heartbeat, found, last, now)
        began = Episode(subject=heartbeat.subject, since=now, severity=heartbeat.urgency, news=news)
        if await self.detecting.reporting.episodes.begin(began):
            self.detecting.seen(heartbeat.incident_class)
            await self.detecting.reporting.told([began])

    async def end(self, episode: Episode, why: str) -> None:
        """Resolves what a heartbeat's silence has opened. Twice is once."""
        news = canonical(
            SOURCE, f"{episode.subject} is well again", episode.subject,
            severity=episode.severity, status=AlertStatus.RESOLVED, description=why, starts_at=episode.since,
            delivery=f"{episode.subject} {episode.since.isoformat()} over",
        )  # fmt: skip
        ended = episode.model_copy(update={"over": True, "news": news})
        if await self.detecting.reporting.episodes.change(ended):
            await self.detecting.reporting.told([ended])

    async def _look_at_series(self, resumed: datetime, now: datetime) -> None:
        wrong = [episode.subject for episode in await self.detecting.reporting.episodes.all()]
        ids = [subject for subject in wrong if not subject.startswith(SUBJECT)]
        rule = self.detecting.rules[Detector.NO_DATA]
        if isinstance(rule, Silence) and rule.enabled:
            since = now - timedelta(seconds=rule.silent_secs)
            # Before that nobody may have been there to take anything.
            ids += await self.detecting.telemetry.silent(since) if resumed <= since else []
        await self.detecting.judge(sorted(set(ids)), now)


def _read(document: Document) -> Heartbeat | None:
    """None for one that an earlier version wrote and this one can't read: the others are watched all the same."""
    try:
        return Heartbeat.model_validate(document.body)
    except ValidationError:
        log.exception("the heartbeat %s is not watched", document.id)
        return None


def alert(heartbeat: Heartbeat, found: Standing, last: datetime | None, since: datetime) -> Alert:
    """What the silence of a heartbeat says to whoever is on call."""
    pinged = f"It last pinged at {last:%Y-%m-%d %H:%M:%S} UTC" if last else "It has never pinged"
    return canonical(
        SOURCE, f"No heartbeat: {heartbeat.name}", heartbeat.subject,
        incident_class=heartbeat.incident_class, severity=heartbeat.urgency,
        description=f"{pinged}, and was due at {found.due_at:%Y-%m-%d %H:%M:%S} UTC. {heartbeat.description}".strip(),
        service=heartbeat.service, environment=heartbeat.environment,
        labels={**heartbeat.labels, "heartbeat": heartbeat.id, "class": heartbeat.incident_class},
        notes={"every_secs": heartbeat.every_secs, "grace_secs": heartbeat.grace_secs},
        delivery=f"{heartbeat.subject} {since.isoformat()}", starts_at=since, runbook_url=heartbeat.runbook_url,
    )  # fmt: skip

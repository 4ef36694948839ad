"""The workflow's decisions, written where everybody reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from temporalio import activity

from app.domain.incident import Incident
from app.domain.record import Record
from app.domain.timeline import Entry, EventType

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.store.incidents import IncidentStore


class Show(Record):
    """A state, the entries that led to it, and the moment in the workflow's time that orders it."""

    incident: Incident
    time_ns: int
    entries: tuple[Entry, ...]
    stop_pages: bool = False


@dataclass(frozen=True)
class Projection:
    """`count` is told every entry that was written, for the metrics."""

    incidents: IncidentStore
    count: Callable[[Incident, EventType, dict[str, object]], None]

    @activity.defn(name="projection.project")
    async def project(self, show: Show) -> None:
        """Twice is once, and late is never: rows are ordered by (time_ns, sequence)."""
        await self.incidents.project(show.incident, show.time_ns, show.entries, stop_pages=show.stop_pages)
        for entry in show.entries:
            self.count(show.incident, entry.type, entry.data | _recognised(entry, show.entries))


def _recognised(entry: Entry, entries: tuple[Entry, ...]) -> dict[str, object]:
    """What a new incident turned out to be, which is told right after that it was created."""
    said = entries if entry.type is EventType.INCIDENT_CREATED else ()
    return next(({"incident_class": e.data["incident_class"]} for e in said if e.type is EventType.CLASSIFIED), {})

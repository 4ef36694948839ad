"""Something that was changed, and how near it is to an incident."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from app.domain.record import Record


class Change(Record):
    """A change as it was kept. `links` are objects, as their source writes them, mostly {href, text}."""

    id: str
    source: str
    summary: str
    at: datetime
    services: tuple[str, ...]
    environment: str | None
    author: str | None
    details: dict[str, object]
    links: tuple[dict[str, object], ...]


def nearest(changes: Iterable[Change], far: Mapping[str, int], at: datetime, window: timedelta) -> list[Change]:
    """The changes, the likeliest cause first: by how fresh they are, halved for each dependency in between.

    `far` is how many dependencies away a service is, by its name in lower case.
    """

    def likely(change: Change) -> float:
        hops = min((far[name.casefold()] for name in change.services if name.casefold() in far), default=99)
        return max(0.01, 1 - (at - change.at) / (2 * window)) * 0.5**hops

    return sorted(changes, key=lambda change: (-likely(change), at - change.at))

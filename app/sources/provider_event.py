"""What the model providers' own webhooks have in common: a kind of event, and what each kind means."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from app.domain.alert import Alert, AlertStatus
from app.domain.errors import Invalid
from app.domain.vocabulary import Severity
from app.sources.base import Post, canonical

DELIVERY = "webhook-id"
"""The header of https://www.standardwebhooks.com that names a post; it is signed."""
ENDS = ("recovered", "resolved")


class Means(NamedTuple):
    """What a kind of event is; `kind` names the problem where several kinds are about one."""

    title: str
    incident_class: str
    severity: Severity
    problem: str = ""


class Event(NamedTuple):
    """`about` is the id of what it is about."""

    kind: str
    about: str
    at: datetime | None
    delivery: str
    labels: Mapping[str, object]

    @property
    def failed(self) -> bool:
        return self.kind.rpartition(".")[2] in ("failed", "expired")

    @property
    def over(self) -> bool:
        return self.kind.endswith(ENDS)


def delivered(post: Post, event_id: str) -> str:
    """What names a post: its sender sends it again under the same name."""
    return post.headers.get(DELIVERY) or event_id


def known(kind: str) -> str:
    """Raises: Invalid where a body has no kind."""
    if not kind:
        raise Invalid.field("type", "is required: what kind of event it is")
    return kind[:200]


def alert_of(provider: str, event: Event, means: Means) -> Alert:
    """What an event says of one problem at its provider. Bodies are thin: its id leads to the rest."""
    problem = means.problem or event.kind
    return canonical(
        provider, means.title, f"{problem}/{event.about}",
        incident_class=means.incident_class, severity=means.severity,
        status=AlertStatus.RESOLVED if event.over else AlertStatus.FIRING,
        description=f"{provider} says {event.kind} of {event.about or 'an object that it does not name'}.",
        labels={"provider": provider, "event": event.kind, **event.labels},
        notes={"id": event.about},
        delivery=event.delivery or None, starts_at=event.at, ends_at=event.at,
    )  # fmt: skip

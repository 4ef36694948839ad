"""What tools send by themselves: who they are, what it says, and where each part of it goes."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from app.domain.access import Principal
from app.domain.alert import Alert, ChangeEvent
from app.domain.errors import Invalid, NotFound
from app.domain.inbound import Inbound, Sample
from app.domain.record import Record
from app.domain.requests import Ingested
from app.domain.vocabulary import ActorType, Environment, Role
from app.service.alerts import Alerts
from app.service.changes import AHEAD, Changes
from app.service.telemetry import Telemetry
from app.sources.base import Post, Source
from app.sources.unreadable import unreadable


@dataclass(frozen=True)
class Door:
    """One tool that may post, with what the operator says of it."""

    name: str
    source: Source
    secrets: Sequence[str] = ()
    service: str | None = None
    environment: Environment | None = None
    labels: Mapping[str, str] | None = None

    @property
    def signed(self) -> bool:
        """Whether its posts have to be signed."""
        return bool(self.secrets) and self.source.verify is not None


class Taken(Record):
    """What became of a post: of each alert, in order; how many changes were kept and how many samples were new."""

    results: list[Ingested] = []
    changes: int = 0
    samples: int = 0


@dataclass(frozen=True)
class Intake:
    doors: Mapping[str, Door]
    alerts: Alerts
    changes: Changes
    telemetry: Telemetry

    def door(self, name: str) -> Door:
        """Raises: NotFound."""
        if name not in self.doors:
            raise NotFound("source", name)
        return self.doors[name]

    def signer(self, door: Door, post: Post) -> Principal:
        """Who signed a post. Raises: Forged, Stale."""
        if door.source.verify is not None:
            door.source.verify(post, door.secrets)
        return Principal(name=door.name, role=Role.INGEST, actor_type=ActorType.INTEGRATION, id=f"tool:{door.name}")

    async def take(self, who: Principal, door: Door, post: Post) -> Taken:
        """Keeps all of what a post says; everything is durable when it returns.

        A post twice is once: of alerts, changes and telemetry each has a key of its own.

        Raises: Forbidden; Invalid for an empty body, or where the source is strict; Unavailable (it may be sent again).
        """
        if not post.body:
            raise Invalid.field("body", "must not be empty")
        said = self._said(door, post)
        results = await self.alerts.ingest(who, [_known(door, alert) for alert in said.alerts]) if said.alerts else []
        for change in said.changes:
            await self.changes.record(who, _dated(change))
        return Taken(results=results, changes=len(said.changes), samples=await self._count(who, door, post, said))

    def _said(self, door: Door, post: Post) -> Inbound:
        try:
            return door.source.read(post)
        except Invalid as why:
            if door.source.strict:
                raise
            return Inbound(alerts=(unreadable(door.name, post, why),))

    async def _count(self, who: Principal, door: Door, post: Post, said: Inbound) -> int:
        """How many samples were new. A post that has no name of its own is known by its bytes."""
        if not said.samples:
            return 0
        delivery = said.delivery or hashlib.sha256(post.body).hexdigest()
        samples = [_placed(door, sample) for sample in said.samples]
        return await self.telemetry.count(who, samples, f"{door.name} {delivery}", post.at)


def _known(door: Door, alert: Alert) -> Alert:
    """An alert, with what the operator says of all that this tool sends where it says nothing itself."""
    return alert.model_copy(
        update={
            "affected_services": alert.affected_services or ((door.service,) if door.service else ()),
            "environment": alert.environment or door.environment,
            "labels": {**(door.labels or {}), **alert.labels},
        }
    )


def _placed(door: Door, sample: Sample) -> Sample:
    """A sample, with what the operator says of all that this tool sends where it says nothing itself."""
    return sample.model_copy(
        update={"service": sample.service or door.service, "environment": sample.environment or door.environment}
    )


def _dated(change: ChangeEvent) -> ChangeEvent:
    """A tool's clock may be wrong: what lies in the future happened just now."""
    ahead = change.at is not None and change.at > datetime.now(UTC) + AHEAD
    return change.model_copy(update={"at": None}) if ahead else change

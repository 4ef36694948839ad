"""What tools send by themselves: who they are, what it says, and where each part of it goes."""

import asyncio
import hashlib
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from app.domain.access import Principal, Scope
from app.domain.alert import Alert, ChangeEvent
from app.domain.errors import Invalid
from app.domain.inbound import Inbound, Sample
from app.domain.record import Record
from app.domain.requests import Ingested
from app.domain.vocabulary import ActorType, Environment, Role
from app.service.alerts import Alerts
from app.service.changes import AHEAD, Changes
from app.service.evidence import Evidence
from app.service.telemetry import Telemetry
from app.sources.base import Post, Source, pseudonym, short
from app.sources.signatures import no_secrets, standard_webhooks
from app.sources.unreadable import unreadable
from app.store.database import answering

log = logging.getLogger(__name__)

AT_ONCE_MAX = 65_536
"""Bytes that may be read while everybody else waits; more are read in a thread."""


Result = TypeVar("Result")


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

    @property
    def unusable(self) -> str | None:
        """Why with one of the secrets nothing can be signed."""
        return no_secrets(self.secrets) if self.source.verify is standard_webhooks else None


class Taken(Record):
    """What became of a post: of each alert, in order; how many changes were kept and how many samples were new."""

    results: list[Ingested] = []
    changes: int = 0
    samples: int = 0


@dataclass(frozen=True)
class Intake:
    """`doors` of what we know by itself; `mapped` finds those of saved mappings, or raises NotFound."""

    doors: Mapping[str, Door]
    alerts: Alerts
    changes: Changes
    evidence: Evidence
    mapped: Callable[[str], Awaitable[Door]]
    telemetry: Telemetry

    async def door(self, name: str) -> Door:
        """Raises: NotFound, Unavailable."""
        return self.doors.get(name) or await self.mapped(name)

    async def signer(self, door: Door, post: Post) -> Principal:
        """Who signed a post. Raises: Forged, Stale."""
        if door.source.verify is not None:
            await _apart(post, partial(door.source.verify, post, door.secrets))
        return Principal(name=door.name, role=Role.INGEST, actor_type=ActorType.INTEGRATION, id=f"tool:{door.name}")

    async def take(self, who: Principal, door: Door, post: Post) -> Taken:
        """Keeps all of what a post says; everything is durable when it returns.

        A post twice is once: of alerts, changes and telemetry each has a key of its own.

        Raises: Forbidden; Invalid for an empty body, or where the source is strict; Unavailable (it may be sent again).
        """
        who.may(Scope.SEND_ALERTS)
        if not post.body:
            raise Invalid.field("body", "must not be empty")
        kept = await self.evidence.keep(door.name, post)
        taken = await self._taken(who, door, post)
        await self.evidence.tie(kept, taken.results)
        return taken

    async def known(self, message_ids: Sequence[str]) -> str | None:
        """What the problem is called that one of these mails told of. Raises: Unavailable."""
        if not message_ids:
            return None
        async with answering():
            return await self.alerts.store.named("email", [pseudonym(one) for one in message_ids])

    async def replay(self, who: Principal, evidence_id: str) -> Taken:
        """Takes once more what is kept as evidence, as if it came now in the same words: what it has done, it has done.

        Raises: Forbidden, NotFound, also where its tool is gone; Conflict without its key; Invalid, Unavailable.
        """
        item, post = await self.evidence.open(who, evidence_id, "replayed")
        taken = await self._taken(who, await self.door(item.tool), post)
        await self.evidence.tie(item.id, taken.results)
        return taken

    async def _taken(self, who: Principal, door: Door, post: Post) -> Taken:
        said = await _apart(post, partial(self._said, door, post))
        alerts = [self._known(door, alert) for alert in said.alerts]
        results = await self.alerts.ingest(who, alerts) if alerts else []
        samples = await _apart(post, partial(self._samples, door, said.samples))
        for change in said.changes:
            await self.changes.record(who, _explaining(door, change))
        counted = await self._count(who, door, post, samples, said.delivery) if samples else 0
        return Taken(results=results, changes=len(said.changes), samples=counted)

    def _said(self, door: Door, post: Post) -> Inbound:
        try:
            return door.source.read(post)
        except Invalid as why:
            if door.source.strict:
                raise
            return Inbound(alerts=(unreadable(door.name, post, why),))
        except Exception as bug:
            if door.source.strict:
                raise
            # Its words may be the body's own: where it happened is enough.
            where = "".join(traceback.format_tb(bug.__traceback__))
            log.error("%s could not be read: %s\n%s", door.name, type(bug).__name__, where)  # noqa: TRY400
            ours = Invalid(f"Reading it failed here ({type(bug).__name__}); more is in the log.")
            return Inbound(alerts=(unreadable(door.name, post, ours),))

    def _known(self, door: Door, alert: Alert) -> Alert:
        """An alert, with what the operator says of all that this tool sends where it says nothing itself.

        Two tools of one kind may call two problems the same: one with a name of its own says whose it is.
        """
        identity = alert.identity
        if identity is not None and door.name != alert.source and not door.source.universal:
            identity = short(f"{door.name}\n{self.alerts.redaction.name(identity)}", 1024)
        return alert.model_copy(
            update={
                "identity": identity,
                "affected_services": alert.affected_services or ((door.service,) if door.service else ()),
                "environment": alert.environment or door.environment,
                "labels": {**(door.labels or {}), **alert.labels},
            }
        )

    def _samples(self, door: Door, samples: Sequence[Sample]) -> list[Sample]:
        return [_placed(door, self.alerts.redaction.sample(sample)) for sample in samples]

    async def _count(
        self, who: Principal, door: Door, post: Post, samples: Sequence[Sample], delivery: str | None
    ) -> int:
        """How many samples were new. A post that has no name of its own is known by its bytes."""
        delivery = delivery or hashlib.sha256(post.body).hexdigest()
        return await self.telemetry.count(who, samples, f"{door.name} {delivery}", post.at)


async def _apart(post: Post, deed: Callable[[], Result]) -> Result:
    """Of a large body in a thread."""
    return await asyncio.to_thread(deed) if len(post.body) > AT_ONCE_MAX else deed()


def _placed(door: Door, sample: Sample) -> Sample:
    """A sample, with what the operator says of all that this tool sends where it says nothing itself."""
    return sample.model_copy(
        update={
            "service": sample.service or door.service,
            "environment": sample.environment or door.environment,
            "labels": {**(door.labels or {}), **sample.labels},
        }
    )


def _explaining(door: Door, change: ChangeEvent) -> ChangeEvent:
    """A change of the services that the operator says this tool is about, where it names none itself.

    A tool's clock may be wrong: what lies in the future happened just now.
    """
    ahead = change.at is not None and change.at > datetime.now(UTC) + AHEAD
    return change.model_copy(
        update={
            "at": None if ahead else change.at,
            "services": change.services or ((door.service,) if door.service else ()),
            "environment": change.environment or door.environment,
        }
    )

"""Silences made, ended and listed; why an incident pages nobody."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from pydantic import Field, model_validator
from uuid_utils.compat import uuid7

from app.domain.access import Principal, Scope
from app.domain.decode import Instant
from app.domain.errors import Conflict, Invalid
from app.domain.incident import Hold, HoldReason
from app.domain.people import Slug
from app.domain.record import Record
from app.domain.requests import Document
from app.domain.suppression import LONGEST, Silence, state
from app.service.documents import Documents
from app.store.database import answering
from app.store.holding import HoldingStore
from app.store.incidents import IncidentStore

MINUTES = LONGEST // timedelta(minutes=1)
SAYS = {
    HoldReason.SILENCE: "silenced", HoldReason.MAINTENANCE: "in maintenance", HoldReason.FLAPPING: "comes and goes",
    HoldReason.RULE: "suppressed by a routing rule", HoldReason.GROUP: "another incident of its group is worked on",
    HoldReason.INHIBITION: "explained by another open incident",
}  # fmt: skip
KINDS = {
    HoldReason.SILENCE: "silences", HoldReason.MAINTENANCE: "maintenance-windows", HoldReason.RULE: "routing-rules",
}  # fmt: skip

BEHIND = (HoldReason.INHIBITION, HoldReason.GROUP)


class NewSilence(Record):
    """What to silence, or the incident whose problem; from when (else at once), and until when or for how long."""

    id: Slug | None = None
    matchers: Any = None
    incident_id: str | None = Field(default=None, max_length=100)
    starts_at: Instant | None = None
    ends_at: Instant | None = None
    duration_minutes: int | None = Field(default=None, ge=1, le=MINUTES)
    name: str = Field(default="", max_length=200)
    comment: str = Field(default="", max_length=2000)
    enabled: bool = True

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.matchers is None) == (self.incident_id is None):
            raise ValueError("needs either matchers or an incident_id")
        if (self.ends_at is None) == (self.duration_minutes is None):
            raise ValueError("needs either ends_at or duration_minutes")
        return self


class SilenceView(Record):
    """A silence: pending, active or expired now, and how many open incidents it holds."""

    silence: dict[str, object]
    state: str
    incidents: int


class Why(Hold):
    """A reason in words, with the name of the document behind it, or the title of the incident."""

    says: str
    name: str | None = None


class Suppression(Record):
    """Whether anybody is paged for an incident, and why not. `until`: when the last reason with a known end is over."""

    incident_id: str
    suppressed: bool
    until: datetime | None
    reasons: list[Why]


@dataclass(frozen=True)
class Suppressions:
    documents: Documents
    incidents: IncidentStore
    holding: HoldingStore

    async def silence(self, who: Principal, asked: NewSilence) -> Document:
        """A new silence. Raises: Forbidden, NotFound (the incident), Invalid, Conflict (a taken id), Unavailable."""
        who.may(Scope.RESPOND)
        starts = asked.starts_at or datetime.now(UTC)
        matchers = asked.matchers
        if asked.incident_id is not None:
            async with answering():
                incident = await self.incidents.get(asked.incident_id)
            matchers = {"field": "fingerprint", "operator": "equals", "value": incident.fingerprint}
        body = asked.model_dump(mode="json", include={"name", "comment", "enabled"}) | {
            "matchers": matchers, "starts_at": starts.isoformat(), "created_by": who.name,
            "ends_at": (asked.ends_at or _after(starts, asked.duration_minutes or 0)).isoformat(),
        }  # fmt: skip
        return await self.documents.put(who, "silences", asked.id or f"s-{uuid7().hex}", body, expected_version=0)

    async def expire(self, who: Principal, id_: str) -> Document:
        """Ends a silence now. Raises: Forbidden, NotFound, Conflict when it has ended before, Unavailable."""
        who.may(Scope.RESPOND)
        found = await self.documents.get(who, "silences", id_)
        silence, now = Silence.model_validate(found.body), datetime.now(UTC)
        if silence.ends_at <= now:
            raise Conflict(f"The silence {id_!r} ended at {silence.ends_at:%F %T} UTC.")
        starts = min(silence.starts_at, now - timedelta(seconds=1))
        ended = found.body | {"starts_at": starts.isoformat(), "ends_at": now.isoformat()}
        return await self.documents.put(who, "silences", id_, ended, expected_version=found.version)

    async def silences(self, who: Principal, *, active: bool) -> list[SilenceView]:
        """Every silence, or those that are active now, with what each holds. Raises: Forbidden, Unavailable."""
        found, now = await self.documents.list(who, "silences"), datetime.now(UTC)
        async with answering():
            held = await self.holding.held(HoldReason.SILENCE)
        standing = [
            SilenceView(
                silence=one.body, state=state(Silence.model_validate(one.body), now), incidents=held.get(one.id, 0)
            )
            for one in found
        ]
        return [one for one in standing if not active or one.state == "active"]

    async def why(self, who: Principal, incident_id: str) -> Suppression:
        """Why an incident pages nobody. Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            view = await self.incidents.get(incident_id)
            reasons = [await self._said(hold) for hold in view.suppression]
        ends = [hold.until for hold in view.suppression]
        until = max((end for end in ends if end is not None), default=None)
        return Suppression(
            incident_id=incident_id, suppressed=view.suppressed, reasons=reasons,
            until=until if None not in ends else None,
        )  # fmt: skip

    async def _said(self, hold: Hold) -> Why:
        return Why(**hold.model_dump(), says=SAYS[hold.reason], name=await self._name(hold))

    async def _name(self, hold: Hold) -> str | None:
        if hold.reason in BEHIND:
            return (await self.incidents.get(hold.by)).title
        kind = KINDS.get(hold.reason)
        document = await self.documents.store.get(kind, hold.by) if kind else None
        body = document.body if document else {}
        name = body.get("comment") or body.get("name")
        return str(name) if name else None


def _after(starts: datetime, minutes: int) -> datetime:
    """Raises: Invalid."""
    try:
        return starts + timedelta(minutes=minutes)
    except OverflowError:
        raise Invalid.field("duration_minutes", "must end by the year 9999") from None

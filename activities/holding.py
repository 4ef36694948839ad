"""Whether anybody is to be paged for an incident."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from app.domain.incident import Hold, HoldReason, Standing
from app.domain.matching import Subject
from app.domain.suppression import (
    HOLDS,
    Flapping,
    InhibitionRule,
    MaintenanceWindow,
    Other,
    Silence,
    Timed,
    behind,
    flapping_until,
    inhibited,
    inhibitor,
    standing,
)

if TYPE_CHECKING:
    from app.domain.requests import Document
    from app.store.documents import DocumentStore
    from app.store.holding import HoldingStore


@dataclass(frozen=True)
class Holding:
    """`flapping` is None where that holds nobody."""

    documents: DocumentStore
    store: HoldingStore
    flapping: Flapping | None

    async def holds(
        self, subject: Subject, incident_id: str, opened_at: datetime, rule_holds: tuple[Hold, ...], at: datetime
    ) -> Standing:
        """Every reason that stands at a moment. Those that could hide behind the incident are told to look again."""
        documents = await self.documents.of_kinds(HOLDS)
        timed: list[Timed] = [
            *(Silence.model_validate(body) for body in _of(documents, "silences")),
            *(MaintenanceWindow.model_validate(body) for body in _of(documents, "maintenance-windows")),
        ]
        own = [*rule_holds, *await self._flaps(subject, incident_id, at)]
        lead = behind(await self.store.lead(incident_id), subject.severity)
        found = standing(subject, timed, [*own, *([lead] if lead else [])], at)
        rules = [InhibitionRule.model_validate(body) for body in _of(documents, "inhibition-rules")]
        rules = [rule for rule in rules if rule.enabled]
        incident = Other(
            id=incident_id, subject=subject, opened_at=opened_at,
            silenced=any(hold.reason is not HoldReason.GROUP for hold in found.holds),
        )  # fmt: skip
        by = await self._inhibitor(rules, incident)
        if by is None:
            return found
        inhibition = Hold(reason=HoldReason.INHIBITION, by=by)
        return standing(subject, timed, [*own, inhibition, *([lead] if lead else [])], at)

    async def _inhibitor(self, rules: list[InhibitionRule], incident: Other) -> str | None:
        if not incident.silenced:
            targets = await self.store.targets(rules, incident)
            await self.store.look_again(inhibited(rules, incident, targets))
        return inhibitor(rules, incident, await self.store.sources(rules, incident))

    async def _flaps(self, subject: Subject, incident_id: str, at: datetime) -> list[Hold]:
        if self.flapping is None or subject.flap_count < self.flapping.changes:
            return []
        since = at - timedelta(seconds=self.flapping.window_secs)
        reopened = await self.store.reopened(incident_id, since)
        if not subject.status.open:  # it is coming back just now
            reopened.append(at)
        until = flapping_until(reopened, subject.severity, self.flapping, at)
        return [Hold(reason=HoldReason.FLAPPING, by=incident_id, until=until)] if until else []


def _of(documents: list[Document], kind: str) -> list[dict[str, object]]:
    return [document.body for document in documents if document.kind == kind]

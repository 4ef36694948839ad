"""What a model says of an incident, and whether it is followed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from activities.upkeep import trained
from app.domain.record import Record
from app.domain.severity import FIRST_MODEL, Judged, Said, standing
from app.domain.vocabulary import Category, IncidentType, Severity

if TYPE_CHECKING:
    from app.ml.ensemble import Model
    from app.ml.features import Example, Prediction
    from app.store.models import ModelStore

log = logging.getLogger(__name__)

LOOKED_AT_EVERY_SECS = 2.0
"""How soon another champion is picked up."""
PATIENCE_SECS = 1.0
"""How long an incident waits for a model that is just being loaded."""
TRIED_AGAIN_SECS = 30.0
"""How long after a failure the same model is tried again."""

Observe = Callable[[str, float | None], None]
"""Is told followed, agreed, abstained or no_model, and the confidence."""


class Classified(Record):
    """The severity that stands, whether it is the model's own, and why; type, class and category where it is sure.

    `stated`: the source said what it is, and no model was asked.
    """

    severity: Severity
    applied: bool
    confidence: float | None = None
    incident_class: str | None = None
    incident_type: IncidentType | None = None
    category: Category | None = None
    model_version: int | None = None
    reason: str
    stated: bool = False


@dataclass
class Champion:
    """The model that counts, in this process. Loaded when first asked for; another one is picked up while it works."""

    store: ModelStore
    loaded: tuple[int, Model] | None = None
    loading: asyncio.Task[None] | None = None
    looked_at: float = float("-inf")
    failed: tuple[int | None, float] | None = None

    async def get(self, patience_secs: float = PATIENCE_SECS) -> tuple[int, Model] | None:
        """Its version and itself; None while there is none, or for longer than that to wait for."""
        now = asyncio.get_running_loop().time()
        if now - self.looked_at >= LOOKED_AT_EVERY_SECS or self.loaded is None:
            self.looked_at = now
            version = await self.store.champion()
            if self.loaded is None or self.loaded[0] != version:
                if self.failed is not None and self.failed[0] == version and now - self.failed[1] < TRIED_AGAIN_SECS:
                    return self.loaded
                if self.loading is None or self.loading.done():
                    self.loading = asyncio.create_task(self._load(version))
                if self.loaded is None:
                    await asyncio.wait({self.loading}, timeout=patience_secs)
        return self.loaded

    async def _load(self, wanted: int | None) -> None:
        version = wanted
        try:
            if version is None:
                version = (await trained(self.store, FIRST_MODEL)).version
            artifact = await self.store.artifact(version)
            self.loaded = version, await asyncio.to_thread(_read, artifact)
        except Exception:
            self.failed = wanted, asyncio.get_running_loop().time()
            log.exception("the model %s can't be loaded", version)


def _read(artifact: bytes) -> Model:
    from app.ml.ensemble import Model

    return Model.load(artifact)


@dataclass(frozen=True)
class Classifying:
    """`threshold`: how sure a model must be to be followed, 0 to 1."""

    store: ModelStore
    champion: Champion
    threshold: float
    observe: Observe

    async def classify(self, incident_id: str, at: datetime) -> Classified:
        """What stands for a new incident. Twice is once: what was said first is kept.

        Raises: NotFound.
        """
        row = await self.store.incident(incident_id)
        if row["said"] is not None:
            return before(row["said"])
        reported = Severity(row["reported_severity"])
        found = await self.champion.get()
        prediction = found[1].predict([example(row["example"])])[0] if found else None
        stands = judged(reported, prediction, found[1] if found else None, self.threshold)
        if not await self._keep(incident_id, reported, prediction, stands, found[0] if found else None, at):
            return await self.classify(incident_id, at)
        outcome = "no_model" if prediction is None else "followed" if stands.applied else "abstained"
        self.observe(outcome, prediction.confidence if prediction else None)
        return Classified(
            severity=stands.severity, applied=stands.applied, reason=stands.reason,
            confidence=prediction.confidence if prediction else None,
            incident_class=prediction.incident_class if prediction else None,
            incident_type=prediction.incident_type if prediction else None,
            category=prediction.category if prediction else None,
            model_version=found[0] if found else None,
        )  # fmt: skip

    async def said(self, incident_id: str, reported: Severity) -> Severity:
        """The severity that a model gave an incident reported as this one; the reported where it gave none."""
        row = await self.store.classified(incident_id)
        if row is None or not row["applied"] or row["reported"] != reported:
            return reported
        return Severity(row["predicted"])

    async def _keep(
        self, incident_id: str, reported: Severity, said: Prediction | None, stands: Judged, version: int | None,
        at: datetime,
    ) -> bool:  # fmt: skip
        category, kind = (said.category, said.incident_type) if said else (None, None)
        predicted = stands.severity if stands.applied else said.severity if said else None
        columns = (
            reported, predicted, stands.applied, said.confidence if said else None,
            {str(severity): round(p, 4) for severity, p in said.probabilities.items()} if said else {},
            said.incident_class if said else None, kind, category, version, stands.reason,
            list(said.reasons) if said else [], at, False,
        )  # fmt: skip
        return await self.store.keep(incident_id, columns, category, kind)


def before(said: dict[str, object]) -> Classified:
    """What was kept of an incident."""
    return Classified.model_validate(said | {"severity": said["predicted"] if said["applied"] else said["reported"]})


def example(said: dict[str, object]) -> Example:
    from app.ml.features import Example

    return Example.model_validate(said)


def judged(reported: Severity, said: Prediction | None, model: Model | None, threshold: float) -> Judged:
    """Whose severity stands."""
    if said is None or model is None:
        return standing(reported, None, threshold)
    from app.ml.features import Origin

    learned = model.learned.get(Origin.TEAM, 0)
    return standing(
        reported,
        Said(
            severity=said.severity, confidence=said.confidence, labels=learned, incident_class=said.incident_class
        ),
        threshold,
    )  # fmt: skip

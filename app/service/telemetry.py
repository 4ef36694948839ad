"""Telemetry: counted once, and looked at while it is fresh."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from activities.detecting import Detecting
from app.domain.access import Principal, Scope
from app.domain.inbound import Sample
from app.domain.telemetry import tallied
from app.domain.vocabulary import ActorType, Role
from app.store.database import answering
from app.telemetry import metrics

DETECTOR = Principal(name="detector", role=Role.INGEST, actor_type=ActorType.SYSTEM, id="detector")
"""Who reports what numbers and silences come to."""
JUDGED_WITHIN_SECS = 5.0
"""What has been counted by then and not looked at is looked at with the next post (chosen)."""


@dataclass(frozen=True)
class Telemetry:
    detecting: Detecting

    async def count(self, who: Principal, samples: Sequence[Sample], delivery: str, at: datetime) -> int:
        """How many samples a post added: none where it came before. What they come to is an incident by then.

        Raises: Forbidden; Unavailable, and then it may be sent again.
        """
        who.may(Scope.SEND_ALERTS)
        tally = tallied(samples, at)
        key = hashlib.sha256(delivery.encode("utf-8", "replace")).hexdigest()
        async with answering():
            counted = await self.detecting.telemetry.count(key, tally, at)
        taken = 0 if counted.repeat else len(samples) - tally.late
        metrics.counted(taken=taken, repeated=len(samples) if counted.repeat else 0, late=tally.late)
        metrics.SERIES_GAVE_WAY.inc(counted.gave_way)
        async with answering(within_secs=JUDGED_WITHIN_SECS):
            await self.detecting.judge(counted.series, at)
        return taken

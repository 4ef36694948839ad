"""How Sentinel, Shield, Edge-Agent and Governance do, and which rules of compliance an incident keeps."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Literal

from app.domain.access import Principal, Scope
from app.domain.compliance import Evidence, gathered
from app.domain.errors import NotFound
from app.domain.record import Record
from app.integrating import Integration
from app.integrating import Integrations as Said
from app.integrations.four import Four
from app.integrations.governance import Compliance
from app.integrations.trouble import Trouble
from app.store.database import answering
from app.store.incidents import IncidentStore
from app.telemetry import metrics
from app.telemetry.integrations import NAMES

PROBED_WITHIN_SECS = 3.0
GOOD_FOR_SECS = 5.0
"""How long what a probe found is told again: whoever may read can't have the others asked at will."""


class IntegrationState(Record):
    """`healthy` is null where nobody is asked. `last_error` is the last one since it went well, as this process met it.

    `queued` counts the requests that wait for Edge-Agent.
    """

    name: str
    configured: bool
    enabled: bool
    dialect: Literal["seed", "real"]
    endpoint: str | None
    healthy: bool | None
    last_error: str | None
    queued: int | None = None


class IntegrationMetrics(Record):
    """What the service asked of one integration, all its processes together. Latencies in ms; moments in Unix time."""

    integration: str
    requests_total: int
    requests_successful: int
    requests_failed: int
    success_rate_percent: float
    error_rate_percent: float
    latency_milliseconds_total: float
    latency_milliseconds_average: float
    latency_milliseconds_p95: float
    latency_milliseconds_p99: float
    requests_per_second: float
    last_request_timestamp: float


@dataclass(frozen=True)
class Integrations:
    four: Four
    said: Said
    incidents: IncidentStore
    probed: dict[str, tuple[float, "asyncio.Task[bool]"]] = field(default_factory=dict)

    async def states(self, who: Principal) -> list[IntegrationState]:
        """All four, each asked whether it is well. Raises: Forbidden, Unavailable."""
        who.may(Scope.READ)
        queued = None
        if self.four.edge_agent is not None:
            async with answering():
                queued = len(await self.four.edge_agent.queue.waiting())
        well = dict(zip(NAMES, await asyncio.gather(*(self._well(name) for name in NAMES)), strict=True))
        return [self._state(name, well[name], queued if name == "edge-agent" else None) for name in NAMES]

    async def metrics(self, who: Principal) -> list[IntegrationMetrics]:
        """All four. Raises: Forbidden."""
        who.may(Scope.READ)
        found = await asyncio.to_thread(metrics.integrations)
        return [IntegrationMetrics.model_validate({"integration": name, **of.shown()}) for name, of in found.items()]

    async def metrics_of(self, who: Principal, name: str) -> IntegrationMetrics:
        """Raises: Forbidden, NotFound."""
        found = next((one for one in await self.metrics(who) if one.integration == _called(name)), None)
        if found is None:
            raise NotFound("integration", name)
        return found

    async def compliance(self, who: Principal, incident_id: str, said: Evidence) -> Compliance:
        """What is known of an incident, judged. Nothing is kept. Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.RESPOND)
        async with answering():
            view = await self.incidents.get(incident_id)
        judged = view.classification.incident_class if view.classification else None
        evidence = gathered(view.tags, judged, said)
        return await self.four.governance.check_compliance(incident_id, evidence, view.created_at, datetime.now(UTC))

    def _state(self, name: str, well: bool | None, queued: int | None) -> IntegrationState:
        said: Integration = getattr(self.said, SECTIONS[name])
        line = self.four.lines.get(name)
        return IntegrationState(
            name=name, configured=said.endpoint is not None, enabled=said.enabled, dialect=said.dialect,
            endpoint=said.endpoint, healthy=well, last_error=line.last_error if line else None, queued=queued,
        )  # fmt: skip

    async def _well(self, name: str) -> bool | None:
        probe = self.four.probes().get(name)
        if probe is None:
            return None
        at, asking = self.probed.get(name, (0.0, None))
        if asking is None or (asking.done() and monotonic() - at > GOOD_FOR_SECS):
            asking = asyncio.create_task(_answers(probe))
            self.probed[name] = (monotonic(), asking)
        return await asyncio.shield(asking)


SECTIONS = {
    "sentinel": "llm_sentinel", "shield": "llm_shield", "edge-agent": "llm_edge_agent",
    "governance": "llm_governance_core",
}  # fmt: skip


def _called(name: str) -> str:
    return name.lower().replace("_", "-")


async def _answers(probe: Callable[[], Awaitable[None]]) -> bool:
    try:
        async with asyncio.timeout(PROBED_WITHIN_SECS):
            await probe()
    except (Trouble, TimeoutError):
        return False
    return True

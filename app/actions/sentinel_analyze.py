"""Asks Sentinel what it has found of late about a service, and whether a telemetry event is an anomaly."""

from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints

from app.actions.asked import asked as answered
from app.actions.base import Done, Plain, Situation, Tools
from app.domain.record import Record
from app.integrations.sentinel import Sentinel


@dataclass(frozen=True)
class SentinelAnalyze(Plain):
    """It only reads: twice is harmless.

    `service`: none = the first one the incident affects. `hours`: how far back, 1 to 168. `telemetry`: an event as
    Sentinel takes them, sent without personal data and keys; none = only what it has found by itself is looked at.
    """

    client: Sentinel

    class Parameters(Record):
        service: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
        hours: int = Field(1, ge=1, le=168)
        telemetry: dict[str, Any] | None = Field(None, max_length=100)

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        return cls(tools.four.sentinel) if tools.four.sentinel is not None else None

    async def check(self, asked: Parameters, at: Situation) -> str:
        found = await self.run(asked, at)
        return f"ask Sentinel; at present: {found.summary}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        service = asked.service or next(iter(at.incident.affected_resources), None) or at.incident.tags.get("service")
        alerts = await answered(self.client.fetch_alerts(50, service=service, hours=asked.hours), "Sentinel")
        output: dict[str, object] = {
            "service": service, "count": len(alerts), "alerts": [one.model_dump(mode="json") for one in alerts[:10]],
        }  # fmt: skip
        summary = f"Sentinel found {len(alerts)} anomalies{f' of {service}' if service else ''} in {asked.hours} h"
        if asked.telemetry is not None:
            analysis = await answered(self.client.analyze_anomaly(asked.telemetry), "Sentinel")
            output["analysis"] = analysis.model_dump(mode="json")
            summary += f"; the event is {'an' if analysis.anomalous else 'no'} anomaly"
        return Done(summary=summary, output=output)

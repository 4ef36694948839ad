"""Looks whether the problem is gone: by a metric, by a health check, and by the silence of the incident's alerts."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from app.actions.base import Done, Failed, Plain, Situation, Tools
from app.actions.health_check import HealthCheck
from app.actions.metrics_snapshot import Prometheus, PromQL, number
from app.domain.people import WebAddress
from app.domain.record import Record

AGAIN = timedelta(seconds=15)
"""Until what isn't quiet yet is looked at again (chosen: as often as Prometheus usually scrapes)."""


@dataclass(frozen=True)
class VerifyResolution(Plain):
    """It only looks: twice is harmless. What isn't quiet yet fails, to be tried again.

    `promql`: an alert's own expression, up to 2,000 characters; quiet where it gives nothing or zeros only. `url`: must
    answer 2xx. `quiet_secs`: no alert of the incident may have come for so long, 0 to 86,400, 0 = that doesn't matter.
    One of the three at least.
    """

    health: HealthCheck
    prometheus: Prometheus | None

    class Parameters(Record):
        promql: PromQL | None = None
        url: WebAddress | None = None
        quiet_secs: float = Field(300, ge=0, le=86_400)

        @model_validator(mode="after")
        def _something(self) -> Self:
            if not (self.promql or self.url or self.quiet_secs):
                raise ValueError("promql, url or quiet_secs is needed")
            return self

    @classmethod
    def configured(cls, tools: Tools) -> Self:
        return cls(HealthCheck.configured(tools), Prometheus.configured(tools))

    async def check(self, asked: Parameters, at: Situation) -> str:
        if asked.promql and self.prometheus is None:
            raise Failed("enrichment.prometheus.url is not set: promql cannot be asked")
        try:
            return (await self.run(asked, at)).summary
        except Failed as loud:
            if loud.retry_after is None:
                raise
            return f"wait until it is quiet; at present: {loud.message}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        said = []
        if asked.quiet_secs:
            said.append(silent(asked.quiet_secs, at))
        if asked.promql:
            said.append(await self._measured(asked.promql, at))
        if asked.url:
            wrong = await self.health.ailing(HealthCheck.Parameters(url=asked.url))
            if wrong:
                raise Failed(f"{asked.url}: {wrong}", AGAIN)
            said.append(f"{asked.url} is well")
        return Done(summary=f"quiet: {'; '.join(said)}")

    async def _measured(self, promql: str, at: Situation) -> str:
        if self.prometheus is None:
            raise Failed("enrichment.prometheus.url is not set: promql cannot be asked")
        loud = [(of, value) for of, value in await self.prometheus.now(promql, at) if number(value) != 0]
        if loud:
            labels, value = loud[0]
            where = ", ".join(f"{name}={of}" for name, of in labels.items())
            raise Failed(f"{promql} is {value}{f' for {where}' if where else ''}", AGAIN)
        return f"{promql} gives nothing"


def silent(quiet_secs: float, at: Situation) -> str:
    """Raises: Failed, to be tried again when it would have been quiet for long enough."""
    silence = at.now - at.incident.last_seen_at
    missing = timedelta(seconds=quiet_secs) - silence
    if missing > timedelta(0):
        raise Failed(f"its last alert came {silence.total_seconds():.0f} s ago", missing)
    return f"no alert for {silence.total_seconds():.0f} s"

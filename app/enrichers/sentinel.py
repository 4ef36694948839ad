"""What Sentinel has found of late about the service or the model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from app.domain.enrichment import About, Found, NoAnswer, Resting, ago
from app.integrations.trouble import Trouble, Unasked
from app.surroundings import Enrichment

if TYPE_CHECKING:
    from app.integrations.four import Four
    from app.integrations.sentinel import Alert
    from app.integrations.sentinel import Sentinel as Client

LIMIT = 50
SHOWN = 3
HOURS = 1


@dataclass(frozen=True)
class Sentinel:
    client: Client
    timeout_secs: float
    name: ClassVar[str] = "sentinel"
    external: ClassVar[bool] = True

    @classmethod
    def configured(cls, said: Enrichment, four: Four) -> Self | None:
        return cls(four.sentinel, said.patience(cls.name, 3)) if four.sentinel is not None else None

    def key(self, about: About) -> str:
        service, model = _asked(about)
        return f"{service or ''}\0{model or ''}"

    async def look_up(self, about: About) -> Found | None:
        service, model = _asked(about)
        if service is None and model is None:
            return None
        try:
            found = await self.client.fetch_alerts(LIMIT, service=service, model=model, hours=HOURS)
        except Unasked as resting:
            raise Resting(resting.message) from resting
        except Trouble as no:
            raise NoAnswer(no.message) from no
        if not found:
            return None
        counted = Counter(one.kind for one in found)
        kinds = ", ".join(f"{count} × {kind.replace('_', ' ')}" for kind, count in counted.most_common(SHOWN))
        summary = f"{service or model}: {kinds}; newest {_told(found[0], about)}"
        data: dict[str, object] = {"alerts": [one.model_dump(mode="json") for one in found[:SHOWN]]}
        return Found(summary=summary, data=data, at=found[0].at, source="LLM Sentinel")


def _asked(about: About) -> tuple[str | None, str | None]:
    """The service, or else the model."""
    service = next(iter(about.called), None)
    return service, None if service else about.tags.get("model")


def _told(one: Alert, about: About) -> str:
    measured = f", {one.metric} {one.value:g}" if one.metric and one.value is not None else ""
    usual = f" (usually {one.baseline:g})" if measured and one.baseline is not None else ""
    cause = f": {one.root_cause}" if one.root_cause else ""
    return f"{ago(one.at, about.at)}, {one.severity}{measured}{usual}{cause}"

"""What Shield thinks of an incident of security: which threat, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from app.domain.enrichment import About, Found, NoAnswer, Resting
from app.integrations.shield import Suspicion
from app.integrations.trouble import Trouble, Unasked
from app.surroundings import Enrichment

if TYPE_CHECKING:
    from app.integrations.four import Four
    from app.integrations.shield import Shield as Client

CONCERNED = ("security.", "safety.", "privacy.")


@dataclass(frozen=True)
class Shield:
    """It is told title and description, without personal data and what looks like a secret."""

    client: Client
    timeout_secs: float
    name: ClassVar[str] = "shield"
    external: ClassVar[bool] = True

    @classmethod
    def configured(cls, said: Enrichment, four: Four) -> Self | None:
        return cls(four.shield, said.patience(cls.name, 3)) if four.shield is not None else None

    def key(self, about: About) -> str:
        return about.incident_id

    async def look_up(self, about: About) -> Found | None:
        if not (about.incident_class or "").startswith(CONCERNED) and about.category != "security":
            return None
        try:
            threat = await self.client.analyze_threat(
                Suspicion(
                    id=about.incident_id, kind=about.incident_class or about.incident_type, source=about.source,
                    text=f"{about.title}\n{about.description}".strip(), severity=about.severity,
                    at=about.started_at,
                )
            )  # fmt: skip
        except Unasked as resting:
            raise Resting(resting.message) from resting
        except Trouble as no:
            raise NoAnswer(no.message) from no
        what = "no threat" if threat.kind == "none" else threat.kind.replace("_", " ")
        more = f": {', '.join(threat.indicators[:5])}" if threat.indicators else ""
        summary = f"{what}, {threat.confidence:.0%} sure{more}"
        return Found(summary=summary, data=threat.model_dump(mode="json"), at=about.at, source="LLM Shield")

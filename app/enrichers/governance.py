"""Which rules of compliance an incident of privacy or compliance keeps, breaks, or says nothing about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from app.domain.compliance import Verdict, gathered
from app.domain.enrichment import About, Found
from app.surroundings import Enrichment

if TYPE_CHECKING:
    from app.integrations.four import Four
    from app.integrations.governance import Governance as Client

CONCERNED = ("privacy.", "compliance.")
OF_PATIENCE = 0.8


@dataclass(frozen=True)
class Governance:
    client: Client
    timeout_secs: float
    name: ClassVar[str] = "governance"
    external: ClassVar[bool] = True

    @classmethod
    def configured(cls, said: Enrichment, four: Four) -> Self | None:
        return cls(four.governance, said.patience(cls.name, 3)) if four.governance_enriches else None

    def key(self, about: About) -> str:
        return about.incident_id

    async def look_up(self, about: About) -> Found | None:
        if not (about.incident_class or "").startswith(CONCERNED) and about.category != "compliance":
            return None
        evidence = gathered(about.tags, about.incident_class)
        within_secs = self.timeout_secs * OF_PATIENCE  # our own rules' verdict must not be lost with Governance's
        found = await self.client.check_compliance(about.incident_id, evidence, about.started_at, about.at, within_secs)
        broken = [f"{one.rule} ({one.reason})" for one in found.results if one.verdict == Verdict.VIOLATION]
        broken += [f"{one.policy or 'Governance'} ({one.reason})" for one in found.violations]
        open_ = [one.rule for one in found.results if one.verdict == Verdict.UNKNOWN]
        parts = [f"broken: {', '.join(broken)}"] if broken else []
        parts += [f"not known: {', '.join(open_)}"] if open_ else []
        parts += [f"Governance: {found.problem}"] if found.problem else []
        data = found.model_dump(mode="json")
        return Found(summary="; ".join(parts) or "all rules kept", data=data, at=about.at, source="compliance rules")

"""Judges an incident by the rules of compliance, and has Governance report on it, or keep that in its audit log."""

from dataclasses import dataclass
from typing import Self

from app.actions.asked import asked as answered
from app.actions.base import Done, Plain, Situation, Tools
from app.domain.compliance import Evidence, Verdict, gathered
from app.domain.record import Record
from app.integrations.governance import Compliance, Governance


@dataclass(frozen=True)
class GovernanceAuditReport(Plain):
    """The step's key goes with it, and a published Governance is first asked whether it has that entry.

    `evidence`: what the incident's tags don't say, like `notification_sent`.
    """

    client: Governance

    class Parameters(Record):
        evidence: Evidence = Evidence()

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        return cls(tools.four.governance) if tools.four.governance.rest is not None else None

    async def check(self, asked: Parameters, at: Situation) -> str:
        return f"have Governance report; at present: {told(await self._judged(asked, at))}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        judged = await self._judged(asked, at)
        details = {"verdict": judged.verdict, "rules": {one.rule: one.verdict for one in judged.results}}
        report = await answered(self.client.audit_report(at.incident.id, at.key, details), "Governance")
        return Done(
            summary=f"report {report.id}: {told(judged)}",
            output={"report": report.model_dump(mode="json"), "compliance": judged.model_dump(mode="json")},
        )

    async def _judged(self, asked: Parameters, at: Situation) -> Compliance:
        view = at.incident
        judged = view.classification.incident_class if view.classification else None
        evidence = gathered(view.tags, judged, asked.evidence)
        return await self.client.check_compliance(view.id, evidence, view.created_at, at.now)


def told(judged: Compliance) -> str:
    broken = [one.rule for one in judged.results if one.verdict == Verdict.VIOLATION]
    more = [one.policy or "a policy" for one in judged.violations]
    those = f" of {', '.join(broken + more)}" if broken or more else ""
    return f"{judged.verdict}{those}"

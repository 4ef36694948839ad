"""LLM Governance, which knows policies and keeps the audit trail. What our own rules find stands beside its word.

Source: `seed` is the first version's contract; `real` is LLM-Dev-Ops/governance-dashboard, services policy-service and
audit-service, whose answers are {success, data}. Its engine passes whatever it has no rule for, so a pass there, like
`is_compliant` in the other dialect, lifts no verdict: only violations count.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote, urlencode
from uuid import NAMESPACE_URL, uuid5

from pydantic import BeforeValidator

from app.domain.compliance import Checked, Framework, Verdict, check, overall, truth
from app.domain.record import Record
from app.integrations.sentinel import data
from app.integrations.transport import Rest, understood
from app.integrations.trouble import Trouble
from app.redaction import ALL_OUT, Outgoing

POLICIES = 100
REPORT = "incident.report"
"""What our entries in the audit log are."""
Text = Annotated[str, BeforeValidator(lambda said: "" if said is None else str(said)[:1000])]


class Breach(Record):
    """A violation that Governance has found."""

    policy: Text = ""
    title: Text = ""
    severity: Text = ""
    reason: Text = ""
    remedy: Text = ""


class Compliance(Record):
    """Our own rules' verdicts, the violations Governance adds, and what follows of both.

    `asked`: Governance was asked, and answered; `problem`: why not, if it should have been.
    """

    incident_id: str
    verdict: Verdict
    checked_at: datetime
    results: tuple[Checked, ...]
    violations: tuple[Breach, ...] = ()
    asked: bool = False
    problem: str | None = None


class AuditReport(Record):
    """What Governance has on file. `checksum` is of the entry made for it, where Governance makes one."""

    id: str
    incident_id: str
    summary: str = ""
    total_checks: int | None = None
    compliant_checks: int | None = None
    checksum: str | None = None


class GovernanceMetrics(Record):
    total_checks: int = 0
    passed_checks: int = 0
    failed_checks: int = 0
    total_violations: int = 0
    violations_by_severity: dict[str, int] = {}
    violations_by_framework: dict[str, int] = {}


class _Violation(Record):
    policy_id: Text = ""
    policy_name: Text = ""
    rule_violated: Text = ""
    severity: Text = ""
    description: Text = ""
    message: Text = ""
    remediation: Text = ""

    @property
    def breach(self) -> Breach:
        return Breach(
            policy=self.rule_violated or self.policy_id, title=self.policy_name, severity=self.severity,
            reason=self.description or self.message, remedy=self.remediation,
        )  # fmt: skip


class _Answer(Record):
    """Of the first version's check."""

    is_compliant: bool
    violations: tuple[_Violation, ...] = ()


class _Evaluation(Record):
    passed: bool
    violations: tuple[_Violation, ...] = ()


class _Policy(Record):
    id: str
    name: Text = ""


class _Policies(Record):
    policies: tuple[_Policy, ...]


class _Logged(Record):
    id: str
    checksum: str
    details: Annotated[dict[str, Any], BeforeValidator(lambda said: said if isinstance(said, dict) else {})] = {}


class _Log(Record):
    logs: tuple[_Logged, ...]


@dataclass(frozen=True)
class Governance:
    """Without `rest` only our own rules are asked. What it is shown goes there `clean`, without personal data."""

    frameworks: Sequence[Framework]
    rest: Rest | None = None
    seed: bool = False
    clean: Outgoing = ALL_OUT

    async def check_compliance(
        self,
        incident_id: str,
        evidence: Mapping[str, object],
        aware_at: datetime,
        now: datetime,
        within_secs: float | None = None,
    ) -> Compliance:
        """Never fails over Governance: where it doesn't answer, that is said, and no verdict is better for it.

        All its policies together have `within_secs`, None = as long as one question; violations found by then count.
        """
        results = check(evidence, self.frameworks, aware_at, now)
        ours, problem = overall(results), None
        violations: list[Breach] = []
        if self.rest is not None:
            secs = within_secs or self.rest.line.said.timeout_secs
            try:
                async with asyncio.timeout(secs):
                    async for breach in self._asked(self.rest, incident_id, evidence, now):
                        violations.append(breach)
            except Trouble as no:
                problem = no.message
            except TimeoutError:
                problem = f"not all of it was answered within {secs:g} s"
        return Compliance(
            incident_id=incident_id, verdict=Verdict.VIOLATION if violations else ours, checked_at=now,
            results=results, violations=tuple(violations), asked=self.rest is not None and problem is None,
            problem=problem,
        )  # fmt: skip

    async def audit_report(self, incident_id: str, key: str, details: Mapping[str, object]) -> AuditReport:
        """Has Governance make its report, or keep ours as an entry of its audit log (`details`). Raises: Trouble.

        The same `key` twice is one report: the first version's Governance gets it as Idempotency-Key, the published
        one is first asked whether it has an entry with that key.
        """
        rest = self._remote()
        if self.seed:
            path = f"/api/v1/audit/report/{quote(incident_id, safe='')}"
            asks = {"report_type": "on_demand"}
            return await rest.ask(lambda said: understood(AuditReport, said), "POST", path, asks, key=key)
        entry = await self._entry(rest, incident_id, key)
        if entry is None:
            body = {
                "action": REPORT, "resource_type": "incident", "resource_id": incident_id,
                "details": {**self.clean.texts(details), "idempotency_key": key},
            }  # fmt: skip
            entry = await rest.ask(
                lambda said: understood(_Logged, data(said)), "POST", "/api/v1/audit/logs", body, key=key,
                repeatable=False,
            )  # fmt: skip
        return AuditReport(
            id=entry.id, incident_id=incident_id, summary="kept in the audit log", checksum=entry.checksum
        )

    async def _entry(self, rest: Rest, incident_id: str, key: str) -> "_Logged | None":
        asks = urlencode({"action": REPORT, "resource_type": "incident", "resource_id": incident_id, "limit": 1000})
        found = await rest.ask(lambda said: understood(_Log, data(said)), "GET", f"/api/v1/audit/logs?{asks}")
        return next((one for one in found.logs if one.details.get("idempotency_key") == key), None)

    async def metrics(self) -> GovernanceMetrics | dict[str, Any]:
        """Its figures; of the published API what `governance/summary` says, as it says it. Raises: Trouble."""
        rest = self._remote()
        if self.seed:
            return await rest.ask(lambda said: understood(GovernanceMetrics, said), "GET", "/api/v1/governance/metrics")
        return await rest.ask(_summary, "GET", "/api/v1/governance/summary")

    async def health(self) -> None:
        """Raises: Trouble when it isn't well."""
        await self._remote().ask(lambda said: said, "GET", "/health")

    def _remote(self) -> Rest:
        if self.rest is None:
            raise Trouble("Governance is not set up: integrations.llm_governance_core.endpoint")
        return self.rest

    async def _asked(
        self, rest: Rest, incident_id: str, evidence: Mapping[str, object], now: datetime
    ) -> AsyncIterator[Breach]:
        """Raises: Trouble, after what was found."""
        context = self.clean.texts({name: value if isinstance(value, str | int | float | bool) else str(value)
                                    for name, value in evidence.items()})  # fmt: skip
        if self.seed:
            body = _request(incident_id, context, self.frameworks, now)
            answer = await rest.ask(lambda said: understood(_Answer, said), "POST", "/api/v1/compliance/check", body)
            if not answer.is_compliant and not answer.violations:
                yield Breach(reason="Governance says that it isn't compliant, and not why")
            for one in answer.violations:
                yield one.breach
            return
        listing = f"/api/v1/policies?policy_type=compliance&status=active&limit={POLICIES}"
        listed = await rest.ask(lambda said: understood(_Policies, data(said)), "GET", listing)
        for policy in listed.policies:
            said = await rest.ask(
                lambda said: understood(_Evaluation, data(said)), "POST",
                f"/api/v1/policies/{quote(policy.id, safe='')}/evaluate", {"context": context},
            )  # fmt: skip
            for one in said.violations:
                yield one.breach
            if not said.passed and not said.violations:
                yield Breach(policy=policy.id, title=policy.name, reason="not passed")
        if len(listed.policies) >= POLICIES:
            raise Trouble(f"only its first {POLICIES} policies were asked")


def _request(
    incident_id: str, context: Mapping[str, object], frameworks: Sequence[Framework], now: datetime
) -> dict[str, object]:
    """The first version's ComplianceRequest. Its `id` is the same for the same question."""

    def kind(name: str, **more: object) -> dict[str, object] | None:
        said = truth(context.get(name))
        return None if said is None else {name: said, "data_types": [], **more}

    return {
        "id": str(uuid5(NAMESPACE_URL, f"{incident_id}/{now.isoformat()}")), "incident_id": incident_id,
        "frameworks": list(frameworks), "timestamp": now.isoformat(),
        "data": {
            "classification": context.get("classification", "confidential"),
            "personal_data": kind("contains_pii", data_subjects_affected=None, processing_purpose="unknown"),
            "health_data": kind("contains_phi", covered_entities_affected=[]),
            "payment_data": kind("contains_cardholder_data", card_brands_affected=[], transaction_count=None),
            "metadata": dict(context),
        },
    }  # fmt: skip


def _summary(said: Any) -> dict[str, Any]:
    found = data(said)
    if not isinstance(found, dict):
        raise Trouble("answered without its summary", ill=True)
    return found

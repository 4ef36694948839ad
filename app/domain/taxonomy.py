"""The classes of LLM incidents: what kind of thing each is, and how urgent it is before anybody knows more."""

from typing import NamedTuple

from app.domain.vocabulary import Category, IncidentType, Severity


class Kind(NamedTuple):
    type: IncidentType
    category: Category
    severity: Severity


def _kind(type_: IncidentType, severity: Severity, category: Category | None = None) -> Kind:
    return Kind(type_, category or type_.category, severity)


A, P, S, D = IncidentType.AVAILABILITY, IncidentType.PERFORMANCE, IncidentType.SECURITY, IncidentType.DATA
APP, INFRA, LAW = IncidentType.APPLICATION, IncidentType.INFRASTRUCTURE, IncidentType.COMPLIANCE
P0, P1, P2, P3 = Severity.P0, Severity.P1, Severity.P2, Severity.P3

CLASSES: dict[str, Kind] = {
    "availability.provider_outage": _kind(A, P1),
    "availability.gateway_down": _kind(A, P0),
    "performance.latency": _kind(P, P2),
    "performance.hanging": _kind(P, P2),
    "performance.rate_limit": _kind(P, P2),
    "cost.budget": _kind(D, P3, Category.COST),
    "cost.runaway": _kind(D, P2, Category.COST),
    "agent.loop": _kind(APP, P2, Category.COST),
    "agent.tool_failure": _kind(APP, P2),
    "app.context_overflow": _kind(APP, P3),
    "app.structured_output": _kind(APP, P2),
    "quality.hallucination": _kind(D, P2),
    "quality.drop": _kind(D, P2),
    "eval.regression": _kind(D, P3),
    "drift.data": _kind(D, P3),
    "drift.model": _kind(D, P3),
    "security.prompt_injection": _kind(S, P2),
    "security.jailbreak": _kind(S, P2),
    "privacy.pii_leak": _kind(S, P1, Category.COMPLIANCE),
    "safety.toxic_output": _kind(S, P2),
    "security.guardrail_outage": _kind(A, P1, Category.SECURITY),
    "security.system_prompt_leak": _kind(S, P2),
    "rag.staleness": _kind(D, P3),
    "rag.vector_db": _kind(A, P1),
    "rag.embedding_mismatch": _kind(D, P2),
    "security.data_poisoning": _kind(S, P1),
    "capacity.queue": _kind(P, P2),
    "capacity.kv_cache": _kind(P, P2),
    "infrastructure.gpu_fault": _kind(INFRA, P1),
    "infrastructure.gpu_oom": _kind(INFRA, P2),
    "deploy.bad_model_version": _kind(APP, P1),
    "deploy.finetune_failed": _kind(APP, P3),
    "deploy.model_deprecated": _kind(APP, P3),
    "security.key_leak": _kind(S, P1),
    "security.mcp_tamper": _kind(S, P2),
    "compliance.breach": _kind(LAW, P1),
    "observability.blind_spot": _kind(INFRA, P3),
}

OTHERS: dict[str, Kind] = {
    "other.infrastructure": _kind(INFRA, P2),
    "other.application": _kind(APP, P2),
    "other.security": _kind(S, P2),
    "other.data": _kind(D, P2),
    "other.performance": _kind(P, P2),
    "other.availability": _kind(A, P1),
}
"""What is no LLM incident: known so that it isn't taken for one. It has a type, and no class."""

KINDS = CLASSES | OTHERS

"""The classes of LLM incidents: what each is, how urgent before anybody knows more, and what is at hand for it.

Tags are of the OWASP Top 10 for LLM applications (2025) and of MITRE ATLAS.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from app.domain.errors import NotFound
from app.domain.record import Record
from app.domain.vocabulary import Category, IncidentType, Severity

LABEL = "class"
"""The label of an alert in which its source states a class."""
OUTAGE = "availability.provider_outage"
PROVIDER_LABELS = ("provider", "api_provider", "llm_provider", "gen_ai.system", "gen_ai.provider.name")
REGION_LABELS = ("region", "region_name", "aws_region", "cloud.region")
ALSO = {"provider": PROVIDER_LABELS, "region": REGION_LABELS}
"""What tools call a label besides our name for it, the best first."""
REFINES = frozenset({"region"})
"""Labels that tell two problems apart, and by themselves name none."""


class Owner(StrEnum):
    """Who a class is for, unless the service's own team is known."""

    ONCALL = "oncall"
    SECURITY = "security"
    FINOPS = "finops"
    QUALITY = "quality"
    PLATFORM = "platform"


class Kind(NamedTuple):
    """`severity` is the base; nothing and nobody but a person goes below `floor`.

    `title` is one sentence, `signals` what it is typically seen by. `labels` make two alerts the same problem where
    their source names none. `enrichers` are those that have most to say, the best first.
    """

    type: IncidentType
    category: Category
    severity: Severity
    title: str = ""
    signals: tuple[str, ...] = ()
    floor: Severity | None = None
    tags: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    enrichers: tuple[str, ...] = ()
    playbook: str | None = None
    owner: Owner = Owner.ONCALL


class IncidentClass(Record):
    """A class of incidents. Nothing that isn't a person goes below `floor`; `severity` is where it begins.

    `fingerprint` names the labels by which two alerts are the same problem where their source names none, `tags` are
    OWASP's and MITRE ATLAS'. `suggested_playbook` is the id of one of the bundle llmops, None where there is none.
    """

    name: str
    title: str
    incident_type: IncidentType
    category: Category
    severity: Severity
    floor: Severity | None
    signals: tuple[str, ...]
    tags: tuple[str, ...]
    fingerprint: tuple[str, ...]
    enrichers: tuple[str, ...]
    suggested_playbook: str | None
    owner: Owner


A, P, S, D = IncidentType.AVAILABILITY, IncidentType.PERFORMANCE, IncidentType.SECURITY, IncidentType.DATA
APP, INFRA, LAW = IncidentType.APPLICATION, IncidentType.INFRASTRUCTURE, IncidentType.COMPLIANCE
P0, P1, P2, P3 = Severity.P0, Severity.P1, Severity.P2, Severity.P3
COST, SAFE, COMPLY = Category.COST, Category.SECURITY, Category.COMPLIANCE
SECURITY, FINOPS, QUALITY, PLATFORM = Owner.SECURITY, Owner.FINOPS, Owner.QUALITY, Owner.PLATFORM
MODEL = ("model_group", "model", "deployment_id")
METRICS, CHANGES, PAST, LOGS = "prometheus", "changes", "historical", "loki"


def _kind(type_: IncidentType, severity: Severity, category: Category | None, title: str, **more: Any) -> Kind:
    return Kind(type_, category or type_.category, severity, title, **more)


CLASSES: dict[str, Kind] = {
    "availability.provider_outage": _kind(
        A, P1, None, "A model provider fails or does not answer.", labels=("provider", "region"),
        signals=("litellm_deployment_state = 2", "share of 5xx and 408 by provider", "the provider's status page"),
        enrichers=("status", METRICS, PAST, "service"), playbook="provider-outage-reroute"),
    "availability.gateway_down": _kind(
        A, P0, None, "The LLM gateway answers nobody.", labels=("job", "instance"),
        signals=("up = 0", "a synthetic probe fails", "exceptions of its database"),
        enrichers=(CHANGES, METRICS, LOGS, "service")),
    "performance.latency": _kind(
        P, P2, None, "Answers take longer than they should: first token, between tokens, or as a whole.",
        labels=(*MODEL, "provider", "region"),
        signals=("p95 of the time to first token over its objective", "llm_too_slow", "Langfuse p95 latency"),
        enrichers=(METRICS, CHANGES, PAST)),
    "performance.hanging": _kind(
        P, P2, None, "Requests are taken and never answered.", labels=(*MODEL, "pod"),
        signals=("llm_requests_hanging", "requests run and no token is generated"),
        enrichers=(METRICS, LOGS, CHANGES)),
    "performance.rate_limit": _kind(
        P, P2, None, "Requests are turned away as too many.", labels=("provider", "region", *MODEL, "key_alias"),
        signals=("rate of 429", "no tokens left", "RateLimitError"),
        enrichers=(METRICS, PAST), playbook="rate-limit-throttle"),
    "cost.budget": _kind(
        D, P3, COST, "A budget is used up, or soon will be.",
        labels=("event_group", "key_alias", "team", "end_user", "organization"),
        signals=("threshold_crossed", "soft_budget_crossed", "projected_limit_exceeded", "budget_crossed"),
        enrichers=(METRICS, "team", PAST), owner=FINOPS),
    "cost.runaway": _kind(
        D, P2, COST, "Far more is spent than at this time usually.",
        labels=("key_alias", "team", "session_id", "end_user", "agent"),
        signals=("spend per hour over three times the baseline", "tokens per session over the ceiling",
                 "user_spend_anomalies"),
        tags=("LLM10", "AML.T0034"), enrichers=(METRICS, CHANGES, PAST), playbook="cost-runaway", owner=FINOPS),
    "agent.loop": _kind(
        APP, P2, COST, "An agent goes round in circles.", labels=("agent", "session_id"),
        signals=("steps or tool calls per trace over the limit", "the same tool call again and again",
                 "session.budget_reached"),
        enrichers=(METRICS, CHANGES, PAST), playbook="cost-runaway", owner=FINOPS),
    "agent.tool_failure": _kind(
        APP, P2, None, "A tool that agents use fails.", labels=("tool", "server"),
        signals=("share of errors on execute_tool spans", "litellm_mcp_tool_calls_total", "agent.session.failed"),
        enrichers=(LOGS, CHANGES, METRICS)),
    "app.context_overflow": _kind(
        APP, P3, None, "Prompts no longer fit, or answers are cut off.", labels=("model_group", "model", "prompt_name"),
        signals=("ContextWindowExceededError", "share of finish_reason = length"), enrichers=(CHANGES, METRICS, PAST)),
    "app.structured_output": _kind(
        APP, P2, None, "Answers are not in the form that was asked for, empty, or refusals.",
        labels=("prompt_name", "model_group", "model"),
        signals=("JSON or schema failures", "share of refusals or empty answers"), enrichers=(CHANGES, PAST)),
    "quality.hallucination": _kind(
        D, P2, None, "Answers say what nothing supports.", labels=("score", "prompt_name", "model"),
        signals=("groundedness or faithfulness score", "thumbs down", "a complaint"), tags=("LLM09",),
        enrichers=(CHANGES, PAST), playbook="prompt-rollback", owner=QUALITY),
    "quality.drop": _kind(
        D, P2, None, "A quality score has fallen.", labels=("score", "prompt_name", "model"),
        signals=("a score monitor below its threshold", "share of failed gen_ai.evaluation.result"),
        enrichers=(CHANGES, PAST), playbook="prompt-rollback", owner=QUALITY),
    "eval.regression": _kind(
        D, P3, None, "An evaluation is worse than the last good run.", labels=("suite", "eval", "dataset", "model"),
        signals=("promptfoo, garak, Evidently or an OpenAI eval run below its baseline",),
        enrichers=(CHANGES, PAST), owner=QUALITY),
    "drift.data": _kind(
        D, P3, None, "What comes in no longer looks like what the model knows.", labels=("dataset", "column", "model"),
        signals=("a drift test fails", "embedding centroids shift"), enrichers=(CHANGES, PAST), owner=QUALITY),
    "drift.model": _kind(
        D, P3, None, "The model behind the name behaves like another.", labels=("model", "provider"),
        signals=("response.model changes", "scores shift without a change of ours"),
        enrichers=(CHANGES, PAST), owner=QUALITY),
    "security.prompt_injection": _kind(
        S, P2, None, "Somebody tries to make the model obey them instead.",
        labels=("guardrail", "key_alias", "end_user"),
        signals=("guardrail interventions at five times the baseline", "many prompts of few users"),
        tags=("LLM01", "AML.T0051"), enrichers=(METRICS, LOGS, PAST), playbook="injection-response", owner=SECURITY),
    "security.jailbreak": _kind(
        S, P2, None, "Somebody tries to talk the model out of its rules.",
        labels=("guardrail", "safety_identifier", "end_user"),
        signals=("verdicts of NeMo, LLM Guard or Lakera", "safety_identifier.blocked", "safety.warning_issued"),
        tags=("LLM01", "AML.T0054"), enrichers=(METRICS, LOGS, PAST), playbook="injection-response", owner=SECURITY),
    "privacy.pii_leak": _kind(
        S, P1, COMPLY, "Personal data has reached somebody it was not for.", floor=P1,
        labels=("guardrail", "session_id", "trace_id", "end_user"),
        signals=("Presidio or LLM Guard on output", "Opik guardrail PII", "data loss prevention"),
        tags=("LLM02", "AML.T0057"), enrichers=(LOGS, "service", PAST), playbook="pii-leak", owner=SECURITY),
    "safety.toxic_output": _kind(
        S, P2, None, "The model says what it must not.", labels=("guardrail", "model", "prompt_name"),
        signals=("toxicity score", "moderation", "a report"), enrichers=(CHANGES, LOGS, PAST), owner=SECURITY),
    "security.guardrail_outage": _kind(
        A, P1, SAFE, "A guardrail does not answer: traffic is unprotected, or stands still.", floor=P1,
        labels=("guardrail", "guardrail_name"),
        signals=("litellm_guardrail_errors_total", "guardrail_failed_to_respond", "guardrails.requests.errors"),
        enrichers=(METRICS, "status", LOGS), playbook="guardrail-outage", owner=SECURITY),
    "security.system_prompt_leak": _kind(
        S, P2, None, "The system prompt has come out.", labels=("prompt_name", "end_user"),
        signals=("a canary token in the output",), tags=("LLM07",), enrichers=(LOGS, CHANGES), owner=SECURITY),
    "rag.staleness": _kind(
        D, P3, None, "The index is older than it may be.", labels=("index", "collection", "pipeline"),
        signals=("age of the index over its objective", "an ingest job was missed"),
        enrichers=(CHANGES, LOGS, PAST), playbook="rag-recovery", owner=QUALITY),
    "rag.vector_db": _kind(
        A, P1, None, "The vector database fails or is slow.", labels=("index", "collection", "cluster"),
        signals=("errors of searches", "p95 of searches", "a node is down"),
        enrichers=(METRICS, LOGS, CHANGES), playbook="rag-recovery", owner=QUALITY),
    "rag.embedding_mismatch": _kind(
        D, P2, None, "Queries and index were embedded by different models.", labels=("index", "collection", "model"),
        signals=("errors of dimensions", "retrieval scores collapse after a change of the embedder"), tags=("LLM08",),
        enrichers=(CHANGES, LOGS), playbook="rag-recovery", owner=QUALITY),
    "security.data_poisoning": _kind(
        S, P1, None, "Somebody has put something into what the model learns or reads.", floor=P1,
        labels=("index", "collection", "dataset", "server"),
        signals=("documents unlike the others", "canary facts", "the MCP catalogue drifts"),
        tags=("LLM04", "AML.T0020", "AML.T0070"), enrichers=(CHANGES, LOGS), owner=SECURITY),
    "capacity.queue": _kind(
        P, P2, None, "More requests come than replicas can serve.", labels=(*MODEL, "model_name"),
        signals=('num_requests_waiting_by_reason{reason="capacity"}', "tgi_queue_size"),
        enrichers=(METRICS, CHANGES), playbook="queue-scale", owner=PLATFORM),
    "capacity.kv_cache": _kind(
        P, P2, None, "The KV cache is full and requests are put off.", labels=(*MODEL, "model_name", "instance"),
        signals=("kv_cache_usage_perc over .95 with preemptions",),
        enrichers=(METRICS, CHANGES), playbook="queue-scale", owner=PLATFORM),
    "infrastructure.gpu_fault": _kind(
        INFRA, P1, None, "A GPU is broken.", labels=("gpu_uuid", "UUID", "node"),
        signals=("XID 48, 63, 64, 74, 79, 92, 94, 95, 119, 120", "a row remap failed", "DCGM health"),
        enrichers=(METRICS, LOGS, PAST), playbook="gpu-failure", owner=PLATFORM),
    "infrastructure.gpu_oom": _kind(
        INFRA, P2, None, "A GPU has run out of memory.", labels=("pod", "deployment", "model"),
        signals=("CUDA out of memory", "CrashLoop", "exit 137"), enrichers=(CHANGES, LOGS, METRICS), owner=PLATFORM),
    "deploy.bad_model_version": _kind(
        APP, P1, None, "A model version that was just rolled out is worse.", labels=("deployment", "model", "alias"),
        signals=("a step in errors or quality right after a rollout or a moved alias",),
        enrichers=(CHANGES, METRICS, PAST), playbook="model-rollback"),
    "deploy.finetune_failed": _kind(
        APP, P3, None, "A fine-tuning has failed.", labels=("job_id", "model"),
        signals=("fine_tuning.job.failed", "a failed Argo or MLflow run"), enrichers=(LOGS, CHANGES)),
    "deploy.model_deprecated": _kind(
        APP, P3, None, "A model is about to be switched off, or has been.", labels=("model", "provider"),
        signals=("model_deprecation_warnings", "a notice of the provider"), enrichers=("service", METRICS)),
    "security.key_leak": _kind(
        S, P1, None, "An API key is where it should not be.", labels=("key_alias", "secret_type", "alert_url"),
        signals=("secret_scanning_alert", "a key used from a new network"), tags=("AML.T0055",),
        enrichers=("service", METRICS, LOGS), playbook="key-leak", owner=SECURITY),
    "security.mcp_tamper": _kind(
        S, P2, None, "An MCP server describes its tools otherwise than before.", labels=("server", "tool"),
        signals=("mcp_tool_description_blocked", "mcp_pinned_tools_changed"), tags=("LLM03", "LLM06"),
        enrichers=(CHANGES, LOGS), owner=SECURITY),
    "compliance.breach": _kind(
        LAW, P1, None, "What the law or a contract forbids has happened.", floor=P1,
        labels=("framework", "control", "region"),
        signals=("data in the wrong region", "audit logs lost", "a model that nobody approved"),
        enrichers=("service", CHANGES, LOGS), owner=SECURITY),
    "observability.blind_spot": _kind(
        INFRA, P3, None, "Something that should be watched is not.", labels=("job", "exporter", "heartbeat"),
        signals=("a scrape is missing", "evaluator-blocked", "failed_tracking_spend", "a watchdog is silent"),
        enrichers=(CHANGES, METRICS, LOGS), owner=PLATFORM),
}  # fmt: skip

OTHERS: dict[str, Kind] = {
    "other.infrastructure": _kind(INFRA, P2, None, ""),
    "other.application": _kind(APP, P2, None, ""),
    "other.security": _kind(S, P2, None, ""),
    "other.data": _kind(D, P2, None, ""),
    "other.performance": _kind(P, P2, None, ""),
    "other.availability": _kind(A, P1, None, ""),
}
"""What is no LLM incident: known so that it isn't taken for one. It has a type, and no class."""

KINDS = CLASSES | OTHERS
FLOORS = {name: kind.floor for name, kind in CLASSES.items() if kind.floor is not None}
"""Confirmed exposure and unprotected traffic: nothing says that these can wait."""


def stated(labels: Mapping[str, str]) -> str | None:
    """The class that an alert's labels state. Other tools have other words under that name: they state none."""
    name = labels.get(LABEL, "").strip()
    return name if name in CLASSES else None


def base(labels: Mapping[str, str]) -> Severity:
    """Where the severity of an alert begins whose reporter gives none."""
    name = stated(labels)
    return CLASSES[name].severity if name is not None else Severity.P2


def named(labels: Mapping[str, str], label: str) -> str | None:
    """What labels say under one of a label's names."""
    return next((labels[name] for name in ALSO.get(label, (label,)) if labels.get(name)), None)


def problem(name: str, labels: Mapping[str, str]) -> tuple[str, ...]:
    """What tells one problem of a class from another, as `label=value`; empty where the labels name none."""
    found = [(label, value) for label in CLASSES[name].labels if (value := named(labels, label)) is not None]
    tells = any(label not in REFINES for label, _ in found)
    return tuple(f"{label}={value}" for label, value in found) if tells else ()


def described(name: str) -> IncidentClass:
    """Raises: NotFound."""
    kind = CLASSES.get(name)
    if kind is None:
        raise NotFound("incident class", name)
    return IncidentClass(
        name=name, title=kind.title, incident_type=kind.type, category=kind.category, severity=kind.severity,
        floor=kind.floor, signals=kind.signals, tags=kind.tags, fingerprint=kind.labels, enrichers=kind.enrichers,
        suggested_playbook=kind.playbook, owner=kind.owner,
    )  # fmt: skip


def playbook_for(name: str | None) -> str | None:
    """The playbook of the bundle llmops that fits a class."""
    kind = CLASSES.get(name or "")
    return kind.playbook if kind else None

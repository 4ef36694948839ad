"""Playbook actions: one file each, and one line here."""

from app.actions.add_note import AddNote
from app.actions.assign import Assign
from app.actions.base import Configured
from app.actions.circuit_breaker import CircuitBreaker
from app.actions.config_change import ConfigChange
from app.actions.create_war_room import CreateWarRoom
from app.actions.edge_agent_infer import EdgeAgentInfer
from app.actions.edge_agent_sync import EdgeAgentSync
from app.actions.email import EmailMessage
from app.actions.github_issue import GithubIssue
from app.actions.governance_audit_report import GovernanceAuditReport
from app.actions.health_check import HealthCheck
from app.actions.http_request import HttpRequest
from app.actions.incident_resolve import IncidentResolve
from app.actions.jira_issue import JiraIssue
from app.actions.langfuse_prompt_label import LangfusePromptLabel
from app.actions.litellm_fallback import LiteLLMFallback
from app.actions.litellm_guardrail import LiteLLMGuardrail
from app.actions.litellm_key_block import LiteLLMKeyBlock
from app.actions.litellm_key_limit import LiteLLMKeyLimit
from app.actions.litellm_model_block import LiteLLMModelBlock
from app.actions.litellm_new_key import LiteLLMNewKey
from app.actions.litellm_routing import LiteLLMRouting
from app.actions.litellm_temporary_budget import LiteLLMTemporaryBudget
from app.actions.logs_capture import LogsCapture
from app.actions.metrics_snapshot import MetricsSnapshot
from app.actions.pagerduty import PagerDutyEvent
from app.actions.run_script import RunScript
from app.actions.scale_horizontal import ScaleHorizontal
from app.actions.scale_vertical import ScaleVertical
from app.actions.schedule_postmortem import SchedulePostmortem
from app.actions.sentinel_analyze import SentinelAnalyze
from app.actions.service_restart import ServiceRestart
from app.actions.service_rollback import ServiceRollback
from app.actions.severity import ChangeSeverity
from app.actions.shield_analyze import ShieldAnalyze
from app.actions.shield_mitigation_plan import ShieldMitigationPlan
from app.actions.slack import SlackMessage
from app.actions.verify_resolution import VerifyResolution
from app.actions.vllm_reset_prefix_cache import VllmResetPrefixCache
from app.actions.webhook import WebhookMessage

ACTIONS: dict[str, Configured] = {
    "add_note": AddNote.configured,
    "assign": Assign.configured,
    "circuit_breaker": CircuitBreaker.configured,
    "config_change": ConfigChange.configured,
    "create_war_room": CreateWarRoom.configured,
    "edge_agent_infer": EdgeAgentInfer.configured,
    "edge_agent_sync": EdgeAgentSync.configured,
    "email": EmailMessage.configured,
    "github_issue": GithubIssue.configured,
    "governance_audit_report": GovernanceAuditReport.configured,
    "health_check": HealthCheck.configured,
    "http_request": HttpRequest.configured,
    "incident_resolve": IncidentResolve.configured,
    "jira_issue": JiraIssue.configured,
    "langfuse_prompt_label": LangfusePromptLabel.configured,
    "litellm_fallback": LiteLLMFallback.configured,
    "litellm_guardrail": LiteLLMGuardrail.configured,
    "litellm_key_block": LiteLLMKeyBlock.configured,
    "litellm_key_limit": LiteLLMKeyLimit.configured,
    "litellm_model_block": LiteLLMModelBlock.configured,
    "litellm_new_key": LiteLLMNewKey.configured,
    "litellm_routing": LiteLLMRouting.configured,
    "litellm_temporary_budget": LiteLLMTemporaryBudget.configured,
    "logs_capture": LogsCapture.configured,
    "metrics_snapshot": MetricsSnapshot.configured,
    "pagerduty": PagerDutyEvent.configured,
    "run_script": RunScript.configured,
    "scale_horizontal": ScaleHorizontal.configured,
    "scale_vertical": ScaleVertical.configured,
    "schedule_postmortem": SchedulePostmortem.configured,
    "sentinel_analyze": SentinelAnalyze.configured,
    "service_restart": ServiceRestart.configured,
    "service_rollback": ServiceRollback.configured,
    "severity_decrease": ChangeSeverity.lowers,
    "severity_increase": ChangeSeverity.raises,
    "shield_analyze": ShieldAnalyze.configured,
    "shield_mitigation_plan": ShieldMitigationPlan.configured,
    "slack": SlackMessage.configured,
    "verify_resolution": VerifyResolution.configured,
    "vllm_reset_prefix_cache": VllmResetPrefixCache.configured,
    "webhook": WebhookMessage.configured,
}
"""Name → its action as the settings have it; None where what it needs is not set up, and then it is not listed."""

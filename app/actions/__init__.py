"""Playbook actions: one file each, and one line here."""

from app.actions.base import Configured
from app.actions.config_change import ConfigChange
from app.actions.http_request import HttpRequest
from app.actions.langfuse_prompt_label import LangfusePromptLabel
from app.actions.litellm_fallback import LiteLLMFallback
from app.actions.litellm_guardrail import LiteLLMGuardrail
from app.actions.litellm_key_block import LiteLLMKeyBlock
from app.actions.litellm_key_limit import LiteLLMKeyLimit
from app.actions.litellm_model_block import LiteLLMModelBlock
from app.actions.litellm_new_key import LiteLLMNewKey
from app.actions.litellm_routing import LiteLLMRouting
from app.actions.litellm_temporary_budget import LiteLLMTemporaryBudget
from app.actions.scale_horizontal import ScaleHorizontal
from app.actions.scale_vertical import ScaleVertical
from app.actions.service_restart import ServiceRestart
from app.actions.service_rollback import ServiceRollback
from app.actions.vllm_reset_prefix_cache import VllmResetPrefixCache

ACTIONS: dict[str, Configured] = {
    "config_change": ConfigChange.configured,
    "http_request": HttpRequest.configured,
    "langfuse_prompt_label": LangfusePromptLabel.configured,
    "litellm_fallback": LiteLLMFallback.configured,
    "litellm_guardrail": LiteLLMGuardrail.configured,
    "litellm_key_block": LiteLLMKeyBlock.configured,
    "litellm_key_limit": LiteLLMKeyLimit.configured,
    "litellm_model_block": LiteLLMModelBlock.configured,
    "litellm_new_key": LiteLLMNewKey.configured,
    "litellm_routing": LiteLLMRouting.configured,
    "litellm_temporary_budget": LiteLLMTemporaryBudget.configured,
    "scale_horizontal": ScaleHorizontal.configured,
    "scale_vertical": ScaleVertical.configured,
    "service_restart": ServiceRestart.configured,
    "service_rollback": ServiceRollback.configured,
    "vllm_reset_prefix_cache": VllmResetPrefixCache.configured,
}
"""Name → its action as the settings have it; None where what it needs is not set up, and then it is not listed."""

"""Switches a guardrail on, or off, for every request.

Source: litellm 1.109.1, PATCH /guardrails/{id} {"litellm_params": {"default_on"}}: at the top level, where its
docstring shows it, `default_on` is dropped without a word; GET /guardrails/{id}/info.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from app.actions.base import Failed, Situation
from app.actions.litellm import ModelName, ProxyChange, quoted
from app.domain.record import Record


@dataclass(frozen=True)
class LiteLLMGuardrail(ProxyChange):
    """`guardrail_id`: one that is stored in the database; `default_on`: whether it applies to every request.

    `undo` restores whether it was on.
    """

    class Parameters(Record):
        guardrail_id: ModelName
        default_on: bool = True

    destructive: ClassVar[bool] = False

    def subject(self, asked: Parameters) -> str:
        return f"guardrail {asked.guardrail_id}: on by default"

    async def look(self, asked: Parameters, at: Situation) -> Any:
        found = await self.proxy.get(f"/guardrails/{quoted(asked.guardrail_id)}/info", at)
        if found.get("guardrail_definition_location") == "config":
            raise Failed(f"guardrail {asked.guardrail_id} stands in LiteLLM's file: it can't be changed here")
        return bool((found.get("litellm_params") or {}).get("default_on"))

    async def want(self, asked: Parameters, found: Any, at: Situation) -> Any:
        return asked.default_on

    async def put(self, asked: Parameters, value: Any, before: Any, at: Situation) -> None:
        body = {"litellm_params": {"default_on": value}}
        await self.proxy.ask("PATCH", f"/guardrails/{quoted(asked.guardrail_id)}", at, body)

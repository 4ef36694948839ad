"""Other models that LiteLLM goes on to when one fails.

Source: litellm 1.109.1, POST and DELETE /fallback, GET /router/settings; needs STORE_MODEL_IN_DB=True there.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from app.actions.base import Situation
from app.actions.litellm import ModelName, ProxyChange, quoted
from app.domain.record import Record

LISTS = {
    "general": "fallbacks",
    "context_window": "context_window_fallbacks",
    "content_policy": "content_policy_fallbacks",
}


@dataclass(frozen=True)
class LiteLLMFallback(ProxyChange):
    """`model` goes on to `fallbacks`, in their order, and after them to the ones that are there already.

    `type`: the failures that are meant: any (general), a context_window that is too short, or the content_policy.

    `undo` restores the list that was there, or deletes it where there was none; a name with a slash can then not be
    deleted, as LiteLLM takes no slash there.
    """

    class Parameters(Record):
        model: ModelName
        fallbacks: Annotated[tuple[ModelName, ...], Field(min_length=1, max_length=10)]
        type: Literal["general", "context_window", "content_policy"] = "general"

        @model_validator(mode="after")
        def _another(self) -> Self:
            if self.model in self.fallbacks:
                raise ValueError("a model must not be its own fallback")
            return self

    destructive: ClassVar[bool] = False

    def subject(self, asked: Parameters) -> str:
        return f"{asked.type} fallbacks of {asked.model}"

    async def check(self, asked: Parameters, at: Situation) -> str:
        await self.proxy.must_know((asked.model, *asked.fallbacks), at)
        return await super().check(asked, at)

    async def look(self, asked: Parameters, at: Situation) -> Any:
        rules = (await self.proxy.router_settings(at)).get(LISTS[asked.type]) or []
        return next((rule[asked.model] for rule in rules if isinstance(rule, dict) and asked.model in rule), [])

    async def want(self, asked: Parameters, found: Any, at: Situation) -> Any:
        return [*asked.fallbacks, *(model for model in found if model not in asked.fallbacks)]

    async def put(self, asked: Parameters, value: Any, before: Any, at: Situation) -> None:
        if value:
            body = {"model": asked.model, "fallback_models": value, "fallback_type": asked.type}
            await self.proxy.post("/fallback", body, at)
        else:
            await self.proxy.ask("DELETE", f"/fallback/{quoted(asked.model)}?fallback_type={asked.type}", at)

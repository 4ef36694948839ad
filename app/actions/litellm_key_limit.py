"""Limits of a virtual key: requests, tokens, parallel requests, budget.

Source: litellm 1.109.1, POST /key/update, a merge patch in which null takes a limit away.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from app.actions.base import Situation
from app.actions.litellm import OnKey, ProxyChange

Limit = Annotated[int, Field(ge=0, le=1_000_000_000)]


@dataclass(frozen=True)
class LiteLLMKeyLimit(ProxyChange):
    """`key`: its alias, or its hash as LiteLLM's alerts and logs have it.

    `rpm_limit` and `tpm_limit` are requests and tokens a minute, `max_parallel_requests` requests at a time,
    `max_budget` US dollars. What isn't given stays. `undo` restores what was there, no limit included.
    """

    class Parameters(OnKey):
        rpm_limit: Limit | None = None
        tpm_limit: Limit | None = None
        max_parallel_requests: Limit | None = None
        max_budget: Annotated[float, Field(ge=0, le=1e9)] | None = None

        @model_validator(mode="after")
        def _something(self) -> Self:
            if not self.limits:
                raise ValueError("needs at least one of rpm_limit, tpm_limit, max_parallel_requests, max_budget")
            return self

        @property
        def limits(self) -> dict[str, float]:
            return self.model_dump(exclude={"key"}, exclude_none=True)

    destructive: ClassVar[bool] = False

    def subject(self, asked: Parameters) -> str:
        return f"key {asked.key}"

    async def look(self, asked: Parameters, at: Situation) -> Any:
        info = await self.proxy.key_info(asked.key, at)
        return {name: info.get(name) for name in asked.limits}

    async def want(self, asked: Parameters, found: Any, at: Situation) -> Any:
        return asked.limits

    async def put(self, asked: Parameters, value: Any, before: Any, at: Situation) -> None:
        await self.proxy.post("/key/update", {"key": await self.proxy.hash_of(asked.key, at), **value}, at)

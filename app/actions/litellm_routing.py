"""Sends all requests for one model to another, at once.

Source: litellm 1.109.1, POST /config/update {"router_settings": {"model_group_alias"}}, which takes the whole map of
aliases, and GET /router/settings. LiteLLM refuses it where the aliases stand in its configuration file.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import model_validator

from app.actions.base import Situation
from app.actions.litellm import ModelName, ProxyChange
from app.domain.record import Record


@dataclass(frozen=True)
class LiteLLMRouting(ProxyChange):
    """Requests for `model`, a model group, go `to` another one. `undo` restores where they went before.

    LiteLLM has no precondition: an alias of another model that somebody sets between our look and our write is lost;
    one that was set before or after stays.
    """

    class Parameters(Record):
        model: ModelName
        to: ModelName

        @model_validator(mode="after")
        def _another(self) -> Self:
            if self.model == self.to:
                raise ValueError("to must be another model")
            return self

    destructive: ClassVar[bool] = True

    def subject(self, asked: Parameters) -> str:
        return f"requests for {asked.model}"

    async def check(self, asked: Parameters, at: Situation) -> str:
        await self.proxy.must_know((asked.to,), at)
        return await super().check(asked, at)

    async def look(self, asked: Parameters, at: Situation) -> Any:
        return (await self._aliases(at)).get(asked.model)

    async def want(self, asked: Parameters, found: Any, at: Situation) -> Any:
        return asked.to

    async def put(self, asked: Parameters, value: Any, before: Any, at: Situation) -> None:
        aliases = {model: to for model, to in (await self._aliases(at)).items() if model != asked.model}
        aliases |= {asked.model: value} if value is not None else {}
        await self.proxy.post("/config/update", {"router_settings": {"model_group_alias": aliases}}, at)

    async def _aliases(self, at: Situation) -> dict[str, Any]:
        return dict((await self.proxy.router_settings(at)).get("model_group_alias") or {})

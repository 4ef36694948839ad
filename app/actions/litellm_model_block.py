"""Takes one deployment of a model out of LiteLLM's rotation.

Source: litellm 1.109.1, POST /model/block and /model/unblock, GET /model/info.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from app.actions.base import Failed, Situation
from app.actions.litellm import ModelName, ProxyChange
from app.domain.record import Record


@dataclass(frozen=True)
class LiteLLMModelBlock(ProxyChange):
    """`model_id`: the deployment's id (x-litellm-model-id). Only one that is stored in the database can be blocked."""

    class Parameters(Record):
        model_id: ModelName

    destructive: ClassVar[bool] = False

    def subject(self, asked: Parameters) -> str:
        return f"model deployment {asked.model_id}: blocked"

    async def look(self, asked: Parameters, at: Situation) -> Any:
        found = (await self.proxy.get("/model/info", at, {"litellm_model_id": asked.model_id})).get("data") or []
        info = next((one.get("model_info") or {} for one in found if isinstance(one, dict)), None)
        if info is None or info.get("id") != asked.model_id:
            raise Failed(f"LiteLLM has no model deployment {asked.model_id}")
        if not info.get("db_model"):
            raise Failed(f"model deployment {asked.model_id} stands in LiteLLM's file: it can't be blocked")
        return bool(info.get("blocked"))

    async def want(self, asked: Parameters, found: Any, at: Situation) -> Any:
        return True

    async def put(self, asked: Parameters, value: Any, before: Any, at: Situation) -> None:
        await self.proxy.post("/model/block" if value else "/model/unblock", {"model_id": asked.model_id}, at)

"""Blocks a virtual key: every request with it is refused. Source: litellm 1.109.1, POST /key/block, /key/unblock."""

from dataclasses import dataclass
from typing import Any, ClassVar

from app.actions.base import Situation
from app.actions.litellm import OnKey, ProxyChange


@dataclass(frozen=True)
class LiteLLMKeyBlock(ProxyChange):
    """`key`: its alias, or its hash as LiteLLM's alerts and logs have it.

    `undo` unblocks it, unless it was blocked before.
    """

    class Parameters(OnKey):
        pass

    destructive: ClassVar[bool] = True

    def subject(self, asked: Parameters) -> str:
        return f"key {asked.key}: blocked"

    async def look(self, asked: Parameters, at: Situation) -> Any:
        return bool((await self.proxy.key_info(asked.key, at)).get("blocked"))

    async def want(self, asked: Parameters, found: Any, at: Situation) -> Any:
        return True

    async def put(self, asked: Parameters, value: Any, before: Any, at: Situation) -> None:
        hashed = await self.proxy.hash_of(asked.key, at)
        await self.proxy.post("/key/block" if value else "/key/unblock", {"key": hashed}, at)

"""Empties the prefix cache of a vLLM server.

Source: vLLM's POST /reset_prefix_cache, there in its development mode only (VLLM_SERVER_DEV_MODE=1). What is emptied
twice is empty; the next requests are slower until it has filled again.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from pydantic import StringConstraints

from app.actions.api import Api, Missing
from app.actions.base import Done, Failed, Plain, Situation, Tools
from app.domain.record import Record
from app.net.http import Http


@dataclass(frozen=True)
class VllmResetPrefixCache(Plain):
    """`url`: the server's base address. Nothing to undo."""

    http: Http

    class Parameters(Record):
        url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s?#]+$", max_length=2000)]

    destructive: ClassVar[bool] = True

    @classmethod
    def configured(cls, tools: Tools) -> Self:
        return cls(tools.http.by_host("vllm"))

    async def check(self, asked: Parameters, at: Situation) -> str:
        """Asks the server's own description; where it serves none, only a run tells whether it can."""
        try:
            described = await self._api(asked).ask(at, "GET", "/openapi.json", {})
        except Missing:
            described = None
        if isinstance(described, dict) and "/reset_prefix_cache" not in described.get("paths", {}):
            raise Failed(f"{asked.url} offers no reset of its prefix cache: it needs VLLM_SERVER_DEV_MODE=1")
        return f"empty the prefix cache of {asked.url}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        await self._api(asked).ask(at, "POST", "/reset_prefix_cache", {})
        return Done(summary=f"emptied the prefix cache of {asked.url}")

    def _api(self, asked: Parameters) -> Api:
        return Api(self.http, "vLLM", asked.url.rstrip("/"))

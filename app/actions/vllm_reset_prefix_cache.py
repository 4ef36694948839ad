"""Empties the prefix cache of a vLLM server.

Source: vLLM's POST /reset_prefix_cache, there in its development mode only (VLLM_SERVER_DEV_MODE=1). What is emptied
twice is empty; the next requests are slower until it has filled again.
"""

import json
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from pydantic import StringConstraints

from app.actions.base import Done, Failed, Plain, Situation, Tools
from app.actions.http_request import refused, sent
from app.domain.record import Record
from app.net.http import Http

READ_AT_MOST = 4 * 1024 * 1024


@dataclass(frozen=True)
class VllmResetPrefixCache(Plain):
    """`url`: the server's base address. Nothing to undo."""

    http: Http

    class Parameters(Record):
        url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s?#]+$", max_length=2000)]

    destructive: ClassVar[bool] = True

    @classmethod
    def configured(cls, tools: Tools) -> Self:
        return cls(tools.http)

    async def check(self, asked: Parameters, at: Situation) -> str:
        """Asks the server's own description; where it has none, only a run tells whether it can."""
        url = f"{asked.url.rstrip('/')}/openapi.json"
        answer = await sent(self.http, "GET", url, b"", {}, read_at_most=READ_AT_MOST)
        if answer.status >= 500:
            raise refused(answer, at)
        if answer.status == 200 and not offered(answer.text):
            raise Failed(f"{asked.url} offers no reset of its prefix cache: it needs VLLM_SERVER_DEV_MODE=1")
        return f"empty the prefix cache of {asked.url}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        answer = await sent(self.http, "POST", f"{asked.url.rstrip('/')}/reset_prefix_cache", b"", {})
        if not 200 <= answer.status < 300:
            raise refused(answer, at)
        return Done(summary=f"emptied the prefix cache of {asked.url}")


def offered(description: str) -> bool:
    """Whether an OpenAPI description has the path; also true of what is none."""
    try:
        return "/reset_prefix_cache" in json.loads(description)["paths"]
    except (ValueError, KeyError, TypeError):
        return True

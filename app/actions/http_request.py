"""Any HTTP request, through the guarded client. The step's key goes along as Idempotency-Key."""

import json
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, StringConstraints
from pydantic_core import from_json

from app.actions.api import refused, sent
from app.actions.base import Done, Plain, Situation, Tools
from app.channels.base import plain
from app.domain.record import Record
from app.net.http import Http


@dataclass(frozen=True)
class HttpRequest(Plain):
    """The step's key goes along as Idempotency-Key: whoever takes one does it once.

    `method`: GET, POST, PUT, PATCH or DELETE; `url`: where to; `headers`: up to 50 more; `body`: sent as JSON.
    `expect`: the statuses that count as done; none = any 2xx. The answer's body, if it is JSON, is in the output.
    """

    http: Http

    class Parameters(Record):
        method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
        url: Annotated[str, StringConstraints(pattern=r"^https?://\S+$", max_length=2000)]
        headers: dict[str, str] = Field({}, max_length=50)
        body: Any = None
        expect: tuple[Annotated[int, Field(ge=100, le=599)], ...] = ()

    destructive: ClassVar[bool] = False
    undoes: ClassVar[bool] = False

    @classmethod
    def configured(cls, tools: Tools) -> Self:
        return cls(tools.http)

    async def check(self, asked: Parameters, at: Situation) -> str:
        return f"{asked.method} {asked.url}"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        headers = {"content-type": "application/json", **asked.headers, "idempotency-key": at.key}
        content = b"" if asked.body is None else json.dumps(asked.body).encode()
        answer = await sent(self.http, asked.method, asked.url, content, headers)
        good = answer.status in asked.expect if asked.expect else 200 <= answer.status < 300
        if not good:
            raise refused(answer, at, asked.method)
        return Done(summary=f"{asked.method} {asked.url} answered {answer.status}", output={
            "status": answer.status, "body": parsed(answer.text),
        })  # fmt: skip


def parsed(text: str) -> object:
    """JSON that PostgreSQL can keep, or else the text's beginning in one line."""
    try:
        if "\\u0000" not in text:
            return from_json(text, allow_inf_nan=False)
    except ValueError:
        pass
    return plain(text[:2000])

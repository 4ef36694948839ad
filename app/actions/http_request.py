"""Any HTTP request, through the guarded client. The step's key goes along as Idempotency-Key."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, StringConstraints
from pydantic_core import from_json

from app.actions.base import Done, Failed, Plain, Situation, Tools
from app.channels.base import plain
from app.channels.post import asked_delay
from app.domain.errors import Invalid
from app.domain.record import Record
from app.net.http import READ_AT_MOST, Answer, Blocked, Http, Unanswered
from app.net.slots import Busy

SOON = timedelta(seconds=2)
PASSING = frozenset({408, 425, 429})
LONGEST = 1 << 20
"""Bytes of JSON that are read of one answer."""


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


async def sent(
    http: Http, method: str, url: str, content: bytes, headers: dict[str, str], *, read_at_most: int = READ_AT_MOST
) -> Answer:
    """The answer, whatever it is. Raises: Failed when there is none."""
    try:
        return await http.request(method, url, content, headers, read_at_most=read_at_most)
    except Busy as busy:
        raise Failed(str(busy), SOON) from busy
    except Unanswered as nothing:
        raise Failed(f"{method} {url}: {nothing}", SOON, doubtful=method != "GET") from nothing
    except Blocked as blocked:
        raise Failed(str(blocked)) from blocked
    except Invalid as never:
        raise Failed(never.message) from never


async def answered(http: Http, method: str, url: str, headers: dict[str, str], at: Situation, body: Any = None) -> Any:
    """The JSON of a 2xx, None where it has no body. Raises: Failed."""
    answer = await sent_json(http, method, url, headers, body)
    if not 200 <= answer.status < 300:
        raise refused(answer, at, method)
    return decoded(answer, method)


async def sent_json(http: Http, method: str, url: str, headers: dict[str, str], body: Any = None) -> Answer:
    """The answer, whatever it is, to a request with JSON, or with no body. Raises: Failed when there is none."""
    content = b"" if body is None else json.dumps(body).encode()
    said = headers if body is None else {"content-type": "application/json", **headers}
    return await sent(http, method, url, content, said, read_at_most=LONGEST)


def decoded(answer: Answer, method: str) -> Any:
    """The answer's JSON, None where it has no body. Raises: Failed."""
    if not answer.text:
        return None
    if len(answer.text) >= LONGEST:
        raise Failed(f"answered with more than {LONGEST >> 20} MiB", doubtful=method != "GET")
    try:
        return from_json(answer.text)
    except ValueError as wrong:
        raise Failed(f"answered {answer.status} without JSON", SOON, doubtful=method != "GET") from wrong


def refused(answer: Answer, at: Situation, method: str) -> Failed:
    """What an answer that isn't wanted means: whether trying again makes sense, and when; whether it may be done."""
    said = f"answered {answer.status}: {plain(answer.text)[:300]}"
    if answer.status in PASSING or answer.status >= 500:
        delay = asked_delay(answer.headers.get("retry-after"), at.now) or SOON
        return Failed(said, delay, doubtful=answer.status >= 500 and method != "GET")
    return Failed(said)


def parsed(text: str) -> object:
    """JSON that PostgreSQL can keep, or else the text's beginning in one line."""
    try:
        if "\\u0000" not in text:
            return from_json(text, allow_inf_nan=False)
    except ValueError:
        pass
    return plain(text[:2000])

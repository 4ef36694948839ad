"""HTTP with the systems that actions look at and change: what an answer means for the step."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic_core import from_json

from app.actions.base import Failed, Situation
from app.channels.base import plain
from app.channels.post import JSON, asked_delay
from app.domain.errors import Invalid
from app.net.breakers import Open
from app.net.http import READ_AT_MOST, Answer, Blocked, Http, Unanswered
from app.net.slots import Busy

SOON = timedelta(seconds=2)
PASSING = frozenset({408, 425, 429})
LONGEST = 8 << 20
"""Bytes of JSON that are read of one answer (chosen: the ReplicaSets of one deployment, or all models of a proxy, are
far smaller)."""


class Missing(Failed):
    """404: there is none of that name."""


class Conflict(Failed):
    """409: somebody else changed it meanwhile, so looking anew and trying again is right."""


@dataclass(frozen=True)
class Api:
    """`name` is what people call the system."""

    http: Http
    name: str
    url: str

    async def ask(self, at: Situation, method: str, path: str, headers: Mapping[str, str], body: object = None) -> Any:
        """The JSON of a 2xx. Raises: Missing, Conflict, Failed; `doubtful` where it may have been done all the same."""
        answer = await sent_json(self.http, method, f"{self.url}{path}", headers, body)
        asked = f"{self.name} answered {answer.status} to {method} {path.partition('?')[0]}"
        if not 200 <= answer.status < 300:
            raise self._refused(answer, asked, at, doubtful=method != "GET" and answer.status >= 500)
        return decoded(answer, method, asked)

    def _refused(self, answer: Answer, asked: str, at: Situation, *, doubtful: bool) -> Failed:
        said = f"{asked}: {complaint(answer.text)}"
        if answer.status == 404:
            return Missing(said)
        if answer.status == 409:
            return Conflict(said, SOON)
        if answer.status in PASSING or answer.status >= 500:
            delay = asked_delay(answer.headers.get("retry-after"), at.now) or SOON
            return Failed(said, delay, doubtful=doubtful)
        return Failed(said)


async def sent(
    http: Http, method: str, url: str, content: bytes, headers: dict[str, str], *, read_at_most: int = READ_AT_MOST
) -> Answer:
    """The answer, whatever it is. Raises: Failed when there is none."""
    try:
        return await http.request(method, url, content, headers, read_at_most=read_at_most)
    except Open as resting:
        raise Failed(str(resting), resting.retry_after) from resting
    except Busy as busy:
        raise Failed(str(busy), SOON) from busy
    except Unanswered as nothing:
        raise Failed(f"{method} {url}: {nothing}", SOON, doubtful=method != "GET") from nothing
    except Blocked as blocked:
        raise Failed(str(blocked)) from blocked
    except Invalid as never:
        raise Failed(never.message) from never


async def answered(
    http: Http, method: str, url: str, headers: Mapping[str, str], at: Situation, body: Any = None
) -> Any:
    """The JSON of a 2xx, None where it has no body. Raises: Failed."""
    answer = await sent_json(http, method, url, headers, body)
    if not 200 <= answer.status < 300:
        raise refused(answer, at, method)
    return decoded(answer, method)


async def sent_json(http: Http, method: str, url: str, headers: Mapping[str, str], body: Any = None) -> Answer:
    """The answer, whatever it is, to a request with JSON, or with no body. Raises: Failed when there is none."""
    content = b"" if body is None else json.dumps(body).encode()
    said = {**({} if body is None else JSON), **headers}
    return await sent(http, method, url, content, said, read_at_most=LONGEST)


def decoded(answer: Answer, method: str, said: str = "") -> Any:
    """The answer's JSON, None where it has no body; `said` begins what is wrong with it. Raises: Failed."""
    if not answer.text:
        return None
    said, doubtful = said or f"answered {answer.status}", method != "GET"
    if len(answer.text) >= LONGEST:
        raise Failed(f"{said} with more than {LONGEST >> 20} MiB", doubtful=doubtful)
    try:
        return from_json(answer.text)
    except ValueError as garbage:
        raise Failed(f"{said} without JSON", SOON, doubtful=doubtful) from garbage


def refused(answer: Answer, at: Situation, method: str) -> Failed:
    """What an answer that isn't wanted means: whether trying again makes sense, and when; whether it may be done."""
    said = f"answered {answer.status}: {plain(answer.text)[:300]}"
    if answer.status in PASSING or answer.status >= 500:
        delay = asked_delay(answer.headers.get("retry-after"), at.now) or SOON
        return Failed(said, delay, doubtful=answer.status >= 500 and method != "GET")
    return Failed(said)


def complaint(text: str) -> str:
    """What an error's body says, in one line: `message`, `error` or `detail` of a JSON object, else its beginning."""
    try:
        said = json.loads(text)
    except ValueError:
        said = text
    for _ in range(3):
        if isinstance(said, dict):
            said = next((said[name] for name in ("message", "error", "detail") if said.get(name)), text)
    return plain(str(said))[:300]

"""JSON over HTTP with the systems that actions change: what an answer means for the step."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.actions.base import Failed, Situation
from app.actions.http_request import PASSING, SOON, sent
from app.channels.base import plain
from app.channels.post import JSON, asked_delay
from app.net.http import Answer, Http

READ_AT_MOST = 8 * 1024 * 1024
"""In bytes (chosen: the ReplicaSets of one deployment, or all models of a proxy, are far smaller)."""


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
        content = b"" if body is None else json.dumps(body).encode()
        answer = await sent(
            self.http, method, f"{self.url}{path}", content, {**JSON, **headers}, read_at_most=READ_AT_MOST
        )
        asked = f"{self.name} answered {answer.status} to {method} {path.partition('?')[0]}"
        if not 200 <= answer.status < 300:
            raise self._refused(answer, asked, at, doubtful=method != "GET" and answer.status >= 500)
        if len(answer.text) >= READ_AT_MOST:
            raise Failed(f"{asked} with more than {READ_AT_MOST >> 20} MiB", doubtful=method != "GET")
        try:
            return json.loads(answer.text or "null")
        except ValueError as garbage:
            raise Failed(f"{asked} with what is not JSON", SOON, doubtful=method != "GET") from garbage

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

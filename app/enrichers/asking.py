"""Asking somebody else's system: JSON in, JSON out, and one kind of failure."""

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from app.domain.enrichment import NoAnswer, Resting
from app.domain.errors import Invalid
from app.net.breakers import Open
from app.net.http import Answer, Blocked, Http, Unanswered
from app.net.slots import Busy
from app.surroundings import Remote

READ_AT_MOST = 1 << 20
SHOWN = 200


async def asked(http: Http, url: str, headers: Mapping[str, str], body: object = None) -> Any:
    """The JSON of a 2xx to a GET, or with a body to a POST. Raises: NoAnswer."""
    return parsed(await answered(http, url, headers, body))


async def answered(http: Http, url: str, headers: Mapping[str, str], body: object = None) -> Answer:
    """Whatever is answered to a GET, or with a body to a POST. Raises: NoAnswer."""
    try:
        if body is None:
            return await http.get(url, dict(headers), read_at_most=READ_AT_MOST)
        said = {**headers, "content-type": "application/json"}
        return await http.post(url, json.dumps(body).encode(), said, read_at_most=READ_AT_MOST)
    except Open as resting:
        raise Resting(str(resting)) from resting
    except (Busy, Unanswered, Blocked, Invalid) as no:
        raise NoAnswer(line(str(no))) from no


def parsed(answer: Answer) -> Any:
    """The JSON of a 2xx. Raises: NoAnswer."""
    if not 200 <= answer.status < 300:
        raise NoAnswer(f"answered {answer.status}: {line(answer.text)}")
    if len(answer.text.encode()) >= READ_AT_MOST:
        raise NoAnswer(f"answered with more than {READ_AT_MOST >> 20} MiB")
    if "\\u0000" in answer.text:
        raise NoAnswer("answered with a NUL, which PostgreSQL cannot keep")
    try:
        return from_json(answer.text)  # refuses half a surrogate pair and what is nested without end
    except ValueError as no:
        raise NoAnswer("answered without JSON") from no


def line(text: str) -> str:
    """What somebody said, short, as one printable line."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text[: 4 * SHOWN]).split())[:SHOWN]


def escaped(value: str) -> str:
    """A value inside the quotes of PromQL or LogQL, of whichever kind: nothing in it ends them."""
    return re.sub(r"[\"'`\\\n]", lambda sign: f"\\x{ord(sign.group()):02x}", value)


def credentials(said: Remote) -> dict[str, str]:
    """The header by which we are known there."""
    if said.bearer_token is not None:
        return {"authorization": f"Bearer {said.bearer_token.get_secret_value()}"}
    if said.username is not None and said.password is not None:
        pair = f"{said.username}:{said.password.get_secret_value()}".encode()
        return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}

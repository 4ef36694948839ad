"""A JSON POST to a provider, and what its answer means for the message."""

import json
from datetime import UTC, datetime, timedelta

from app.channels.base import plain
from app.channels.webhook import BUSY, LATER, SOON, refused
from app.domain.errors import Invalid
from app.domain.notification import Undelivered
from app.net.http import Answer, Blocked, Http, Unanswered
from app.net.slots import Busy

RATE_LIMITED = timedelta(seconds=60)
"""After a 429 that names no delay (chosen: both PagerDuty and Teams count by the minute)."""


def encoded(said: object) -> bytes:
    """JSON in UTF-8, with `?` for what UTF-8 cannot say."""
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"), default=str).encode("utf-8", "replace")


async def post(http: Http, url: str, content: bytes) -> Answer:
    """The provider's 2xx. Raises: Undelivered."""
    try:
        answer = await http.post(url, content, {"content-type": "application/json"})
    except Busy as busy:
        raise Undelivered(str(busy), BUSY) from busy
    except Unanswered as nothing:
        raise Undelivered(plain(str(nothing)), SOON) from nothing
    except Blocked as blocked:
        raise Undelivered(plain(str(blocked)), LATER) from blocked
    except Invalid as never:
        raise Undelivered(plain(str(never))) from never
    if 200 <= answer.status < 300:
        return answer
    if answer.status == 429 and "retry-after" not in answer.headers:
        raise Undelivered("answered 429", RATE_LIMITED)
    raise refused(answer, datetime.now(UTC))

"""A JSON POST to a provider, and what its answer means for the message."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from app.channels.base import plain
from app.domain.errors import Invalid
from app.domain.notification import Unasked, Undelivered
from app.net.breakers import Open
from app.net.http import Answer, Blocked, Http, Unanswered
from app.net.slots import Busy

SOON = timedelta(seconds=2)
BUSY = timedelta(seconds=1)
LATER = timedelta(seconds=30)
LONGEST = timedelta(hours=1)
PASSING = frozenset({408, 425, 429})
JSON = {"content-type": "application/json"}
RATE_LIMITED = timedelta(seconds=60)
"""After a 429 that names no delay (chosen: both PagerDuty and Teams count by the minute)."""


def encoded(said: object) -> bytes:
    """JSON in UTF-8, with `?` for what UTF-8 cannot say."""
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"), default=str).encode("utf-8", "replace")


async def post(
    http: Http, url: str, content: bytes, headers: Mapping[str, str] = JSON, *, rate_limited: timedelta = RATE_LIMITED
) -> Answer:
    """The provider's 2xx. `rate_limited` is the wait after a 429 that names none. Raises: Undelivered."""
    try:
        answer = await http.post(url, content, dict(headers))
    except Open as resting:
        raise Unasked(str(resting), resting.retry_after) from resting
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
    raise refused(answer, datetime.now(UTC), rate_limited)


def refused(answer: Answer, now: datetime, rate_limited: timedelta = RATE_LIMITED) -> Undelivered:
    """What an answer other than 2xx means for the message."""
    text = plain(answer.text)[:200]
    if 300 <= answer.status < 400:
        return Undelivered(f"answered {answer.status}, a redirect, which is not followed: correct the address")
    said = f"answered {answer.status}{f': {text}' if text else ''}"
    if answer.status in PASSING or answer.status >= 500:
        unasked = rate_limited if answer.status == 429 else SOON
        return Undelivered(said, asked_delay(answer.headers.get("retry-after"), now) or unasked)
    return Undelivered(said)


def asked_delay(value: str | None, now: datetime) -> timedelta | None:
    """`Retry-After`, in seconds or as a date (RFC 9110 §10.2.3), bounded to an hour; None when absent or unreadable."""
    if value is None:
        return None
    try:
        secs = float(value) if value.isdecimal() else (parsedate_to_datetime(value) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return timedelta(seconds=min(max(secs, 1), LONGEST.total_seconds()))

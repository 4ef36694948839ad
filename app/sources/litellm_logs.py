"""LiteLLM's `generic_api` callback: what became of each call, counted; not what was asked and answered.

Source: StandardLoggingPayload in litellm/types/utils.py. One row opens no incident: windows over many do.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeGuard

from app.domain.inbound import Sample, Signal
from app.sources.base import pseudonym
from app.sources.text import cut

SOURCE = "litellm"
CALLERS_FAULT = frozenset({400, 413, 422, 429, 499})
"""Bad requests, too many, given up: the provider works. 429 is counted by itself."""
UNKNOWN_CALLER = frozenset({401, 403})
"""Of a provider: its key doesn't work, and no call does. Of LiteLLM itself: somebody showed it a wrong key."""
STOPPED = frozenset({"guardrail_intervened", "guardrail_flagged", "blocked"})
FAILED = "guardrail_failed_to_respond"
NOT_RUN = "not_run"


def is_call(row: object) -> TypeGuard[dict[str, Any]]:
    """Whether it is one row of the log."""
    return isinstance(row, dict) and "model" in row and ("startTime" in row or "call_type" in row)


def samples(row: Mapping[str, Any], received: datetime) -> Iterator[Sample]:
    """What a call adds to each series: errors, refusals by a rate limit, money, guardrails."""
    at = _moment(row, received)
    about = _dict(row.get("metadata"))
    alias = word(about.get("user_api_key_alias"))
    key = {
        "key_alias": alias,
        "key_hash": None if alias else word(about.get("user_api_key_hash")),
        "team": word(about.get("user_api_key_team_alias")),
    }
    model = {
        "provider": word(row.get("custom_llm_provider")),
        "model_group": word(row.get("model_group")) or word(row.get("model")),
    }
    refused = _refused(row)
    yield _sample(Signal.ERRORS, model, at, bad=_failed(row))
    if refused:
        yield _sample(Signal.RATE_LIMITS, {"rate_limit_category": refused, **model, **key}, at, bad=True)
    spent, session = dollars(row.get("response_cost")), word(row.get("session_id"))
    if spent:
        yield _sample(Signal.SPEND, key, at, amount=spent)
        if session:
            yield _sample(Signal.SPEND, {"session_id": session, **key}, at, amount=spent)
    yield from _guarded(row, at)


def _guarded(row: Mapping[str, Any], at: datetime) -> Iterator[Sample]:
    """Each guardrail that ran: whether it answered, whether it stopped the call, and whose calls it stopped."""
    ran = row.get("guardrail_information")
    end_user = word(row.get("end_user"))
    for one in map(_dict, ran if isinstance(ran, list) else [ran]):
        status = word(one.get("guardrail_status"))
        if status is None or status == NOT_RUN:
            continue
        subject = {"guardrail_name": word(one.get("guardrail_name")) or "unnamed"}
        yield _sample(
            Signal.GUARDRAIL_FAILURES, {**subject, "guardrail_provider": word(one.get("guardrail_provider"))}, at,
            bad=status == FAILED,
        )  # fmt: skip
        if status == FAILED:
            continue
        stopped = status in STOPPED
        yield _sample(Signal.GUARDRAILS, subject, at, bad=stopped)
        if stopped and end_user:
            yield _sample(Signal.GUARDRAILS, {**subject, "end_user": pseudonym(end_user)}, at, bad=True)


def _sample(
    signal: Signal, subject: Mapping[str, str | None], at: datetime, *, bad: bool = False, amount: float = 0.0
) -> Sample:
    said = {name: value for name, value in subject.items() if value}
    return Sample(signal=signal, source=SOURCE, subject=said, at=at, bad=int(bad), amount=amount)


def _failed(row: Mapping[str, Any]) -> bool:
    """Whether the provider failed; where the code is none, it did."""
    if row.get("status") != "failure":
        return False
    why = _dict(row.get("error_information"))
    code = _number(why.get("error_code"))
    if _refused(row) or code in CALLERS_FAULT:
        return False
    return code not in UNKNOWN_CALLER or bool(why.get("llm_provider"))


def _refused(row: Mapping[str, Any]) -> str | None:
    """Whose limit refused it (`error_rate_limit_category`), where one did."""
    why = _dict(row.get("error_information"))
    category = word(why.get("error_rate_limit_category"))
    limited = _number(why.get("error_code")) == 429 or why.get("error_class") == "RateLimitError"
    return (category or ("unknown" if limited else None)) if row.get("status") == "failure" else None


def _moment(row: Mapping[str, Any], received: datetime) -> datetime:
    """When the call ended, in seconds since 1970; a clock that is ahead, or no number, is when it came."""
    for field in ("endTime", "startTime"):
        seconds = _number(row.get(field))
        if seconds is not None and 0 < seconds <= received.timestamp():
            return datetime.fromtimestamp(seconds, UTC)
    return received


def word(value: object) -> str | None:
    """A name, cut to what fits; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    return cut(str(value).strip(), 255) or None


def dollars(value: object) -> float:
    """An amount that isn't negative; 0 for what is none."""
    return max(0.0, _number(value) or 0.0)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}

"""What trouble with Sentinel, Shield, Edge-Agent or Governance means for a step."""

from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar

from app.actions.base import Failed
from app.integrations.trouble import Trouble

T = TypeVar("T")
SOON_SECS = 2.0


async def asked(answer: Awaitable[T], who: str) -> T:
    """What was asked for. Raises: Failed."""
    try:
        return await answer
    except Trouble as no:
        delay = timedelta(seconds=no.retry_after_secs or SOON_SECS) if no.passing else None
        raise Failed(f"{who}: {no.message}", delay, doubtful=no.doubtful) from no

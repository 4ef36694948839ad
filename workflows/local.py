"""Short steps on PostgreSQL: local activities, tried until it answers."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from temporalio import workflow

from app.domain.record import Record
from workflows import options

Ask = TypeVar("Ask", bound=Record)
Answer = TypeVar("Answer")


async def local(activity: Callable[[Any, Ask], Awaitable[Answer]], ask: Ask) -> Answer:
    """The activity's answer. Never fails: without it the incident cannot go on."""
    return await workflow.execute_local_activity_method(
        activity, ask, start_to_close_timeout=options.STORE_TIMEOUT, retry_policy=options.STORE_RETRY
    )

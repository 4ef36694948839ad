"""Looking around an incident in other people's systems."""

from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.enriching import Enrich, Enriched, Enriching
from workflows import names, options


async def enriched(ask: Enrich) -> Enriched:
    """What was found. Never fails: nothing, where nobody could look in time."""
    try:
        return await workflow.execute_activity_method(
            Enriching.enrich, ask, task_queue=names.ENRICH, start_to_close_timeout=options.ENRICH_TIMEOUT,
            schedule_to_close_timeout=options.ENRICH_GIVE_UP, retry_policy=options.ENRICH_RETRY,
        )  # fmt: skip
    except ActivityError:
        return Enriched()

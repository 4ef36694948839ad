"""Somebody else's system is asked about a new incident: the first message has its answer, but no page waits for it."""

import json
import time
import uuid
from collections.abc import AsyncIterator

import pytest

from app.domain.timeline import EventType
from app.surroundings import Enrichment, Prometheus
from tests.support.receivers import SILENCE, HttpReceiver, Reply, http_receiver
from tests.support.world import World, world_of_its_own

WAIT_SECS = 1
HALF = {"metric": {}, "values": [[0, "0.5"], [60, "0.5"]]}
ANSWER = Reply(body=json.dumps({"status": "success", "data": {"result": [HALF]}}).encode())


@pytest.fixture(scope="module")
async def prometheus() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as made:
        yield made


@pytest.fixture(scope="module")
async def world(database_url: str, prometheus: HttpReceiver) -> AsyncIterator[World]:
    """A world that knows a Prometheus."""
    said = Prometheus(url=f"http://127.0.0.1:{prometheus.port}", queries={"load": "load"})
    around = Enrichment(prometheus=said, page_wait_secs=WAIT_SECS, timeout_secs=4, cache_ttl_secs=0.01)
    async with world_of_its_own(database_url, "alice", around=around) as made:
        yield made


async def test_what_it_answers_is_in_the_first_message(world: World, prometheus: HttpReceiver) -> None:
    prometheus.usually = ANSWER
    story = await world.opens(["alice"], title=f"quick {uuid.uuid4()}")
    await story.eventually(EventType.NOTIFICATION_SENT)
    [page] = await story.messages()
    assert "load 0.5" in json.dumps(page.incident["enrichment"])


async def test_no_page_waits_for_one_that_does_not_answer(world: World, prometheus: HttpReceiver) -> None:
    prometheus.usually = SILENCE
    began = time.monotonic()
    story = await world.opens(["alice"], title=f"silent {uuid.uuid4()}")
    await story.eventually(EventType.NOTIFICATION_SENT)
    assert WAIT_SECS * 0.9 < time.monotonic() - began < 2.9, "it waited as long as it may, and not for the answer"
    assert EventType.ENRICHMENT_ADDED not in await story.events()
    await story.eventually(EventType.ENRICHMENT_ADDED)
    added = next(event for event in await story.timeline() if event.event_type is EventType.ENRICHMENT_ADDED)
    assert added.data["missed"] == ["prometheus"]
    assert await story.told() == ["alice"]

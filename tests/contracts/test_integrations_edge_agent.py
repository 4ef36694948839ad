"""Edge-Agent in both dialects: streams, and the queue that survives us."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from app.actions.base import Failed
from app.integrations.edge_agent import AT_ONCE, LEASE, Inference, Inferred, Priority, QueueFull
from app.integrations.trouble import NotOffered, Trouble
from app.net.http import LOOPBACK, Http
from app.store.database import Pool
from app.store.edge import EdgeQueue
from tests.support.acting import action, at, ran, tools
from tests.support.receivers import Reply, Request
from tests.support.siblings import NOW, FakeHttp, FakeRpc, four, rpc
from tests.support.vendor import Answered, up


def wants(key: str, priority: Priority = Priority.MEDIUM, **more: object) -> Inference:
    return Inference.model_validate(
        {"request_id": key, "model": "tiny", "input": f"do {key}", "priority": priority, "at": NOW} | more
    )


@pytest.fixture
async def queue(connections: Pool) -> EdgeQueue:
    await connections.execute("DELETE FROM edge_queue")
    return EdgeQueue(connections)


@pytest.fixture
async def agent() -> AsyncIterator[FakeRpc]:
    async with rpc() as made:
        yield made


@pytest.fixture
async def away() -> FakeRpc:
    """An agent that was there a moment ago."""
    async with rpc() as made:
        return made


def spoken(fake: FakeRpc, **more: object) -> dict[str, object]:
    return {"endpoint": fake.url, "dialect": "seed", "attempts": 1, "timeout_secs": 5, **more}


async def test_the_first_versions_questions(agent: FakeRpc, queue: EdgeQueue) -> None:
    async with four(queue.pool, llm_edge_agent=spoken(agent, agent_id="edge-7")) as made:
        assert made.edge_agent is not None
        done = await made.edge_agent.process_request(wants("a"))
        assert (done.status, done.result) == ("COMPLETED", "DO A")
        batch = await made.edge_agent.submit_batch("b", [wants("b1"), wants("b2", Priority.HIGH)], NOW)
        assert (batch.status, batch.total) == ("QUEUED", 2)
        usage = await made.edge_agent.resource_usage()
        assert (usage.agent_id, usage.now.cpu_percent) == ("edge-7", 12.5)
        await made.edge_agent.health()
    assert agent.calls == ["stream", "batch", "usage", "usage"]
    assert await queue.waiting() == []


async def test_a_stream_goes_both_ways_at_once(agent: FakeRpc, queue: EdgeQueue) -> None:
    """The second request is made of the first one's answer: neither side waits for the other to end."""
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def requests() -> AsyncIterator[Inference]:
        yield wants("first")
        yield wants("second", input=f"then {await heard.get()}")

    async with four(queue.pool, llm_edge_agent=spoken(agent)) as made:
        assert made.edge_agent is not None
        answers: list[Inferred] = []
        async for answer in made.edge_agent.stream(requests()):
            answers.append(answer)
            heard.put_nowait(answer.result)
        assert [one.result for one in answers] == ["DO FIRST", "THEN DO FIRST"]

        async def nothing() -> AsyncIterator[Inference]:
            for _ in ():
                yield wants("never")

        assert [one async for one in made.edge_agent.stream(nothing())] == []


@pytest.mark.parametrize(
    ("ill", "said"),
    [
        ({"silent": True}, "no answer"),
        ({"silent_after": 1}, "2 requests have no answer for"),
        # Told while it is still written to, gRPC says INTERNAL, which is as passing and as doubtful.
        ({"ends_after": 1}, "ended too early|INTERNAL: Internal error from Core"),
        ({"status": "WHATEVER"}, "makes no sense"),
        ({"fails": [grpc.StatusCode.UNAVAILABLE]}, "UNAVAILABLE"),
    ],
)
async def test_a_stream_that_half_works_ends_in_trouble(
    agent: FakeRpc, queue: EdgeQueue, ill: dict[str, object], said: str
) -> None:
    for name, value in ill.items():
        setattr(agent, name, value)

    async def requests() -> AsyncIterator[Inference]:
        for key in "abc":
            yield wants(key)

    async with four(queue.pool, llm_edge_agent=spoken(agent, timeout_secs=0.8)) as made:
        assert made.edge_agent is not None
        with pytest.raises(Trouble, match=said):
            async for _ in made.edge_agent.stream(requests()):
                pass


async def test_what_an_agent_that_is_away_cannot_take_waits_for_it(away: FakeRpc, queue: EdgeQueue) -> None:
    async with four(queue.pool, llm_edge_agent=spoken(away, queue_max=4)) as made:
        assert made.edge_agent is not None
        for key, priority in (("low", 1), ("high", 3), ("urgent", 4), ("high too", 3)):
            queued = await made.edge_agent.process_request(wants(key, Priority(priority)))
            assert queued.status == "QUEUED"
        again = await made.edge_agent.process_request(wants("low", Priority.LOW))
        assert again.status == "QUEUED"  # it is there already, so it takes no place
        with pytest.raises(QueueFull, match="4 requests wait already"):
            await made.edge_agent.process_request(wants("one more"))
        with pytest.raises(Trouble, match="UNAVAILABLE"):
            await made.edge_agent.process_request(wants("now or never", may_wait=False))
        with pytest.raises(Trouble):
            await made.edge_agent.drain()
        assert await queue.waiting() == ["urgent", "high", "high too", "low"]
        async with rpc(away):
            assert await made.edge_agent.drain() == 4
    assert [one.request_id for one in away.inferred] == ["urgent", "high", "high too", "low"]
    assert await queue.waiting() == []


async def test_the_bound_holds_for_many_at_once(queue: EdgeQueue) -> None:
    kept = await asyncio.gather(*(queue.put(wants(f"k{n}"), 5, NOW) for n in range(20)))
    assert sum(kept) == 5
    assert len(await queue.waiting()) == 5


async def test_who_dies_between_sending_and_deleting_leaves_it_to_be_sent_again_under_its_key(
    agent: FakeRpc, queue: EdgeQueue
) -> None:
    now = datetime.now(UTC)
    await queue.put(wants("once"), 10, NOW)
    [sent] = await queue.take(10, now - LEASE, LEASE)  # sent two minutes ago, and then the process was gone
    await queue.put(wants("just now"), 10, NOW)
    assert [one.request_id for one in await queue.take(10, now - LEASE / 2, LEASE)] == ["just now"]
    async with four(queue.pool, llm_edge_agent=spoken(agent)) as made:
        assert made.edge_agent is not None
        assert await made.edge_agent.drain() == 1
    assert [(one.request_id, one.input_data) for one in agent.inferred] == [(sent.request_id, sent.input)]
    assert await queue.waiting() == ["just now"]  # somebody may be at it


async def test_two_who_drain_send_nothing_twice(agent: FakeRpc, queue: EdgeQueue) -> None:
    for n in range(2 * AT_ONCE):
        await queue.put(wants(f"k{n}"), 1000, NOW)
    async with (
        four(queue.pool, llm_edge_agent=spoken(agent)) as one,
        four(queue.pool, llm_edge_agent=spoken(agent)) as other,
    ):
        assert one.edge_agent is not None
        assert other.edge_agent is not None
        assert sum(await asyncio.gather(one.edge_agent.drain(), other.edge_agent.drain())) == 2 * AT_ONCE
    keys = [request.request_id for request in agent.inferred]
    assert len(keys) == len(set(keys)) == 2 * AT_ONCE


async def test_what_was_answered_before_a_stream_breaks_is_not_sent_again(agent: FakeRpc, queue: EdgeQueue) -> None:
    for key in "abc":
        await queue.put(wants(key), 10, NOW)
    agent.ends_after = 1
    async with four(queue.pool, llm_edge_agent=spoken(agent)) as made:
        assert made.edge_agent is not None
        with pytest.raises(Trouble):
            await made.edge_agent.drain()
        assert await queue.waiting() == ["b", "c"]
        agent.ends_after = None
        assert await made.edge_agent.drain() == 2


async def test_a_request_that_the_agent_cannot_do_is_tried_ever_more_rarely_and_given_up(
    agent: FakeRpc, queue: EdgeQueue
) -> None:
    await queue.put(wants("poison", Priority.CRITICAL), 10, NOW)
    agent.status = "FAILED"
    async with four(queue.pool, llm_edge_agent=spoken(agent)) as made:
        assert made.edge_agent is not None
        assert await made.edge_agent.drain() == 0
        agent.status = "COMPLETED"
        await queue.put(wants("fine", Priority.LOW), 10, NOW)
        assert await made.edge_agent.drain() == 1  # it holds nobody up
        assert await queue.waiting() == ["poison"]
    now = datetime.now(UTC)
    assert await queue.take(1, now + timedelta(seconds=1), LEASE) == []
    for attempt in range(2, 4):
        assert await queue.take(1, now + timedelta(hours=attempt), LEASE)
        assert await queue.failed("poison", now + timedelta(hours=attempt), 3) == (attempt < 3)
    assert await queue.waiting() == []


async def test_what_a_slow_agent_has_not_come_to_yet_stays_with_who_sends_it(queue: EdgeQueue) -> None:
    """However long a batch takes: each answer says that whoever took it lives."""
    held: list[tuple[Sequence[str], datetime]] = []

    class Watched(EdgeQueue):
        async def hold(self, request_ids: Sequence[str], until: datetime) -> None:
            held.append((request_ids, until))
            await super().hold(request_ids, until)
            assert await self.take(9, until - timedelta(seconds=1), LEASE) == []

    for key in "abc":
        await queue.put(wants(key), 10, NOW)
    said = {"timeout_secs": 60}
    async with up(FakeHttp()) as other, four(queue.pool, llm_edge_agent={"endpoint": other.base, **said}) as made:
        assert made.edge_agent is not None
        assert made.edge_agent.lease == timedelta(minutes=4)
        assert await replace(made.edge_agent, queue=Watched(queue.pool)).drain() == 3
    assert [keys for keys, _ in held] == [["b", "c"], ["c"], []]
    assert held[0][1] < held[1][1]


async def test_a_request_that_a_well_agent_never_answers_holds_nobody_up(queue: EdgeQueue) -> None:
    class Picky(FakeHttp):
        def does(self, request: Request, path: str, query: dict[str, str]) -> Answered:
            return (500, {}) if b"poison" in request.body else super().does(request, path, query)

    await queue.put(wants("poison", Priority.CRITICAL), 10, NOW)
    await queue.put(wants("fine", Priority.LOW), 10, NOW)
    async with up(Picky()) as other, four(queue.pool, llm_edge_agent={"endpoint": other.base, "attempts": 1}) as made:
        assert made.edge_agent is not None
        with pytest.raises(Trouble, match="500"):
            await made.edge_agent.drain()
        assert await made.edge_agent.drain() == 1
        assert await queue.waiting() == ["poison"]
    for attempt in range(40):  # the agent may be at fault after all: it is never given up
        assert await queue.take(1, NOW + timedelta(days=1, hours=attempt), LEASE)
        assert await queue.failed("poison", NOW + timedelta(days=1, hours=attempt), 2**31 - 1)


async def test_it_goes_out_by_itself_once_the_agent_is_back(away: FakeRpc, queue: EdgeQueue) -> None:
    await queue.put(wants("later"), 10, NOW)
    async with four(queue.pool, llm_edge_agent=spoken(away)) as made:
        assert made.edge_agent is not None
        draining = asyncio.create_task(made.edge_agent.keep_draining(0.05))
        async with rpc(away):
            async with asyncio.timeout(10):
                await away.answered.wait()
        draining.cancel()
        with suppress(asyncio.CancelledError):
            await draining
    assert [one.request_id for one in away.inferred] == ["later"]


async def test_a_playbook_sends_what_waits_and_asks_what_was_done(agent: FakeRpc, queue: EdgeQueue) -> None:
    for key in ("done before", "waits"):
        await queue.put(wants(key), 10, NOW)
    agent.synced = ["done before"]
    async with four(queue.pool, llm_edge_agent=spoken(agent)) as made, Http(LOOPBACK) as http:
        step = action("edge_agent_sync", replace(tools(http), four=made))
        assert await step.check(step.Parameters(), at()) == "send 2 requests that wait to the edge agent"
        done = await ran(step, at())
        assert done.summary == "1 requests sent, 1 were done already, 0 still wait"
    assert [one.request_id for one in agent.inferred] == ["waits"]


async def test_a_playbook_infers_now_or_later(away: FakeRpc, queue: EdgeQueue) -> None:
    async with four(queue.pool, llm_edge_agent=spoken(away)) as made, Http(LOOPBACK) as http:
        step = action("edge_agent_infer", replace(tools(http), four=made))
        said = {"model": "tiny", "input": "why? password=hunter2hunter2", "priority": 4}
        assert "once it is back" in await step.check(step.Parameters.model_validate(said), at())
        with pytest.raises(Failed):
            await step.check(step.Parameters.model_validate(said | {"may_wait": False}), at())
        queued = await ran(step, at(), **said)
        assert queued.output["status"] == "QUEUED"
        assert queued.summary.startswith("tiny: queued, as it is away: UNAVAILABLE")
        await ran(step, at(), **said)  # the same step once more
        assert await queue.waiting() == [at().key]
        with pytest.raises(Failed):
            await ran(step, at(), **said, may_wait=False)
        async with rpc(away):
            assert (await ran(step, at(key="another"), **said)).output["result"] == "WHY? PASSWORD=***"
            assert await made.edge_agent.drain() == 1  # type: ignore[union-attr]
    assert [(one.request_id, one.priority) for one in away.inferred] == [("another", 4), (at().key, 4)]


async def test_as_it_is_published(queue: EdgeQueue) -> None:
    async with up(FakeHttp()) as other, four(queue.pool, llm_edge_agent={"endpoint": other.base}) as made:
        assert made.edge_agent is not None
        done = await made.edge_agent.process_request(wants("a", parameters={"temperature": "0.2", "max_tokens": "5"}))
        assert done.result == "re: do a"
        assert other.items[-1].headers["idempotency-key"] == "a"
        assert other.bodies[-1] == {
            "model": "tiny", "messages": [{"role": "user", "content": "do a"}], "temperature": 0.2, "max_tokens": 5,
        }  # fmt: skip
        await made.edge_agent.health()
        for asked in (made.edge_agent.sync(), made.edge_agent.submit_batch("b", [], NOW)):
            with pytest.raises(NotOffered):
                await asked
        other.replies.extend([Reply(503)] * 3)
        assert (await made.edge_agent.process_request(wants("b"))).status == "QUEUED"
        other.replies.append(Reply(200, body=b'{"choices": []}'))
        with pytest.raises(Trouble, match="makes no sense"):
            await made.edge_agent.process_request(wants("c"))
        assert await made.edge_agent.drain() == 1
        assert other.items[-1].headers["idempotency-key"] == "b"

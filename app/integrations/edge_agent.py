"""LLM Edge-Agent, which infers where the data is. What it can't take now waits in a queue, and survives us.

Source: `seed` is proto/integrations.proto, a stream in both directions; `real` is LLM-Dev-Ops/edge-agent, a proxy that
speaks OpenAI's Chat Completions and knows neither batches nor synchronisation.
"""

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import grpc
from pydantic import AliasPath, Field, StringConstraints

from app.domain.record import Record
from app.integrations.pb import integrations_pb2 as pb
from app.integrations.rpc import Rpc
from app.integrations.shield import stamp
from app.integrations.transport import Rest, understood
from app.integrations.trouble import NotOffered, Trouble
from app.redaction import ALL_OUT, Outgoing

if TYPE_CHECKING:
    from app.integrations.pb.integrations_pb2_grpc import EdgeAgentServiceAsyncStub

AT_ONCE = 50
"""Waiting requests that are sent together."""
LEASE = timedelta(minutes=2)
"""How long a request that is being sent is left alone by others, at least; after that, whoever took it and gave no

sign since is thought dead."""
NEVER = 2**31 - 1
FAILS_MOST = 10
"""An agent that failed a request so often is not asked again."""
INPUT_MAX = 65_536
log = logging.getLogger(__name__)


class Priority(IntEnum):
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class Inference(Record):
    """`request_id` is its key: the same twice is one request. `may_wait`: it may be queued while the agent is away."""

    request_id: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    model: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    input: Annotated[str, StringConstraints(max_length=INPUT_MAX)]
    parameters: dict[str, str] = {}
    priority: Priority = Priority.MEDIUM
    may_wait: bool = True
    at: datetime


class Usage(Record):
    """`cpu_percent` and `gpu_percent` are 0 to 100."""

    cpu_percent: float = 0
    memory_mb: float = 0
    gpu_percent: float = 0
    disk_io_mb_per_sec: float = 0
    active_requests: int = 0
    queued_requests: int = 0


class Inferred(Record):
    """What came of a request. QUEUED: it waits, here or at the agent."""

    request_id: str
    status: Literal["COMPLETED", "QUEUED", "FAILED"]
    result: str = ""
    confidence: float | None = None
    metadata: dict[str, str] = {}
    usage: Usage | None = None


class Batch(Record):
    batch_id: str
    status: str
    total: int
    queued: int


class Synced(Record):
    """Which of the requests asked about the agent has done, and which it could not do."""

    sync_id: str
    synced: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class Resources(Record):
    agent_id: str
    now: Usage
    history: tuple[Usage, ...] = ()


class Completion(Record):
    """The part of OpenAI's answer that counts."""

    text: str = Field(validation_alias=AliasPath("choices", 0, "message", "content"))


class QueueFull(Trouble):
    """As many requests wait as may."""


class Queue(Protocol):
    """Requests that wait for the agent, in PostgreSQL."""

    async def put(self, one: Inference, most: int, at: datetime) -> bool:
        """Keeps it, once; False: `most` wait already."""
        ...

    async def take(self, most: int, at: datetime, lease: timedelta) -> list[Inference]:
        """The most urgent ones, the oldest first, that nobody else is sending: ours until `at + lease`."""
        ...

    async def done(self, request_id: str) -> None:
        """The agent has it."""
        ...

    async def failed(self, request_id: str, at: datetime, most: int) -> bool:
        """It is tried again later, each time later still; False: it failed `most` times, and is gone."""
        ...

    async def hold(self, request_ids: Sequence[str], until: datetime) -> None:
        """They are still being sent: ours until then."""
        ...

    async def give_back(self, request_ids: Sequence[str]) -> None:
        """They were not sent, or nobody knows: others may send them at once."""
        ...

    async def waiting(self) -> list[str]:
        """The keys of all that wait."""
        ...


@dataclass(frozen=True)
class EdgeAgent:
    """`rpc` is the first version's dialect, `rest` the published one: there is one of them.

    What is inferred from waits and goes there `clean`: without personal data and keys.
    """

    agent_id: str
    queue: Queue
    queue_max: int = 1000
    rest: Rest | None = None
    rpc: "Rpc[EdgeAgentServiceAsyncStub] | None" = None
    clean: Outgoing = ALL_OUT

    async def process_request(self, one: Inference) -> Inferred:
        """What the agent makes of it, or QUEUED where it is away and the request may wait. Raises: Trouble, QueueFull.

        A request that waits is durable. What the agent then makes of it is not kept: queue what has its effect there.
        """
        one = self._cleaned(one)
        try:
            return await self._infer(one)
        except Trouble as away:
            if not away.passing or not one.may_wait:
                raise
            if not await self.queue.put(one, self.queue_max, datetime.now(UTC)):
                raise QueueFull(f"{away.message}, and {self.queue_max} requests wait already", passing=True) from away
            return Inferred(request_id=one.request_id, status="QUEUED", metadata={"why": away.message})

    async def stream(self, requests: AsyncIterable[Inference]) -> AsyncIterator[Inferred]:
        """An answer per request, as they come, while further requests are sent: once the first one was answered.

        Nothing is queued here. Raises: Trouble, also when the agent owes an answer and says nothing for `timeout_secs`.
        """
        rpc = self._rpc("takes no streams")
        source = (self._cleaned(one) async for one in requests)
        try:
            first = await anext(source)
        except StopAsyncIteration:
            return
        talk = Talk(rpc, first, source)
        try:
            yield await rpc.line.ask(talk.opened, attempts=1)
            while (answer := await talk.next()) is not None:
                yield answer
        finally:
            talk.close()

    async def submit_batch(self, batch_id: str, requests: Sequence[Inference], deadline: datetime) -> Batch:
        """Hands requests over to be done by `deadline`. The same `batch_id` twice is one batch. Raises: Trouble."""
        priority = max((one.priority for one in requests), default=Priority.MEDIUM)
        request = pb.BatchRequest(
            batch_id=batch_id,
            requests=[_sent(self._cleaned(one)) for one in requests],
            priority=priority,
            deadline=stamp(deadline),
        )
        return await self._rpc("takes no batches").ask(
            lambda stub: stub.SubmitBatch, request,
            lambda said: Batch(
                batch_id=said.batch_id or batch_id, status=said.status, total=said.total_requests,
                queued=said.queued_requests,
            ),
        )  # fmt: skip

    async def sync(self, last_sync: datetime | None = None) -> Synced:
        """Asks what became of the requests that wait here: those the agent has done wait no longer. Raises: Trouble."""
        request = pb.SyncRequest(agent_id=self.agent_id, pending_request_ids=await self.queue.waiting())
        if last_sync is not None:
            request.last_sync.CopyFrom(stamp(last_sync))
        found = await self._rpc("synchronises nothing").ask(
            lambda stub: stub.SyncWithHub, request,
            lambda said: Synced(
                sync_id=said.sync_id, synced=tuple(said.synced_requests), failed=tuple(said.failed_requests)
            ),
        )  # fmt: skip
        for request_id in found.synced:
            await self.queue.done(request_id)
        return found

    async def resource_usage(self) -> Resources:
        """How busy the agent is. Raises: Trouble."""
        request = pb.ResourceUsageRequest(agent_id=self.agent_id)
        return await self._rpc("tells no resources").ask(lambda stub: stub.GetResourceUsage, request, _resources)

    async def health(self) -> None:
        """Raises: Trouble when it isn't well."""
        if self.rest is not None:
            await self.rest.ask(lambda said: said, "GET", "/health")
        else:
            await self.resource_usage()

    async def drain(self) -> int:
        """Sends what waits, until nothing does; how many the agent has taken. Raises: Trouble when it is away.

        Each request leaves the queue when the agent has answered it. Who dies in between leaves it there, and it is
        sent again, under the same `request_id`. What a well agent gives no answer to waits longer than the others.
        """
        taken = 0
        while batch := await self.queue.take(AT_ONCE, datetime.now(UTC), self.lease):
            owed = {one.request_id for one in batch}
            try:
                async for answer in self._inferred(batch):
                    owed.discard(answer.request_id)
                    taken += await self._settled(answer)
                    await self.queue.hold(sorted(owed), datetime.now(UTC) + self.lease)
            except Trouble:
                if len(owed) == len(batch) and await self._well():
                    owed.discard(batch[0].request_id)
                    await self.queue.failed(batch[0].request_id, datetime.now(UTC), NEVER)
                raise
            finally:
                await self.queue.give_back(sorted(owed))
            if owed:
                raise Trouble(f"{len(owed)} of {len(batch)} requests were not answered", passing=True)
        return taken

    async def keep_draining(self, every_secs: float) -> None:
        """Drains the queue, again and again, until cancelled. Whatever goes wrong, it goes on."""
        while True:
            try:
                if taken := await self.drain():
                    log.info("the edge agent has taken %d requests that waited", taken)
            except Trouble as no:
                log.debug("the edge agent takes nothing: %s", no.message)
            except Exception:  # PostgreSQL may be away for a while
                log.warning("requests that wait for the edge agent were not sent", exc_info=True)
            await asyncio.sleep(every_secs)

    @property
    def lease(self) -> timedelta:
        """Longer than the agent may take for one answer, and for saying that it is well."""
        asked = self.rest or self.rpc
        return max(LEASE, timedelta(seconds=4 * asked.line.said.timeout_secs)) if asked else LEASE

    async def _well(self) -> bool:
        try:
            await self.health()
        except Trouble:
            return False
        return True

    async def _settled(self, answer: Inferred) -> bool:
        if answer.status != "FAILED":
            await self.queue.done(answer.request_id)
            return True
        if not await self.queue.failed(answer.request_id, datetime.now(UTC), FAILS_MOST):
            log.warning("the edge agent failed request %s %d times: given up", answer.request_id, FAILS_MOST)
        return False

    async def _infer(self, one: Inference) -> Inferred:
        if self.rest is not None:
            return await self._completed(self.rest, one)
        rpc = self._rpc("")

        async def once() -> Inferred:
            talk = Talk(rpc, one)
            try:
                return await talk.opened()
            finally:
                talk.close()

        return await rpc.line.ask(once)

    async def _inferred(self, batch: Sequence[Inference]) -> AsyncIterator[Inferred]:
        if self.rest is None:
            async for answer in self.stream(_each(batch)):
                yield answer
            return
        for one in batch:
            try:
                yield await self._completed(self.rest, one)
            except Trouble as no:
                if no.passing:
                    raise
                yield Inferred(request_id=one.request_id, status="FAILED", metadata={"why": no.message})

    def _cleaned(self, one: Inference) -> Inference:
        said = self.clean.text(one.input)[:INPUT_MAX]
        return one.model_copy(update={"input": said, "parameters": self.clean.texts(one.parameters)})

    async def _completed(self, rest: Rest, one: Inference) -> Inferred:
        body = {"model": one.model, "messages": [{"role": "user", "content": one.input}], **_numbers(one.parameters)}
        found = await rest.ask(
            lambda said: understood(Completion, said), "POST", "/v1/chat/completions", body, key=one.request_id
        )
        return Inferred(request_id=one.request_id, status="COMPLETED", result=found.text)

    def _rpc(self, lacks: str) -> "Rpc[EdgeAgentServiceAsyncStub]":
        if self.rpc is None:
            raise NotOffered(f"Edge-Agent's published API {lacks}")
        return self.rpc


class Talk:
    """One stream: `first` goes out, and once it is answered whatever `more` gives, as it comes.

    Where a server refuses a stream that is being written to, gRPC may tell INTERNAL instead of its reason.
    """

    def __init__(
        self, rpc: "Rpc[EdgeAgentServiceAsyncStub]", first: Inference, more: AsyncIterator[Inference] | None = None
    ) -> None:
        self.rpc, self.first, self.more = rpc, first, more
        self.owed: set[str] = set()
        self.all_sent = more is None
        self.open = asyncio.Event()
        self.call: Any = None
        self.shown: dict[str, str] = {}

    async def opened(self) -> Inferred:
        """The first answer. Raises: Trouble, TimeoutError."""
        self.shown = await self.rpc.identity.headers()
        service = await self.rpc.service()
        self.call = service.StreamInference(self._requests(), metadata=tuple(self.shown.items()))
        answer = await self.next()
        if answer is None:
            raise Trouble("the stream ended without an answer", passing=True, doubtful=True, ill=True)
        self.open.set()
        return answer

    async def next(self) -> Inferred | None:
        """The next answer; None when all were given and no more requests come. Raises: Trouble."""
        reading = asyncio.ensure_future(self.call.read())
        try:
            while not reading.done():
                owed, secs = len(self.owed), self.rpc.line.said.timeout_secs
                await asyncio.wait({reading}, timeout=secs)
                if not reading.done() and owed and len(self.owed) >= owed:
                    raise Trouble(
                        f"{owed} requests have no answer for {secs:g} s", passing=True, doubtful=True, ill=True
                    )
            said = reading.result()
        except grpc.aio.AioRpcError as failed:
            raise self.rpc.trouble(failed, self.shown) from failed
        finally:
            reading.cancel()
        if said is grpc.aio.EOF:
            if self.owed or not self.all_sent:
                raise Trouble("the stream ended too early", passing=True, doubtful=True, ill=True)
            return None
        answer = _answered(said)
        self.owed.discard(answer.request_id)
        return answer

    def close(self) -> None:
        if self.call is not None:
            self.call.cancel()

    async def _requests(self) -> AsyncIterator[pb.InferenceRequest]:
        self.owed.add(self.first.request_id)
        yield _sent(self.first)
        if self.more is not None:
            await self.open.wait()
            async for one in self.more:
                self.owed.add(one.request_id)
                yield _sent(one)
        self.all_sent = True


async def _each(requests: Iterable[Inference]) -> AsyncIterator[Inference]:
    for one in requests:
        yield one


def _sent(one: Inference) -> pb.InferenceRequest:
    return pb.InferenceRequest(
        request_id=one.request_id, model_id=one.model, input_data=one.input, parameters=one.parameters,
        priority=one.priority, allow_offline_queue=one.may_wait, timestamp=stamp(one.at),
    )  # fmt: skip


def _answered(said: pb.InferenceResponse) -> Inferred:
    usage = _usage(said.resource_usage) if said.HasField("resource_usage") else None
    return understood(Inferred, {
        "request_id": said.request_id, "status": said.status, "result": said.result, "confidence": said.confidence,
        "metadata": dict(said.metadata), "usage": usage,
    })  # fmt: skip


def _usage(said: pb.ResourceSnapshot) -> Usage:
    return Usage.model_validate({name: getattr(said, name) for name in Usage.model_fields})


def _resources(said: pb.ResourceUsageResponse) -> Resources:
    if not said.HasField("current_usage"):
        raise Trouble("answered without current_usage", ill=True)
    history = tuple(_usage(one) for one in said.history)
    return Resources(agent_id=said.agent_id, now=_usage(said.current_usage), history=history)


def _numbers(parameters: dict[str, str]) -> dict[str, object]:
    """Parameters as JSON has them: what is written as a number is one."""
    made: dict[str, object] = dict(parameters)
    for name, text in parameters.items():
        with suppress(ValueError):
            made[name] = int(text) if text.lstrip("-").isdecimal() else float(text)
    return made

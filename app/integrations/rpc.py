"""Questions over gRPC, one channel for all of them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status

from app.domain.errors import Invalid
from app.integrations.identity import Identity, secrets
from app.integrations.transport import Line
from app.integrations.trouble import Trouble, line
from app.net import grpc as net
from app.net.http import Blocked, Http, Unanswered

S = TypeVar("S")
T = TypeVar("T")
Code = grpc.StatusCode
PASSING = frozenset({
    Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED, Code.ABORTED, Code.INTERNAL, Code.UNKNOWN,
})  # fmt: skip
"""What HTTP calls 429 and 5xx: a handler that fails is UNKNOWN."""
NOT_ILL = frozenset({Code.RESOURCE_EXHAUSTED, Code.ABORTED})


@dataclass
class Rpc(Generic[S]):
    """`stub` makes the service's methods of a channel. Closed with `close()`."""

    line: Line
    http: Http
    identity: Identity
    stub: Callable[[grpc.aio.Channel], S]
    channel: grpc.aio.Channel | None = None
    leaving: set[asyncio.Task[None]] = field(default_factory=set)

    async def ask(self, method: Callable[[S], Callable[..., Any]], request: object, read: Callable[[Any], T]) -> T:
        """What `read` makes of the answer of one of the stub's methods. Raises: Trouble."""

        async def once() -> T:
            shown = await self.identity.headers()
            call = method(await self.service())
            try:
                return read(await call(request, metadata=tuple(shown.items()), timeout=self.line.said.timeout_secs))
            except grpc.aio.AioRpcError as failed:
                raise self.trouble(failed, shown) from failed

        return await self.line.ask(once)

    async def connected(self) -> None:
        """Raises: Trouble when nobody can be connected to."""

        async def once() -> None:
            await self.service()
            if self.channel is not None:
                await self.channel.channel_ready()

        await self.line.ask(once, attempts=1)

    async def service(self) -> S:
        """The stub on a channel to where the name leads now, or led when it last worked. Raises: Trouble."""
        if self.channel is None:
            said = self.line.said
            identity = net.Identity(said.tls_ca, said.tls_cert, said.tls_key)
            try:
                self.channel = await net.channel(self.http, said.endpoint or "", identity)
            except Unanswered as nothing:
                raise Trouble(line(str(nothing)), passing=True, ill=True) from nothing
            except (Blocked, OSError) as no:
                raise Trouble(line(str(no))) from no
            except Invalid as never:
                raise Trouble(line(never.message)) from never
        return self.stub(self.channel)

    def trouble(self, failed: grpc.aio.AioRpcError, shown: dict[str, str]) -> Trouble:
        """What a status means; where nobody is there, the name is looked up anew for the next call."""
        code = failed.code()
        if code == Code.UNAVAILABLE:
            self._drop()
        again = code == Code.UNAUTHENTICATED and self.identity.refused(shown)
        return Trouble(
            f"{code.name}: {line(failed.details() or '', secrets(shown))}", passing=code in PASSING or again,
            doubtful=code in PASSING - {Code.RESOURCE_EXHAUSTED}, ill=code in PASSING - NOT_ILL,
            retry_after_secs=_asked_delay(failed),
        )  # fmt: skip

    def _drop(self) -> None:
        """Calls that are under way on it may end."""
        if self.channel is not None:
            closing = asyncio.create_task(self.channel.close(self.line.said.timeout_secs))
            self.leaving.add(closing)
            closing.add_done_callback(self.leaving.discard)
            self.channel = None

    async def close(self) -> None:
        for task in self.leaving:
            task.cancel()
        if self.channel is not None:
            await self.channel.close()


def _asked_delay(failed: grpc.aio.AioRpcError) -> float | None:
    """Seconds of google.rpc.RetryInfo, where the status has one."""
    try:
        status = rpc_status.from_call(failed)
    except ValueError:  # the details contradict the status
        return None
    info = RetryInfo()
    for detail in status.details if status else ():
        if detail.Unpack(info):
            return min(max(float(info.retry_delay.ToTimedelta().total_seconds()), 0.0), 3600.0)
    return None

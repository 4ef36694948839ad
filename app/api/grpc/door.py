"""The door of every rpc: who asks, how long it may take, how a refusal is told, what is counted."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from time import perf_counter
from typing import Any, TypeAlias

import grpc

from app.api.allowance import headers
from app.api.auth import admitted, presented
from app.api.grpc.errors import Broken, abort, code
from app.api.grpc.streams import Streams, this_call
from app.api.grpc.wire import CALLER, Context, address, metadata
from app.domain.access import Principal
from app.domain.errors import RateLimited, Refused, Unauthenticated, Unavailable
from app.domain.vocabulary import ActorType
from app.runtime import Gateway
from app.telemetry import metrics

OPEN = ("grpc.health.v1.", "grpc.reflection.", "alerts.AlertIngestion/HealthCheck")
"""Nobody has to say who asks."""
READS_WITHIN_SECS = 10.0
"""A reader that takes nothing for so long is dropped (chosen); what the connection holds until then is bounded."""

log = logging.getLogger(__name__)

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


class Door(grpc.aio.ServerInterceptor):
    """Stands before every method. Handlers find who asks in `CALLER`, and raise `Refused`."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.roles = gateway.settings.server.grpc_client_roles
        self.timeout = gateway.settings.server.request_timeout_secs
        self.streams = Streams(self._admitted)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method.removeprefix("/")
        coding = (handler.request_deserializer, handler.response_serializer)
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(self._streaming(method, handler.stream_stream), *coding)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(self._streaming(method, handler.unary_stream), *coding)
        return grpc.unary_unary_rpc_method_handler(self._answering(method, handler.unary_unary), *coding)

    def _answering(self, method: str, answer: Any) -> Any:
        async def answered(request: Any, context: Context) -> Any:
            async with self._call(method, context):
                try:
                    async with asyncio.timeout(self.timeout) as deadline:
                        return await answer(request, context)
                except TimeoutError:
                    if not deadline.expired():
                        raise
                    late = f"No answer within {self.timeout:g} s; it may still take effect."
                    raise Unavailable("gateway", late) from None

        return answered

    def _streaming(self, method: str, stream: Any) -> Any:
        async def streamed(request: Any, context: Context) -> None:
            watched = None if method.startswith(OPEN) else context
            async with (
                self.streams.kept(watched), self._call(method, context), aclosing(stream(request, context)) as replies,
            ):  # fmt: skip
                async for reply in replies:
                    await _give(context, reply)

        return streamed

    @asynccontextmanager
    async def _call(self, method: str, context: Context) -> AsyncIterator[None]:
        try:
            async with _timed(method), self._refusals(method):
                if not method.startswith(OPEN):
                    await self._let_in(context)
                yield
        except Refused as refusal:
            await abort(context, refusal)

    @asynccontextmanager
    async def _refusals(self, method: str) -> AsyncIterator[None]:
        """Whatever goes wrong is a refusal, except that the caller has gone."""
        try:
            yield
        except Refused:
            raise
        except asyncio.CancelledError:
            if (reason := self.streams.ended.get(this_call())) is None:
                raise
            raise reason from None
        except Exception as bug:
            log.exception("%s failed", method)
            raise Broken from bug

    async def _let_in(self, context: Context) -> None:
        """Counts the call, and says what is left. Raises: as `_admitted`, RateLimited."""
        who = await self._admitted(context)
        allowance = self.gateway.limits.spend(who, address(context))
        if allowance is not None:
            context.set_trailing_metadata(tuple((name.lower(), said) for name, said in headers(allowance).items()))
        CALLER.set(who)

    async def _admitted(self, context: Context) -> Principal:
        """Whose key or token it is; without one, whose certificate.

        Raises: Unauthenticated, Unavailable, Forbidden when a token gives no role, RateLimited.
        """
        secret = presented(metadata(context))
        if secret is None and (names := certified(context)):
            return self._known(names)
        return await admitted(self.gateway, secret, address(context))

    def _known(self, names: list[str]) -> Principal:
        for name in names:
            if role := self.roles.get(name):
                return Principal(name=name, role=role, actor_type=ActorType.INTEGRATION)
        raise Unauthenticated(
            f"The certificate of {', '.join(names)} stands for nobody here: give one of its names a role in "
            "server.grpc_client_roles, or send an API key."
        )


@asynccontextmanager
async def _timed(method: str) -> AsyncIterator[None]:
    """Counts a call once its work is over, however slowly its end is taken."""
    began, status = perf_counter(), grpc.StatusCode.CANCELLED
    try:
        yield
        status = grpc.StatusCode.OK
    except Refused as refusal:
        status = code(refusal)
        raise
    finally:
        metrics.GRPC_REQUESTS.labels(method, status.name).inc()
        metrics.GRPC_REQUEST_DURATION.labels(method).observe(perf_counter() - began)


def certified(context: Context) -> list[str]:
    """The names in the client's certificate, which a CA of ours has signed: its subject's first, then the others."""
    found = context.auth_context() or {}
    properties = ("x509_common_name", "x509_subject_alternative_name")
    return list(dict.fromkeys(name.decode("utf-8", "replace") for each in properties for name in found.get(each, ())))


async def _give(context: Context, reply: Any) -> None:
    try:
        async with asyncio.timeout(READS_WITHIN_SECS):
            await context.write(reply)
    except TimeoutError:
        raise RateLimited(f"Nothing was read here for {READS_WITHIN_SECS:g} s: connect again and read on.") from None

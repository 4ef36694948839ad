"""What the four have in common: one deadline over all tries, tries with full jitter, a pace, a breaker, figures.

Source of the waits: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ (full jitter), as
tenacity's `wait_random_exponential` has it; stamina's jitter is added to the wait, which is another thing.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import perf_counter
from typing import Any, TypeVar
from uuid import uuid4

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    wait_random_exponential,
)

from app.integrating import Integration
from app.integrations.breaking import Breakers, NeverOpen, Open
from app.integrations.identity import Identity, secrets, sent
from app.integrations.pace import Pace
from app.integrations.trouble import Trouble, Unasked, line
from app.net.http import Answer, Http

T = TypeVar("T")
Observe = Callable[[str, float, bool], None]
"""Told the integration, the seconds a request took, and whether its answer was of use."""

LONGEST = 1 << 20
"""Bytes of one answer that are read (chosen: a hundred alerts are a tenth of it)."""
PASSING = frozenset({408, 425, 429})
LONGEST_ASKED_SECS = 3600.0


def unobserved(name: str, secs: float, good: bool) -> None:
    """Nobody is told."""


@dataclass
class Line:
    """Everything one integration is asked goes through it. `last_error` is what went wrong last, until it goes well."""

    name: str
    said: Integration
    breakers: Breakers = field(default_factory=NeverOpen)
    observe: Observe = unobserved
    last_error: str | None = None

    def __post_init__(self) -> None:
        self.pace = Pace(self.said.rate_per_sec)

    async def ask(self, once: Callable[[], Awaitable[T]], *, repeatable: bool = True, attempts: int | None = None) -> T:
        """What `once` gives, tried again while that may help and time is left.

        Not `repeatable`: only where it is certain that nothing was done. Raises: Trouble.
        """
        until = asyncio.get_running_loop().time() + self.said.timeout_secs
        async for attempt in self._tries(repeatable, attempts or self.said.attempts, until):
            with attempt:
                try:
                    answer = await self._once(once, until)
                except Trouble as no:
                    self._failed(no)
                    raise
        self.last_error = None
        return answer

    def _failed(self, no: Trouble) -> None:
        if self.last_error is None or not isinstance(no.__cause__, Open):  # why it opened says more than that it is
            self.last_error = f"{datetime.now(UTC):%F %T} {no.message}"

    def _tries(self, repeatable: bool, attempts: int, until: float) -> AsyncRetrying:
        now = asyncio.get_running_loop().time

        def over(state: RetryCallState) -> bool:
            return state.attempt_number >= attempts or now() + state.upcoming_sleep >= until

        def again(no: BaseException) -> bool:
            return isinstance(no, Trouble) and no.passing and (repeatable or not no.doubtful)

        return AsyncRetrying(
            stop=over,
            wait=waiting(self.said.backoff_secs, self.said.backoff_max_secs),
            retry=retry_if_exception(again),
            reraise=True,
        )

    async def _once(self, once: Callable[[], Awaitable[T]], until: float) -> T:
        turn = self.pace.turn(until - asyncio.get_running_loop().time())
        if turn is None:
            raise Trouble(f"more than {self.said.rate_per_sec:g} requests a second are asked for", passing=True)
        await asyncio.sleep(turn)
        try:
            with self.breakers.call(self.name) as call:
                try:
                    return await self._counted(once, until)
                except Trouble as trouble:
                    if trouble.ill is None:
                        raise
                    if trouble.ill:
                        call.failed()
                    answered = trouble
        except Open as no:
            after = no.retry_after.total_seconds()
            raise Unasked(
                f"its circuit breaker is open for {after:.0f} s", passing=True, retry_after_secs=after
            ) from no
        raise answered

    async def _counted(self, once: Callable[[], Awaitable[T]], until: float) -> T:
        began, good = perf_counter(), False
        try:
            async with asyncio.timeout_at(until):
                answer = await once()
            good = True
        except TimeoutError as late:
            said = f"no answer within {self.said.timeout_secs:g} s"
            raise Trouble(said, passing=True, doubtful=True, ill=True) from late
        finally:
            self.observe(self.name, perf_counter() - began, good)
        return answer


def waiting(first_secs: float, longest_secs: float) -> Callable[[RetryCallState], float]:
    """Seconds until the next try: anything from 0 to `first_secs` doubled with each try, or longer where asked to."""
    jitter = wait_random_exponential(multiplier=first_secs, max=longest_secs)

    def wait(state: RetryCallState) -> float:
        no = state.outcome.exception() if state.outcome else None
        asked = no.retry_after_secs if isinstance(no, Trouble) else None
        return max(jitter(state), asked or 0.0)

    return wait


@dataclass(frozen=True)
class Rest:
    """Questions over HTTP, JSON in and out. `more` gives each request headers of its own."""

    line: Line
    http: Http
    identity: Identity
    more: Callable[[], Mapping[str, str]] = dict

    async def ask(
        self,
        read: Callable[[Any], T],
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        repeatable: bool = True,
    ) -> T:
        """What `read` makes of a 2xx's JSON (None where it has no body). `key`: the same over all tries.

        Raises: Trouble.
        """
        content = b"" if body is None else json.dumps(body).encode()
        extra = {} if body is None else {"content-type": "application/json"}
        if key is not None:
            extra["idempotency-key"] = key

        async def once() -> T:
            return read(await self._once(method, path, content, extra))

        return await self.line.ask(once, repeatable=repeatable)

    async def _once(self, method: str, path: str, content: bytes, extra: Mapping[str, str]) -> Any:
        shown = await self.identity.headers()
        answer = await self._sent(method, path, content, {**extra, **shown})
        if answer.status == 401 and self.identity.refused(shown):  # withdrawn: once more, with the next
            shown = await self.identity.headers()
            answer = await self._sent(method, path, content, {**extra, **shown})
        return _json(answer, method, shown)

    async def _sent(self, method: str, path: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        url = f"{self.line.said.endpoint}{path}"
        return await sent(self.http, method, url, content, {**self.more(), **headers}, LONGEST)


def _json(answer: Answer, method: str, shown: Mapping[str, str]) -> Any:
    if not 200 <= answer.status < 300:
        raise _refused(answer, method, shown)
    if not answer.text.strip():
        return None
    if len(answer.text.encode()) >= LONGEST:
        raise Trouble(f"answered with more than {LONGEST >> 20} MiB", doubtful=method != "GET")
    try:
        return from_json(answer.text)
    except ValueError as no:
        raise Trouble(f"answered {answer.status} without JSON", doubtful=method != "GET", ill=True) from no


def _refused(answer: Answer, method: str, shown: Mapping[str, str]) -> Trouble:
    said = f"answered {answer.status}: {line(answer.text, secrets(shown))}"
    away = answer.status >= 500
    return Trouble(
        said, passing=away or answer.status in PASSING, doubtful=away and method != "GET", ill=away,
        retry_after_secs=asked_delay(answer.headers.get("retry-after"), datetime.now(UTC)),
    )  # fmt: skip


def asked_delay(value: str | None, now: datetime) -> float | None:
    """Seconds of a `Retry-After` (RFC 9110 §10.2.3), at most an hour; None when absent or unreadable."""
    if value is None:
        return None
    try:
        secs = float(value) if value.isdecimal() else (parsedate_to_datetime(value) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(secs, 0.0), LONGEST_ASKED_SECS)


M = TypeVar("M", bound=BaseModel)


def understood(shape: type[M], said: object) -> M:
    """What was answered, as `shape`. Raises: Trouble naming the first field that makes no sense."""
    return _understood(TypeAdapter(shape), said)


def understood_all(shape: type[M], said: object) -> list[M]:
    """The same, of a list."""
    return _understood(TypeAdapter(list[shape]), said)  # type: ignore[valid-type]


def _understood(adapter: TypeAdapter[T], said: object) -> T:
    try:
        return adapter.validate_python(said)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the answer"
        raise Trouble(f"answered what makes no sense: {where}: {line(first['msg'])}", ill=True) from wrong


def execution() -> dict[str, str]:
    """Whose execution a request is part of, which the siblings' agents insist on: one of its own."""
    return {"x-execution-id": str(uuid4()), "x-parent-span-id": str(uuid4())}

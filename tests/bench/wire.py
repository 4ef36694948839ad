"""The load: HTTP/1.1 over keep-alive connections, requests encoded beforehand, as little CPU as Python allows."""

import asyncio
import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import httptools
import orjson

HOST = "127.0.0.1"


@dataclass
class Tally:
    """Seconds each right answer took, and what the others said."""

    seconds: float = 0.0
    took: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return len(self.took) / self.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        return percentile(self.took, share) * 1000


def percentile(values: list[float], share: float) -> float:
    """The nearest-rank percentile; nan of nothing."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else float("nan")


class Connection(asyncio.Protocol):
    """One request after the other, until there are no more. A right answer is a 2xx with `expected` in it."""

    def __init__(self, requests: Iterator[bytes], expected: bytes, tally: Tally) -> None:
        self.requests = requests
        self.expected = expected
        self.tally = tally
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.body = b""
        self.began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)
        self.next()

    def next(self) -> None:
        request = next(self.requests, None)
        if request is None:
            self.transport.close()
            return
        self.parser = httptools.HttpResponseParser(self)
        self.body = b""
        self.began = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        if 200 <= self.parser.get_status_code() < 300 and self.expected in self.body:
            self.tally.took.append(time.perf_counter() - self.began)
        else:
            self.tally.wrong.append(f"{self.parser.get_status_code()} {self.body[:200]!r}")
        self.next()

    def connection_lost(self, reason: Exception | None) -> None:
        if reason is not None:
            self.tally.wrong.append(repr(reason))
        if not self.done.done():
            self.done.set_result(None)


async def closed_loop(
    port: int, requests: Iterator[bytes], expected: bytes, *, connections: int, seconds: float
) -> Tally:
    """As many requests as `connections` can carry one after the other for so long."""
    tally = Tally()
    began = time.perf_counter()

    def until_then() -> Iterator[bytes]:
        while time.perf_counter() - began < seconds:
            yield next(requests)

    await _through(port, until_then(), expected, connections, tally)
    tally.seconds = time.perf_counter() - began
    return tally


async def ask(port: int, asked: bytes) -> Any:
    """The JSON of the answer, on a connection of its own. Raises: AssertionError when it is no 2xx."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(asked)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        assert head.split()[1].startswith(b"2"), (head, body)
        return orjson.loads(body)
    finally:
        writer.close()


async def each(port: int, requests: Iterator[bytes], expected: bytes, *, connections: int) -> Tally:
    """All of `requests`."""
    tally = Tally()
    began = time.perf_counter()
    await _through(port, requests, expected, connections, tally)
    tally.seconds = time.perf_counter() - began
    return tally


async def _through(port: int, requests: Iterator[bytes], expected: bytes, connections: int, tally: Tally) -> None:
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Connection(requests, expected, tally), HOST, port)
        for _ in range(connections)
    ]
    await asyncio.gather(*(connection.done for _, connection in opened))


def request(method: str, path: str, body: bytes) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body

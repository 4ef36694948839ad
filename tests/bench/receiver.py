"""A webhook receiver that costs next to nothing, and remembers when each page came."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import httptools
import orjson

from tests.bench.wire import HOST, ask, request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
POLICY = {
    "id": "default",
    "name": "Default",
    "levels": [{"targets": [{"type": "user", "id": "bench"}], "channels": ["webhook"], "escalate_after_secs": 3600}],
}


@dataclass
class Pages:
    """When the first page of each incident came (`time.perf_counter`), and how many came in all."""

    first: dict[str, float] = field(default_factory=dict)
    count: int = 0
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, body: bytes) -> None:
        self.count += 1
        self.first.setdefault(orjson.loads(body)["incident_id"], time.perf_counter())
        self.came.set()

    async def of(self, incidents: int, within: float) -> None:
        """When so many incidents have been paged for. Raises: TimeoutError."""
        async with asyncio.timeout(within):
            while len(self.first) < incidents:
                self.came.clear()
                await self.came.wait()


class Taking(asyncio.Protocol):
    def __init__(self, pages: Pages) -> None:
        self.pages = pages

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.transport.write(OK)
        self.pages.take(self.body)
        self.body = b""


@asynccontextmanager
async def receiving(port: int) -> AsyncIterator[Pages]:
    """A receiver that every incident of the gateway at `port` pages, at its first and only level."""
    pages = Pages()
    server = await asyncio.get_running_loop().create_server(lambda: Taking(pages), HOST, 0)
    url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}/page"
    await ask(port, put("users/bench", {"id": "bench", "name": "Bench", "webhook_url": url}))
    await ask(port, put("escalation-policies/default", POLICY))
    try:
        yield pages
    finally:
        server.close()


def put(path: str, body: Mapping[str, object]) -> bytes:
    return request("PUT", f"/api/v1/{path}", orjson.dumps(body))

"""As much of Redis as a cache needs, on loopback: https://redis.io/docs/latest/develop/reference/protocol-spec/."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Redis:
    """`hangs`: connections are taken, and nothing is ever answered. `dies` ends what is there."""

    hangs: bool = False
    port: int = 0
    asked: list[str] = field(default_factory=list)
    kept: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                words = [await self._word(reader) for _ in range(int((await reader.readuntil())[1:]))]
                self.asked.append(words[0].decode().upper())
                if not self.hangs:
                    writer.write(self._answer(words))
                    await writer.drain()
        writer.close()

    async def _word(self, reader: asyncio.StreamReader) -> bytes:
        size = int((await reader.readuntil())[1:])
        return (await reader.readexactly(size + 2))[:-2]

    def _answer(self, words: list[bytes]) -> bytes:
        match words[0].upper():
            case b"SET":
                self.kept[words[1]] = words[2]
                return b"+OK\r\n"
            case b"GET":
                value = self.kept.get(words[1])
                return b"_\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)
            case b"INCRBY":
                total = int(self.kept.get(words[1], b"0")) + int(words[2])
                self.kept[words[1]] = str(total).encode()
                return b":%d\r\n" % total
            case b"EXPIRE":
                return b":1\r\n"
            case b"PING":
                return b"+PONG\r\n"
            case b"HELLO":
                return b"%2\r\n+server\r\n+redis\r\n+proto\r\n:3\r\n"
        return b"+OK\r\n"


@asynccontextmanager
async def redis(*, hangs: bool = False) -> AsyncIterator[Redis]:
    made = Redis(hangs)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()

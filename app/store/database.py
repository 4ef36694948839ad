"""The connection pool, and what PostgreSQL's failures mean to a caller."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg
import orjson

from app.domain.errors import Unavailable

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record] | asyncpg.Connection[asyncpg.Record]"

PATIENCE_SECS = 1.5
"""How long a request waits for PostgreSQL before it is told that it is away (chosen: the answer is due within 2 s)."""

AWAY = (
    OSError,
    TimeoutError,
    asyncio.TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what a connection raises that the server has taken leave of a moment ago
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.DiskFullError,
)
CONTENDED = (
    asyncpg.UniqueViolationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
)


async def _prepare(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await connection.set_type_codec(
        "jsonb",
        encoder=lambda value: b"\x01" + orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS),
        decoder=lambda data: orjson.loads(data[1:]),
        schema="pg_catalog",
        format="binary",
    )
    # Plans are kept from when tables were small, and a storm fills them long before their statistics are renewed.
    await connection.execute("SET enable_seqscan = off")


async def _left_as_it_was(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Nobody here changes a session, so that undoing it would be one more round trip per use, for nothing."""
    if connection.is_in_transaction():
        await connection.reset()


class Pool:
    """Connections that are given up, not waited for, when their user is cancelled.

    asyncpg would first have the server confirm that the query has ended, which one that hangs never does.
    """

    def __init__(self, connections: "asyncpg.Pool[asyncpg.Record]") -> None:
        self.connections = connections

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        connection = await self.connections.acquire(timeout=PATIENCE_SECS)
        try:
            yield connection
        except asyncio.CancelledError:
            connection.terminate()
            raise
        finally:
            await self.connections.release(connection, timeout=PATIENCE_SECS)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Committed at the end, or nothing of it: given up without a word to a server that may hang."""
        async with self.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection
            except Exception:
                await transaction.rollback()
                raise
            await transaction.commit()

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        async with self.acquire() as connection:
            return await connection.fetch(sql, *arguments)

    async def fetchrow(self, sql: str, *arguments: object) -> asyncpg.Record | None:
        async with self.acquire() as connection:
            return await connection.fetchrow(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: object) -> Any:
        async with self.acquire() as connection:
            return await connection.fetchval(sql, *arguments)

    async def execute(self, sql: str, *arguments: object) -> str:
        async with self.acquire() as connection:
            return await connection.execute(sql, *arguments)


@asynccontextmanager
async def pool(url: str, size: int, command_timeout: float = 30) -> AsyncIterator[Pool]:
    """A pool of at most `size` connections, opened when first needed: PostgreSQL may be away at start."""
    made = await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size,
        init=_prepare,
        reset=_left_as_it_was,
        timeout=PATIENCE_SECS,
        command_timeout=command_timeout,
        server_settings={"timezone": "UTC", "application_name": "llm-incident-manager"},
    )
    try:
        yield Pool(made)
    finally:
        try:
            async with asyncio.timeout(5):
                await made.close()
        except AWAY:
            made.terminate()


@asynccontextmanager
async def answering(part: str = "database", within_secs: float = PATIENCE_SECS) -> AsyncIterator[None]:
    """Turns PostgreSQL's absence into a refusal that says so.

    Raises: Unavailable when it does not answer in time.
    """
    try:
        async with asyncio.timeout(within_secs):
            yield
    except AWAY as away:
        if isinstance(away, ValueError):  # asyncpg's word for an argument of the wrong kind, which is our fault
            raise
        raise Unavailable(
            part, "PostgreSQL does not answer; nothing was stored. Try again in a moment.", retry_after=1
        ) from away

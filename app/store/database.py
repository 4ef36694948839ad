"""The connection pool, and what PostgreSQL's failures mean to a caller."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg
import orjson

from app.domain.errors import Unavailable

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record] | asyncpg.Connection[asyncpg.Record]"

PATIENCE_SECS = 1.5
"""How long a request waits for PostgreSQL before it is told that it is away (chosen: the answer is due within 2 s)."""

AWAY = (
    OSError,
    TimeoutError,
    asyncio.TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
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


async def _left_as_it_was(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Nobody here changes a session, so that undoing it would be one more round trip per use, for nothing."""
    if connection.is_in_transaction():
        await connection.reset()


@asynccontextmanager
async def pool(url: str, size: int, command_timeout: float = 30) -> AsyncIterator[Pool]:
    """A pool of at most `size` connections, opened when first needed: PostgreSQL may be away at start."""
    made: Pool = await asyncpg.create_pool(
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
        yield made
    finally:
        try:
            async with asyncio.timeout(5):
                await made.close()
        except AWAY:
            made.terminate()


@asynccontextmanager
async def answering(part: str = "database") -> AsyncIterator[None]:
    """Turns PostgreSQL's absence into a refusal that says so.

    Raises: Unavailable when it does not answer within `PATIENCE_SECS`.
    """
    try:
        async with asyncio.timeout(PATIENCE_SECS):
            yield
    except AWAY as away:
        raise Unavailable(
            part, "PostgreSQL does not answer; nothing was stored. Try again in a moment.", retry_after=1
        ) from away

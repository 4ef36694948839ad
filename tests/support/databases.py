"""Databases of a test's own, on the PostgreSQL every test shares."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg

from app.store.migrate import upgrade


@asynccontextmanager
async def another_database(beside: str, *, migrated: bool = True) -> AsyncIterator[str]:
    """The URL of a new database, with the schema of today, on the server of another one; gone afterwards."""
    name = f"test_{uuid4().hex}"
    owner = await asyncpg.connect(beside)
    await owner.execute(f"CREATE DATABASE {name}")
    try:
        url = urlsplit(beside)._replace(path=f"/{name}").geturl()
        if migrated:
            await asyncio.to_thread(upgrade, url)
        yield url
    finally:
        await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await owner.close()

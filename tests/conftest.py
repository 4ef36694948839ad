"""The real parts every test shares: one PostgreSQL, one Temporal whose clock the tests move."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from pydantic import SecretStr
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from app.config import Settings, Storage, Temporal
from app.domain.vocabulary import ChannelName
from app.runtime import crew, services, temporal_client
from app.stack import postgres, temporal
from app.store.database import Pool, pool
from app.store.migrate import upgrade
from tests.support.world import Pigeon, World
from workers.roster import workers


@pytest.fixture(scope="session")
async def database_url() -> AsyncIterator[str]:
    """A PostgreSQL with the schema of today."""
    async with postgres(durable=False) as url:
        await asyncio.to_thread(upgrade, url)
        yield url


@pytest.fixture(scope="session")
async def connections(database_url: str) -> AsyncIterator[Pool]:
    async with pool(database_url, 20) as opened:
        yield opened


@pytest.fixture(scope="session")
async def skipper() -> AsyncIterator[TimeSkipper]:
    """A Temporal server in memory; the clock of every workflow stands in its hand."""
    async with temporal() as address:
        client = await temporal_client(Temporal(address=address), lazy=False)
        yield TimeSkipper(client, config=TimeSkippingConfig(enabled=False))


@pytest.fixture(scope="session")
async def world(database_url: str, connections: Pool, skipper: TimeSkipper) -> AsyncIterator[World]:
    settings = Settings(storage=Storage(connection_string=SecretStr(database_url)))
    pigeon = Pigeon()
    gateway = services(settings, connections, skipper.client)
    made = crew(settings, connections, {ChannelName.EMAIL: pigeon})
    async with AsyncExitStack() as stack:
        for worker in workers(skipper.client, made):
            await stack.enter_async_context(worker)
        dispatching = asyncio.create_task(gateway.dispatcher.run())
        world = World(settings, gateway, skipper, pigeon)
        await world.hires("alice", "bob", "carol")
        yield world
        dispatching.cancel()

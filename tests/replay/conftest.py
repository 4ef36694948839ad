"""A world whose histories are so short that every incident outlives them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from app.child import running
from app.config import Temporal
from app.runtime import temporal_client
from app.stack import Description, DevServer, free_port, temporal_child
from app.store.database import pool
from tests.support.databases import another_database
from tests.support.stage import Other, Stage
from tests.support.world import World, world_of_its_own, world_on

EVENTS = 40


@pytest.fixture(scope="session")
async def hasty(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """The same world on a Temporal that suggests a new run early."""
    home: Path = tmp_path_factory.mktemp("temporal")
    usual = Description.read().headless(free_port())
    limits = usual.dynamic_config | {"limit.historyCount.suggestContinueAsNew": EVENTS}
    server = DevServer(usual.model_copy(update={"dynamic_config": limits}))
    async with (
        another_database(database_url) as url,
        pool(url, 10) as connections,
        running(temporal_child(server, home / "log")),
    ):
        client = await temporal_client(Temporal(address=server.address), lazy=False)
        skipper = TimeSkipper(client, config=TimeSkippingConfig(enabled=False))
        async with world_on(url, connections, skipper) as world:
            await world.hires("alice", "bob", "carol", "flaky")
            yield world


@pytest.fixture(scope="session")
async def triaging(database_url: str) -> AsyncIterator[World]:
    """A world that groups, classifies and looks around."""
    async with world_of_its_own(database_url, "alice", "bob", "carol") as made:
        yield made


@pytest.fixture
async def stage(world: World) -> AsyncIterator[Stage]:
    other = Other()
    await other.comes_up()
    yield Stage(world, other)
    await other.goes_down()

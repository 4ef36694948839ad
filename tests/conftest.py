"""The real parts every test shares: one PostgreSQL, one Temporal whose clock the tests move."""

import signal
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings
from temporalio.testing import TimeSkipper

from app.store.database import Pool, pool
from tests.support.service import Service, serving
from tests.support.world import World, database, time_skipping, world_on

# Begun in the background of a shell the tests would ignore Ctrl-C, and so would the programs that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

LONGEST = (
    "test_playbook_kills.py", "test_openapi.py", "test_simulation.py", "test_kills.py", "test_cli.py",
    "test_outages.py", "test_python_breaks.py", "test_javascript.py", "test_delivering.py", "test_playbooks.py",
)  # fmt: skip
"""These files go first, so that at the end nobody waits for one of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    names = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: names.get(item.path.name, len(names)))


# How long an example takes says something about the machine, nothing about the code. The examples are the same every
# time, so that what fails is what was changed; `make search` looks for new ones.
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", settings.get_profile("steady"), derandomize=False, database=None)
settings.load_profile("steady")


@pytest.fixture(scope="session")
async def database_url() -> AsyncIterator[str]:
    """A PostgreSQL with the schema of today."""
    async with database() as url:
        yield url


@pytest.fixture(scope="session")
async def connections(database_url: str) -> AsyncIterator[Pool]:
    async with pool(database_url, 20) as opened:
        yield opened


@pytest.fixture(scope="session")
async def service(database_url: str) -> AsyncIterator[Service]:
    """A gateway and a worker, each its own process."""
    async with serving(database_url) as running:
        yield running


@pytest.fixture(scope="session")
async def skipper() -> AsyncIterator[TimeSkipper]:
    """A Temporal server in memory; the clock of every workflow stands in its hand."""
    async with time_skipping() as made:
        yield made


@pytest.fixture(scope="session")
async def world(database_url: str, connections: Pool, skipper: TimeSkipper) -> AsyncIterator[World]:
    async with world_on(database_url, connections, skipper) as made:
        await made.hires("alice", "bob", "carol")
        yield made

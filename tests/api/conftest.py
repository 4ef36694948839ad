"""A gateway in this process for what one door decides."""

import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest

from app.api.http import create_app
from app.config import Settings
from app.runtime import gateway
from tests.support.databases import another_database
from tests.support.service import NOBODY_THERE, ROOT, Ran, Service, command, process, serving

__all__ = ["NOBODY_THERE", "ROOT", "Ran", "Service", "command", "process", "serving"]


@contextlib.asynccontextmanager
async def door(url: str, **server: object) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway that has PostgreSQL, and a Temporal that is away."""
    settings = Settings.model_validate({
        "storage": {"connection_string": url}, "temporal": {"address": NOBODY_THERE}, "server": server,
    })  # fmt: skip
    async with gateway(settings) as made:
        transport = httpx.ASGITransport(create_app(made))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as client:
            yield client


@pytest.fixture(scope="session")
async def api(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with another_database(database_url) as url, door(url) as client:
        yield client

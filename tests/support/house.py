"""A gateway with a database of its own, so that its first key is its own too."""

import contextlib
from collections.abc import AsyncIterator

import httpx
from fastapi import FastAPI

from app.api.http import create_app
from app.config import Settings
from app.runtime import Gateway, gateway
from tests.support.databases import another_database

NOBODY_THERE = "127.0.0.1:1"


class House:
    def __init__(self, made: Gateway, app: FastAPI) -> None:
        self.gateway = made
        self.keys = made.keys
        self.app = app

    def visitor(
        self,
        key: str | None = None,
        host: str = "localhost:8080",
        address: str = "127.0.0.1",
        bearer: str | None = None,
    ) -> httpx.AsyncClient:
        headers = {"X-API-Key": key} if key else {"Authorization": f"Bearer {bearer}"} if bearer else {}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, client=(address, 4711)), base_url="http://localhost",
            headers={"Host": host, **headers},
        )  # fmt: skip


@contextlib.asynccontextmanager
async def a_house(database_url: str, **sections: object) -> AsyncIterator[House]:
    """`sections` of the settings; Temporal is away."""
    async with another_database(database_url) as url:
        settings = Settings.model_validate({
            "storage": {"connection_string": url}, "temporal": {"address": NOBODY_THERE}, **sections,
        })  # fmt: skip
        async with gateway(settings) as made:
            yield House(made, create_app(made))

"""What the vendors on loopback share: JSON in and out, and answers that get lost on their way."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from tests.support.receivers import HttpReceiver, Reply, Request

Answered = tuple[int, object]


class Vendor(HttpReceiver):
    """`replies` are given first, in turn, with nothing done. `lost`: the next write is done, and then answered so."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.lost: Reply | None = None

    @property
    def base(self) -> str:
        return self.url.removesuffix("/page")

    @property
    def writes(self) -> list[str]:
        """All that came but what only looks: method and path."""
        return [f"{one.method} {one.path}" for one in self.items if one.method != "GET"]

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(one.body) for one in self.items if one.body]

    def does(self, request: Request, path: str, query: dict[str, str]) -> Answered:
        """`path` is still encoded."""
        raise NotImplementedError

    def answer(self, request: Request) -> Reply:
        parts = urlsplit(request.path)
        status, said = self.does(request, parts.path, dict(parse_qsl(parts.query)))
        if request.method != "GET" and self.lost is not None and status < 300:
            reply, self.lost = self.lost, None
            return reply
        return Reply(status, {"content-type": "application/json"}, json.dumps(said).encode())


V = TypeVar("V", bound=Vendor)


@asynccontextmanager
async def up(vendor: V) -> AsyncIterator[V]:
    await vendor.comes_up()
    try:
        yield vendor
    finally:
        await vendor.goes_down()

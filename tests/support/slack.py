"""A Slack on loopback that answers as Slack's documentation says."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response

from app.stack import free_port
from tests.support.receivers import Inbox


@dataclass(frozen=True)
class Call:
    """What came: the method's name or `webhook` or `response`, its JSON and its headers."""

    method: str
    body: dict[str, Any]
    headers: dict[str, str]


@dataclass
class FakeSlack(Inbox[Call]):
    """`wrongs` are answered first, in turn: an error's name, or an HTTP status with headers."""

    port: int
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    threads: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    wrongs: deque[str | tuple[int, dict[str, str]]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        super().__init__()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def webhook(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/T/B/X"

    @property
    def response_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/actions/T/1/x"

    def answer(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        if self.wrongs and isinstance(wrong := self.wrongs.popleft(), str):
            return {"ok": False, "error": wrong}
        if method == "chat.postMessage":
            ts = f"1700000000.{len(self.messages) + sum(map(len, self.threads.values())):06}"
            channel = f"D{body['channel'][1:]}" if body["channel"].startswith("U") else body["channel"]
            if "thread_ts" in body:
                self.threads.setdefault(f"{channel}/{body['thread_ts']}", []).append(body)
            else:
                self.messages[f"{channel}/{ts}"] = body
            return {"ok": True, "channel": channel, "ts": ts}
        if (known := f"{body['channel']}/{body['ts']}") not in self.messages:
            return {"ok": False, "error": "message_not_found"}
        self.messages[known] = body
        return {"ok": True, "channel": body["channel"], "ts": body["ts"]}


@contextlib.asynccontextmanager
async def fake_slack() -> AsyncIterator[FakeSlack]:
    slack = FakeSlack(free_port())
    app = FastAPI()

    async def take(method: str, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(await request.body())
        await slack.take(Call(method, body, dict(request.headers)))
        return body

    @app.post("/api/{method}")
    async def call(method: str, request: Request) -> Response:
        body = await take(method, request)
        if slack.wrongs and not isinstance(wrong := slack.wrongs[0], str):
            slack.wrongs.popleft()
            return Response(status_code=wrong[0], headers=wrong[1])
        return Response(json.dumps(slack.answer(method, body)), media_type="application/json")

    @app.post("/services/{path:path}")
    async def webhook(path: str, request: Request) -> Response:
        await take("webhook", request)
        if slack.wrongs and not isinstance(wrong := slack.wrongs[0], str):
            slack.wrongs.popleft()
            return Response(status_code=wrong[0], headers=wrong[1])
        return Response("ok")

    @app.post("/actions/{path:path}")
    async def response(path: str, request: Request) -> Response:
        await take("response", request)
        return Response("ok")

    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", slack.port, log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield slack
    finally:
        server.should_exit = True
        await serving

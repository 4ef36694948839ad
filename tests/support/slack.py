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
    """`wrongs` are answered first, in turn: an error's name, or an HTTP status with headers.

    `rooms` are channels by id, `unseen` names that are taken by channels the bot doesn't see; `page` is how many
    channels a list has at most. `forgetful` methods are done, but their answer is a 503.
    """

    port: int
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    threads: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    wrongs: deque[str | tuple[int, dict[str, str]]] = field(default_factory=deque)
    rooms: dict[str, dict[str, Any]] = field(default_factory=dict)
    unseen: set[str] = field(default_factory=set)
    page: int = 2
    forgetful: set[str] = field(default_factory=set)

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
        if method == "auth.test":
            return {"ok": True, "user": "pager", "user_id": "UBOT", "team": "Acme"}
        if method.startswith("conversations."):
            return self.conversation(method.removeprefix("conversations."), body)
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

    def conversation(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        if method == "create":
            if body["name"] in self.unseen | {room["name"] for room in self.rooms.values()}:
                return {"ok": False, "error": "name_taken"}
            return {"ok": True, "channel": self.room(body["name"], is_private=body["is_private"])}
        if method == "list":
            first, rooms = int(body["cursor"] or 0), list(self.rooms.values())
            after = str(first + self.page) if first + self.page < len(rooms) else ""
            shown = rooms[first : first + self.page]
            return {"ok": True, "channels": shown, "response_metadata": {"next_cursor": after}}
        if (room := self.rooms.get(body["channel"])) is None:
            return {"ok": False, "error": "channel_not_found"}
        if room["is_archived"] and method != "info":
            return {"ok": False, "error": "already_archived" if method == "archive" else "is_archived"}
        match method:
            case "invite":
                users = set(body["users"].split(","))
                if not users - room["members"]:
                    return {"ok": False, "error": "already_in_channel"}
                room["members"] |= users
            case "setTopic":
                room["topic"]["value"] = body["topic"]
            case "archive":
                room["is_archived"] = True
        return {"ok": True, "channel": room}

    def room(self, name: str, **more: object) -> dict[str, Any]:
        id = f"C{len(self.rooms):09}"  # noqa: A001
        room = {"id": id, "name": name, "is_archived": False, "topic": {"value": ""}, "members": set()}
        self.rooms[id] = room | more
        return self.rooms[id]


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
        answer = json.dumps(slack.answer(method, body), default=sorted)
        if method in slack.forgetful:
            slack.forgetful.discard(method)
            return Response(status_code=503)
        return Response(answer, media_type="application/json")

    @app.get("/api/{method}")
    async def look(method: str, request: Request) -> Response:
        """What only reads takes its arguments in the address, and no JSON."""
        body = dict(request.query_params)
        await slack.take(Call(method, body, dict(request.headers)))
        return Response(json.dumps(slack.answer(method, body), default=sorted), media_type="application/json")

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

"""The whole product, as an operator starts it: `llm-im up`, whose parts can be killed, frozen and kept down."""

import asyncio
import os
import random
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from signal import SIGCONT, SIGINT, SIGKILL, SIGSTOP, Signals
from typing import Any, NamedTuple, TypeVar

import asyncpg
import httpx
import orjson
import psutil
from temporalio.client import Client

from app.config import Temporal
from app.runtime import temporal_client
from app.store.embedded import Cluster
from tests.bench.stack import PORTS, environment
from tests.support.receivers import HttpReceiver, Inbox

T = TypeVar("T")
Body = Mapping[str, object]

ROOT = Path(__file__).resolve().parents[2]
BETWEEN_TRIES = 0.1  # seconds
NO_ANSWER = 0


async def eventually(probe: Callable[[], Awaitable[T]], within: float = 30) -> T:
    """The first answer that counts as true. Raises: AssertionError with the last one when none does in time."""
    deadline = time.monotonic() + within
    while not (answer := await probe()):
        assert time.monotonic() < deadline, f"still {answer!r} after {within:g} s"
        await asyncio.sleep(0.05)
    return answer


def signalled(processes: Iterable[psutil.Process], number: Signals) -> None:
    """All of them, but those that have ended by themselves meanwhile."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def quiet_ports(count: int) -> list[int]:
    """Free ones from below those that systems hand out: nobody is given one while what listens there is restarted."""
    with ExitStack() as held:
        found: list[int] = []
        while len(found) < count:
            with suppress(OSError):
                port = random.randrange(15_000, 32_000)
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
        return found


class Page(NamedTuple):
    """One page as its receiver read it. `began` is when the product began to send it."""

    key: str
    incident: str
    level: int
    target: str
    severity: str
    began: datetime


def pages(*receivers: HttpReceiver) -> list[Page]:
    """The pages that the receivers have got, each in its order; not the notices."""
    said = [(request.headers, orjson.loads(request.body)) for each in receivers for request in each.items]
    return [_page(headers, body) for headers, body in said if body["type"] == "incident.page"]


def _page(headers: Mapping[str, str], body: dict[str, Any]) -> Page:
    return Page(
        headers["idempotency-key"], body["incident_id"], body["level"], body["target"], body["incident"]["severity"],
        datetime.fromisoformat(body["timestamp"]),
    )  # fmt: skip


@dataclass
class Product:
    """`refused` counts the answers other than 2xx that `granted` was given, by status or NO_ANSWER."""

    home: Path
    ports: dict[str, int]
    settings: dict[str, str]
    http: httpx.AsyncClient
    lines: Inbox[str] = field(default_factory=Inbox)
    killed: set[int] = field(default_factory=set)
    refused: Counter[int] = field(default_factory=Counter)
    process: asyncio.subprocess.Process | None = None
    reading: asyncio.Task[None] | None = None

    @property
    def supervisor(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def start(self) -> float:
        """Seconds until it said that everything is ready."""
        began, said = time.monotonic(), len(self.lines.items)
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app.cli", "up", cwd=ROOT, env=environment(self.home, self.ports) | self.settings,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.reading = asyncio.create_task(self._read(self.process))
        await self.says("everything is ready", said, within=60)
        return time.monotonic() - began

    async def stop(self) -> int:
        """Ctrl-C; the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.supervisor, SIGINT)
        return await self.ends()

    async def ends(self) -> int:
        """The exit code, once it and everything that writes where it does has ended."""
        assert self.process is not None
        assert self.reading is not None
        await self.reading
        return await self.process.wait()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            await self.lines.take(line.decode().rstrip())

    async def says(self, pattern: str, since: int = 0, within: float = 30) -> re.Match[str]:
        """The first line from number `since` on that contains the pattern. Raises: AssertionError with all lines."""
        try:
            async with asyncio.timeout(within):
                while not (found := re.search(pattern, (await self.lines.received(since + 1, within))[since])):
                    since += 1
        except TimeoutError:
            raise AssertionError("\n".join([f"{pattern!r} was not said:", *self.lines.items])) from None
        return found

    def pid(self, part: str) -> int:
        """The part's newest process that was ready."""
        said = (re.match(rf"{part}: ready .*\(pid (\d+)\)$", line) for line in reversed(self.lines.items))
        return next(int(found[1]) for found in said if found)

    async def runs(self, part: str, within: float = 30) -> int:
        """The pid of the part's process, once it is ready again if it was killed."""

        async def alive() -> int:
            return 0 if (pid := self.pid(part)) in self.killed else pid

        return await eventually(alive, within)

    def kill(self, part: str) -> int:
        """kill -9; the pid that was."""
        self.killed.add(pid := self.pid(part))
        os.kill(pid, SIGKILL)
        return pid

    async def crash(self) -> None:
        """kill -9 of everything at once."""
        signalled(self.processes(), SIGKILL)
        await self.ends()

    @contextmanager
    def unattended(self) -> Iterator[None]:
        """Nothing that dies meanwhile is started again until this is left."""
        os.kill(self.supervisor, SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.supervisor, SIGCONT)

    @contextmanager
    def frozen(self, part: str) -> Iterator[None]:
        """The part and whatever it has started hang: connections stay open, and nothing is answered."""
        server = psutil.Process(self.pid(part))
        family = [server, *server.children(recursive=True)]
        signalled(family, SIGSTOP)
        try:
            yield
        finally:
            signalled(family, SIGCONT)

    def processes(self) -> list[psutil.Process]:
        supervisor = psutil.Process(self.supervisor)
        return [supervisor, *supervisor.children(recursive=True)]

    async def ask(self, method: str, path: str, body: Body | None = None, key: str | None = None) -> httpx.Response:
        """The answer, whatever it is. `path` begins after /api/v1."""
        headers = {"idempotency-key": key} if key else {}
        return await self.http.request(method, f"/api/v1{path}", json=body, headers=headers)

    async def granted(self, path: str, body: Body, key: str) -> Any:
        """A POST as a careful client does it: again with the same key until it is answered 2xx; that answer."""
        while True:
            try:
                answer = await self.ask("POST", path, body, key)
            except httpx.TransportError:
                self.refused[NO_ANSWER] += 1
            else:
                if answer.is_success:
                    return answer.json()
                self.refused[answer.status_code] += 1
            await asyncio.sleep(BETWEEN_TRIES)

    async def get(self, path: str) -> Any:
        """What a GET is answered with."""
        answer = await self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def hires(self, **people: HttpReceiver) -> None:
        """Everybody's pages go to their receiver."""
        for name, receiver in people.items():
            answer = await self.ask("PUT", f"/users/{name}", {"name": name, "webhook_url": receiver.url})
            assert answer.is_success, answer.text

    async def escalates(self, source: str, *levels: list[str], after: int = 3600) -> None:
        """Incidents from the source page these people, the next ones `after` seconds later."""
        ladder = [
            {"targets": [{"type": "user", "id": person} for person in level], "escalate_after_secs": after}
            for level in levels
        ]
        policy = {"name": source, "conditions": {"source": [source]}, "priority": 10, "levels": ladder}
        answer = await self.ask("PUT", f"/escalation-policies/{source}", policy)
        assert answer.is_success, answer.text

    @asynccontextmanager
    async def database(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        connection = await asyncpg.connect(Cluster(self.home, self.ports["STACK__POSTGRES_PORT"]).url)
        await connection.set_type_codec("jsonb", encoder=str, decoder=orjson.loads, schema="pg_catalog")
        try:
            yield connection
        finally:
            await connection.close()

    async def temporal(self) -> Client:
        address = f"127.0.0.1:{self.ports['STACK__TEMPORAL_PORT']}"
        return await temporal_client(Temporal(address=address), lazy=False)


@asynccontextmanager
async def product(home: Path, **settings: str) -> AsyncIterator[Product]:
    """Ready; `settings` are LLM_IM__… ones by what follows that. Ended on leaving, if it has not by then."""
    ports = dict(zip(PORTS, quiet_ports(len(PORTS)), strict=True))
    url = f"http://127.0.0.1:{ports['SERVER__HTTP_PORT']}"
    named = {f"LLM_IM__{name}": value for name, value in settings.items()}
    async with httpx.AsyncClient(base_url=url, timeout=10, trust_env=False) as http:
        made = Product(home, ports, named, http)
        try:
            await made.start()
            yield made
        finally:
            await made.stop()

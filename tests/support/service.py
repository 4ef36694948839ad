"""A whole service in its own processes, and its command line."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from app.stack import answering, free_port, listening, temporal
from tests.support.databases import another_database

ROOT = Path(__file__).resolve().parents[2]
NOBODY_THERE = "127.0.0.1:1"


@dataclass(frozen=True)
class Ran:
    code: int
    said: str
    complained: str


@dataclass(frozen=True)
class Service:
    """A gateway and a worker, each its own process."""

    url: str
    environment: dict[str, str]
    http: httpx.AsyncClient

    @property
    def grpc(self) -> str:
        """Where gRPC is served."""
        return f"127.0.0.1:{self.environment['GRPC_PORT']}"

    async def cli(self, *arguments: str, **environment: str) -> Ran:
        """What `llm-im …` says, and its exit code."""
        return await command(*arguments, environment=self.environment | environment)

    async def incident(self, **alert: Any) -> str:
        """The id of a new incident."""
        body = {"source": "tests", "title": f"model is slow {uuid4()}", "severity": "P2"} | alert
        answer = await self.http.post("/api/v1/alerts", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["incident_id"])


async def command(*arguments: str, environment: dict[str, str]) -> Ran:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.cli", *arguments, cwd=ROOT, env=environment,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, complained = await asyncio.wait_for(process.communicate(), 60)
    return Ran(process.returncode or 0, said.decode(), complained.decode())


@contextlib.asynccontextmanager
async def process(name: str, environment: dict[str, str], port: int, path: str | None = None) -> AsyncIterator[int]:
    """`llm-im <name>` until it listens (and answers 200 at `path`); until SIGTERM then. Yields its pid."""
    running = await asyncio.create_subprocess_exec(sys.executable, "-m", "app.cli", name, cwd=ROOT, env=environment)
    try:
        async with asyncio.timeout(30):
            while not await (answering("127.0.0.1", port, path) if path else listening("127.0.0.1", port)):
                assert running.returncode is None, f"{name} ended with {running.returncode}"
                await asyncio.sleep(0.05)
        yield running.pid
    finally:
        if running.returncode is None:
            running.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await running.wait() in (0, -signal.SIGKILL)


@contextlib.asynccontextmanager
async def serving(beside: str) -> AsyncIterator[Service]:
    """A service with a database of its own, on the server of another one, and a Temporal of its own."""
    port, worker_port, grpc_port = free_port(), free_port(), free_port()
    async with (
        another_database(beside, migrated=False) as url,
        temporal() as address,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        environment = os.environ | {
            "DATABASE_URL": url, "TEMPORAL_ADDRESS": address, "API_PORT": "0", "GRPC_PORT": str(grpc_port),
            "LLM_IM__SERVER__HTTP_PORT": str(port), "LLM_IM__SERVER__METRICS_PORT": "0",
            "LLM_IM__SERVER__WORKER_METRICS_PORT": str(worker_port), "LLM_IM_ENDPOINT": f"http://127.0.0.1:{port}",
        }  # fmt: skip
        migrated = await command("migrate", environment=environment)
        assert migrated.code == 0, migrated.complained
        async with process("worker", environment, worker_port), process("serve", environment, port, "/health/ready"):
            yield Service(f"http://127.0.0.1:{port}", environment, client)

"""Supervised stacks for tests. As a program, it is one: `python -m tests.support.stack '<json>'`."""

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from signal import SIGTERM
from typing import Any

import psutil

from app.child import Child
from app.mailbox import mailbox
from app.stack import Description, DevServer, free_port, postgres_child, temporal_child
from app.store.embedded import Cluster
from app.supervisor import Port, Supervisor, claimed

ROOT = Path(__file__).resolve().parents[2]


class Up:
    """A supervisor running as its own process; what it says can be waited for."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[str] = []
        self._read = 0

    async def says(self, pattern: str, within: float = 30) -> re.Match[str]:
        """The next line that contains the pattern; lines before it are passed over."""
        assert self.process.stdout is not None
        async with asyncio.timeout(within):
            while True:
                while self._read < len(self.said):
                    self._read += 1
                    if found := re.search(pattern, self.said[self._read - 1]):
                        return found
                line = await self.process.stdout.readline()
                assert line, f"it ended without saying {pattern!r}:\n" + "\n".join(self.said)
                self.said.append(line.decode().rstrip())

    async def ends(self, within: float = 30) -> int:
        """The exit code, once it has ended."""
        assert self.process.stdout is not None
        async with asyncio.timeout(within):
            self.said += (await self.process.stdout.read()).decode().splitlines()
            return await self.process.wait()

    async def pids(self) -> dict[str, int]:
        """Name and pid of every child, when all have become ready for the first time."""
        await self.says("everything is ready")
        found = (re.search(r"^(\w+): ready .*\(pid (\d+)\)", line) for line in self.said)
        return {match[1]: int(match[2]) for match in found if match}

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@contextlib.asynccontextmanager
async def up(
    directory: Path, *, interpreter: Sequence[str] = (), environment: dict[str, str] | None = None, **plan: Any
) -> AsyncIterator[Up]:
    """A supervisor over what `plan` names (see `main`); ended on leaving, if it has not by then."""
    process = await asyncio.create_subprocess_exec(
        *(interpreter or [sys.executable]),
        "-m",
        "tests.support.stack",
        json.dumps({"directory": str(directory), **plan}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT,
        env=environment,
    )
    try:
        yield Up(process)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, SIGTERM)
            await process.communicate()


async def main(
    directory: str,
    postgres: int | None = None,
    temporal: int | None = None,
    mail: int | None = None,
    children: dict[str, list[str]] | None = None,
    never_ready: Sequence[str] = (),
) -> int:
    """`postgres`, `temporal`, `mail`: their ports, or None for none of it; `children`: further ones, by name."""
    home = Path(directory)
    ports, servers, held = [], [], []
    if postgres is not None:
        ports.append(Port(postgres, "PostgreSQL", "LLM_IM__STACK__POSTGRES_PORT"))
        servers.append(postgres_child(Cluster(home, postgres)))
    if temporal is not None:
        ports.append(Port(temporal, "Temporal", "LLM_IM__STACK__TEMPORAL_PORT"))
        server = DevServer(Description.read().headless(temporal), home)
        servers.append(temporal_child(server, home / "temporal.log"))
    if mail is not None:
        held.append(mailbox(home / "mail", mail, say))

    async def never() -> bool:
        return False

    rest = [
        Child(name, command, ready=never if name in never_ready else None, grace=5)
        for name, command in (children or {}).items()
    ]
    return await Supervisor(say).run([servers, rest], ["welcome"], [claimed(home, ports), *held])


def say(line: str) -> None:
    print(line, flush=True)


__all__ = ["Up", "free_port", "up"]

if __name__ == "__main__":
    sys.exit(asyncio.run(main(**json.loads(sys.argv[1]))))

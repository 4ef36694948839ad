"""A child process: how it is started, when it is ready, how it ends, and that it never outlives us."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from typing import IO

Process = asyncio.subprocess.Process

POLL = 0.05  # seconds between two looks at a child that is not ready yet
LOG_LIMIT = 16 * 2**20  # bytes after which a child's log is set aside at its next start


class CannotStart(Exception):
    """Something the operator has to put right first. The message says what and how."""


@dataclass(frozen=True)
class Child:
    """A process to run. Times are seconds.

    `identity` goes before the command and changes the user; `log` takes its output, which otherwise
    passes through; `ready` is asked until it says yes; `prepare` runs before every start, in a thread;
    `death_signal` is what the child gets when we are killed; one that runs `once` ends by itself, with 0;
    `niceness` is by how much it stands back where processors are short; `sockets` are file descriptors it inherits.
    """

    name: str
    command: Sequence[str]
    ready: Callable[[], Awaitable[bool]] | None = None
    prepare: Callable[[], None] | None = None
    identity: Sequence[str] = ()
    environment: Mapping[str, str] | None = None
    folder: Path | None = None
    log: Path | None = None
    stop_signal: Signals = SIGTERM
    death_signal: Signals = SIGKILL
    grace: float = 10.0
    patience: float = 60.0
    once: bool = False
    niceness: int = 0
    sockets: Sequence[int] = ()


@contextlib.asynccontextmanager
async def running(child: Child, started: Callable[[Process], None] | None = None) -> AsyncIterator[Process]:
    """The child, ready; ended on leaving. `started` gets the process before it is ready.

    Raises: CannotStart when it ends or stalls before it is ready.
    """
    if child.prepare is not None:
        await asyncio.to_thread(child.prepare)
    process = await _start(child)
    try:
        if started is not None:
            started(process)
        await _until_ready(child, process)
        yield process
    finally:
        await _end(child, process)


def kill(process: Process) -> None:
    """The process and its group, if it still runs."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def obituary(child: Child, process: Process) -> str:
    """One line: who ended, and how."""
    code = process.returncode or 0
    how = f"was killed by {Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return f"{child.name} (pid {process.pid}) {how}"


async def _start(child: Child) -> Process:
    # A change of user clears the death signal, so it is set after that.
    command = [*child.identity, *dying_with_us(child.death_signal), *child.command]
    with contextlib.ExitStack() as files:
        output = files.enter_context(_appended(child.log)) if child.log else None
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=child.folder,
            env=None if child.environment is None else dict(child.environment),
            pass_fds=child.sockets,
            start_new_session=True,  # Ctrl-C in the terminal is for us alone
        )
    if child.niceness:
        _stand_back(process.pid, child.niceness)
    return process


def _stand_back(pid: int, niceness: int) -> None:
    with contextlib.suppress(OSError):  # it has ended already, or this is not Linux
        os.setpriority(os.PRIO_PROCESS, pid, niceness)
        # Between sessions, which each child has one of, desktop kernels look at this instead (sched(7), autogroup).
        Path(f"/proc/{pid}/autogroup").write_text(str(niceness))


def dying_with_us(death: Signals) -> list[str]:
    """What goes before a command so that it gets a signal when we are killed.

    Linux with util-linux; elsewhere our own kill -9 leaves the children running.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None or os.path.realpath(setpriv).endswith("busybox"):
        return []
    return [setpriv, "--pdeathsig", death.name.removeprefix("SIG"), "--"]


def _appended(log: Path) -> IO[bytes]:
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_name(f"{log.name}.1"))
    return log.open("ab")


async def _until_ready(child: Child, process: Process) -> None:
    try:
        async with asyncio.timeout(child.patience):
            while child.ready is not None and not await child.ready():
                if process.returncode is not None:
                    raise CannotStart(f"{obituary(child, process)} before it was ready{_last_words(child.log)}")
                await asyncio.sleep(POLL)
    except TimeoutError as stalled:
        late = f"{child.name} (pid {process.pid}) was not ready within {child.patience:g} s"
        raise CannotStart(late + _last_words(child.log)) from stalled


async def _end(child: Child, process: Process) -> None:
    """Asked to end, killed after its grace; killed at once when cancelled meanwhile."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, child.stop_signal)  # Popen.send_signal would reap an ended one and lose its exit code
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), child.grace)
    finally:
        kill(process)
    await process.wait()


def _last_words(log: Path | None, lines: int = 8) -> str:
    if log is None or not log.exists():
        return ""
    said = log.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join([f"; {log} ends with", *(f"    {line}" for line in said)]) if said else ""

"""Keeps child processes running in the foreground, and makes sure beforehand that they can."""

import asyncio
import contextlib
import fcntl
import functools
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path

from app.child import CannotStart, Child, Process, kill, obituary, running

ATTEMPTS = 3  # starts of a child that never was ready before we give up
FIRST_PAUSE = 0.25  # seconds before a restart, doubled each time …
LONGEST_PAUSE = 30.0  # … up to this, and back to the first
HEALTHY = 60.0  # once the child has lived so long
AFTERMATH = 15.0  # seconds which the children of a killed supervisor have to give up their ports

Hold = AbstractAsyncContextManager[object]


@dataclass(frozen=True)
class Port:
    """A TCP port something will listen on, what for, and the setting that moves it."""

    number: int
    purpose: str
    setting: str
    host: str = "127.0.0.1"


@contextlib.asynccontextmanager
async def claimed(directory: Path, ports: Sequence[Port]) -> AsyncIterator[None]:
    """The data directory is ours alone, and every port was free. Raises: CannotStart."""
    with _locked(directory) as last_one_was_killed:
        deadline = time.monotonic() + (AFTERMATH if last_one_was_killed else 0)
        while obstacle := _obstacle(ports):
            if time.monotonic() >= deadline:
                raise CannotStart(obstacle)
            await asyncio.sleep(0.1)
        yield


class Supervisor:
    """Runs children stage by stage, restarts whichever dies, ends them in reverse order.

    SIGINT, SIGTERM and SIGHUP end everything; a second one kills. `say` gets one line of progress at a time.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._latest: dict[str, Process] = {}
        self._signals = 0

    async def run(
        self, stages: Sequence[Sequence[Child]], welcome: Sequence[str] = (), held: Sequence[Hold] = ()
    ) -> int:
        """Stays until told to stop. The exit code: 0 stopped, 1 could not start, 130 killed.

        The children of a stage start side by side once those before are ready. `held` is entered before
        the first stage and left after all have ended; `welcome` is said when everything is ready.
        """
        main = asyncio.create_task(self._hold(stages, welcome, held))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._stop, main)
        try:
            await main
        except asyncio.CancelledError:
            self._tell("everything has stopped")
        except CannotStart as problem:
            self._tell(f"cannot start: {problem}")
            return 1
        return 0 if self._signals < 2 else 130

    def _stop(self, main: "asyncio.Task[None]") -> None:
        self._signals += 1
        if self._signals == 1:
            self._tell("stopping (once more to kill)")
            main.cancel()
            return
        for process in self._latest.values():
            kill(process)

    async def _hold(self, stages: Sequence[Sequence[Child]], welcome: Sequence[str], held: Sequence[Hold]) -> None:
        began = time.monotonic()
        async with AsyncExitStack() as up:
            for hold in held:
                await up.enter_async_context(hold)
            for stage in stages:
                await up.enter_async_context(self._stage(stage))
            for line in (f"everything is ready after {time.monotonic() - began:.1f} s", *welcome):
                self._tell(line)
            await asyncio.Event().wait()

    @contextlib.asynccontextmanager
    async def _stage(self, children: Sequence[Child]) -> AsyncIterator[None]:
        ready, tasks = [], []
        for child in children:
            first = asyncio.get_running_loop().create_future()
            ready.append(first)
            tasks.append(asyncio.create_task(self._once(child, first) if child.once else self._keep(child, first)))
        try:
            await asyncio.gather(*ready)
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _once(self, child: Child, done: "asyncio.Future[None]") -> None:
        began = time.monotonic()
        try:
            async with self._running(child) as process:
                if await process.wait() != 0:
                    raise CannotStart(obituary(child, process))
        except Exception as problem:  # noqa: BLE001 — whatever it is belongs to whoever waits
            done.set_exception(_explained(child, problem))
        else:
            self._tell(f"{child.name}: done after {time.monotonic() - began:.1f} s")
            done.set_result(None)

    async def _keep(self, child: Child, first: "asyncio.Future[None]") -> None:
        """Restarts the child for ever. `first` learns when it is ready, or that it never was."""
        failures, pause = 0, FIRST_PAUSE
        while True:
            began = time.monotonic()
            try:
                async with self._running(child) as process:
                    self._tell(f"{child.name}: ready after {time.monotonic() - began:.1f} s (pid {process.pid})")
                    if not first.done():
                        first.set_result(None)
                    await process.wait()
                    problem = CannotStart(obituary(child, process))
            except asyncio.CancelledError:
                self._tell(f"{child.name}: stopped")
                raise
            except Exception as failure:  # noqa: BLE001 — the child is down, whatever the reason
                problem = _explained(child, failure)
            failures += 1
            if not first.done() and failures == ATTEMPTS:
                first.set_exception(problem)
                return
            if time.monotonic() - began > HEALTHY:
                pause = FIRST_PAUSE
            if not self._signals:
                self._tell(f"{str(problem).splitlines()[0]}, restarting in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _running(self, child: Child) -> AbstractAsyncContextManager[Process]:
        self._tell(f"{child.name}: starting")
        return running(child, functools.partial(self._latest.__setitem__, child.name))

    def _tell(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the terminal may be gone; the children still have to be stopped
            self._say(line)


def _explained(child: Child, problem: Exception) -> CannotStart:
    return problem if isinstance(problem, CannotStart) else CannotStart(f"{child.name}: {problem!r}")


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[bool]:
    """Holds the directory's lock; yields whether its last holder was killed. The file names a living holder's pid."""
    path = directory / "lock"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except PermissionError as refused:
        raise CannotStart(f"{refused}; start as the owner of {directory}, or use another directory") from refused
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            raise CannotStart(f"{directory} is in use by another supervisor (pid {path.read_text()})") from held
        last_one_was_killed = path.stat().st_size > 0
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield last_one_was_killed
        finally:
            file.truncate(0)


def _obstacle(ports: Sequence[Port]) -> str | None:
    """The first port that cannot be had, with the way out. All are held together, so that a port given twice shows."""
    with ExitStack() as held:
        for port in ports:
            family = socket.AF_INET6 if ":" in port.host else socket.AF_INET
            try:
                held.enter_context(socket.create_server((port.host, port.number), family=family))
            except OSError as refusal:
                return (
                    f"port {port.number} on {port.host}, which {port.purpose} needs, cannot be had "
                    f"({os.strerror(refusal.errno or 0)}); free it, or move {port.purpose} with {port.setting}"
                )
    return None

"""Runs a program of the settings: no shell, nothing of our environment, limits, and an end."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, StringConstraints

from app.actions.base import Done, Failed, Plain, Situation, Tools
from app.automation import Script
from app.channels.words import lines
from app.child import dying_with_us
from app.domain.record import Record
from app.section import Name
from app.telemetry.logs import HIDDEN, SECRET_NAME, redacted

OUTPUT_BYTES = 65_536
SHOWN = 4000
"""Characters of what it printed, its end, that the step's output keeps."""
LAST_WORDS_SECS = 1.0
"""How long is waited for the end of what it printed, once it and its group are gone."""
PATH = "/usr/local/bin:/usr/bin:/bin"
CONFINED = str(Path(__file__).with_name("confined.py"))
Argument = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=1000)]


@dataclass(frozen=True)
class RunScript(Plain):
    """The second try runs it again: a script that must not run twice looks at IDEMPOTENCY_KEY in its environment.

    `script`: a name of playbooks.scripts in the settings, which say the program, its first arguments, folder,
    environment and limits. `arguments`: up to 50 more, of up to 1,000 characters each; none is interpreted by a shell.
    Any exit code but 0 has failed. Standard output and error are read together, 64 KiB of them, without their secrets.
    """

    scripts: Mapping[str, Script]

    class Parameters(Record):
        script: Name
        arguments: tuple[Argument, ...] = Field((), max_length=50)

    destructive: ClassVar[bool] = True

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        scripts = tools.settings.playbooks.scripts
        return cls(scripts) if scripts else None

    async def check(self, asked: Parameters, at: Situation) -> str:
        script = self._script(asked)
        return redacted(" ".join(("run", *script.argv, *asked.arguments)))[:500]

    def _script(self, asked: Parameters) -> Script:
        """Raises: Failed when it isn't there, or can't be run."""
        script = self.scripts.get(asked.script)
        if script is None:
            raise Failed(f"there is no script {asked.script!r} in playbooks.scripts, only {', '.join(self.scripts)}")
        if not (os.path.isfile(script.argv[0]) and os.access(script.argv[0], os.X_OK)):
            raise Failed(f"{script.argv[0]} is no program that can be run here")
        if not script.folder.is_dir():
            raise Failed(f"{script.folder} is no folder")
        return script

    async def run(self, asked: Parameters, at: Situation) -> Done:
        script = self._script(asked)
        about = {"PATH": PATH, "IDEMPOTENCY_KEY": at.key, "INCIDENT_ID": at.incident.id}
        try:
            code, printed = await ran((*script.argv, *asked.arguments), script, about | script.environment)
        except OSError as no:
            raise Failed(f"{asked.script} could not be started: {no}") from no
        said = without(printed.decode(errors="replace"), script.environment)[-SHOWN:]
        last = said.strip().rpartition("\n")[2][:300]
        if code is None:
            late = f"{asked.script} was killed after {script.timeout_secs:g} s"
            raise Failed(f"{late}{f': {last}' if last else ''}", doubtful=True)
        if code != 0:
            how = f"ended with exit code {code}" if code > 0 else f"was killed ({signal.strsignal(-code) or -code})"
            raise Failed(f"{asked.script} {how}{f': {last}' if last else ''}")
        return Done(summary=f"{asked.script} is done{f': {last}' if last else ''}", output={"printed": said})


class Printed(asyncio.Protocol):
    """What a program printed: its last 64 KiB. What it prints beyond that is read all the same, so that it goes on."""

    def __init__(self) -> None:
        self.text = b""
        self.over = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.text = (self.text + data)[-OUTPUT_BYTES:]

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set()


async def ran(command: Sequence[str], script: Script, environment: Mapping[str, str]) -> tuple[int | None, bytes]:
    """Its exit code, None when it ran out of time, and what it printed. Its process group is gone after that.

    The pipe is our own: asyncio's `wait` waits for the end of its pipes, which whatever it left behind may hold.
    """
    reads, writes = os.pipe()
    pipe, printed = await asyncio.get_running_loop().connect_read_pipe(Printed, os.fdopen(reads, "rb", buffering=0))
    try:
        process = await asyncio.create_subprocess_exec(
            *dying_with_us(signal.SIGKILL), sys.executable, "-I", "-S", CONFINED, str(script.memory_mb),
            str(script.cpu_secs), *command, stdin=asyncio.subprocess.DEVNULL, stdout=writes, stderr=writes,
            cwd=script.folder, env=dict(environment), start_new_session=True,
        )  # fmt: skip
    except BaseException:
        pipe.close()
        raise
    finally:
        os.close(writes)
    code: int | None = None
    try:
        with contextlib.suppress(TimeoutError):
            code = await asyncio.wait_for(process.wait(), script.timeout_secs)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(printed.over.wait(), LAST_WORDS_SECS)
        pipe.close()
    return code, printed.text


def without(text: str, environment: Mapping[str, str]) -> str:
    """The text as it can be printed, without what looks like a secret and the secrets of the environment."""
    for name, value in environment.items():
        if value and SECRET_NAME.search(name):
            text = text.replace(value, HIDDEN)
    return redacted(lines(text))

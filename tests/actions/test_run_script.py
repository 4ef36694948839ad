"""Programs that playbooks run: by name, confined, and never longer than they may."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import ValidationError

from app.actions.base import Action, Failed
from app.automation import Playbooks, Script
from app.config import Settings
from app.net.http import Http
from tests.support.acting import ID, action, asked, at, ran, tools

PYTHON = (sys.executable, "-I", "-S", "-c")


def with_scripts(http: Http, **scripts: Script) -> Action:
    return action("run_script", tools(http, Settings(playbooks=Playbooks(scripts=scripts))))


def program(http: Http, code: str, **more: Any) -> Action:
    return with_scripts(http, fix=Script(argv=(*PYTHON, code), **more))


async def gone(pid: int) -> bool:
    """Once the process is no more, or a corpse that its new parent has yet to bury."""
    async with asyncio.timeout(5):
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)
    return True


async def test_arguments_are_arguments_and_no_shell_sees_them(http: Http, tmp_path: Path) -> None:
    one = with_scripts(http, say=Script(argv=("/bin/echo", "-n"), folder=tmp_path))
    done = await ran(one, at(), script="say", arguments=("$HOME", "; touch x", "`id`", "a  b"))
    assert done.output == {"printed": "$HOME ; touch x `id` a  b"}
    assert list(tmp_path.iterdir()) == []
    assert one.destructive


async def test_nothing_of_our_environment_is_there(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    code = "import os, sys; print(sorted(os.environ), os.environ['INCIDENT_ID'], os.environ['IDEMPOTENCY_KEY'], end='')"
    done = await ran(program(http, code, environment={"REGION": "eu"}), at(), script="fix")
    printed = str(done.output["printed"])
    names, said = printed.split("] ")
    assert set(names.strip("[").replace("'", "").split(", ")) - {"LC_CTYPE"} == {
        "IDEMPOTENCY_KEY", "INCIDENT_ID", "PATH", "REGION",
    }  # fmt: skip
    assert said == f"{ID} run-1/notify"


async def test_any_exit_code_but_0_has_failed_for_good(http: Http) -> None:
    code = "import sys; print('half done', flush=True); print('disk is full', file=sys.stderr); sys.exit(3)"
    with pytest.raises(Failed, match="fix ended with exit code 3: disk is full") as no:
        await ran(program(http, code), at(), script="fix")
    assert no.value.retry_after is None
    with pytest.raises(Failed, match=r"was killed \(Segmentation fault\)"):
        await ran(program(http, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"), at(), script="fix")


async def test_at_its_time_limit_its_whole_group_is_killed(http: Http, tmp_path: Path) -> None:
    code = f"""
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    open({str(tmp_path / "pids")!r}, "w").write(f"{{os.getpid()}} {{child}}")
    print("waiting", flush=True)
time.sleep(60)
"""
    with pytest.raises(Failed, match="fix was killed after 2 s: waiting") as no:
        await ran(program(http, code, timeout_secs=2), at(), script="fix")
    assert no.value.doubtful
    for pid in map(int, (tmp_path / "pids").read_text().split()):
        assert await gone(pid)


async def test_what_it_leaves_behind_neither_holds_us_up_nor_lives_on(http: Http) -> None:
    code = "import os, time\nchild = os.fork()\nprint(child) if child else time.sleep(60)"
    async with asyncio.timeout(5):
        done = await ran(program(http, code), at(), script="fix")
    assert await gone(int(str(done.output["printed"])))


async def test_a_step_that_is_cancelled_kills_it(http: Http, tmp_path: Path) -> None:
    fifo = tmp_path / "pid"
    os.mkfifo(fifo)
    code = f"import os, time; open({str(fifo)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    running = asyncio.create_task(ran(program(http, code), at(), script="fix"))
    pid = int(await asyncio.to_thread(fifo.read_text))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await gone(pid)


async def test_it_may_take_so_much_memory_and_processor_time_and_no_more(http: Http) -> None:
    with pytest.raises(Failed, match="MemoryError"):
        await ran(program(http, "b'x' * (200 << 20)", memory_mb=128), at(), script="fix")
    with pytest.raises(Failed, match=r"was killed \((Killed|CPU time limit exceeded)\)"):
        await ran(program(http, "while True: pass", cpu_secs=1), at(), script="fix")


async def test_the_end_of_what_it_prints_is_kept_however_much_it_is(http: Http) -> None:
    code = "import sys\nfor n in range(3000): print('x' * 100)\nprint('done')"
    done = await ran(program(http, code), at(), script="fix")
    printed = str(done.output["printed"])
    assert (len(printed), printed[-5:]) == (4000, "done\n")
    assert done.summary == "fix is done: done"


async def test_secrets_are_not_in_what_is_kept(http: Http) -> None:
    code = "import os; print('it is', os.environ['API_TOKEN']); print('password=hunter2'); print(b'\\xff')"
    done = await ran(program(http, code, environment={"API_TOKEN": "s3cr3t-abc"}), at(), script="fix")
    assert "s3cr3t" not in done.model_dump_json()
    assert "hunter2" not in done.model_dump_json()
    assert "it is ***" in str(done.output["printed"])


async def test_checking_says_what_would_run_and_runs_nothing(http: Http, tmp_path: Path) -> None:
    one = with_scripts(
        http, touch=Script(argv=("/bin/touch", str(tmp_path / "x"))), lost=Script(argv=("/bin/not-there",)),
        data=Script(argv=(str(tmp_path),)), nowhere=Script(argv=("/bin/touch",), folder=tmp_path / "gone"),
    )  # fmt: skip
    said = await one.check(asked(one, script="touch", arguments=["--password=hunter2"]), at())
    assert said == f"run /bin/touch {tmp_path}/x --password=***"
    assert list(tmp_path.iterdir()) == []
    for name, why in (
        ("lost", "/bin/not-there is no program"), ("data", "is no program"), ("nowhere", "is no folder"),
        ("rm", "there is no script 'rm' in playbooks.scripts, only touch, lost, data, nowhere"),
    ):  # fmt: skip
        with pytest.raises(Failed, match=why):
            await one.check(asked(one, script=name), at())
        with pytest.raises(Failed, match=why):
            await ran(one, at(), script=name)


def test_a_program_is_named_by_its_whole_path_and_an_argument_has_no_nul(http: Http) -> None:
    with pytest.raises(ValidationError, match="must begin with a program's whole path"):
        Script(argv=("touch", "x"))
    with pytest.raises(ValidationError):
        asked(with_scripts(http, say=Script(argv=("/bin/echo",))), script="say", arguments=["a\0b"])
    with pytest.raises(AssertionError):
        with_scripts(http)

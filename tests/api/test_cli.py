"""The command line, as processes of its own."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from app.stack import free_port
from tests.api.conftest import NOBODY_THERE, ROOT, Service, command, process
from tests.support.databases import another_database
from tests.support.stack import Up


async def test_an_incident_from_the_alert_to_the_resolve(service: Service) -> None:
    sent = await service.cli("alert", "-s", "cli", "-t", "disk \x1b[31mfull", "-S", "P1", "-T", "Infrastructure")
    assert sent.code == 0, sent.complained
    found = re.search(r"^Accepted: incident (\S+) \(created\)$", sent.said.strip())
    assert found, sent.said
    again = await service.cli("alert", "-s", "cli", "-t", "disk \x1b[31mfull", "-S", "P1", "-T", "Infrastructure")
    assert again.said.strip() == f"Duplicate: incident {found[1]} (merged)"

    listed = await service.cli("list", "--severity", "P1", "--search", "disk")
    assert found[1] in listed.said
    assert "\x1b" not in listed.said
    taken = await service.cli("ack", found[1], "--notes", "mine")
    assert taken.said.startswith(f"{found[1]} is ACKNOWLEDGED"), taken.complained
    over = await service.cli("resolve", found[1], "--root-cause", "logs", "--json")
    assert json.loads(over.said)["resolution"]["root_cause"] == "logs"
    shown = await service.cli("get", found[1])
    assert re.search(r"^status +RESOLVED$", shown.said, re.MULTILINE)
    assert re.search(r"^alert_count +2$", shown.said, re.MULTILINE)
    assert (await service.cli("health")).code == 0


async def test_what_happens_is_watched_as_lines(service: Service) -> None:
    title = f"\x1b[31mdisk full {uuid4()}"
    watching = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app.cli", "watch", "--severity", "P0,P1", *how, cwd=ROOT, env=service.environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )
        for how in ((), ("--json",))
    ]  # fmt: skip
    lines, answers = [asyncio.ensure_future(_first_about(title.split()[-1], one.stdout)) for one in watching]
    async with asyncio.timeout(30):
        while not (lines.done() and answers.done()):
            await service.incident(title=title, severity="P3")
            incident = await service.incident(title=title, severity="P1")
            await service.http.post(f"/api/v1/incidents/{incident}/comments", json={"content": "mine", "actor": "ann"})
            await asyncio.wait([lines, answers], timeout=0.3)
    line = await lines
    assert re.match(r"[\d-]{10}T[\d:]{8}Z  P1  (NEW|ESCALATED) +[\w-]{36}  \w+ by \w+", line), line
    assert "\x1b" not in line
    assert json.loads(await answers)["incident"]["severity"] == "P1"
    for one in watching:
        one.send_signal(signal.SIGINT)
        _, complained = await one.communicate()
        assert (one.returncode, complained) == (0, b"")


async def _first_about(words: str, said: asyncio.StreamReader | None) -> str:
    assert said is not None
    async for line in said:
        if words in line.decode():
            return line.decode().rstrip()
    raise AssertionError("it ended")


@pytest.mark.parametrize(("arguments", "complaint"), [
    (["get", "no-such-id"], "NOT_FOUND"),
    (["alert", "-s", "x", "-t", "y", "-S", "P9"], "VALIDATION_ERROR: severity"),
    (["get", "x", "-e", "http://127.0.0.1:1"], "does not answer"),
    (["list", "-e", "nonsense"], "looks like http://"),
    (["-e", "http://127.0.0.1:1", "health"], "does not answer"),
])  # fmt: skip
async def test_what_fails_says_so_in_one_line(service: Service, arguments: list[str], complaint: str) -> None:
    ran = await service.cli(*arguments)
    assert ran.code == 1
    assert complaint in ran.complained
    assert len(ran.complained.splitlines()) == 1
    assert not ran.said


async def test_a_bad_setting_is_named_and_nothing_starts() -> None:
    for name in ("up", "serve", "worker", "migrate"):
        ran = await command(name, environment=os.environ | {"LLM_IM__SERVER__HTTP_PORT": "eighty"})
        assert ran.code == 2
        assert "LLM_IM__SERVER__HTTP_PORT = 'eighty'" in ran.complained


async def test_a_database_that_is_away_is_one_line() -> None:
    environment = os.environ | {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "TEMPORAL_ADDRESS": NOBODY_THERE,
    }
    for arguments in (["migrate"], ["key", "list"]):
        ran = await command(*arguments, environment=environment)
        assert ran.code == 1
        assert len(ran.complained.splitlines()) == 1, ran.complained


@pytest.fixture
async def empty(database_url: str) -> AsyncIterator[str]:
    async with another_database(database_url) as url:
        yield url


async def test_keys_are_made_listed_and_revoked(empty: str) -> None:
    port = free_port()
    environment = os.environ | {
        "DATABASE_URL": empty, "TEMPORAL_ADDRESS": NOBODY_THERE, "LLM_IM__SERVER__HTTP_PORT": str(port),
        "API_PORT": "0", "GRPC_PORT": "0", "LLM_IM__SERVER__METRICS_PORT": "0",
        "LLM_IM_ENDPOINT": f"http://127.0.0.1:{port}",
    }  # fmt: skip
    assert (await command("migrate", environment=environment)).code == 0
    made = await command("key", "create", "--name", "ops", "--role", "responder", environment=environment)
    key = made.said.strip()
    assert re.fullmatch(r"im[A-Za-z0-9]{30}", key), made.complained
    assert (await command("key", "create", "--name", "x", "--role", "king", environment=environment)).code == 1

    async with process("serve", environment, port, "/health/live"):
        assert "AUTHENTICATION_ERROR" in (await command("list", environment=environment)).complained
        assert (await command("list", "--api-key", key, environment=environment)).code == 0
        assert (await command("list", environment=environment | {"LLM_IM_API_KEY": key})).code == 0
        health = await command("health", environment=environment)
        assert health.code == 1
        assert "temporal" in health.said

    listed = await command("key", "list", environment=environment)
    assert re.search(r"responder .* valid +ops$", listed.said, re.MULTILINE)
    assert key not in listed.said
    assert (await command("key", "revoke", "ops", environment=environment)).code == 0
    assert "revoked" in (await command("key", "list", environment=environment)).said
    assert (await command("key", "revoke", "nobody", environment=environment)).code == 1


async def test_a_taken_port_is_named_with_its_setting(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environment = os.environ | {"DATABASE_URL": database_url, "TEMPORAL_ADDRESS": NOBODY_THERE}
        ran = await command("serve", environment=environment | {"LLM_IM__SERVER__HTTP_PORT": port})
    assert ran.code == 1
    assert f"port {port}" in ran.complained
    assert "http_port" in ran.complained


async def test_one_command_runs_everything_and_the_second_time_the_incident_is_still_there(tmp_path: Path) -> None:
    ports = {
        name: str(free_port())
        for name in (
            "SERVER__HTTP_PORT", "SERVER__GRPC_PORT", "SERVER__METRICS_PORT", "SERVER__WORKER_METRICS_PORT",
            "STACK__POSTGRES_PORT", "STACK__TEMPORAL_PORT", "STACK__TEMPORAL_UI_PORT", "STACK__TEMPORAL_METRICS_PORT",
            "STACK__MAIL_PORT",
        )
    }  # fmt: skip
    environment = os.environ | {f"LLM_IM__{name}": port for name, port in ports.items()}
    environment |= {"LLM_IM__STACK__DIRECTORY": str(tmp_path), "API_PORT": "0"}
    environment["LLM_IM_ENDPOINT"] = f"http://localhost:{ports['SERVER__HTTP_PORT']}"

    first = await everything(environment)
    await first.says("everything is ready", within=60)
    await first.says(f"{ports['SERVER__HTTP_PORT']}/docs")
    await first.says(f"gRPC +127.0.0.1:{ports['SERVER__GRPC_PORT']}")
    sent = await command("alert", "-s", "cli", "-t", "kept", "--json", environment=environment)
    incident = json.loads(sent.said)["incident_id"]
    assert (await command("ack", incident, environment=environment)).code == 0
    first.process.send_signal(signal.SIGINT)
    assert await first.ends() == 0

    second = await everything(environment)
    await second.says("everything is ready", within=60)
    assert "ACKNOWLEDGED" in (await command("get", incident, environment=environment)).said
    second.process.send_signal(signal.SIGTERM)
    assert await second.ends() == 0


async def everything(environment: dict[str, str]) -> Up:
    return Up(
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "app.cli", "up", cwd=ROOT, env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )
    )  # fmt: skip


async def test_a_client_command_starts_fast(service: Service) -> None:
    """Nothing of the server is loaded for it."""
    loaded = await asyncio_modules("import app.cli; app.cli.app(['get', 'x'], standalone_mode=False)", service)
    assert not loaded & {"fastapi", "sqlalchemy", "temporalio", "asyncpg", "websockets"}


async def asyncio_modules(program: str, service: Service) -> set[str]:
    code = f"import sys\ntry:\n  {program}\nexcept BaseException: pass\nprint(' '.join(sys.modules))"
    ran = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=ROOT, env=service.environment, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    said, _ = await ran.communicate()
    assert said
    return set(said.decode().split())

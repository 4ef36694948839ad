"""`llm-im playbook`, as a process of its own: a playbook from its file to the end of its runs."""

import asyncio
import json
import re
import signal
import sys
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from tests.api.conftest import ROOT, Service

QUICK = {"id": "quick", "type": "wait", "seconds": "10ms"}
ASK = {"id": "ask", "type": "approval", "approval": {"approvers": [{"type": "user", "id": "somebody"}]}}
NOT_SO_STRICT = {"four_eyes": False}


@pytest.fixture
async def somebody(service: Service) -> None:
    await service.http.put("/api/v1/users/somebody", json={"name": "Somebody"})


async def applied(service: Service, folder: Path, *steps: object) -> str:
    name = f"p-{uuid4()}"
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({"name": "Wait a little", "steps": list(steps), "execution": NOT_SO_STRICT}))
    kept = await service.cli("playbook", "apply", str(file))
    assert kept.said.strip() == f"{name} is kept, version 1", kept.complained
    return name


async def begun(service: Service, playbook: str) -> str:
    body = {"incident_id": await service.incident()}
    return str((await service.http.post(f"/api/v1/playbooks/{playbook}/execute", json=body)).json()["id"])


async def waits(service: Service, run: str) -> None:
    async with asyncio.timeout(20):
        while (await service.http.get(f"/api/v1/playbook-runs/{run}")).json()["status"] != "waiting":
            await asyncio.sleep(0.05)


async def test_a_playbook_is_written_begun_and_watched_to_its_end(service: Service, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"name": "x", "steps": [{"id": "a", "action": "nope"}]}))
    refused = await service.cli("playbook", "validate", str(wrong))
    assert refused.code == 1
    assert "steps[0].call.action: there is no action 'nope' here" in refused.complained
    name = await applied(service, tmp_path, QUICK)
    right = await service.cli("playbook", "validate", str(tmp_path / f"{name}.yaml"))
    assert right.said.strip().endswith("is right: 1 steps"), right.complained
    assert re.search(f"^{name} .* 1 steps  Wait a little$", (await service.cli("playbook", "list")).said, re.MULTILINE)
    shown = yaml.safe_load((await service.cli("playbook", "show", name)).said)
    assert (shown["id"], shown["steps"][0]["id"]) == (name, "quick")

    incident = await service.incident()
    ran = await service.cli("playbook", "run", name, incident, "--dry-run")
    assert ran.code == 0, ran.complained
    run = ran.said.split()[1]
    assert re.search(r"^ +quick +completed$", ran.said, re.MULTILINE), ran.said
    assert ran.said.splitlines()[-1].split() == ["run", "completed"]
    listed = await service.cli("playbook", "runs", "--playbook", name, "--status", "completed")
    assert listed.said.startswith(f"{run}  completed")
    assert listed.said.strip().endswith("by local (dry run)")


@pytest.mark.usefixtures("somebody")
async def test_runs_wait_for_a_word_and_end_with_what_came_of_them(service: Service, tmp_path: Path) -> None:
    name = await applied(service, tmp_path, ASK)
    agreed, refused, ended = [await begun(service, name) for _ in range(3)]
    for run in (agreed, refused, ended):
        await waits(service, run)
    watching = asyncio.ensure_future(service.cli("playbook", "watch", agreed))
    for what, run in (("approve", agreed), ("reject", refused)):
        said = await service.cli("playbook", what, run, "--comment", "because")
        assert said.said.startswith(f"run {run} of {name}: "), said.complained
    assert "cancelled: cancelled by local" in (await service.cli("playbook", "cancel", ended, "--undo")).said
    assert (await watching).code == 0
    assert "local approved it: because" in (await service.cli("playbook", "watch", agreed)).said
    codes = [(await service.cli("playbook", "watch", run)).code for run in (refused, ended)]
    assert codes == [1, 2]
    anew = await service.cli("playbook", "retry", refused, "--json")
    assert json.loads(anew.said)["from_run"] == refused, anew.complained


@pytest.mark.usefixtures("somebody")
async def test_who_stops_watching_stops_nothing(service: Service, tmp_path: Path) -> None:
    run = await begun(service, await applied(service, tmp_path, ASK))
    watching = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.cli", "playbook", "watch", run, cwd=ROOT, env=service.environment,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert watching.stdout is not None
    async with asyncio.timeout(20):
        while b"waiting for the word of somebody" not in await watching.stdout.readline():
            pass
    watching.send_signal(signal.SIGINT)
    said, _ = await watching.communicate()
    assert (watching.returncode, said.decode().splitlines()[-1]) == (130, f"it goes on: llm-im playbook watch {run}")
    assert (await service.http.get(f"/api/v1/playbook-runs/{run}")).json()["status"] == "waiting"

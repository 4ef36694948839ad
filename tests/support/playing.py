"""Runs of playbooks that a service has under way."""

import asyncio
from uuid import uuid4

from tests.support.service import Service


async def waiting_run(service: Service, *asked: str) -> str:
    """A run that waits at its step `ask` for the word of one of those people, and then is over."""
    playbook = f"p-{uuid4()}"
    approval = {"approvers": [{"type": "user", "id": name} for name in asked], "message": "<b>Drain</b> it?"}
    body = {
        "name": "Drain <it>", "steps": [{"id": "ask", "type": "approval", "approval": approval}],
        "execution": {"four_eyes": False},
    }  # fmt: skip
    kept = await service.http.put(f"/api/v1/playbooks/{playbook}", json=body)
    assert kept.status_code == 200, kept.text
    begin = {"incident_id": await service.incident()}
    run = str((await service.http.post(f"/api/v1/playbooks/{playbook}/execute", json=begin)).json()["id"])
    await waits(service, run)
    return run


async def status(service: Service, run: str) -> str:
    return str((await service.http.get(f"/api/v1/playbook-runs/{run}")).json()["status"])


async def waits(service: Service, run: str) -> None:
    async with asyncio.timeout(20):
        while await status(service, run) != "waiting":
            await asyncio.sleep(0.05)


async def over(service: Service, run: str) -> str:
    """What became of a run."""
    async with asyncio.timeout(20):
        while (found := await status(service, run)) not in ("completed", "failed", "cancelled"):
            await asyncio.sleep(0.05)
    return found

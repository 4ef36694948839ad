"""kill -9 of the worker in every step of a playbook's run: each deed is done once, in its order."""

from asyncio.subprocess import DEVNULL, Process, create_subprocess_exec
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from tests.support.product import Product, eventually, product
from tests.support.receivers import SILENCE, HttpReceiver, Reply, http_receiver

STEPS = [f"s{n}" for n in range(10)]
SOON = 20.0


def asked(other: HttpReceiver) -> list[tuple[str, str]]:
    """What was asked for, each with the key that tells whether it was asked for before."""
    return [(request.path.removeprefix("/"), request.headers["idempotency-key"]) for request in other.items]


async def run_on_a_new_incident(stack: Product, other: HttpReceiver) -> str:
    steps = [
        {"id": id_, "action": "http_request", "parameters": {"url": f"http://127.0.0.1:{other.port}/{id_}"}}
        for id_ in STEPS
    ]
    answer = await stack.ask("PUT", "/playbooks/long", {"name": "long", "steps": steps})
    assert answer.is_success, answer.text
    incident = (await stack.granted("/alerts", {"source": "kills", "title": "killed"}, key="alert"))["incident_id"]
    run = await stack.granted("/playbooks/long/execute", {"incident_id": incident}, key="run")
    return str(run["id"])


class Workers:
    """One after another, each as the product's own was begun: the supervisor waits longer and longer between them."""

    def __init__(self, stack: Product) -> None:
        self.first = psutil.Process(stack.pid("worker"))
        self.command, self.environment, self.place = self.first.cmdline(), self.first.environ(), self.first.cwd()
        self.latest: Process | None = None

    async def dies(self) -> None:
        if self.latest is None:
            self.first.kill()
        else:
            self.latest.kill()
            await self.latest.wait()

    async def follows(self) -> None:
        self.latest = await create_subprocess_exec(
            *self.command, env=self.environment, cwd=self.place, stdout=DEVNULL, stderr=DEVNULL
        )


async def test_killed_in_each_of_ten_steps_it_does_each_once_and_in_order(tmp_path: Path) -> None:
    async with product(tmp_path) as stack, http_receiver() as other:
        other.replies.append(SILENCE)
        run = await run_on_a_new_incident(stack, other)
        with stack.unattended():
            workers = Workers(stack)
            for number in range(len(STEPS)):
                await other.received(2 * number + 1, within=SOON)
                await workers.dies()
                other.replies.extend([Reply(), SILENCE] if number + 1 < len(STEPS) else [Reply()])
                await workers.follows()
            await other.received(2 * len(STEPS), within=SOON)
            shown = await eventually(partial(over, stack, run))
            await workers.dies()
    keys = dict(asked(other))
    assert asked(other) == [(id_, keys[id_]) for id_ in STEPS for _ in range(2)]
    assert len(set(keys.values())) == len(STEPS)
    assert [(step["step_id"], step["attempts"], step["status"]) for step in shown["steps"]] == [
        (id_, 1, "completed") for id_ in STEPS
    ]


async def over(stack: Product, run: str) -> Any:
    """The run, once it has ended."""
    shown = await stack.get(f"/playbook-runs/{run}")
    return shown if shown["status"] in {"completed", "failed", "cancelled"} else None

"""kill -9 of the worker in every step of a playbook's run: each deed is done once, in its order."""

from pathlib import Path

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


async def test_killed_in_each_of_ten_steps_it_does_each_once_and_in_order(tmp_path: Path) -> None:
    async with product(tmp_path) as stack, http_receiver() as other:
        other.replies.append(SILENCE)
        run = await run_on_a_new_incident(stack, other)
        for number in range(len(STEPS)):
            await other.received(2 * number + 1, within=SOON)
            stack.kill("worker")
            other.replies.append(Reply())
            if number + 1 < len(STEPS):
                other.replies.append(SILENCE)
            await stack.runs("worker")
        await other.received(2 * len(STEPS), within=SOON)

        async def over() -> str | None:
            status = (await stack.get(f"/playbook-runs/{run}"))["status"]
            return status if status not in {"pending", "running"} else None

        assert await eventually(over) == "completed"
        shown = await stack.get(f"/playbook-runs/{run}")
    keys = dict(asked(other))
    assert asked(other) == [(id_, keys[id_]) for id_ in STEPS for _ in range(2)]
    assert len(set(keys.values())) == len(STEPS)
    assert [(step["step_id"], step["attempts"], step["status"]) for step in shown["steps"]] == [
        (id_, 1, "completed") for id_ in STEPS
    ]

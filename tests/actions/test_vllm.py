"""The prefix cache of a vLLM server on loopback is emptied."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.receivers import SILENCE, Reply, Request
from tests.support.steps import Step, failure, tools, way_out
from tests.support.vendor import Answered, Vendor, up


class FakeVllm(Vendor):
    """`developing`: VLLM_SERVER_DEV_MODE=1. `described`: it says at /openapi.json what it offers."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.developing = True
        self.described = True
        self.cached = 1000

    def does(self, request: Request, path: str, query: dict[str, str]) -> Answered:
        if path == "/openapi.json" and self.described:
            return 200, {"paths": {"/health": {}} | ({"/reset_prefix_cache": {}} if self.developing else {})}
        if (request.method, path) == ("POST", "/reset_prefix_cache") and self.developing:
            self.cached = 0
            return 200, None
        return 404, {"detail": "Not Found"}


@pytest.fixture
async def vllm() -> AsyncIterator[FakeVllm]:
    async with up(FakeVllm()) as server:
        yield server


def step(vllm: FakeVllm, deadline_secs: float = 10) -> Step:
    return Step(tools(way_out(deadline_secs)), "vllm_reset_prefix_cache", url=f"{vllm.base}/")


@pytest.mark.parametrize("described", [True, False])
async def test_a_check_empties_nothing_and_a_run_does(vllm: FakeVllm, described: bool) -> None:
    vllm.described = described
    assert "empty the prefix cache" in await step(vllm).checks()
    assert vllm.cached == 1000
    done = await step(vllm).runs()
    await step(vllm).again()
    assert vllm.cached == 0
    assert "emptied" in await step(vllm).verifies(done)


async def test_a_server_outside_development_mode_is_told_of(vllm: FakeVllm) -> None:
    vllm.developing = False
    assert "VLLM_SERVER_DEV_MODE=1" in (await failure(step(vllm).checks())).message
    assert (await failure(step(vllm).runs())).retry_after is None


@pytest.mark.parametrize(
    ("reply", "passes"),
    [
        (Reply(429, {"retry-after": "7"}), 7),
        (Reply(500), 2),
        (SILENCE, 2),
        (Reply(301, {"location": "https://elsewhere.example"}), None),
    ],
    ids=["429", "500", "silence", "redirect"],
)
async def test_a_server_that_does_not_answer_well(vllm: FakeVllm, reply: Reply, passes: float | None) -> None:
    vllm.replies.append(reply)
    no = await failure(step(vllm, 0.7).runs())
    assert (no.retry_after and no.retry_after.total_seconds()) == passes
    vllm.replies.append(Reply(503))
    assert (await failure(step(vllm).checks())).retry_after is not None
    await step(vllm).runs()
    assert vllm.cached == 0


async def test_what_cannot_be_undone_says_so(vllm: FakeVllm) -> None:
    done = await step(vllm).runs()
    assert "cannot be undone" in (await failure(step(vllm).undoes(done))).message

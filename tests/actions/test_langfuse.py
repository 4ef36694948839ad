"""The label of a prompt is moved, against a Langfuse on loopback."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.actions import ACTIONS
from app.actions.base import Failed
from app.domain.errors import Invalid
from app.net.http import Http
from tests.support.langfuse import PUBLIC, SECRET, FakeLangfuse
from tests.support.receivers import SILENCE, Reply
from tests.support.steps import Step, failure, tools, way_out
from tests.support.vendor import up

NAME = "support/chat answer?"


@pytest.fixture
async def langfuse() -> AsyncIterator[FakeLangfuse]:
    async with up(FakeLangfuse()) as vendor:
        vendor.prompts[NAME] = {1: ["staging"], 2: [], 4: ["production"], 5: ["latest"]}
        yield vendor


def step(langfuse: FakeLangfuse, http: Http | None = None, secret: str = SECRET, **said: Any) -> Step:
    settings = {"url": langfuse.base, "public_key": PUBLIC, "secret_key": secret}
    return Step(tools(http, langfuse=settings), "langfuse_prompt_label", **{"prompt": NAME, **said})


def production(langfuse: FakeLangfuse) -> list[int]:
    return [version for version, labels in langfuse.prompts[NAME].items() if "production" in labels]


async def test_production_goes_back_to_the_version_before(langfuse: FakeLangfuse) -> None:
    tried = step(langfuse)
    assert await tried.checks() == f"label production of prompt {NAME}: 4 → 2"
    assert langfuse.writes == []
    done = await tried.runs()
    assert production(langfuse) == [2]
    assert await tried.verifies(done) == f"label production of prompt {NAME}: is 2"
    await tried.undoes(done)
    assert production(langfuse) == [4]
    written = len(langfuse.writes)
    await tried.undoes(done)
    assert len(langfuse.writes) == written


async def test_twice_with_one_key_does_not_go_back_twice(langfuse: FakeLangfuse) -> None:
    done = await step(langfuse).runs()
    another_process = step(langfuse)
    assert await another_process.again() == done
    assert production(langfuse) == [2]
    await another_process.undoes(done)
    assert production(langfuse) == [4]


async def test_any_label_goes_to_a_given_version(langfuse: FakeLangfuse) -> None:
    await step(langfuse, version=5, label="staging").runs()
    assert "staging" in langfuse.prompts[NAME][5]
    assert "staging" not in langfuse.prompts[NAME][1]


@pytest.mark.parametrize("reply", [Reply(502), SILENCE], ids=["502", "silence"])
async def test_a_move_whose_answers_were_lost_is_made_once_and_can_be_undone(
    langfuse: FakeLangfuse, reply: Reply
) -> None:
    tried = step(langfuse, way_out(0.7))
    langfuse.lost = reply
    await failure(tried.runs())
    langfuse.lost = reply
    with contextlib.suppress(Failed):
        await tried.runs()
    done = await tried.again()
    assert production(langfuse) == [2]
    await tried.undoes(done)
    assert production(langfuse) == [4]


async def test_a_label_that_somebody_else_has_moved_since_stays(langfuse: FakeLangfuse) -> None:
    tried = step(langfuse)
    done = await tried.runs()
    langfuse.prompts[NAME] |= {2: [], 5: ["latest", "production"]}
    assert "somebody else" in (await failure(tried.undoes(done))).message
    assert "production" in langfuse.prompts[NAME][5]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"prompt": "nope"}, "no version of prompt 'nope'"),
        ({"label": "beta"}, "has the label beta"),
        ({"version": 3}, "has no version 3"),
        ({"label": "staging"}, "is the oldest"),
    ],
)
async def test_what_cannot_be_moved_is_said_beforehand(langfuse: FakeLangfuse, said: dict[str, Any], told: str) -> None:
    no = await failure(step(langfuse, **said).checks())
    assert told in no.message
    assert no.retry_after is None


@pytest.mark.parametrize(
    ("reply", "passes"),
    [
        (Reply(429, {"retry-after": "7"}), 7),
        (Reply(503), 2),
        (Reply(200, body=b"<html>"), 2),
        (Reply(200, body=b"[]"), 2),
        (Reply(200, body=b"{}"), 2),
        (Reply(308, {"location": "https://elsewhere.example"}), None),
        (Reply(403, body=b'{"message": "no"}'), None),
    ],
    ids=["429", "503", "garbage", "no object", "no version", "redirect", "403"],
)
async def test_a_server_that_does_not_answer_well(langfuse: FakeLangfuse, reply: Reply, passes: float | None) -> None:
    langfuse.replies.append(reply)
    no = await failure(step(langfuse).runs())
    assert (no.retry_after and no.retry_after.total_seconds()) == passes
    assert langfuse.writes == []
    await step(langfuse).runs()


async def test_a_wrong_secret_is_said_and_never_shown(langfuse: FakeLangfuse) -> None:
    no = await failure(step(langfuse, secret="sk-lf-wrong").checks())
    assert "Invalid credentials" in no.message
    assert "sk-lf-wrong" not in no.message


def test_latest_is_not_ours_to_move() -> None:
    with pytest.raises(Invalid, match="latest is Langfuse's own"):
        Step(tools(langfuse={"url": "http://x", "public_key": "p", "secret_key": "s"}),
             "langfuse_prompt_label", prompt="a", label="latest")  # fmt: skip


def test_without_langfuse_there_is_no_such_action() -> None:
    assert ACTIONS["langfuse_prompt_label"](tools(langfuse={"url": "http://x"})) is None

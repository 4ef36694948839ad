"""Actions on LiteLLM's proxy, against one on loopback."""

import hashlib
import re
import stat
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.actions import ACTIONS
from app.domain.errors import Invalid
from app.net.http import Http
from tests.support.litellm import MASTER, FakeLiteLLM
from tests.support.receivers import SILENCE, Reply
from tests.support.steps import INCIDENT, NOW, Step, failure, situation, tools, way_out
from tests.support.vendor import up

Said = dict[str, Any]
FALLBACK: Said = {"action": "litellm_fallback", "model": "gpt-5.1", "fallbacks": ["claude-sonnet-4-5"]}
ROUTING: Said = {"action": "litellm_routing", "model": "claude-sonnet-4-5", "to": "gpt-5.1"}
MODEL: Said = {"action": "litellm_model_block", "model_id": "d1"}
BLOCK: Said = {"action": "litellm_key_block", "key": "batch"}
LIMIT: Said = {"action": "litellm_key_limit", "key": "batch", "rpm_limit": 10, "tpm_limit": 1000, "max_budget": 2.5}
BUDGET: Said = {"action": "litellm_temporary_budget", "key": "batch", "increase_usd": 50, "hours": 2}
GUARDRAIL: Said = {"action": "litellm_guardrail", "guardrail_id": "g1"}
NEW_KEY: Said = {"action": "litellm_new_key", "alias": "chat-2", "models": ["gpt-5.1"], "duration": "30d"}
CHANGES = [FALLBACK, ROUTING, MODEL, BLOCK, LIMIT, BUDGET, GUARDRAIL]
ALL = [*CHANGES, NEW_KEY]


def named(said: Said) -> str:
    return str(said["action"])


@pytest.fixture
async def proxy() -> AsyncIterator[FakeLiteLLM]:
    async with up(FakeLiteLLM()) as litellm:
        litellm.issues("batch", rpm_limit=100, max_budget=20.0, tpm_limit=None)
        yield litellm


@pytest.fixture
def step(proxy: FakeLiteLLM, tmp_path: Path) -> "Steps":
    return Steps(proxy, tmp_path)


class Steps:
    """Steps on one proxy; `folder` is where new keys go."""

    def __init__(self, proxy: FakeLiteLLM, folder: Path) -> None:
        self.proxy = proxy
        self.folder = folder

    def __call__(self, said: Said, http: Http | None = None, admin: str = MASTER, **more: object) -> Step:
        settings = {"url": self.proxy.base, "api_key": admin, "new_keys_directory": self.folder}
        return Step(tools(http, litellm=settings), **{**said, **more})


def state(proxy: FakeLiteLLM) -> str:
    """All that a step may change; a fallback that isn't there and a switch that is off are as good as none."""
    keys = {token: {**key, "blocked": bool(key["blocked"])} for token, key in proxy.keys.items()}
    models = {id_: {**one, "blocked": bool(one.get("blocked"))} for id_, one in proxy.deployments.items()}
    return repr((proxy.settings, keys, models, proxy.guardrails))


@pytest.mark.parametrize("said", ALL, ids=named)
async def test_a_check_changes_nothing_and_says_what_would(proxy: FakeLiteLLM, step: Steps, said: Said) -> None:
    told = await step(said).checks()
    assert told
    assert "\n" not in told
    assert proxy.writes == []
    assert list(step.folder.iterdir()) == []


@pytest.mark.parametrize("said", ALL, ids=named)
async def test_twice_with_one_key_is_once(proxy: FakeLiteLLM, step: Steps, said: Said) -> None:
    tried = step(said)
    await tried.runs()
    left, once = state(proxy), len(proxy.writes)
    await tried.runs()
    assert (state(proxy), len(proxy.writes)) == (left, once)


@pytest.mark.parametrize("said", ALL, ids=named)
async def test_undo_restores_what_was_there(proxy: FakeLiteLLM, step: Steps, said: Said) -> None:
    before = state(proxy)
    tried = step(said)
    done = await tried.runs()
    assert state(proxy) != before
    await tried.verifies(done)
    await tried.undoes(done)
    if said is BUDGET:  # LiteLLM can't forget it, but nothing is left of it
        [batch] = proxy.keys.values()
        assert batch["metadata"].pop("temp_budget_increase") == 0
        del batch["metadata"]["temp_budget_expiry"]
    assert state(proxy) == before
    written = len(proxy.writes)
    await tried.undoes(done)
    assert len(proxy.writes) == written


@pytest.mark.parametrize("said", ALL, ids=named)
async def test_a_change_whose_answer_was_lost_is_done_once_and_can_be_undone(
    proxy: FakeLiteLLM, step: Steps, said: Said
) -> None:
    tried = step(said)
    proxy.lost = Reply(502)
    done = await tried.gets_done()
    assert len(proxy.writes) == 1
    left = state(proxy)
    await tried.undoes(done)
    assert state(proxy) != left


@pytest.mark.parametrize("said", ALL, ids=named)
async def test_the_incident_is_in_litellms_audit_log(proxy: FakeLiteLLM, step: Steps, said: Said) -> None:
    await step(said).runs()
    assert {one.headers.get("litellm-changed-by") for one in proxy.items} == {INCIDENT}


@pytest.mark.parametrize("said", ALL, ids=named)
async def test_a_wrong_key_is_said_and_never_shown(proxy: FakeLiteLLM, step: Steps, said: Said) -> None:
    no = await failure(step(said, admin="sk-wrong").checks())
    assert "answered 401" in no.message
    assert "Invalid proxy server token" in no.message
    assert "sk-wrong" not in no.message
    assert no.retry_after is None


@pytest.mark.parametrize("said", ALL, ids=named)
@pytest.mark.parametrize(
    ("reply", "passes"),
    [
        (Reply(429, {"retry-after": "7"}), 7),
        (Reply(500, body=b'{"detail": {"error": "Router not initialized"}}'), 2),
        (Reply(200, body=b"<html>"), 2),
        (Reply(200, body=b"[]"), 2),
        (Reply(307, {"location": "https://elsewhere.example"}), None),
        (Reply(400, body=b'{"error": {"message": "no"}}'), None),
    ],
    ids=["429", "500", "garbage", "no object", "redirect", "400"],
)
async def test_a_proxy_that_does_not_answer_well(
    proxy: FakeLiteLLM, step: Steps, said: Said, reply: Reply, passes: float | None
) -> None:
    proxy.replies.append(reply)
    no = await failure(step(said).runs())
    assert (no.retry_after and no.retry_after.total_seconds()) == passes
    assert proxy.writes == []
    await step(said).runs()


async def test_silence_is_looked_after_at_once(proxy: FakeLiteLLM, step: Steps) -> None:
    proxy.lost = SILENCE
    done = await step(MODEL, way_out(0.7)).runs()
    assert done.output == {"before": False, "after": True}
    assert proxy.writes == ["POST /model/block"]


async def test_silence_of_a_change_that_did_not_arrive_may_have_been_heard(proxy: FakeLiteLLM, step: Steps) -> None:
    proxy.replies.extend([Reply(200, body=b'{"data": [{"model_info": {"id": "d1", "db_model": true}}]}'), SILENCE])
    no = await failure(step(MODEL, way_out(0.7)).runs())
    assert (no.doubtful, no.retry_after is not None) == (True, True)


@pytest.mark.parametrize(
    ("said", "more", "told"),
    [
        (FALLBACK, {"model": "gpt-9"}, "knows no model gpt-9"),
        (FALLBACK, {"fallbacks": ["gpt-9"]}, "knows no model gpt-9"),
        (ROUTING, {"to": "gpt-9"}, "knows no model gpt-9"),
        (MODEL, {"model_id": "d9"}, "answered 400"),
        (MODEL, {"model_id": "file"}, "stands in LiteLLM's file"),
        (BLOCK, {"key": "nobody"}, "0 keys with the alias 'nobody'"),
        (BLOCK, {"key": "0" * 64}, "Key not found"),
        (GUARDRAIL, {"guardrail_id": "g/9"}, "Guardrail with ID g/9 not found"),
        (GUARDRAIL, {"guardrail_id": "g2"}, "stands in LiteLLM's file"),
        (NEW_KEY, {"alias": "batch"}, "has a key with the alias batch already"),
    ],
)
async def test_what_cannot_be_done_is_said_beforehand(
    proxy: FakeLiteLLM, step: Steps, said: Said, more: Said, told: str
) -> None:
    no = await failure(step(said, **more).checks())
    assert told in no.message
    assert no.retry_after is None


@pytest.mark.parametrize(
    ("said", "more", "told"),
    [
        (FALLBACK, {"fallbacks": ["gpt-5.1"]}, "its own fallback"),
        (ROUTING, {"to": "claude-sonnet-4-5"}, "another model"),
        (BLOCK, {"key": "sk-real"}, "never the key itself"),
        (LIMIT, {"rpm_limit": None, "tpm_limit": None, "max_budget": None}, "at least one of rpm_limit"),
        (LIMIT, {"rpm_limit": -1}, "rpm_limit"),
        (BUDGET, {"hours": 721}, "hours"),
        (NEW_KEY, {"alias": "../../etc/passwd"}, "alias"),
        (NEW_KEY, {"duration": "soon"}, "duration"),
    ],
)
async def test_parameters_that_make_no_sense_are_refused(step: Steps, said: Said, more: Said, told: str) -> None:
    with pytest.raises(Invalid, match=told):
        step(said, **more)


async def test_fallbacks_come_before_those_that_are_there(proxy: FakeLiteLLM, step: Steps) -> None:
    proxy.settings["fallbacks"] = [{"llama": ["gpt-5.1"]}, {"gpt-5.1": ["llama", "claude-sonnet-4-5"]}]
    tried = step(FALLBACK)
    assert await tried.checks() == "general fallbacks of gpt-5.1: llama, claude-sonnet-4-5 → claude-sonnet-4-5, llama"
    done = await tried.runs()
    assert {"gpt-5.1": ["claude-sonnet-4-5", "llama"]} in proxy.settings["fallbacks"]
    await tried.undoes(done)
    assert {"gpt-5.1": ["llama", "claude-sonnet-4-5"]} in proxy.settings["fallbacks"]
    assert {"llama": ["gpt-5.1"]} in proxy.settings["fallbacks"]


async def test_each_kind_of_failure_has_its_own_fallbacks(proxy: FakeLiteLLM, step: Steps) -> None:
    await step(FALLBACK, type="context_window", model="azure/gpt-5.1").runs()
    assert proxy.settings["context_window_fallbacks"] == [{"azure/gpt-5.1": ["claude-sonnet-4-5"]}]
    proxy.stored = False
    assert "STORE_MODEL_IN_DB" in (await failure(step(FALLBACK).runs())).message


async def test_other_aliases_stay(proxy: FakeLiteLLM, step: Steps) -> None:
    proxy.settings["model_group_alias"] = {"fast": "llama", "claude-sonnet-4-5": "llama"}
    tried = step(ROUTING)
    done = await tried.runs()
    assert proxy.settings["model_group_alias"] == {"fast": "llama", "claude-sonnet-4-5": "gpt-5.1"}
    proxy.settings["model_group_alias"]["new"] = "llama"
    await tried.undoes(done)
    assert proxy.settings["model_group_alias"] == {"fast": "llama", "claude-sonnet-4-5": "llama", "new": "llama"}


async def test_aliases_in_litellms_file_cannot_be_changed(proxy: FakeLiteLLM, step: Steps) -> None:
    proxy.owned.add("model_group_alias")
    no = await failure(step(ROUTING).runs())
    assert "is set in the config file" in no.message
    assert (no.retry_after, no.doubtful) == (None, False)


async def test_what_was_so_before_stays_so_after_undo(proxy: FakeLiteLLM, step: Steps) -> None:
    [batch] = proxy.keys.values()
    batch["blocked"] = True
    tried = step(BLOCK, key=batch["token"])
    assert "is true already" in await tried.checks()
    undone = await tried.undoes(await tried.runs())
    assert "nothing to put back" in undone.summary
    assert proxy.writes == []


async def test_what_somebody_else_has_changed_since_stays(proxy: FakeLiteLLM, step: Steps) -> None:
    tried = step(LIMIT)
    done = await tried.runs()
    [batch] = proxy.keys.values()
    batch["rpm_limit"] = 50
    assert "somebody else" in (await failure(tried.undoes(done))).message
    assert batch["rpm_limit"] == 50


async def test_only_the_limits_that_are_named_change(proxy: FakeLiteLLM, step: Steps) -> None:
    await step(LIMIT, tpm_limit=None, max_budget=None).runs()
    [batch] = proxy.keys.values()
    assert (batch["rpm_limit"], batch["tpm_limit"], batch["max_budget"]) == (10, None, 20.0)


async def test_a_temporary_budget_ends_by_itself(proxy: FakeLiteLLM, step: Steps) -> None:
    await step(BUDGET).runs()
    [batch] = proxy.keys.values()
    assert batch["metadata"] == {
        "temp_budget_increase": 50.0, "temp_budget_expiry": (NOW + timedelta(hours=2)).isoformat(),
    }  # fmt: skip
    batch["max_budget"] = None
    assert "has no budget that could be raised" in (await failure(step(BUDGET).checks())).message


async def test_a_key_that_was_deleted_is_not_blocked(proxy: FakeLiteLLM, step: Steps) -> None:
    [token] = proxy.keys
    proxy.deleted[token] = proxy.keys.pop(token)
    assert "was deleted" in (await failure(step(BLOCK, key=token).checks())).message


async def test_a_new_keys_secret_is_in_its_file_and_nowhere_else(proxy: FakeLiteLLM, step: Steps) -> None:
    tried = step(NEW_KEY)
    done = await tried.runs()
    [file] = step.folder.iterdir()
    secret = file.read_text()
    token = hashlib.sha256(secret.encode()).hexdigest()
    assert done.output == {"alias": "chat-2", "token": token, "file": str(file)}
    assert secret not in done.model_dump_json() + await tried.verifies(done)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert proxy.keys[token]["models"] == ["gpt-5.1"]
    await tried.undoes(done)
    assert list(step.folder.iterdir()) == []
    assert token not in proxy.keys


async def test_a_try_that_died_after_writing_the_secret_is_taken_up(proxy: FakeLiteLLM, step: Steps) -> None:
    (step.folder / "chat-2").write_text("sk-written-before")
    done = await step(NEW_KEY).runs()
    assert done.output["token"] == hashlib.sha256(b"sk-written-before").hexdigest()
    another = step(NEW_KEY)
    another.at = situation("another")
    assert "an earlier key: choose another alias" in (await failure(another.checks())).message


async def test_a_secret_that_an_answer_repeats_is_not_told(proxy: FakeLiteLLM, step: Steps) -> None:
    proxy.custom_keys = False
    no = await failure(step(NEW_KEY).runs())
    assert "disabled by your administrator: sk-…" in no.message
    assert not re.search(r"sk-\w", no.message)
    assert list(step.folder.iterdir()) == []


async def test_a_secret_that_cannot_be_kept_is_not_made(proxy: FakeLiteLLM, step: Steps) -> None:
    step.folder = step.folder / "gone"
    tried = step(NEW_KEY)
    assert "can't be written to" in (await failure(tried.checks())).message
    assert "can't be kept" in (await failure(tried.runs())).message
    assert proxy.writes == []


def test_without_a_proxy_there_are_no_actions_on_one(tmp_path: Path) -> None:
    assert [name for name in map(named, ALL) if ACTIONS[name](tools(litellm={"url": "http://x"})) is not None] == []
    half = tools(litellm={"url": "http://x", "api_key": "k"})
    assert [name for name in map(named, ALL) if ACTIONS[name](half) is None] == ["litellm_new_key"]

"""A bundle is installed: once, again, over what somebody has changed, and where not everything is set up."""

import asyncio
import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from app import bundle
from app.bundle import Installed, Outcome, Part
from app.client import Failed
from app.domain.taxonomy import CLASSES
from app.stack import free_port
from llm_incident_manager_client import SyncIncidentManagerClient
from tests.api.conftest import NOBODY_THERE, command, process
from tests.support.databases import another_database

PARTS = bundle.parts("llmops")
SKIPPED = {"gpu-failure", "model-rollback", "prompt-rollback", "queue-scale", "rag-recovery"}


@pytest.fixture(scope="module")
async def environment(database_url: str) -> AsyncIterator[dict[str, str]]:
    """Of a gateway that knows a LiteLLM, but no Langfuse and no Kubernetes."""
    port = free_port()
    async with another_database(database_url, migrated=False) as url:
        said = os.environ | {
            "DATABASE_URL": url, "TEMPORAL_ADDRESS": NOBODY_THERE, "API_PORT": "0", "GRPC_PORT": str(free_port()),
            "LLM_IM__SERVER__HTTP_PORT": str(port), "LLM_IM__SERVER__METRICS_PORT": "0",
            "LLM_IM_ENDPOINT": f"http://127.0.0.1:{port}", "LLM_IM__PLAYBOOKS__LITELLM__URL": "http://127.0.0.1:1",
            "LLM_IM__PLAYBOOKS__LITELLM__API_KEY": "sk-master",
        }  # fmt: skip
        migrated = await command("migrate", environment=said)
        assert migrated.code == 0, migrated.complained
        async with process("serve", said, port, "/health/live"):
            yield said


@pytest.fixture(scope="module")
def client(environment: dict[str, str]) -> SyncIncidentManagerClient:
    return SyncIncidentManagerClient(environment["LLM_IM_ENDPOINT"])


async def installed(client: SyncIncidentManagerClient, *, parts: list[Part] = PARTS, **how: bool) -> list[Installed]:
    return await asyncio.to_thread(lambda: list(bundle.install(client, parts, **how)))


def outcomes(done: list[Installed]) -> Counter[Outcome]:
    return Counter(one.outcome for one in done)


async def test_a_dry_run_writes_nothing_and_says_what_it_would(
    environment: dict[str, str], client: SyncIncidentManagerClient
) -> None:
    told = await command("bundle", "install", "llmops", "--dry-run", environment=environment)
    assert told.code == 0, told.complained
    assert "would be created: playbooks key-leak\n" in told.said
    assert "skipped: playbooks queue-scale: needs what is not set up here: scale_horizontal\n" in told.said
    assert await asyncio.to_thread(client.documents, "playbooks") == ()


async def test_it_is_installed_once_what_somebody_changed_stays_and_force_replaces_it(
    environment: dict[str, str], client: SyncIncidentManagerClient
) -> None:
    first = await command("bundle", "install", "llmops", "--json", environment=environment)
    assert first.code == 0, first.complained
    done = json.loads(first.said)
    assert {one["id"] for one in done if one["outcome"] == "skipped"} == SKIPPED
    assert {one["outcome"] for one in done if one["id"] not in SKIPPED} == {"created"}

    rest = len(PARTS) - len(SKIPPED)
    assert outcomes(await installed(client)) == {Outcome.THERE: rest, Outcome.SKIPPED: len(SKIPPED)}

    kept = await asyncio.to_thread(client.document, "playbooks", "key-leak")
    body = {name: said for name, said in kept.raw.items() if name not in ("version", "updated_at", "updated_by")}
    await asyncio.to_thread(client.put_document, "playbooks", "key-leak", body | {"enabled": False})
    again = await installed(client)
    assert [one.id for one in again if one.outcome is Outcome.CHANGED] == ["key-leak"]
    would = await installed(client, force=True, dry_run=True)
    assert [one.id for one in would if one.outcome is Outcome.REPLACED] == ["key-leak"]
    assert (await asyncio.to_thread(client.document, "playbooks", "key-leak")).raw["enabled"] is False
    await installed(client, force=True)
    assert (await asyncio.to_thread(client.document, "playbooks", "key-leak")).version == 3
    assert outcomes(await installed(client)) == {Outcome.THERE: rest, Outcome.SKIPPED: len(SKIPPED)}


async def test_a_document_that_is_refused_is_named_and_the_others_are_installed(
    environment: dict[str, str], client: SyncIncidentManagerClient
) -> None:
    found = [part for part in bundle.for_people(PARTS, ["nobody"]) if part.kind in ("teams", "notification-templates")]
    done = await installed(client, parts=found, force=True)
    assert outcomes(done) == {Outcome.REFUSED: 5, Outcome.THERE: 2}
    assert done[0].line == "refused: teams llmops-oncall: members[0]: there is no user 'nobody'"
    told = await command("bundle", "install", "llmops", "--person", "nobody", "--force", environment=environment)
    assert told.code == 1


async def test_a_bundle_shows_what_is_in_it() -> None:
    shown = await command("bundle", "show", "llmops", environment=dict(os.environ))
    assert f"{'playbooks':<22}  {'key-leak':<24}  Block a leaked key  (needs add_note, litellm_key_block" in shown.said
    with pytest.raises(Failed, match="there is no bundle 'nope'; there is llmops"):
        bundle.parts("nope")


def test_every_alert_rule_has_a_class_of_ours_and_says_what_is_wrong() -> None:
    rules = [rule for group in yaml.safe_load(bundle.rules("llmops"))["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) == 33
    assert {rule["labels"]["class"] for rule in rules} <= CLASSES.keys()
    assert all(rule["annotations"]["summary"] for rule in rules)
    known = {value for part in PARTS if part.kind == "playbooks" for value in classes(part)}
    assert known <= CLASSES.keys()


def classes(part: Part) -> list[str]:
    conditions = part.body["triggers"][0]["conditions"]
    first = conditions["or"][0] if "or" in conditions else conditions
    return list(first["value"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no Prometheus is installed here")
def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(bundle.rules("llmops"))
    told = subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yaml"], capture_output=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr

"""Every saved history, and every life as it is lived today, replays with the workflow of today."""

import json
from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from activities.playbooks import Begin
from activities.triage import Life
from tests.replay import saved
from tests.replay.lives import LIVES, LONG_LIVES, RUNS, TRIAGED_LIVES
from tests.support.stage import Stage
from tests.support.world import World
from workers.sandbox import runner
from workflows.incident import IncidentWorkflow
from workflows.playbook import PlaybookWorkflow


async def replays(history: WorkflowHistory, *workflows: type) -> None:
    """Raises: workflow.NondeterminismError when the workflow would not do again what it did."""
    today = workflows or (IncidentWorkflow, PlaybookWorkflow)
    replayer = Replayer(workflows=today, workflow_runner=runner(), data_converter=pydantic_data_converter)
    await replayer.replay_workflow(history)


@workflow.defn(name="incident", sandboxed=False)
class Hesitant(IncidentWorkflow):
    """The same life, with one more timer before it begins."""

    @workflow.run
    async def run(self, life: Life) -> None:
        await workflow.sleep(timedelta(seconds=1))
        await super().run(life)


@workflow.defn(name="playbook", sandboxed=False)
class HesitantPlaybook(PlaybookWorkflow):
    """The same run, with one more timer before it begins."""

    @workflow.run
    async def run(self, begin: Begin) -> str:
        await workflow.sleep(timedelta(seconds=1))
        return await super().run(begin)


@pytest.mark.parametrize("name", saved.names())
async def test_a_saved_history_replays(name: str) -> None:
    await replays(saved.load(name))


@pytest.mark.parametrize("name", [name for name in saved.names() if name.endswith("-1")])
async def test_another_sequence_of_commands_does_not(name: str) -> None:
    with pytest.raises(workflow.NondeterminismError):
        await replays(saved.load(name), Hesitant, HesitantPlaybook)


@pytest.mark.parametrize("life", LIVES)
async def test_a_life_of_today_replays(world: World, life: str) -> None:
    for run in await saved.runs(await LIVES[life](world)):
        await replays(run)


@pytest.mark.parametrize("life", TRIAGED_LIVES)
async def test_a_triaged_life_of_today_replays(triaging: World, life: str) -> None:
    for run in await saved.runs(await TRIAGED_LIVES[life](triaging)):
        await replays(run)


@pytest.mark.parametrize("life", LONG_LIVES)
async def test_a_life_in_several_runs_replays(hasty: World, life: str) -> None:
    runs = await saved.runs(await LONG_LIVES[life](hasty))
    assert len(runs) > 1
    for run in runs:
        await replays(run)


@pytest.mark.parametrize("run", RUNS)
async def test_a_playbook_of_today_replays(stage: Stage, run: str) -> None:
    await replays(await stage.handle(await RUNS[run](stage)).fetch_history())


@pytest.mark.parametrize("name", saved.names())
def test_a_saved_history_names_no_machine(name: str) -> None:
    text = (saved.HISTORIES / f"{name}.json").read_text()
    assert not saved.PROCESS.search(text)
    assert "site-packages" not in text
    assert {event.get("identity") for event in json.loads(text)["events"]} <= {None, "process"}


def test_every_life_is_saved() -> None:
    assert {name.rpartition("-")[0] for name in saved.names()} == {*LIVES, *LONG_LIVES, *TRIAGED_LIVES, *RUNS}

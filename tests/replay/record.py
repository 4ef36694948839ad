"""Records the histories anew, by hand and only on purpose: `pytest tests/replay/record.py`.

Not part of the tests. The histories of released versions stay as they are: when a life's sequence of
commands changes afterwards, the change goes behind `workflow.patched` and the new history beside the old.
"""

import pytest

from tests.replay import saved
from tests.replay.lives import LIVES, LONG_LIVES, RUNS, TRIAGED_LIVES
from tests.support.stage import Stage
from tests.support.world import World


@pytest.mark.parametrize("life", LIVES)
async def test_record(world: World, life: str) -> None:
    saved.save(life, await saved.runs(await LIVES[life](world)))


@pytest.mark.parametrize("life", LONG_LIVES)
async def test_record_several_runs(hasty: World, life: str) -> None:
    saved.save(life, await saved.runs(await LONG_LIVES[life](hasty)))


@pytest.mark.parametrize("life", TRIAGED_LIVES)
async def test_record_triaged(triaging: World, life: str) -> None:
    saved.save(life, await saved.runs(await TRIAGED_LIVES[life](triaging)))


@pytest.mark.parametrize("run", RUNS)
async def test_record_a_playbook(stage: Stage, run: str) -> None:
    saved.save(run, [await stage.handle(await RUNS[run](stage)).fetch_history()])

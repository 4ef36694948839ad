"""Records the histories anew, by hand and only on purpose: `pytest tests/replay/record.py`.

Not part of the tests. What was recorded by a released version stays; a life whose command sequence
changed since needs `workflow.patched` around the change and a second recording beside the first.
"""

import pytest

from tests.replay import saved
from tests.replay.lives import LIVES
from tests.support.world import World


@pytest.mark.parametrize("name", LIVES)
async def test_record(world: World, name: str) -> None:
    story = await LIVES[name](world)
    saved.save(name, await story.handle.fetch_history())

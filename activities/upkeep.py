"""What is done beside the incidents: learning from them."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from temporalio import activity

from app.domain.record import Record
from app.domain.severity import FIRST_MODEL

if TYPE_CHECKING:
    from app.ml.features import Labelled
    from app.ml.process import Learned, Lesson
    from app.store.models import ModelStore

BEAT_SECS = 5.0
ONE_CORE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Train(Record):
    """`request` makes training twice one; with nothing new to learn from it is done only if `anyway`."""

    request: str
    anyway: bool = False


class Trained(Record):
    """The model that came of it (0 = none), whether it is the champion now, and why."""

    version: int
    promoted: bool
    verdict: str


class Untrained(Exception):
    """The process that trains has failed."""


@dataclass(frozen=True)
class Upkeep:
    """`took` is told the seconds of a training and its accuracy on labels held out, where it has one."""

    models: ModelStore
    took: Callable[[float, float | None], None]

    @activity.defn(name="upkeep.train")
    async def train(self, ask: Train) -> Trained:
        """Learns from every label there is, in a process of its own. Twice is once: the model is kept by its request.

        Raises: Untrained.
        """
        if not ask.anyway and not await self.models.unlearned():
            return Trained(version=0, promoted=False, verdict="there is nothing new to learn from")
        beating = asyncio.create_task(_beat())
        began = asyncio.get_running_loop().time()
        try:
            if await self.models.champion() is None:
                await trained(self.models, FIRST_MODEL)
            return await trained(
                self.models, ask.request,
                lambda accuracy: self.took(asyncio.get_running_loop().time() - began, accuracy),
            )  # fmt: skip
        finally:
            beating.cancel()


async def trained(models: ModelStore, request: str, told: Callable[[float | None], None] | None = None) -> Trained:
    """A model made of every label there is, and stored; it counts from now on if it is better.

    The first counts as well: it knows classes only, and nobody's severities.

    Raises: Untrained.
    """
    champion, at = await models.champion(), datetime.now(UTC)
    lesson = await _lesson(models, champion)
    learned = await _in_a_process(lesson)
    metrics = learned.metrics.model_dump() if learned.metrics else {}
    if told is not None:
        told(metrics.get("accuracy"))
    reason = learned.reason if champion is not None else f"the first; {learned.reason}"
    made = await models.add(
        request, base64.b64decode(learned.artifact), metrics, verdict=reason, labels=learned.team_labels,
        promoted=learned.promoted or champion is None, beaten=champion, at=at,
    )  # fmt: skip
    return Trained(version=made.version, promoted=made.status == "champion", verdict=made.verdict)


async def _lesson(models: ModelStore, champion: int | None) -> Lesson:
    from app.ml.corpus import bootstrap
    from app.ml.features import Example, Labelled, Origin, title_key
    from app.ml.process import Lesson

    def labelled(row: Mapping[str, Any], origin: Origin) -> Labelled:
        example, path = Example.model_validate(row["example"]), row["example"].get("path")
        key = title_key(example.title) or path or ""
        return Labelled(example=example, severity=row["severity"], origin=origin, key=key, path=path)

    if champion is None:
        return Lesson(labelled=bootstrap())
    team = [labelled(row, Origin.TEAM) for row in await models.team()]
    rules = [labelled(row, Origin.RULES) for row in await models.rules()]
    artifact = base64.b64encode(await models.artifact(champion)).decode()
    return Lesson(labelled=(*team, *rules, *bootstrap()), champion=artifact)


async def _in_a_process(lesson: Lesson) -> Learned:
    from app.ml.process import Learned

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.ml.process",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=os.environ | ONE_CORE,
    )  # fmt: skip
    try:
        answer, complaint = await process.communicate(lesson.model_dump_json().encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise Untrained(complaint.decode(errors="replace").strip().rpartition("\n")[2][:500])
    return Learned.model_validate_json(answer)


async def _beat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(BEAT_SECS)

"""Training in a process of its own: `python -m app.ml.process`, one JSON object in, one out."""

import base64
import os
import sys
from datetime import UTC, datetime

import orjson

from app.domain.record import Record
from app.ml.features import Labelled, Metrics


class Lesson(Record):
    """Everything there is to learn from, and the model to beat (base64; None = none yet)."""

    labelled: tuple[Labelled, ...]
    champion: str | None = None


class Learned(Record):
    """The model that came of it (base64), how good it is on labels held out, and whether it is better."""

    artifact: str
    metrics: Metrics | None
    promoted: bool
    reason: str
    team_labels: int


def learn(lesson: Lesson) -> Learned:
    """Takes seconds to minutes of one core."""
    from app.ml.ensemble import Model
    from app.ml.features import Origin
    from app.ml.training import challenge

    champion = Model.load(base64.b64decode(lesson.champion)) if lesson.champion else None
    verdict = challenge(lesson.labelled, champion, datetime.now(UTC))
    return Learned(
        artifact=base64.b64encode(verdict.model.dump()).decode(), metrics=verdict.metrics, promoted=verdict.promoted,
        reason=verdict.reason, team_labels=verdict.model.learned.get(Origin.TEAM, 0),
    )  # fmt: skip


if __name__ == "__main__":
    os.nice(10)
    asked = Lesson.model_validate(orjson.loads(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(learn(asked).model_dump_json().encode())

"""`make bench-ml`: how well severities are predicted, on rule files of strangers. About four minutes on one core.

The data is third-party (../shared/data/README.md has its protocols) and no part of the project: where it is
absent, this says so.
"""

import asyncio
import gc
import gzip
import json
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold

from app.domain.vocabulary import Severity
from app.ml.ensemble import SEVERITIES, Array, Model
from app.ml.features import Example, Labelled, Metrics, Origin, features, matrix
from app.ml.training import measured, train
from tests.bench.report import Figure, Others, machine, table, tell

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
ORGANISATIONS = ("sapcc", "panther")
FIRST_LABELS = 100
ORDERS = 4
OTHERS = ("tests.bench.correlation", "tests.bench.history")

Row = dict[str, Any]


def figure(name: str, value: float, goal: float, method: str, *, at_most: bool = False) -> Figure:
    sign, met = ("≤", value <= goal) if at_most else ("≥", value >= goal)
    return Figure(name, method, f"{value:,.3f}", f"{sign} {goal:,g}", met)


def rows(split: str) -> list[Row]:
    with gzip.open(DATA / "severity" / f"{split}.jsonl.gz", "rt") as file:
        return [json.loads(line) for line in file]


def labelled(row: Row, origin: Origin) -> Labelled:
    """Neither `raw_severity`, `band`, `scale` nor the interval is shown to the model."""
    example = Example(
        title=row["title"] or "",
        description=row["description"] or "",
        source=row["repo"],
        service=(row["service"],) if row["service"] else (),
        labels={
            **{name: str(text) for name, text in row["labels"].items()},
            "kind": row["kind"],
            "for": row["for"] or "",
        },
        expr=row["expr"] or "",
    )
    return Labelled(
        example=example, severity=Severity(row["severity"]), origin=origin, key=row["title_key"], path=row["repo"]
    )


def in_source(everything: Sequence[Row]) -> Iterator[Figure]:
    """Own labels plentiful: 5 folds over train and dev, grouped by title_key, every prediction out of fold."""
    team = [labelled(row, Origin.TEAM) for row in everything]
    probabilities = np.zeros((len(team), len(SEVERITIES)))
    for known, held in GroupKFold(5).split(team, groups=[one.key for one in team]):
        model = train([team[i] for i in known])
        probabilities[held] = model.severities(matrix([features(team[i].example) for i in held]))
    found = measured(probabilities, _severities(team))
    method = f"5 folds over train and dev, grouped by title_key, out of fold, n = {found.n}"
    yield figure("own labels: accuracy", found.accuracy, 0.57, f"{method}; the majority is right {found.majority:.3f}")
    yield figure("own labels: QWK", found.qwk, 0.45, method)
    yield figure("own labels: ECE", found.ece, 0.03, f"{method}; 10 bins of equal width", at_most=True)


def zero_shot(generic: Model, strangers: Sequence[Row]) -> Iterator[Figure]:
    """Trained on train, asked about dev: other people's policies. Calibrated on repositories left out of train."""
    dev = [labelled(row, Origin.TEAM) for row in strangers]
    probabilities = generic.severities(matrix([features(one.example) for one in dev]))
    found = measured(probabilities, _severities(dev))
    said = probabilities.argmax(axis=1)
    inside = [
        int(row["sev_min"][1]) <= rank <= int(row["sev_max"][1]) for row, rank in zip(strangers, said, strict=True)
    ]
    method = f"trained on train, asked about dev, n = {found.n}; calibrated on repositories left out of train"
    yield figure("zero-shot: QWK", found.qwk, 0.20, method)
    yield figure("zero-shot: interval accuracy", float(np.mean(inside)), 0.45, method)
    yield figure("zero-shot: ECE", found.ece, 0.10, f"{method}; 10 bins of equal width", at_most=True)


def feedback(strangers: Sequence[Row], generic: Sequence[Labelled]) -> Iterator[Figure]:
    """Trained on train, then 100 labels of one organisation; its test set, against its commonest severity there.

    The protocol's fixed order, and beside it the mean with three reshuffled ones: one order of 100 labels is
    worth ±0.025, so the mean says more about the method than the protocol's figure does.
    """
    by_id = {row["id"]: labelled(row, Origin.TEAM) for row in strangers}
    fixed: list[Metrics] = []
    every: list[Metrics] = []
    each: list[str] = []
    for name in ORGANISATIONS:
        plan = json.loads((DATA / "severity" / f"dev_{name}.json").read_text())
        test = [by_id[i] for i in plan["test"]]
        for seed in range(ORDERS):
            order = plan["feedback_order"]
            order = order if seed == 0 else list(np.random.default_rng(seed).permutation(order))
            model = train([*generic, *(by_id[i] for i in order[:FIRST_LABELS])])
            found = measured(model.severities(matrix([features(one.example) for one in test])), _severities(test))
            every.append(found)
            if seed == 0:
                fixed.append(found)
                each.append(f"{name} {found.accuracy:.3f} ± {found.standard_error:.3f}, majority {found.majority:.3f}")
    method = f"train and {FIRST_LABELS} labels of one organisation, on its test set, mean of two organisations"
    yield figure("first labels: gain over the majority", _gain(fixed), 0.05, f"{method}; {'; '.join(each)}")
    yield figure("the same in other orders", _gain(every), 0.05, f"{method}, {ORDERS} orders each")
    yield figure("first labels: ECE", max(one.ece for one in fixed), 0.10, "the worse of the two", at_most=True)


def speed(generic: Model, some: Sequence[Row]) -> Iterator[Figure]:
    """With features, class and reasons."""
    examples = [labelled(row, Origin.TEAM).example for row in some[:10_000]]
    generic.predict(examples[:100])
    gc.collect()
    gc.freeze()  # a worker holds no training data for the collector to walk through
    single = sorted(_took(time.perf_counter, generic.predict, [example]) for example in examples[:2_000])
    batches = [examples[i : i + 1000] for i in range(0, len(examples), 1000)]
    rates = [
        len(examples) / sum(_took(time.process_time, generic.predict, batch) for batch in batches) for _ in range(5)
    ]
    p95 = single[int(len(single) * 0.95)] * 1000
    method = "CPU seconds of the one thread that works, best of five rounds of ten batches of 1,000"
    yield figure("one prediction, p95 in ms", p95, 2, "wall clock of 2,000 single predictions", at_most=True)
    yield figure("batch, predictions a second", max(rates), 10_000, method)


def _took(
    clock: Callable[[], float], predict: Callable[[Sequence[Example]], object], asked: Sequence[Example]
) -> float:
    start = clock()
    predict(asked)
    return clock() - start


def _severities(some: Sequence[Labelled]) -> Array:
    return np.array([one.severity.rank for one in some if one.severity is not None], int)


def _gain(found: Sequence[Metrics]) -> float:
    return float(np.mean([one.accuracy - one.majority for one in found]))


def figures() -> Iterator[Figure]:
    train_rows, dev_rows = rows("train"), rows("dev")
    generic = [labelled(row, Origin.RULES) for row in train_rows]
    model = train(generic)
    yield Figure("a stored model", "10,574 labels, compressed", f"{len(model.dump()) / 1e6:.1f} MB", "≤ 10 MB", True)
    yield from zero_shot(model, dev_rows)
    yield from speed(model, train_rows)
    yield from feedback(dev_rows, generic)
    yield from in_source([*train_rows, *dev_rows])


def beside() -> Iterator[Figure]:
    """What others measure on the same data: `async figures() -> list[Figure]`."""
    for name in OTHERS:
        if find_spec(name):
            yield from asyncio.run(import_module(name).figures())


def main() -> None:
    if not (DATA / "severity").is_dir():
        print(f"There is no data under {DATA}: nothing is measured.")
        return
    whole, since, done = Others(), Others(), []
    for found in chain(figures(), beside()):
        tell(found, since.share())
        done.append(found)
    print(f"\n{table(done, machine(), whole.share())}")


if __name__ == "__main__":
    main()

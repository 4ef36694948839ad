"""One calibrated opinion made of several models. Loading this loads numpy, scipy and xgboost.

A committee is a linear model over everything and boosted trees over the frequent words. Its members' log
probabilities are weighed, shifted per severity and made probabilities again: a stack, whose few numbers are
fitted on labels that none of the members had seen, and which is the calibration as well. There are two such
ensembles at most: one learned from others (rule files, or else the bootstrap corpus), and one from the team,
which listens to what the first says.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import log_softmax

from app.domain.taxonomy import CLASSES, KINDS, Kind
from app.domain.vocabulary import Severity
from app.ml.boosting import xgboost
from app.ml.features import Example, Features, Origin, Prediction, features, matrix

Array = NDArray[Any]

FORMAT = 1
SEVERITIES = tuple(Severity)
KIND_NAMES = tuple(KINDS)
KIND_COLUMNS = 1 << 13
SURE_OF_CLASS = 0.5
UNREADABLE = (BadZipFile, KeyError, TypeError, ValueError, AttributeError, OSError, EOFError, xgboost.core.XGBoostError)
REASONS = 3
FLOOR = 1e-3
"""No member says never: a severity it has not met keeps this probability."""


def log_floored(probabilities: Array) -> Array:
    floored = (probabilities + FLOOR) / (1 + FLOOR * probabilities.shape[1])
    return np.asarray(np.log(floored), np.float32)


def scaled(rows: csr_matrix) -> csr_matrix:
    """Rows of ones made as long as one another (L2), so that a long text speaks no louder than a short one."""
    counts = np.diff(rows.indptr)
    data = np.repeat(1 / np.sqrt(np.maximum(counts, 1)), counts).astype(np.float32)
    return csr_matrix((data, rows.indices, rows.indptr), shape=rows.shape)


def folded(rows: csr_matrix) -> csr_matrix:
    """The same rows in fewer columns, for the many classes; a column may stand in a row twice and counts twice."""
    return csr_matrix((rows.data, rows.indices % KIND_COLUMNS, rows.indptr), shape=(rows.shape[0], KIND_COLUMNS))


@dataclass(frozen=True)
class Linear:
    """Logistic regression. `coef` is (columns, classes); `others` weighs what others said, when they were asked."""

    coef: Array
    intercept: Array
    others: Array | None = None

    @cached_property
    def leaning(self) -> Array:
        """(classes, columns): how much more a column speaks for a class than for the others."""
        return np.ascontiguousarray((self.coef - self.coef.mean(axis=1, keepdims=True)).T)

    def log_probabilities(self, rows: csr_matrix, said: Array | None = None) -> Array:
        margin = rows @ self.coef + self.intercept
        if self.others is not None and said is not None:
            margin = margin + said @ self.others
        return log_floored(np.exp(log_softmax(margin, axis=1)))


@dataclass(frozen=True)
class Trees:
    """Gradient-boosted trees over `columns`, the frequent words.

    XGBoost takes what a sparse row doesn't store for missing: training and serving both hand it
    the rows of `chosen`, never a dense one.
    """

    booster: xgboost.Booster
    columns: Array

    def log_probabilities(self, rows: csr_matrix) -> Array:
        said: Array = self.booster.inplace_predict(chosen(rows, self.columns))
        return log_floored(said)


def chosen(rows: csr_matrix, columns: Array) -> csr_matrix:
    """The sorted `columns` of the rows, as sparse as they were."""
    place = np.searchsorted(columns, rows.indices)
    place[place == len(columns)] = 0
    kept = columns[place] == rows.indices if len(columns) else np.zeros(len(place), bool)
    ends = np.concatenate(([0], np.cumsum(kept)))[rows.indptr]
    return csr_matrix((rows.data[kept], place[kept], ends), shape=(rows.shape[0], max(len(columns), 1)))


@dataclass(frozen=True)
class Committee:
    linear: Linear
    trees: Trees | None = None

    def log_probabilities(self, rows: csr_matrix, said: Array | None = None) -> list[Array]:
        """One (rows, severities) array per member."""
        spoken = [self.linear.log_probabilities(scaled(rows), said)]
        return spoken if self.trees is None else [*spoken, self.trees.log_probabilities(rows)]


@dataclass(frozen=True)
class Stack:
    """`weights`, one per member; `shift`, one per severity."""

    weights: Array
    shift: Array

    def log_probabilities(self, spoken: Sequence[Array]) -> Array:
        margin = sum(weight * said for weight, said in zip(self.weights, spoken, strict=True)) + self.shift
        return np.asarray(log_softmax(margin, axis=1))


@dataclass(frozen=True)
class Ensemble:
    committee: Committee
    stack: Stack

    def log_probabilities(self, rows: csr_matrix, said: Array | None = None) -> Array:
        """(rows, severities). `said` is what the others say of the same rows."""
        spoken = self.committee.log_probabilities(rows, said)
        return self.stack.log_probabilities(spoken if said is None else [said, *spoken])


@dataclass(frozen=True)
class Model:
    """Severity from the others' ensemble and the team's, class from a linear model of its own.

    `learned` counts the labels with a severity by origin; `seen` holds the hashed keys of the titles they stood on.
    """

    kinds: Linear | None
    others: Ensemble | None = None
    team: Ensemble | None = None
    learned: Mapping[Origin, int] = field(default_factory=dict)
    seen: Array = field(default_factory=lambda: np.zeros(0, np.uint32))

    def severities(self, rows: csr_matrix) -> Array:
        """(rows, severities) probabilities; alike for all severities when no label was ever learned."""
        said = None if self.others is None else self.others.log_probabilities(rows)
        if self.team is not None:
            said = self.team.log_probabilities(rows, said)
        return np.full((rows.shape[0], len(SEVERITIES)), 1 / len(SEVERITIES)) if said is None else np.exp(said)

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """One prediction per example, in order. Empty texts are predicted too: by what is common."""
        if not examples:
            return []
        found = [features(example) for example in examples]
        rows = matrix(found)
        severe = self.severities(rows)
        kinds, sure = self._kinds(rows)
        best = severe.argmax(axis=1)
        reasons = self._reasons(found, best)
        return [
            _prediction(p, int(k), why, int(kind), float(confidence))
            for p, k, why, kind, confidence in zip(severe.tolist(), best, reasons, kinds, sure, strict=True)
        ]

    def _kinds(self, rows: csr_matrix) -> tuple[Array, Array]:
        if self.kinds is None:
            return np.zeros(rows.shape[0], int), np.zeros(rows.shape[0])
        said = np.exp(self.kinds.log_probabilities(folded(scaled(rows))))
        best = said.argmax(axis=1)
        return best, said[np.arange(len(best)), best]

    def _reasons(self, found: Sequence[Features], best: Array) -> list[tuple[str, ...]]:
        """The words that speak most for the severity said, in the linear model nearest to the team."""
        nearest = self.team or self.others
        if nearest is None:
            return [()] * len(found)
        leaning = nearest.committee.linear.leaning
        return [_named(row, leaning[severity]) for row, severity in zip(found, best.tolist(), strict=True)]

    def dump(self) -> bytes:
        """The model as an .npz archive of numbers, trees in XGBoost's UBJSON; the same model is the same bytes."""
        arrays: dict[str, Array] = {"seen": self.seen}
        for name, ensemble in (("others", self.others), ("team", self.team)):
            if ensemble is not None:
                arrays |= _dump_ensemble(name, ensemble)
        if self.kinds is not None:
            arrays |= _dump_linear("kinds", self.kinds)
        about = {"format": FORMAT, "kinds": KIND_NAMES, "learned": dict(sorted(self.learned.items()))}
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        return file.getvalue()

    @classmethod
    def load(cls, data: bytes) -> "Model":
        """Raises: ValueError when `data` is no model of this version."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = json.loads(arrays["about"].tobytes())
            if about["format"] != FORMAT:
                raise ValueError(f"its format is {about['format']}, this version reads {FORMAT}")
            known = tuple(about["kinds"]) == KIND_NAMES  # classes were added since: the severity is still good
            return cls(
                kinds=_load_linear(arrays, "kinds") if known else None,
                others=_load_ensemble(arrays, "others"), team=_load_ensemble(arrays, "team"),
                learned={Origin(name): count for name, count in about["learned"].items()}, seen=arrays["seen"],
            )  # fmt: skip
        except UNREADABLE as wrong:
            raise ValueError(f"the bytes are no model: {wrong}") from wrong


def _dump_ensemble(name: str, ensemble: Ensemble) -> dict[str, Array]:
    dumped = _dump_linear(f"{name}.linear", ensemble.committee.linear)
    dumped |= {f"{name}.weights": ensemble.stack.weights, f"{name}.shift": ensemble.stack.shift}
    if ensemble.committee.trees is not None:
        dumped[f"{name}.columns"] = ensemble.committee.trees.columns
        dumped[f"{name}.trees"] = np.frombuffer(ensemble.committee.trees.booster.save_raw("ubj"), np.uint8)
    return dumped


def _dump_linear(name: str, linear: Linear) -> dict[str, Array]:
    dumped = {f"{name}.coef": linear.coef, f"{name}.intercept": linear.intercept}
    return dumped if linear.others is None else dumped | {f"{name}.others": linear.others}


def _load_linear(arrays: Mapping[str, Array], name: str) -> Linear | None:
    if f"{name}.coef" not in arrays:
        return None
    return Linear(arrays[f"{name}.coef"], arrays[f"{name}.intercept"], arrays.get(f"{name}.others"))


def _load_ensemble(arrays: Mapping[str, Array], name: str) -> Ensemble | None:
    linear = _load_linear(arrays, f"{name}.linear")
    if linear is None:
        return None
    trees = None
    if f"{name}.trees" in arrays:
        booster = xgboost.Booster({"nthread": 1})
        booster.load_model(bytearray(arrays[f"{name}.trees"].tobytes()))
        trees = Trees(booster, arrays[f"{name}.columns"])
    return Ensemble(Committee(linear, trees), Stack(arrays[f"{name}.weights"], arrays[f"{name}.shift"]))


def _named(row: Features, leaning: Array) -> tuple[str, ...]:
    speaks = leaning[row.columns[: len(row.words)]]
    best = speaks.argsort()[: -REASONS - 1 : -1].tolist()
    return tuple(dict.fromkeys(row.words[i].removeprefix("t:") for i in best if speaks[i] > 0))


def _prediction(
    probabilities: list[float], best: int, reasons: tuple[str, ...], kind: int, confidence: float
) -> Prediction:
    """`model_construct`: ours, and checked ten thousand times a second it would be half of the time."""
    name = KIND_NAMES[kind]
    known: Kind | None = KINDS[name] if confidence >= SURE_OF_CLASS else None
    return Prediction.model_construct(
        severity=SEVERITIES[best],
        confidence=probabilities[best],
        probabilities=dict(zip(SEVERITIES, probabilities, strict=True)),
        reasons=reasons,
        incident_class=name if known and name in CLASSES else None,
        incident_type=known.type if known else None,
        category=known.category if known else None,
        class_confidence=confidence,
    )

"""Fitting the parts of a model. Loads scikit-learn when it fits."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import xgboost
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, hstack
from scipy.special import log_softmax

from app.ml.ensemble import (
    KIND_NAMES,
    SEVERITIES,
    Array,
    Committee,
    Ensemble,
    Linear,
    Stack,
    Trees,
    chosen,
    folded,
    scaled,
)
from app.ml.features import WORDS, Labelled, Origin, features, matrix

FOLDS = 5
LARGE = 2000
"""From here on three folds are enough to fit and to judge by."""
TREES_FROM = 500
ROUNDS = 200
TREES = {
    "objective": "multi:softprob", "num_class": len(SEVERITIES), "tree_method": "hist", "max_bin": 4, "max_depth": 5,
    "eta": 0.15, "subsample": 0.8, "colsample_bytree": 0.2, "min_child_weight": 2, "nthread": 1,
}  # fmt: skip
FREQUENT = 1000
"""A column is frequent when one in so many rows has it, and three at least."""
SOFT, TEAM_SOFT, KIND_SOFT = 3.0, 10.0, 100.0
"""Inverse strength of the L2 penalty (scikit-learn's C): of others, of the team, of the classes."""
WEIGHT_HELD, SHIFT_HELD = 20.0, 5.0
"""How many labels it takes, roughly, to move a member's weight or a severity's shift; by experiment."""
ORIGIN_WEIGHT = {Origin.TEAM: 3.0, Origin.RULES: 1.0, Origin.BOOTSTRAP: 1.0}


@dataclass(frozen=True)
class Rows:
    """Examples as a matrix, their severities (0 … 4), and what keeps them together in a split."""

    x: csr_matrix
    y: Array
    groups: Array

    @classmethod
    def of(cls, labelled: Sequence[Labelled], group: Callable[[Labelled], str]) -> "Rows":
        return cls(
            matrix([features(one.example) for one in labelled]),
            np.array([one.severity.rank for one in labelled if one.severity is not None], int),
            np.array([crc32(group(one).encode("utf-8", "replace")) for one in labelled], np.int64),
        )

    def take(self, which: Array) -> "Rows":
        return Rows(self.x[which], self.y[which], self.groups[which])

    def __len__(self) -> int:
        return len(self.y)


def by_title(one: Labelled) -> str:
    return one.key


def by_collection(one: Labelled) -> str:
    """The folder a rule came from: who wrote one file wrote its neighbours."""
    return (one.path or one.key).split("/")[0]


def hashed(labelled: Sequence[Labelled]) -> Array:
    return np.array([crc32(one.key.encode("utf-8", "replace")) for one in labelled], np.uint32)


def strangers_ensemble(rows: Rows, seed: int) -> Ensemble:
    """What others' labels teach. Calibrated on collections left out: the team is one more stranger to them."""
    return Ensemble(_committee(rows, None, SOFT, seed, _trees_for(rows)), _temperature(rows, seed))


def team_ensemble(rows: Rows, said: Array | None, seed: int) -> Ensemble:
    """What the team's labels teach, beside what the others `said` of the same rows."""
    return Ensemble(_committee(rows, said, TEAM_SOFT, seed, _trees_for(rows)), _stack(rows, said, seed))


def folds(groups: Array) -> Iterator[tuple[Array, Array]]:
    from sklearn.model_selection import GroupKFold

    count = min(FOLDS if len(groups) < LARGE else 3, len(np.unique(groups)))
    if count > 1:
        yield from GroupKFold(count).split(groups, groups=groups)


def _trees_for(rows: Rows) -> bool:
    return len(rows) >= TREES_FROM


def _committee(rows: Rows, said: Array | None, softness: float, seed: int, with_trees: bool) -> Committee:
    linear = _linear(scaled(rows.x), rows.y, len(SEVERITIES), softness, said)
    return Committee(linear, _trees(rows, seed) if with_trees else None)


def _linear(
    x: csr_matrix, y: Array, classes: int, softness: float, said: Array | None = None, weights: Array | None = None
) -> Linear:
    from sklearn.linear_model import LogisticRegression

    known = np.unique(y)
    width = x.shape[1]
    coef = np.zeros((width if said is None else width + said.shape[1], classes), np.float32)
    intercept = np.full(classes, -8.0, np.float32)
    intercept[known] = 0
    if len(known) > 1:
        seen = np.flatnonzero(np.bincount(x.indices, minlength=width))
        dense_part = [] if said is None else [csr_matrix(said)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not converged to the last digit is good enough
            fitted = LogisticRegression(C=softness, max_iter=100, tol=1e-3).fit(
                hstack([x[:, seen], *dense_part], format="csr"), y, weights
            )
        full = fitted.coef_ if len(known) > 2 else np.vstack([-fitted.coef_, fitted.coef_]) / 2
        offset = fitted.intercept_ if len(known) > 2 else np.array([-0.5, 0.5]) * fitted.intercept_[0]
        places = seen if said is None else np.concatenate([seen, np.arange(width, len(coef))])
        coef[np.ix_(places, known)] = full.T
        intercept[known] = offset
    return Linear(coef[:width], intercept, None if said is None else coef[width:])


def _trees(rows: Rows, seed: int) -> Trees:
    counts = np.bincount(rows.x.indices, minlength=WORDS)[:WORDS]
    columns = np.flatnonzero(counts >= max(3, len(rows) / FREQUENT)).astype(np.int32)
    data = xgboost.DMatrix(chosen(rows.x, columns), rows.y)
    return Trees(xgboost.train({**TREES, "seed": seed}, data, ROUNDS), columns)


def _members(rows: Rows, said: Array | None, softness: float, seed: int) -> Array:
    """(members, rows, severities): what a committee says of rows it wasn't shown, by title or by collection."""
    with_trees = _trees_for(rows)
    spoken = np.zeros((1 + with_trees, len(rows), len(SEVERITIES)))
    for known, held in folds(rows.groups):
        told, asked = (None, None) if said is None else (said[known], said[held])
        committee = _committee(rows.take(known), told, softness, seed, with_trees)
        spoken[:, held] = committee.log_probabilities(rows.x[held], asked)
    return spoken


def _temperature(rows: Rows, seed: int) -> Stack:
    """Equal weights under one temperature: what shifts one stranger's severities does not shift another's."""
    spoken = _members(rows, None, SOFT, seed)
    sharp = _sharpness(spoken.mean(axis=0), rows.y, 1.0)
    return Stack(np.full(len(spoken), sharp / len(spoken)), np.zeros(len(SEVERITIES)))


def _sharpness(spoken: Array, y: Array, most: float) -> float:
    """The inverse temperature (Guo et al. 2017) that makes `y` most likely, from 0.1 to `most`."""

    def loss(sharp: Array) -> float:
        return -float(log_softmax(spoken * sharp[0], axis=1)[np.arange(len(y)), y].mean())

    return float(minimize(loss, [0.7], bounds=[(0.1, most)]).x[0])


def _stack(rows: Rows, said: Array | None, seed: int) -> Stack:
    """The weights and shifts most likely for the team's own labels, held near the middle while they are few."""
    spoken = _members(rows, said, TEAM_SOFT, seed)
    if said is not None:
        spoken = np.concatenate([said[None], spoken])
    count = len(spoken)
    middle = np.full(count, 1 / count)

    def loss(of: Array) -> float:
        margin = np.tensordot(of[:count], spoken, 1) + of[count:]
        likely = log_softmax(margin, axis=1)[np.arange(len(rows)), rows.y].sum()
        return float(
            -likely + WEIGHT_HELD * ((of[:count] - middle) ** 2).sum() + SHIFT_HELD * (of[count:] ** 2).sum()
        ) / len(rows)

    bounds = [(0.0, 3.0)] * count + [(-4.0, 4.0)] * len(SEVERITIES)
    best = minimize(loss, np.concatenate([middle, np.zeros(len(SEVERITIES))]), bounds=bounds).x
    return Stack(best[:count], best[count:])


def kinds_of(labelled: Sequence[Labelled]) -> Linear | None:
    """The classes, as sure as they were right about phrasings left out."""
    known = [one for one in labelled if one.incident_class in KIND_NAMES]
    if not known:
        return None
    y = np.array([KIND_NAMES.index(one.incident_class) for one in known if one.incident_class], int)
    weights = np.array([ORIGIN_WEIGHT[one.origin] for one in known])
    x = folded(scaled(matrix([features(one.example) for one in known])))
    spoken = np.zeros((len(y), len(KIND_NAMES)))
    for seen, held in folds(hashed(known)):
        linear = _linear(x[seen], y[seen], len(KIND_NAMES), KIND_SOFT, None, weights[seen])
        spoken[held] = linear.log_probabilities(x[held])
    linear = _linear(x, y, len(KIND_NAMES), KIND_SOFT, None, weights)
    sharp = _sharpness(spoken, y, 3.0)
    return Linear(linear.coef * np.float32(sharp), linear.intercept * np.float32(sharp))

"""Learning from labels, and finding out honestly whether anything was learned. Loads scikit-learn when it fits."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from app.ml.ensemble import SEVERITIES, Array, Ensemble, Model
from app.ml.features import Labelled, Metrics, Origin
from app.ml.fitting import Rows, by_collection, by_title, folds, hashed, kinds_of, strangers_ensemble, team_ensemble

TEAM_LABELS_NEEDED = 100
NEW_LABELS_NEEDED = 30
ECE_ALLOWED = 0.10


@dataclass(frozen=True)
class Verdict:
    """`metrics` are of labels held out; None when there were too few to tell."""

    model: Model
    metrics: Metrics | None
    promoted: bool
    reason: str
    at: datetime


def train(labelled: Sequence[Labelled], seed: int = 0) -> Model:
    """The model that these labels make; the same labels in the same order make the same model.

    Once the team has labels, only they decide how much those of others (rule files, bootstrap) are worth.
    The bootstrap's severities are the taxonomy's and no label of anybody: they count while there is nothing else.
    """
    return replace(_severities(labelled, seed), kinds=kinds_of(labelled))


def _severities(labelled: Sequence[Labelled], seed: int, others: Ensemble | None = None) -> Model:
    """A model of severities only. `others` may be given where it is known what the others' labels teach."""
    severe = [one for one in labelled if one.severity is not None]
    team, rules, taxonomy = ([one for one in severe if one.origin is origin] for origin in Origin)
    trusted = [*team, *rules] or taxonomy
    strangers, own = Rows.of(trusted[len(team) :], by_collection), Rows.of(team, by_title)
    if others is None and len(strangers):
        others = strangers_ensemble(strangers, seed)
    ours = None
    if len(own):
        ours = team_ensemble(own, None if others is None else others.log_probabilities(own.x), seed)
    learned = Counter(one.origin for one in trusted)
    return Model(kinds=None, others=others, team=ours, learned=learned, seen=np.unique(hashed(trusted)))


def evaluate(model: Model, labelled: Sequence[Labelled]) -> Metrics:
    """How well the model predicts these labels, which it should not have learned from.

    Raises: ValueError when none of them has a severity.
    """
    rows = Rows.of([one for one in labelled if one.severity is not None], by_title)
    return measured(model.severities(rows.x), rows.y)


def measured(probabilities: Array, y: Array) -> Metrics:
    """Raises: ValueError when there is nothing to measure."""
    if not len(y):
        raise ValueError("no label has a severity")
    from sklearn.metrics import cohen_kappa_score, f1_score

    best = probabilities.argmax(axis=1)
    right = best == y
    ranks = range(len(SEVERITIES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # kappa of one class is 0/0
        qwk = float(np.nan_to_num(cohen_kappa_score(y, best, weights="quadratic", labels=list(ranks))))
    return Metrics(
        n=len(y), accuracy=float(right.mean()), majority=float(np.bincount(y).max() / len(y)),
        macro_f1=float(f1_score(y, best, average="macro", zero_division=0)), qwk=qwk,
        ece=calibration_error(probabilities.max(axis=1), right),
        brier=float(((probabilities - np.eye(len(SEVERITIES))[y]) ** 2).sum(axis=1).mean()),
        standard_error=float(np.sqrt(right.mean() * (1 - right.mean()) / len(y))),
    )  # fmt: skip


def calibration_error(confidence: Array, right: Array) -> float:
    """Guo et al. 2017: the mean gap between confidence and accuracy over 10 bins of equal width."""
    bins = np.minimum((confidence * 10).astype(int), 9)
    gaps = np.bincount(bins, confidence - right, 10)
    return float(np.abs(gaps).sum() / len(right))


def challenge(labelled: Sequence[Labelled], champion: Model | None, now: datetime, seed: int = 0) -> Verdict:
    """Train on everything, and promote only what is better for certain.

    Judged out of fold, grouped by title: over the team's labels when there are 100, else over the rule files'.
    The champion is judged on titles it never learned from, and the challenger must beat it and the majority by
    more than one standard error of the paired difference, with a calibration error of at most 0.10.
    """
    model = train(labelled, seed)
    judged = _judged(labelled)
    if len(judged) < TEAM_LABELS_NEEDED:
        reason = f"{len(judged)} labels to judge by; {TEAM_LABELS_NEEDED} are needed"
        return Verdict(model, None, False, reason, now)
    y = np.array([one.severity.rank for one in judged if one.severity is not None], int)
    if len(np.unique(y)) < 2:
        return Verdict(model, None, False, "every label has the same severity: there is nothing to learn", now)
    probabilities, majority = _out_of_fold(labelled, judged, y, model, seed)
    metrics = measured(probabilities, y)
    objection = _objection(judged, y, probabilities, majority, champion, metrics)
    if objection:
        return Verdict(model, metrics, False, objection, now)
    better = f"accuracy {metrics.accuracy:.3f} against {metrics.majority:.3f} of the majority"
    return Verdict(model, metrics, True, f"{better}, calibration error {metrics.ece:.3f}, n = {metrics.n}", now)


def _judged(labelled: Sequence[Labelled]) -> list[Labelled]:
    severe = [one for one in labelled if one.severity is not None]
    team = [one for one in severe if one.origin is Origin.TEAM]
    return team if len(team) >= TEAM_LABELS_NEEDED else [one for one in severe if one.origin is Origin.RULES]


def _out_of_fold(
    labelled: Sequence[Labelled], judged: Sequence[Labelled], y: Array, whole: Model, seed: int
) -> tuple[Array, Array]:
    """Every judged label predicted by a model that knew no label of its title, and by the majority it knew."""
    rows = Rows.of(judged, by_title)
    origin = judged[0].origin
    rest = [one for one in labelled if one.origin is not origin]
    others = whole.others if origin is Origin.TEAM else None
    probabilities = np.zeros((len(y), len(SEVERITIES)))
    majority = np.zeros(len(y), int)
    for known, held in folds(rows.groups):
        model = _severities([*rest, *(judged[i] for i in known)], seed, others)
        probabilities[held] = model.severities(rows.x[held])
        majority[held] = np.bincount(y[known]).argmax()
    return probabilities, majority


def _objection(
    judged: Sequence[Labelled], y: Array, probabilities: Array, majority: Array, champion: Model | None, found: Metrics
) -> str | None:
    right = probabilities.argmax(axis=1) == y
    gain, error = _paired(right, majority == y)
    if gain <= error:
        return f"no better than the majority: {gain:+.3f} with a standard error of {error:.3f}"
    if found.ece > ECE_ALLOWED:
        return f"badly calibrated: calibration error {found.ece:.3f}, at most {ECE_ALLOWED} is allowed"
    if champion is None:
        return None
    new = ~np.isin(hashed(judged), champion.seen)
    if new.sum() < NEW_LABELS_NEEDED:
        return f"{new.sum()} labels that the champion has not learned from; {NEW_LABELS_NEEDED} are needed"
    theirs = champion.severities(Rows.of(judged, by_title).x[new]).argmax(axis=1)
    gain, error = _paired(right[new], theirs == y[new])
    if gain <= error:
        return f"no better than the champion: {gain:+.3f} with a standard error of {error:.3f}"
    return None


def _paired(ours: Array, theirs: Array) -> tuple[float, float]:
    """The mean of the paired difference and its standard error."""
    difference = ours.astype(float) - theirs
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))

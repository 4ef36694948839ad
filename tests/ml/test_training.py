from datetime import UTC, datetime

import numpy as np
import pytest
import xgboost

from app.domain.vocabulary import Severity
from app.ml.corpus import bootstrap
from app.ml.ensemble import Model, chosen
from app.ml.features import Example, Labelled, Origin, features, matrix
from app.ml.fitting import Rows
from app.ml.training import calibration_error, challenge, evaluate, measured, train
from tests.ml.labels import example, labels, relabelled

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture(scope="module")
def experienced() -> Model:
    """Enough labels for trees."""
    return train([*labels(600), *labels(600, Origin.RULES, seed=1)])


def test_the_policy_of_the_team_is_learned(experienced: Model) -> None:
    found = evaluate(experienced, labels(300, seed=2, noise=0))
    assert found.accuracy > 0.95
    assert found.majority < 0.3
    assert found.qwk > 0.95


def test_a_prediction_is_whole_and_says_why(experienced: Model) -> None:
    [said] = experienced.predict([example("outage of", "checkout", 9001)])
    assert said.severity is Severity.P0
    assert sum(said.probabilities.values()) == pytest.approx(1)
    assert said.confidence == max(said.probabilities.values()) == said.probabilities[Severity.P0]
    assert "outage" in said.reasons


def test_confidence_is_about_how_often_it_is_right(experienced: Model) -> None:
    found = evaluate(experienced, labels(1000, seed=3))
    assert found.ece <= 0.05


def test_a_stored_model_says_the_same_to_the_byte(experienced: Model) -> None:
    data = experienced.dump()
    again = Model.load(data)
    asked = [one.example for one in labels(50, seed=4)]
    assert again.predict(asked) == experienced.predict(asked)
    assert again.dump() == data
    assert again.learned == {Origin.TEAM: 600, Origin.RULES: 600}
    assert len(data) < 10_000_000


def test_the_same_labels_make_the_same_model() -> None:
    some = [*labels(120), *bootstrap()]
    assert train(some).dump() == train(some).dump()


def test_one_at_a_time_and_all_at_once_are_the_same(experienced: Model) -> None:
    asked = [one.example for one in labels(40, seed=5)]
    assert [experienced.predict([one])[0].severity for one in asked] == [
        said.severity for said in experienced.predict(asked)
    ]


def test_trees_are_served_what_they_were_trained_on(experienced: Model) -> None:
    """XGBoost takes what a sparse row leaves out for missing: a dense zero would be something else."""
    assert experienced.team is not None
    trees = experienced.team.committee.trees
    assert trees is not None
    rows = chosen(matrix([features(one.example) for one in labels(200, seed=6)]), trees.columns)
    sparse = trees.booster.inplace_predict(rows)
    assert np.array_equal(sparse, trees.booster.predict(xgboost.DMatrix(rows)))
    assert not np.allclose(sparse, trees.booster.inplace_predict(rows.toarray()))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 not really", b"\x93NUMPY", b"x" * 1000])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no model"):
        Model.load(data)


@pytest.mark.parametrize(
    "some",
    [
        [],
        labels(1),
        relabelled(labels(5), Severity.P1),
        [Labelled(example=Example(), severity=Severity.P3, key="")] * 40,
        [*relabelled(labels(30), Severity.P1), *relabelled(labels(1, seed=9), Severity.P2)],
        [one.model_copy(update={"severity": None, "incident_class": "agent.loop"}) for one in labels(3)],
    ],
    ids=["none", "one", "one class", "empty texts", "one of the other", "no severity"],
)
def test_a_model_can_be_made_of_anything_and_refuses_to_be_promoted(some: list[Labelled]) -> None:
    verdict = challenge(some, None, NOW)
    assert not verdict.promoted
    assert "100 are needed" in verdict.reason
    [said] = verdict.model.predict([Example(title="anything")])
    assert sum(said.probabilities.values()) == pytest.approx(1)
    assert Model.load(verdict.model.dump()).predict([Example(title="anything")]) == [said]


def test_what_beats_the_majority_for_certain_is_promoted() -> None:
    verdict = challenge([*labels(200), *bootstrap()], None, NOW)
    assert verdict.promoted, verdict.reason
    assert verdict.metrics is not None
    assert verdict.metrics.accuracy > verdict.metrics.majority + verdict.metrics.standard_error
    assert verdict.metrics.n == 200
    assert verdict.at == NOW


def test_labels_without_rhyme_or_reason_are_not_promoted() -> None:
    verdict = challenge(labels(200, noise=1), None, NOW)
    assert not verdict.promoted
    assert "no better than the majority" in verdict.reason


def test_one_severity_for_everything_teaches_nothing() -> None:
    verdict = challenge(relabelled(labels(150), Severity.P2), None, NOW)
    assert not verdict.promoted
    assert "the same severity" in verdict.reason


def test_copies_of_one_label_are_one_title_and_prove_nothing() -> None:
    """Held-out copies of what was learned would look like knowledge."""
    copies = [one for one in labels(4, noise=0, seed=12) for _ in range(50)]
    shuffled = [
        one.model_copy(update={"severity": severity}) for one in copies for severity in (Severity.P1, Severity.P2)
    ]
    assert not challenge(shuffled, None, NOW).promoted


def test_the_champion_stays_while_there_is_nothing_new_to_compare_by() -> None:
    some = labels(200)
    verdict = challenge(some, train(some), NOW)
    assert not verdict.promoted
    assert "that the champion has not learned from" in verdict.reason


def test_the_champion_stays_when_the_challenger_is_no_better() -> None:
    verdict = challenge(labels(400), train(labels(200)), NOW)
    assert not verdict.promoted
    assert "no better than the champion" in verdict.reason


def test_a_champion_of_another_policy_is_beaten() -> None:
    wrong = train(relabelled(labels(120, seed=8), Severity.P4))
    verdict = challenge(labels(200), wrong, NOW)
    assert verdict.promoted, verdict.reason


def test_rule_files_alone_are_judged_too() -> None:
    verdict = challenge([*labels(200, Origin.RULES), *bootstrap()], None, NOW)
    assert verdict.promoted, verdict.reason
    assert Origin.TEAM not in verdict.model.learned


def test_what_the_team_says_outweighs_what_rule_files_say() -> None:
    theirs = relabelled(labels(300, Origin.RULES, seed=20, noise=0), Severity.P0)
    model = train([*theirs, *labels(150, noise=0)])
    assert evaluate(model, labels(100, seed=21, noise=0)).accuracy > 0.9


def test_figures_are_what_they_are_called() -> None:
    sure = np.eye(5)[[0, 0, 1, 4]]
    found = measured(sure, np.array([0, 0, 1, 3]))
    assert (found.n, found.accuracy, found.majority) == (4, 0.75, 0.5)
    assert found.ece == pytest.approx(0.25)
    assert found.brier == pytest.approx(0.5)
    assert 0.9 < found.qwk < 1
    assert calibration_error(np.array([0.75] * 4), np.array([True, True, True, False])) == 0
    with pytest.raises(ValueError, match="no label"):
        measured(np.zeros((0, 5)), np.zeros(0, int))


def test_nothing_learned_is_said_as_such() -> None:
    nothing = train([])
    [said] = nothing.predict([Example(title="anything")])
    assert set(said.probabilities.values()) == {0.2}
    assert (said.incident_class, said.reasons) == (None, ())
    assert nothing.predict([]) == []
    assert len(Rows.of([], lambda one: one.key)) == 0

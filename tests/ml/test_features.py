from datetime import UTC, datetime

import pytest

from app.ml.features import Example, features, matrix, title_key

ALERT = Example(
    title="HighRequestLatency on api-7",
    description="p95 is over two seconds",
    source="prometheus",
    service=("checkout",),
    environment="production",
    labels={"team": "payments"},
    expr='histogram_quantile(0.95, http_request_seconds{severity="critical",job="api"})',
    at=datetime(2026, 11, 22, 3, tzinfo=UTC),
)


@pytest.mark.parametrize("name", ["severity", "Severity", "priority", "alert_level", "page", "urgency", "sev"])
def test_what_the_reporter_says_of_the_severity_changes_nothing(name: str) -> None:
    told = ALERT.model_copy(update={"labels": {"team": "payments", name: "critical"}})
    assert features(told) == features(ALERT)


def test_an_expression_that_repeats_the_severity_is_not_told_it() -> None:
    other = ALERT.model_copy(update={"expr": ALERT.expr.replace("critical", "info")})
    assert features(other) == features(ALERT)
    assert "e:critical" not in features(ALERT).words


def test_words_fields_and_time_are_told() -> None:
    told = set(features(ALERT).words)
    assert {"t:latency", "seconds", "e:histogram", "source:prometheus", "service:checkout", "team:payments"} <= told
    assert {"environment:production", "hour:0", "weekend"} <= told


def test_every_named_word_has_its_column() -> None:
    told = features(ALERT)
    assert len(told.columns) > len(told.words)
    assert matrix([told]).nnz == len(set(told.columns))


def test_a_row_stores_ones_only() -> None:
    rows = matrix([features(ALERT), features(Example()), features(Example(title="\ud800 ünïcode 🔥 __"))])
    assert set(rows.data.tolist()) == {1.0}


@pytest.mark.parametrize("title", ["HighCPU on node_7", "high cpu on Node-7", "High  CPU on node 7!"])
def test_titles_that_read_alike_are_one_key(title: str) -> None:
    assert title_key(title) == "high cpu on node 7"

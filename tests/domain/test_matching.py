"""What conditions hold of, how they are written, and what is refused."""

import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.decode import decode
from app.domain.errors import Invalid
from app.domain.matching import ALWAYS, Condition, Subject, explain, holds
from app.domain.record import Record
from app.domain.vocabulary import Severity

NIGHT = datetime(2026, 11, 23, 3, 30, tzinfo=UTC)  # a Monday
OUTAGE = Subject.model_validate({
    "severity": "P1", "at": NIGHT, "source": "litellm", "title": "GPU OOM on node-7", "category": "performance",
    "incident_type": "Infrastructure", "environment": "production", "affected_services": ["chat", "llm-gateway"],
    "tags": {"team": "ml", "cost_usd": "120.5", "region": "eu"}, "alert_count": 3, "status": "NEW",
    "description": "", "assigned_team": None, "incident_class": "gpu_oom",
})  # fmt: skip


class Holder(Record):
    """As conditions stand in rules and silences."""

    conditions: Condition = ALWAYS


def condition(written: object) -> Condition:
    return decode(Holder, {"conditions": written}).conditions


def judged(written: object) -> bool:
    return holds(condition(written), OUTAGE)


@pytest.mark.parametrize(
    ("field", "operator", "value", "true"),
    [
        ("severity", "equals", "P1", True),
        ("severity", "equals", "high", True),
        ("severity", "greater_than", "P2", True),
        ("severity", "greater_than", "P1", False),
        ("severity", "less_than", "P0", True),
        ("severity", "in", ["critical", "error"], True),
        ("severity", "not_in", ["P3", "P4"], True),
        ("source", "equals", "litellm", True),
        ("source", "equals", "LiteLLM", False),
        ("title", "contains", "oom", True),
        ("title", "not_contains", "oom", False),
        ("title", "matches", r"node-\d+$", True),
        ("title", "matches", r"^node", False),
        ("incident_type", "equals", "infrastructure", True),
        ("type", "equals", "Infrastructure", True),
        ("environment", "equals", "prod", True),
        ("service", "equals", "chat", True),
        ("service", "not_equals", "chat", False),
        ("affected_services", "contains", "gateway", True),
        ("service", "in", ["search", "chat"], True),
        ("service", "not_in", ["search"], True),
        ("tags.team", "equals", "ml", True),
        ("labels.team", "equals", "ml", True),
        ("tags.cost_usd", "greater_than", 100, True),
        ("tags.cost_usd", "less_than", 100, False),
        ("tags.region", "greater_than", 0, False),
        ("alert_count", "greater_than", 2, True),
        ("alert_count", "in", [1, 3], True),
        ("flap_count", "equals", 0, True),
        ("hour", "equals", 3, True),
        ("weekday", "equals", "mon", True),
        ("incident_class", "matches", "^gpu_", True),
        ("time", "in", {"start": "22:00", "end": "06:00"}, True),
        ("time", "not_in", {"start": "09:00", "end": "17:00", "timezone": "Europe/Berlin"}, True),
        ("time", "in", {"start": "09:00", "end": "17:00", "timezone": "Asia/Tokyo"}, True),
        ("time", "in", {"start": "22:00", "end": "06:00", "days": ["sat"]}, False),
    ],
)
def test_a_test_holds(field: str, operator: str, value: object, true: bool) -> None:
    assert judged({"field": field, "operator": operator, "value": value}) is true


@pytest.mark.parametrize("field", ["tags.absent", "assigned_team", "runbook_url", "description"])
def test_what_is_not_there_equals_nothing(field: str) -> None:
    false = {"equals": "x", "contains": "x", "in": ["x"], "matches": ".*"}
    true = {"not_equals": "x", "not_contains": "x", "not_in": ["x"]}
    for operators, expected in ((false, False), (true, True)):
        for operator, value in operators.items():
            assert judged({"field": field, "operator": operator, "value": value}) is expected, operator
    if field.startswith("tags."):
        assert not judged({"field": field, "operator": "less_than", "value": 1})


def test_conditions_are_joined() -> None:
    true, false = {"field": "source", "value": "litellm"}, {"field": "source", "value": "other"}
    assert judged({"and": [true, {"or": [false, {"not": false}]}]})
    assert not judged({"and": [true, false]})
    assert not judged({"or": []})
    assert judged([true, true])
    assert not judged([true, false])
    assert all(judged(nothing) for nothing in [{}, [], {"and": []}])


def test_the_short_form_means_all_of_what_it_names() -> None:
    short = {
        "severity": ["critical", "P1"], "category": ["performance"], "source": ["litellm"], "environment": ["prod"],
        "tags": {"team": "ml"}, "time_of_day": {"start": "22:00", "end": "06:00", "timezone": "UTC"},
    }  # fmt: skip
    assert judged(short)
    others = {"severity": ["P2"], "category": ["cost"], "source": ["x"], "environment": ["qa"], "tags": {"team": "x"}}
    for name, other in others.items():
        assert not judged(short | {name: other}), name
    assert not judged(short | {"time_of_day": {"start": "06:00", "end": "22:00"}})


def test_every_test_is_explained_with_what_was_there() -> None:
    written = {
        "or": [{"field": "title", "operator": "contains", "value": "oom"}, {"not": {"field": "tags.x", "value": 1}}]
    }
    told = [(t.field, t.operator.value, t.value, t.actual, t.held) for t in explain(condition(written), OUTAGE)]
    assert told == [
        ("title", "contains", "oom", ("GPU OOM on node-7",), True),
        ("tags.x", "equals", "1", (), False),
    ]


def test_an_explanation_of_a_long_text_is_short() -> None:
    long = OUTAGE.model_copy(update={"description": "x" * 60_000})
    [told] = explain(condition({"field": "description", "operator": "in", "value": ["y" * 900, "z" * 900]}), long)
    assert len(str(told.actual[0])) == 200
    assert len(str(told.value)) <= 201


@pytest.mark.parametrize(
    ("written", "field"),
    [
        (3, "conditions"),
        ({"serverity": ["P0"]}, "conditions.serverity"),
        ({"severity": ["P9"]}, "conditions.severity[0]"),
        ({"field": "colour", "value": "red"}, "conditions.field"),
        ({"field": "tags.", "value": "red"}, "conditions.field"),
        ({"field": "", "value": "red"}, "conditions.field"),
        ({"field": "title", "operator": "like", "value": "x"}, "conditions.operator"),
        ({"field": "title", "operator": "equals"}, "conditions.value"),
        ({"field": "title", "value": ["x"]}, "conditions.value"),
        ({"field": "title", "value": {"x": 1}}, "conditions.value"),
        ({"field": "title", "operator": "in", "value": "x"}, "conditions.value"),
        ({"field": "title", "operator": "in", "value": []}, "conditions.value"),
        ({"field": "title", "operator": "in", "value": [["x"]]}, "conditions.value"),
        ({"field": "title", "operator": "greater_than", "value": 3}, "conditions.value"),
        ({"field": "alert_count", "value": "many"}, "conditions.value"),
        ({"field": "alert_count", "operator": "contains", "value": 3}, "conditions.value"),
        ({"field": "tags.x", "operator": "less_than", "value": True}, "conditions.value"),
        ({"field": "severity", "operator": "greater_than", "value": 2}, "conditions.value"),
        ({"field": "title", "operator": "matches", "value": "("}, "conditions.value"),
        ({"field": "title", "operator": "matches", "value": "(?=x)y"}, "conditions.value"),
        ({"field": "title", "operator": "matches", "value": r"(a)\1"}, "conditions.value"),
        ({"field": "title", "operator": "matches", "value": "((a{500}){500}){500}"}, "conditions.value"),
        ({"field": "time", "operator": "equals", "value": "03:00"}, "conditions.value"),
        ({"field": "time", "operator": "in", "value": {"start": "25:00", "end": "1:00"}}, "conditions.value.start"),
        ({"field": "title", "value": "x", "and": []}, "conditions"),
        ({"value": "x"}, "conditions"),
        ({"and": {}}, "conditions.and"),
        ({"and": [{"not": {"or": [{"field": "source", "value": "x"}, {"field": "x", "value": 1}]}}]},
         "conditions.and[0].not.or[1].field"),
        ([{"field": "source", "value": "x", "values": 1}], "conditions.and[0].values"),
        ([{"field": "source", "value": "x"}] * 100, "conditions"),
        ([{}] * 100_000, "conditions"),
        ({"tags": {f"t{n}": "x" for n in range(200)}}, "conditions"),
    ],
)  # fmt: skip
def test_what_is_no_condition_is_refused_by_its_path(written: object, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        condition(written)
    assert refused.value.details[0]["field"] == field  # type: ignore[index]
    assert len(refused.value.message) < 600


def test_ten_deep_is_taken_and_eleven_is_not() -> None:
    deep: Any = {"field": "source", "value": "litellm"}
    for _ in range(10):
        deep = {"not": deep}
    assert judged(deep)
    with pytest.raises(Invalid, match="nested at most 10 deep"):
        condition({"not": deep})
    for _ in range(5000):
        deep = {"not": deep}
    with pytest.raises(Invalid, match="nested at most 10 deep"):
        condition(deep)


def test_no_expression_takes_long() -> None:
    """The pattern on which backtracking engines hang; here it is linear."""
    evil = condition({"field": "description", "operator": "matches", "value": "^(a+)+$"})
    text = OUTAGE.model_copy(update={"description": "a" * 60_000 + "!"})
    began = time.perf_counter()
    assert not holds(evil, text)
    assert time.perf_counter() - began < 0.5


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
TEXT_TESTS = st.fixed_dictionaries({
    "field": st.sampled_from(["source", "title", "service", "tags.team", "assigned_team"]),
    "operator": st.sampled_from(["equals", "not_equals", "contains", "not_contains"]),
    "value": st.sampled_from(["ml", "chat", "o"]),
})  # fmt: skip
SEVERITY_TESTS = st.fixed_dictionaries({
    "field": st.just("severity"), "operator": st.sampled_from(["equals", "not_equals", "greater_than", "less_than"]),
    "value": st.sampled_from([severity.value for severity in Severity]),
})  # fmt: skip
LIST_TESTS = st.fixed_dictionaries({
    "field": st.just("service"), "operator": st.sampled_from(["in", "not_in"]),
    "value": st.lists(st.sampled_from(["chat", "x"]), min_size=1, max_size=3),
})  # fmt: skip
LEAVES = st.one_of(TEXT_TESTS, SEVERITY_TESTS, LIST_TESTS)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda parts: {"and": parts}, st.lists(inner, max_size=3)),
        st.builds(lambda parts: {"or": parts}, st.lists(inner, max_size=3)),
        st.builds(lambda part: {"not": part}, inner),
    ),
    max_leaves=8,
)
SUBJECTS = st.builds(
    lambda severity, text, services, tags: OUTAGE.model_copy(
        update={"severity": severity, "title": text, "affected_services": tuple(services), "tags": tags}
    ),
    st.sampled_from(Severity), TEXT, st.lists(st.sampled_from(["chat", "x", "y"]), max_size=2),
    st.dictionaries(st.just("team"), st.sampled_from(["ml", "ops"])),
)  # fmt: skip


@given(CONDITIONS, SUBJECTS)
def test_not_is_the_opposite_and_nothing_is_lost_in_writing(written: dict[str, Any], subject: Subject) -> None:
    said = Condition.model_validate(written)
    assert holds(Condition.model_validate({"not": written}), subject) is not holds(said, subject)
    again = Condition.model_validate(said.model_dump(mode="json"))
    assert again == said
    assert explain(again, subject) == explain(said, subject)


@given(st.lists(LEAVES, max_size=4), SUBJECTS)
def test_de_morgan(written: list[dict[str, Any]], subject: Subject) -> None:
    neither = Condition.model_validate({"not": {"or": written}})
    nots = Condition.model_validate({"and": [{"not": leaf} for leaf in written]})
    assert holds(neither, subject) is holds(nots, subject)


@given(LEAVES, SUBJECTS)
def test_a_not_operator_is_its_operator_denied(leaf: dict[str, Any], subject: Subject) -> None:
    if leaf["operator"] in ("greater_than", "less_than"):
        return
    name = leaf["operator"]
    other = name.removeprefix("not_") if name.startswith("not_") else f"not_{name}"
    opposite = Condition.model_validate(leaf | {"operator": other})
    assert holds(opposite, subject) is not holds(Condition.model_validate(leaf), subject)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["field", "operator", "value", "and", "or", "not", "severity", "tags"]), inner
        )
    ),
    max_leaves=10,
)


@given(JSON, SUBJECTS)
def test_whatever_is_sent_is_either_a_condition_or_refused(sent: object, subject: Subject) -> None:
    with suppress(Invalid):
        assert holds(condition(sent), subject) in (True, False)

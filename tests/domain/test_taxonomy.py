"""The classes: that each is whole, that what they name is there, and which alerts are one problem."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app import bundle
from app.domain.alert import Alert
from app.domain.dedup import fingerprint
from app.domain.errors import NotFound
from app.domain.matching import Subject
from app.domain.routing import decide
from app.domain.rules import Rule
from app.domain.taxonomy import CLASSES, FLOORS, OTHERS, Owner, base, described, playbook_for, stated
from app.domain.vocabulary import Severity
from app.enrichers import ENRICHERS

PARTS = bundle.parts("llmops")
RULES = tuple(Rule.model_validate(part.body) for part in PARTS if part.kind == "routing-rules")
POLICIES = {
    "llmops-security": Owner.SECURITY, "llmops-finops": Owner.FINOPS, "llmops-quality": Owner.QUALITY,
    "llmops-platform": Owner.PLATFORM,
}  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_is_whole_and_what_it_names_is_there(name: str) -> None:
    kind, shown = CLASSES[name], described(name)
    assert kind.title.endswith(".")
    assert kind.signals
    assert kind.labels
    assert set(kind.enrichers) <= ENRICHERS.keys()
    assert kind.enrichers
    assert kind.floor is None or not kind.floor.worse_than(kind.severity)
    assert (shown.name, shown.severity, shown.fingerprint) == (name, kind.severity, kind.labels)


def test_a_class_suggests_the_playbook_that_would_begin_for_it() -> None:
    begins = {
        name: part.id for part in PARTS if part.kind == "playbooks" for name in classes(part.body["triggers"][0])
    }  # fmt: skip
    assert {name: kind.playbook for name, kind in CLASSES.items() if kind.playbook} == begins
    assert (playbook_for("privacy.pii_leak"), playbook_for("eval.regression"), playbook_for(None)) == (
        "pii-leak", None, None,
    )  # fmt: skip


def classes(trigger: dict[str, Any]) -> list[str]:
    conditions = trigger["conditions"]
    return list((conditions["or"][0] if "or" in conditions else conditions)["value"])


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_is_for_whom_the_bundle_sends_it_to(name: str) -> None:
    kind = CLASSES[name]
    subject = Subject(severity=kind.severity, at=datetime(2026, 11, 23, tzinfo=UTC), tags={"class": name})
    decision = decide(RULES, subject, explained=False)
    given = decision.assign[1].targets[0].id if decision.assign else "llmops-oncall"
    assert given == f"llmops-{kind.owner}"
    assert POLICIES.get(decision.policy_id or "", kind.owner) is kind.owner


@pytest.mark.parametrize("word", ["", "ssh", "Database", "other.security", "availability", "AVAILABILITY.GATEWAY_DOWN"])
def test_other_words_under_that_name_state_no_class(word: str) -> None:
    assert stated({"class": word}) is None
    assert base({"class": word}) is Severity.P2


def test_a_class_that_is_stated_is_known_and_says_where_its_severity_begins() -> None:
    assert stated({"class": " eval.regression "}) == "eval.regression"
    assert base({"class": "availability.gateway_down"}) is Severity.P0
    assert stated({}) is None
    assert not FLOORS.keys() & OTHERS.keys()
    with pytest.raises(NotFound, match="incident class 'nope'"):
        described("nope")


def mark(title: str, **labels: str) -> str:
    return fingerprint(Alert(source="api", title=title, labels={"class": "performance.latency"} | labels))


def test_alerts_of_a_class_are_one_problem_by_its_labels_however_they_are_worded() -> None:
    slow = mark("p95 is 5.3 s", provider="openai", model="gpt-5.1")
    assert slow == mark("P95 is 9.9 s!", provider="OpenAI ", model="gpt-5.1", pod="7")
    assert slow == mark("slow", api_provider="openai", model="gpt-5.1")
    assert slow != mark("p95 is 5.3 s", provider="anthropic", model="gpt-5.1")
    assert slow != mark("p95 is 5.3 s", provider="openai", model="gpt-5.1", region="eu")
    assert slow != mark("p95 is 5.3 s", provider="openai", model="gpt-5.1", **{"class": "performance.hanging"})


def test_where_labels_name_no_problem_the_words_do() -> None:
    assert mark("slow in eu", region="eu") != mark("slow", region="eu")
    assert mark("slow") == mark("slow", region="eu")
    assert mark("slow", **{"class": "ssh"}, provider="x") == mark("slow", **{"class": "ssh"}, provider="y")

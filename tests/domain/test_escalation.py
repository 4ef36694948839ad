"""Which policy an incident climbs, and how its ladder counts."""

from datetime import timedelta
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.domain.decode import decode
from app.domain.errors import Invalid
from app.domain.escalation import Facts, Policy, Target, choose
from app.domain.vocabulary import Category, Environment, Severity, TargetType
from tests.domain.incidents import START, level, opened, policy, worked

FACTS = Facts(
    at=START,
    severity=Severity.P1,
    category=Category.SECURITY,
    source="grafana",
    environment=Environment.PRODUCTION,
    tags={"team": "ml", "tier": "1"},
)


def chosen(*policies: Policy, facts: Facts = FACTS) -> str | None:
    found = choose(policies, facts, "default")
    assert found is None or found in policies
    return found.id if found else None


DEFAULT = policy(id="default", conditions={"source": ["nowhere"]}, priority=1000)


@pytest.mark.parametrize(
    ("conditions", "fits"),
    [
        ({}, True),
        ({"severity": ["P0", "P1"]}, True),
        ({"severity": ["P0"]}, False),
        ({"category": ["security"]}, True),
        ({"category": ["cost"]}, False),
        ({"source": ["datadog", "grafana"]}, True),
        ({"source": ["datadog"]}, False),
        ({"environment": ["production"]}, True),
        ({"environment": ["staging"]}, False),
        ({"tags": {"team": "ml"}}, True),
        ({"tags": {"team": "ml", "tier": "1"}}, True),
        ({"tags": {"team": "ml", "tier": "2"}}, False),
        ({"tags": {"region": "eu"}}, False),
        ({"severity": ["P1"], "source": ["datadog"]}, False),
    ],
)
def test_every_condition_must_hold(conditions: dict[str, object], fits: bool) -> None:
    assert chosen(DEFAULT, policy(id="night", conditions=conditions)) == ("night" if fits else "default")


def test_the_highest_priority_wins_and_ties_go_by_id() -> None:
    low, a, b = policy(id="low", priority=-1), policy(id="a", priority=5), policy(id="b", priority=5)
    assert chosen(low, b, DEFAULT, a) == "a"
    assert chosen(b, low) == "b"
    assert chosen(low) == "low"


def test_a_policy_that_is_off_is_not_chosen() -> None:
    assert chosen(policy(id="off", enabled=False, priority=9), DEFAULT) == "default"
    assert chosen(policy(id="off", enabled=False)) is None


@given(
    secs=st.lists(st.integers(0, 3600), min_size=1, max_size=5),
    max_repeats=st.integers(0, 4),
    interval_secs=st.integers(0, 3600),
)
def test_every_rung_goes_out_once_and_on_time(secs: list[int], max_repeats: int, interval_secs: int) -> None:
    ladder = policy(*map(level, secs), repeat={"max_repeats": max_repeats, "interval_secs": interval_secs})
    waits = [*secs[:-1], interval_secs] * (1 + max_repeats)
    due = [START + timedelta(seconds=passed) for passed in accumulate(waits[:-1], initial=0)]
    incident, went_out = opened(ladder), []
    while incident.wakes_at is not None:
        now = incident.wakes_at
        incident, pages = worked(incident, now)
        went_out += [(now, page.rung, page.number) for page in pages]
    assert went_out == [(at, rung, rung % len(secs) + 1) for rung, at in enumerate(due)]
    assert ladder.rungs == len(due)


@pytest.mark.parametrize("address", ["oncall@example.com", "mailto:oncall@example.com", "https://example.com/hook"])
def test_an_external_target_is_an_address(address: str) -> None:
    assert Target(type=TargetType.EXTERNAL, id=address).label == f"external:{address}"


NO_ADDRESSES = ("alice", "ftp://example.com", "a@b@c", "https://", "a b@example.com", "a@b\r\nBcc: c@d")


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_an_external_target_is_nothing_else(address: str) -> None:
    with pytest.raises(ValidationError, match="must be a web or mail address"):
        Target(type=TargetType.EXTERNAL, id=address)
    assert Target(type=TargetType.USER, id=address)


BODY: dict[str, object] = {"id": "p", "name": "p", "levels": [{"targets": [{"type": "user", "id": "alice"}]}]}


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"levles": []}, "levles"),
        ({"levels": []}, "levels"),
        ({"levels": [{"targets": []}]}, "levels[0].targets"),
        ({"levels": [{"targets": [{"type": "user", "id": "a", "nmae": ""}]}]}, "levels[0].targets[0].nmae"),
        ({"levels": [{"targets": [{"type": "user", "id": "a"}], "escalate_after_secs": -1}]},
         "levels[0].escalate_after_secs"),
        ({"repeat": {"max_repeats": 101}}, "repeat.max_repeats"),
        ({"conditions": {"severities": ["P0"]}}, "conditions.severities"),
    ],
)  # fmt: skip
def test_a_policy_from_outside_is_refused_by_the_field(more: dict[str, object], field: str) -> None:
    assert decode(Policy, BODY).rungs == 1
    with pytest.raises(Invalid) as refused:
        decode(Policy, BODY | more)
    assert isinstance(refused.value.details, list)
    assert refused.value.details[0]["field"] == field


def test_what_a_newer_worker_wrote_an_older_one_can_read() -> None:
    assert Policy.model_validate(BODY | {"invented_later": 1}) == Policy.model_validate(BODY)

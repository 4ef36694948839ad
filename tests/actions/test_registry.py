"""What every action of the registry has in common."""

import re

import pytest

from app.actions import ACTIONS
from app.domain.record import Record
from app.net.http import Http
from tests.support.acting import tools

CLASSES = {name: configured.__self__ for name, configured in ACTIONS.items()}  # type: ignore[attr-defined]


def test_they_are_listed_by_the_alphabet() -> None:
    assert list(ACTIONS) == sorted(ACTIONS)


@pytest.mark.parametrize("name", ACTIONS)
def test_each_says_what_its_parameters_are(name: str) -> None:
    action = CLASSES[name]
    assert issubclass(action.Parameters, Record)
    explained = set(re.findall(r"`(\w+)`", action.__doc__))
    assert set(action.Parameters.model_fields) - explained == set()
    assert action.Parameters.model_json_schema()["type"] == "object"


async def test_what_needs_a_system_of_its_own_is_not_there_without_it(http: Http) -> None:
    there = {name for name, configured in ACTIONS.items() if configured(tools(http)) is not None}
    assert {"http_request", "add_note", "incident_resolve", "health_check", "verify_resolution"} <= there
    assert not there & {
        "circuit_breaker", "create_war_room", "edge_agent_infer", "edge_agent_sync", "github_issue",
        "governance_audit_report", "jira_issue", "logs_capture", "metrics_snapshot", "pagerduty", "run_script",
        "sentinel_analyze", "shield_analyze", "shield_mitigation_plan", "slack",
    }  # fmt: skip

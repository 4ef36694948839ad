"""Bodies that are nearly a vendor's, with the headers that it sends: something is kept, or refused with words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.errors import Invalid
from app.sources import SOURCES
from tests.sources.posts import post

HEADERS: dict[str, list[dict[str, str]]] = {
    "github": [
        {"x-github-event": event}
        for event in ("secret_scanning_alert", "deployment_status", "push", "workflow_run", "release")
    ],
    "sentry": [{"sentry-hook-resource": resource} for resource in ("metric_alert", "event_alert", "issue")],
    "openai": [{"webhook-id": "w"}], "anthropic": [{}], "statuspage": [{}], "datadog": [{}], "opik": [{}],
}  # fmt: skip
NAMES = {
    "github": "action alert number validity publicly_leaked secret_type secret repository name full_name deployment "
    "deployment_status state environment ref head_commit message workflow_run release tag_name created_at pushed_at",
    "sentry": "action data metric_alert alert_rule id identifier date_started event issue_id tags level issue title",
    "openai": "id type created_at data safety_identifier safety_category model",
    "anthropic": "id type created_at data organization_id",
    "statuspage": "page id incident component component_update name status new_status impact components created_at "
    "incident_updates body",
    "datadog": "id monitor_id title alert_transition priority scope tags date aggreg_key org name",
    "opik": "id eventType event_type alertId alert_id payload metadata eventCount projectIds name result created_at",
}
WORDS = st.sampled_from([
    "", "created", "resolved", "completed", "published", "critical", "unresolved", "active", "success", "operational",
    "major_outage", "in_progress", "[Triggered on {host:a}] x", "[No data]", "Recovered", "P1", "batch.failed", "7",
    "safety_identifier.blocked", "response.failed", "external_key.recovered", "trace:cost", "prompt:committed",
    "trace:guardrails_triggered", "refs/heads/main", "2026-11-23T03:30:00Z", "9999-12-31T23:59:59-14:00",
    "x" * 5000, "é" * 600,
])  # fmt: skip
LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS


def bodies(name: str) -> st.SearchStrategy[object]:
    known = st.sampled_from(NAMES[name].split())
    nested = st.recursive(
        LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(known, inner, max_size=8), max_leaves=30
    )
    return st.dictionaries(known, nested, max_size=10)


@pytest.mark.parametrize("name", HEADERS)
@settings(max_examples=50)
@given(data=st.data())
def test_nearly_a_body(name: str, data: st.DataObject) -> None:
    headers = data.draw(st.sampled_from(HEADERS[name]))
    sent = post(data.draw(bodies(name)), headers, {"provider": data.draw(st.sampled_from(["", "openai", "x" * 5000]))})
    try:
        said = SOURCES[name].read(sent)
    except Invalid:
        return
    for one in (*said.alerts, *said.changes, *said.samples):
        assert type(one).model_validate(one.model_dump()) == one

"""What LiteLLM posts in its three formats, and what is made of it."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from app.domain.alert import Alert, AlertStatus
from app.domain.dedup import fingerprint
from app.domain.errors import Invalid
from app.domain.inbound import Inbound, Sample, Signal
from app.domain.vocabulary import Category, IncidentType, Severity
from app.sources.base import Post, pseudonym
from app.sources.litellm import read

NOW = datetime(2026, 11, 23, 3, 40, tzinfo=UTC)
SHARED = [folder / "shared/fixtures/litellm/captured.json" for folder in Path(__file__).resolve().parents]
CAPTURED = next((file for file in SHARED if file.exists()), None)
PROXY = "\n\nProxy URL: `http://litellm:4000`"
HEAD = "Alert type: `{}`\nLevel: `High`\nTimestamp: `03:34:30`\n\nMessage: "
OUTAGE = "\n\n\n*⚠️ {} Service Outage*\n\n\n{}\n\n*Errors:*\n\nAPI Errors: 5\n\n\n*Last Check:* `0.0s ago`\n\n\n\n"
EASTUS = "*Model Name:* `gpt-4o`\n*Provider:* `azure`\n*API Base:* `https://eastus`\n"
REGION = "*Region Name:* `eastus`\n*Provider:* `azure`\n"
CALL = "Model: gpt-4o\nAPI Base: `https://eastus`\nMessages: `[{'role': 'user', 'content': 'my secret'}]`\n"
FAILED = "LLM API call failed: `litellm.{}: {} - it says no.\n{}model_group: `smart`\n\n`"
SLOW = (
    "`Responses are slow - 47.3s response time > Alerting threshold: 30s`\n\nKey Name: `chat-prod`\nTeam: `support`\n"
    "Request Model: `gpt-4o`\nAPI Base: `https://eastus`\nMessages: `tell me\nTeam: `x\nof my secret`\n"
    "Available Deployment Latencies\n```\nhttps://eastus: 1.22s```"
)
HANGING = (
    "`Requests are hanging - 30s+ request time`\nRequest Model: `llama-70b`\nAPI Base: `http://vllm:8000/v1`\n"
    "Key Alias: `chat-prod`\nTeam Alias: `support`"
)
PINNED = "MCP server `notes`: upstream tool list drifted from the pinned catalog\nadded: `delete_all_notes`"
DEPRECATED = (
    "*⚠️ Model Deprecation Warning*\n\n*Already deprecated:*\n• `gpt-3` (provider: openai, deprecates 2026-01-01)"
)
ANOMALY = "User Spend Anomaly Detected:\nUser: `ada@example.com`\nSpend Today: `$412.50`"


def said(body: object) -> Inbound:
    return read(Post(json.dumps(body).encode(), NOW))


def slack(kind: str, message: str) -> dict[str, str]:
    return {"text": HEAD.format(kind) + message + PROXY}


def failed(kind: str, who: str) -> dict[str, str]:
    return slack("llm_exceptions", FAILED.format(kind, who, CALL))


def told(body: object) -> Alert:
    [alert] = said(body).alerts
    assert alert.source == "litellm"
    assert alert.status is AlertStatus.FIRING
    assert alert.delivery is None, "the same again is one more"
    return alert


def budget(**changes: object) -> dict[str, object]:
    return {
        "event": "budget_crossed", "event_group": "key", "key_alias": "research", "token": "b2" * 32, "user_id": "u-17",
        "team_id": "t-1", "team_alias": "search", "spend": 100.4, "max_budget": 100.0, "user_email": "a@example.com",
        "event_message": "Key Budget: Budget Crossed\n Total Budget:`100.0`", "projected_spend": None,
    } | changes  # fmt: skip


def as_text(event: dict[str, object], message: str) -> dict[str, str]:
    """The text that LiteLLM sends beside a structured event: all fields that are said, but the token."""
    left_out = {"token", "event", "event_message", "user_email"}
    fields = [f"*{name}:* `{value}`" for name, value in event.items() if name not in left_out and value is not None]
    return slack("budget_alerts", message + "\n\n" + "\n".join(fields) + "\n")


@pytest.mark.parametrize(("event", "message", "severity", "title"), [
    (budget(event="projected_limit_exceeded", projected_spend=140.5, projected_exceeded_date="2026-11-26"),
     "Key Budget: Projected Limit Exceeded", "P3", "The budget of key research will be exceeded"),
    (budget(event="soft_budget_crossed", soft_budget=50.0), "Soft Budget Crossed: Total Soft Budget:`50.0`", "P3",
     "The budget of key research crossed its soft limit"),
    (budget(event="threshold_crossed"), "Key Budget: 15% or less of budget remaining", "P3",
     "The budget of key research is nearly spent"),
    (budget(), "Key Budget: Budget Crossed\n Total Budget:`100.0`", "P2", "The budget of key research is spent"),
    (budget(event_group="team", key_alias=None), "Team Budget: Budget Crossed", "P1",
     "The budget of team search is spent"),
    (budget(event_group="proxy"), "Proxy Budget: Budget Crossed", "P1", "The budget of the proxy is spent"),
    (budget(event_group="team_member"), "Team Member Budget: Budget Crossed", "P2",
     f"The budget of team member t-1/{pseudonym('u-17')} is spent"),
    (budget(event_group="customer", customer_id="c-9"), "Customer Budget: Budget Crossed", "P2",
     f"The budget of end user {pseudonym('c-9')} is spent"),
])  # fmt: skip
def test_a_budget_is_one_problem_whichever_channel_tells_of_it(
    event: dict[str, object], message: str, severity: str, title: str
) -> None:
    webhook, text = told(event), told(as_text(event, message))
    for one in (webhook, text):
        assert (one.title, one.severity) == (title, Severity(severity))
        assert (one.labels["class"], one.category, one.incident_type) == (
            "cost.budget", Category.COST, IncidentType.DATA,
        )  # fmt: skip
        assert "u-17" not in one.model_dump_json()
        assert "example.com" not in one.model_dump_json()
    assert fingerprint(webhook) == fingerprint(text)
    assert {**webhook.labels} == {**text.labels}
    assert webhook.annotations["key_hash"] == "b2" * 32


def test_a_key_without_a_name_is_known_by_its_team_and_never_by_its_token() -> None:
    webhook = told(budget(key_alias=None))
    assert webhook.identity == "budget:key:t-1"
    assert told(budget(key_alias=None, token="c3" * 32)).identity == webhook.identity


def test_a_warning_and_the_crossing_are_one_incident_that_rises() -> None:
    warned, crossed = told(budget(event="threshold_crossed")), told(budget())
    assert fingerprint(warned) == fingerprint(crossed)
    assert crossed.severity.worse_than(warned.severity)


@pytest.mark.parametrize(("body", "severity", "incident_class", "identity", "title"), [
    (slack("outage_alerts", OUTAGE.format("Minor", EASTUS)), "P2", "availability.provider_outage",
     "outage:model:gpt-4o:https://eastus", "Minor outage of gpt-4o at azure"),
    (slack("outage_alerts", OUTAGE.format("Major", EASTUS)), "P1", "availability.provider_outage",
     "outage:model:gpt-4o:https://eastus", "Major outage of gpt-4o at azure"),
    (slack("outage_alerts", OUTAGE.format("Major", REGION)), "P1", "availability.provider_outage",
     "outage:region:eastus:azure", "Major outage of region eastus at azure"),
    (slack("region_outage_alerts", OUTAGE.format("Minor", REGION)), "P2", "availability.provider_outage",
     "outage:region:eastus:azure", "Minor outage of region eastus at azure"),
    (failed("RateLimitError", "AzureException"), "P2", "performance.rate_limit",
     "llm_exceptions:gpt-4o:https://eastus:RateLimitError", "RateLimitError of gpt-4o at azure"),
    (failed("ContextWindowExceededError", "OpenAIException"), "P3",
     "app.context_overflow", "llm_exceptions:gpt-4o:https://eastus:ContextWindowExceededError",
     "ContextWindowExceededError of gpt-4o at openai"),
    (failed("AuthenticationError", "OpenAIException"), "P1", "other.availability",
     "llm_exceptions:gpt-4o:https://eastus:AuthenticationError", "AuthenticationError of gpt-4o at openai"),
    (failed("AuthenticationError", "No key was shown"), "P3", "other.availability",
     "llm_exceptions:gpt-4o:https://eastus:AuthenticationError", "AuthenticationError of gpt-4o"),
    (failed("Timeout", "AzureException"), "P3", "availability.provider_outage",
     "llm_exceptions:gpt-4o:https://eastus:Timeout", "Timeout of gpt-4o at azure"),
    (failed("NeverSeenError", "AzureException"), "P3", "other.application",
     "llm_exceptions:gpt-4o:https://eastus:NeverSeenError", "NeverSeenError of gpt-4o at azure"),
    (slack("llm_too_slow", SLOW), "P3", "performance.latency", "llm_too_slow:gpt-4o:https://eastus",
     "gpt-4o is slow: 47.3 s"),
    (slack("llm_requests_hanging", HANGING), "P2", "performance.hanging",
     "llm_requests_hanging:llama-70b:http://vllm:8000/v1", "Requests to llama-70b hang"),
    (slack("db_exceptions", "DB read/write call failed: 504: no"), "P1", "availability.gateway_down", "db_exceptions",
     "LiteLLM can't reach its database"),
    (slack("failed_tracking_spend", "Failed Tracking Cost for Model=gpt-5-mini not in cost map"), "P3",
     "observability.blind_spot", "failed_tracking_spend:gpt-5-mini", "The cost of gpt-5-mini is not tracked"),
    (slack("budget_alerts", "Failed Tracking Cost for Model=gpt-5-mini not in cost map"), "P3",
     "observability.blind_spot", "failed_tracking_spend:gpt-5-mini", "The cost of gpt-5-mini is not tracked"),
    (slack("user_spend_anomalies", ANOMALY), "P2", "cost.runaway",
     f"user_spend_anomalies:{pseudonym('ada@example.com')}",
     f"An unusual spend: user {pseudonym('ada@example.com')}"),
    (slack("mcp_pinned_tools_changed", PINNED), "P2", "security.mcp_tamper", "mcp_pinned_tools_changed:notes",
     "The tools of MCP server notes changed"),
    (slack("mcp_tool_description_blocked", PINNED), "P2", "security.mcp_tamper", "mcp_tool_description_blocked:notes",
     "A tool of MCP server notes was blocked"),
    (slack("model_deprecation_warnings", DEPRECATED), "P2", "deploy.model_deprecated", "model_deprecation_warnings",
     "Deprecated: gpt-3"),
    (slack("cooldown_deployment", EASTUS), "P3", "availability.provider_outage",
     "cooldown_deployment:gpt-4o:https://eastus", "A deployment of gpt-4o cools down"),
    ({"text": "Level: `High`\nTimestamp: `03:34:30`\n\nMessage: DB read/write call failed: no"}, "P1",
     "availability.gateway_down", "db_exceptions", "LiteLLM can't reach its database"),
])  # fmt: skip
def test_a_text_is_an_alert(
    body: dict[str, str], severity: str, incident_class: str, identity: str, title: str
) -> None:
    alert = told(body)
    assert (alert.severity, alert.labels["class"], alert.identity, alert.title) == (
        Severity(severity), incident_class, identity, title,
    )  # fmt: skip
    everything = alert.model_dump_json()
    assert "secret" not in everything
    assert "03:34:30" not in everything, "a time without a date says nothing"
    assert "ada@" not in everything


def test_a_text_labels_what_it_is_about() -> None:
    slow = told(slack("llm_too_slow", SLOW))
    assert slow.labels == {
        "class": "performance.latency", "alert_type": "llm_too_slow", "model": "gpt-4o", "model_group": "gpt-4o",
        "api_base": "https://eastus", "key_alias": "chat-prod", "team": "support",
    }  # fmt: skip
    assert slow.annotations == {"level": "High", "proxy_url": "http://litellm:4000"}
    limited = told(failed("RateLimitError", "AzureException"))
    assert (limited.labels["provider"], limited.labels["model_group"]) == ("azure", "smart")
    assert told(slack("outage_alerts", OUTAGE.format("Minor", REGION))).labels["region"] == "eastus"


@pytest.mark.parametrize("body", [
    {"text": "[Num Alerts: 3]\n\n" + HEAD.format("llm_requests_hanging") + HANGING},
    {"text": "Alert type: `llm_requests_hanging` (Digest)\nLevel: `Medium`\nStart: `2026-11-23 03:34:30`\n"
             f"End: `2026-11-23 03:34:30`\nCount: `3`\n\nMessage: {HANGING}{PROXY}"},
])  # fmt: skip
def test_a_squashed_text_counts_for_all_of_them(body: dict[str, str]) -> None:
    alert = told(body)
    assert (alert.occurrences, alert.title) == (3, "Requests to llama-70b hang")
    assert fingerprint(alert) == fingerprint(told(slack("llm_requests_hanging", HANGING)))


def test_a_card_for_teams_says_the_same() -> None:
    text = slack("llm_requests_hanging", HANGING)
    card = {"type": "AdaptiveCard", "body": [{"type": "TextBlock", "wrap": True, **text}]}
    assert told({"type": "message", "attachments": [{"content": card}]}) == told(text)


def test_a_type_that_nobody_knows_is_an_alert_without_what_users_wrote() -> None:
    first, second = (
        told(slack("flux_alerts", f"Flux of {n} is low (id 8f14e45fceea167a)\nMessages: my secret\n\n{n}"))
        for n in (17, 4)
    )
    assert (first.severity, first.title) == (Severity.P3, "Flux of 17 is low (id 8f14e45fceea167a)")
    assert fingerprint(first) == fingerprint(second), "numbers and ids tell no problems apart"
    assert "secret" not in first.model_dump_json()


@pytest.mark.parametrize("leak", [
    "Messages: `line one\nline two of my secret\nMessages: my secret`\nProxy URL: `http://litellm:4000`",
    "bad request: [{\"role\": \"user\", \"content\": \"my secret\"}]",
    "1 validation error: input_value=my secret",
    "Incorrect API key provided: sk-my-secret-1234",
    "https://host/v1?key=my-secret",
])  # fmt: skip
def test_what_users_wrote_and_keys_are_cut_out(leak: str) -> None:
    alert = told(slack("llm_exceptions", f"LLM API call failed: `litellm.APIError: {leak}"))
    assert "secret" not in alert.model_dump_json()
    assert alert.annotations["proxy_url"] == "http://litellm:4000"


@pytest.mark.parametrize(("body", "summary"), [
    (budget(event="key_created"), "A key was created: research"),
    (budget(event="internal_user_created", key_alias=None, team_alias=None), "A user was created"),
    ({"text": "Alert type: `new_model_added`\n*🚅 New Model Added*\nModel Name: `m-2`\n\nUsage:\n```\nx```" + PROXY},
     "A model was added: m-2"),
    (slack("virtual_key_deleted", "`Virtual Key Deleted`\n*Action Done by:*\ncreated_by_user_id: `ann`\n\n"
           "*Arguments passed:*\nkey_alias: `research`\nkey: `sk-1234567`\n"), "A key was deleted: research"),
    (slack("fallback_reports", "`New Virtual Key Created`\n*Action Done by:*\ncreated_by_user_id: `ann`\n"),
     "New Virtual Key Created"),
])  # fmt: skip
def test_what_is_changed_is_a_change_and_no_incident(body: object, summary: str) -> None:
    made = said(body)
    [change] = made.changes
    assert (change.source, change.summary, made.alerts) == ("litellm", summary, ())
    assert "sk-" not in change.model_dump_json()
    assert "example.com" not in change.model_dump_json()


def test_reports_are_nobodys_problem() -> None:
    assert said({"text": "Alert type: `daily_reports`\n\nTime: `1795404870.15`s\nHere are today's key metrics"}) == (
        Inbound()
    )


def test_what_a_customer_spends_is_counted() -> None:
    body = json.dumps(budget(event="spend_tracked", event_group="end_user", customer_id="c-9", spend=0.0123)).encode()
    made, again = read(Post(body, NOW)), read(Post(body, NOW + timedelta(microseconds=1)))
    assert made.samples == (Sample(
        signal=Signal.SPEND, source="litellm", subject={"key_alias": "research", "end_user": pseudonym("c-9")},
        at=NOW, amount=0.0123,
    ),)  # fmt: skip
    assert not made.alerts
    assert made.delivery != again.delivery, "two calls may cost the same"


def row(**changes: Any) -> dict[str, Any]:
    return {
        "id": "c-1", "call_type": "acompletion", "status": "success", "model": "gpt-4o", "model_group": "smart",
        "custom_llm_provider": "azure", "startTime": 1795405000.0, "endTime": 1795405002.0, "response_cost": 0.25,
        "metadata": {"user_api_key_alias": "research", "user_api_key_team_alias": "search"},
        "end_user": "ada@example.com",
        "messages": [{"role": "user", "content": "my secret"}], "response": "my secret", "session_id": None,
    } | changes  # fmt: skip


def failure(code: object, **more: object) -> dict[str, Any]:
    why = {"error_code": code, "llm_provider": "azure", "error_message": "my secret", **more}
    return row(status="failure", response_cost=0, error_information=why, error_str="my secret")


def counted(body: object) -> list[tuple[str, dict[str, str], int, int, float]]:
    made = said(body)
    assert not made.alerts
    assert "secret" not in made.model_dump_json()
    assert "ada@" not in made.model_dump_json()
    return [(one.signal.value, one.subject, one.total, one.bad, one.amount) for one in made.samples]


MODEL = {"provider": "azure", "model_group": "smart"}
KEY = {"key_alias": "research", "team": "search"}


def test_a_call_counts_for_its_model_its_key_and_its_session() -> None:
    assert counted([row(session_id="s-1")]) == [
        ("errors", MODEL, 1, 0, 0.0), ("spend", KEY, 1, 0, 0.25),
        ("spend", {"session_id": "s-1", **KEY}, 1, 0, 0.25),
    ]  # fmt: skip
    [first, *_] = said([row()]).samples
    assert first.at == datetime.fromtimestamp(1795405002, UTC)


@pytest.mark.parametrize(("code", "provider", "bad"), [
    (500, "azure", 1), ("503", "azure", 1), (408, "azure", 1), ("", "azure", 1), (None, "", 1), (404, "azure", 1),
    (401, "azure", 1), (401, "", 0), (403, None, 0), (400, "azure", 0), ("400", "azure", 0), (422, "azure", 0),
])  # fmt: skip
def test_a_provider_fails_where_the_caller_is_not_at_fault(code: object, provider: str | None, bad: int) -> None:
    assert counted([failure(code, llm_provider=provider)]) == [("errors", MODEL, 1, bad, 0.0)]


@pytest.mark.parametrize(("why", "category"), [
    ({"error_rate_limit_category": "vendor_rate_limit"}, "vendor_rate_limit"),
    ({"error_rate_limit_category": "litellm_rate_limit"}, "litellm_rate_limit"), ({}, "unknown"),
])  # fmt: skip
def test_a_refusal_by_a_limit_is_no_error_but_counts_by_whose_limit_it_was(why: dict[str, str], category: str) -> None:
    assert counted([failure(429, **why)]) == [
        ("errors", MODEL, 1, 0, 0.0), ("rate_limits", {"rate_limit_category": category, **MODEL, **KEY}, 1, 1, 0.0),
    ]  # fmt: skip


@pytest.mark.parametrize(("status", "expected"), [
    ("success", [("guardrail_failures", 0), ("guardrails", 0)]),
    ("guardrail_intervened", [("guardrail_failures", 0), ("guardrails", 1), ("guardrails", 1)]),
    ("guardrail_flagged", [("guardrail_failures", 0), ("guardrails", 1), ("guardrails", 1)]),
    ("guardrail_failed_to_respond", [("guardrail_failures", 1)]),
    ("not_run", []),
])  # fmt: skip
def test_a_guardrail_counts_by_what_it_did(status: str, expected: list[tuple[str, int]]) -> None:
    ran = {"guardrail_name": "pii", "guardrail_provider": "presidio", "guardrail_status": status}
    made = [one for one in counted([row(response_cost=0, guardrail_information=[ran])]) if one[0] != "errors"]
    assert [(signal, bad) for signal, _, _, bad, _ in made] == expected
    assert all(subject["guardrail_name"] == "pii" for _, subject, *_ in made)
    whose = [subject["end_user"] for _, subject, *_ in made if "end_user" in subject]
    assert whose == ([pseudonym("ada@example.com")] if len(expected) == 3 else [])


def test_rows_come_as_a_list_alone_or_by_line_and_twice_is_once() -> None:
    array = json.dumps([row(), None, failure(500)]).encode()
    lines = b"\n".join(json.dumps(one).encode() for one in (row(), failure(500)))
    assert len(read(Post(array, NOW)).samples) == len(read(Post(lines, NOW)).samples) == 3
    assert read(Post(lines, NOW)).delivery == sha256(lines).hexdigest()
    assert len(said(row()).samples) == 2


def test_a_clock_that_is_ahead_counts_from_when_the_row_came() -> None:
    [first, *_] = said([row(endTime=9e12, startTime="soon", metadata=None)]).samples
    assert first.at == NOW


@pytest.mark.parametrize("body", [{"text": " "}, [], [None], [{"text": "x"}], {"attachments": [{}]}, {"model": "m"}])
def test_what_is_none_of_them_is_refused(body: object) -> None:
    with pytest.raises(Invalid):
        said(body)


@pytest.mark.skipif(CAPTURED is None, reason="no captured posts here")
def test_what_a_proxy_really_posted_is_understood() -> None:
    assert CAPTURED is not None
    posts = [read(Post(one["body"].encode(), NOW)) for one in json.loads(CAPTURED.read_text())]
    alerts = [alert for post in posts for alert in post.alerts]
    assert (len(alerts), sum(len(post.changes) for post in posts), sum(len(post.samples) for post in posts)) == (
        22, 1, 1,
    )  # fmt: skip
    assert all("class" in alert.labels for alert in alerts)
    budgets = {alert.identity for alert in alerts if alert.labels["alert_type"] == "budget_alerts"}
    assert len(budgets) == 5, "six events, each on both channels, of five budgets"
    assert not any("where is my order" in post.model_dump_json() for post in posts)

"""What LLM teams are woken for: from the tool's own post to the page, and to the playbook that begins by itself."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.alert import Alert
from app.domain.playing import RunView
from app.domain.requests import IncidentQuery
from app.domain.vocabulary import Severity
from app.service.intake import Door, Taken
from app.sources import SOURCES
from app.sources.base import Post
from tests.support.bundled import ALICE, BOB, Stage, bundled
from tests.support.world import Story

NOBODY: list[str] = []
EVERYBODY = ["alice", "bob"]


@pytest.fixture(scope="module")
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with bundled(database_url, triaging=True) as made:
        yield made


async def posts(stage: Stage, tool: str, body: object, service: str, **labels: str) -> Taken:
    """What a tool sends; `service` and `labels` are what the operator says of all that it sends."""
    post = Post(json.dumps(body).encode(), datetime.now(UTC))
    return await stage.world.gateway.intake.take(ME, Door(tool, SOURCES[tool], (), service, None, labels), post)


async def opened(stage: Stage, class_: str) -> Story:
    """The newest incident of a class."""
    page = await stage.world.gateway.incidents.list(ME, IncidentQuery(tags={"class": class_}))
    assert page.incidents, class_
    view = page.incidents[0]
    story = Story(stage.world, view.id, Alert(source=view.source, title=view.title))
    await story.becomes_known()
    return story


async def played(stage: Stage, story: Story, playbook: str) -> RunView:
    """The run that the incident has begun."""
    run = await stage.begun(story)
    assert run.playbook_id == playbook
    return run


async def test_a_provider_outage_that_litellm_tells_of_as_a_text_for_slack(stage: Stage) -> None:
    text = (
        "Alert type: `outage_alerts`\nLevel: `High`\nTimestamp: `03:12:11`\n\nMessage: \n\n*⚠️ Major Service Outage*\n\n"
        "*Model Name:* `gpt-5.1`\n*Provider:* `openai`\n*API Base:* `https://api.openai.com`\n\n*Errors:*\n"
        "Timeout Errors: `12`\nAPI Errors: `48`\n\n\nProxy URL: `http://litellm`"
    )
    await posts(
        stage, "litellm", {"text": text}, "assistant", model_group="gpt-5.1", fallback_model="claude-sonnet-4-5"
    )
    story = await opened(stage, "availability.provider_outage")
    assert len(await story.told()) == 1, "the one whose turn it is"
    await stage.rests(await played(stage, story, "provider-outage-reroute"), "watch")
    assert stage.vendors.fallbacks("gpt-5.1") == ["claude-sonnet-4-5"]
    rows = [row(number, key="one", failed=True, rate_limited=True, provider="openai") for number in range(60)]
    await posts(stage, "litellm", rows, "another-assistant")
    symptom = await opened(stage, "performance.rate_limit")
    assert await symptom.told() == NOBODY, "while its provider is out it comes along"


async def test_a_storm_of_429_that_litellm_logs_call_by_call(stage: Stage) -> None:
    rows = [row(number, key="batch", failed=number % 2 == 0, rate_limited=True) for number in range(60)]
    taken = await posts(stage, "litellm", rows, "batches")
    assert (taken.results, taken.samples >= 60) == ([], True)
    story = await opened(stage, "performance.rate_limit")
    assert sorted(await story.told()) == EVERYBODY
    run = await played(stage, story, "rate-limit-throttle")
    await stage.agree(run, BOB)
    await stage.rests(run, "watch")
    assert stage.vendors.key("batch", "rpm_limit") == [60]


async def test_one_session_that_spends_what_all_others_together_do_not(stage: Stage) -> None:
    usual = [row(number, key="looping", session=f"s{number}", cost=0.5) for number in range(10)]
    await posts(stage, "litellm", usual, "researcher")
    await posts(stage, "litellm", [row(99, key="looping", session="loop", cost=45.0)], "researcher")
    story = await opened(stage, "cost.runaway")
    assert sorted(await story.told()) == EVERYBODY
    run = await played(stage, story, "cost-runaway")
    await stage.agree(run, BOB)
    await stage.rests(run, "watch")
    assert stage.vendors.key("looping", "rpm_limit") == [10]
    await stage.passes(run, minutes=16)
    await stage.agree(run, ALICE, BOB)
    await stage.rests(run, "watch")
    assert stage.vendors.key("looping", "blocked") == [True]


async def test_a_wave_of_prompt_injections_that_the_guardrail_stops(stage: Stage) -> None:
    stopped = [row(number, key="attacking", guardrail="guardrail_intervened") for number in range(40)]
    await posts(stage, "litellm", stopped, "helpdesk", guardrail_id="g1", api_key_alias="attacking")
    story = await opened(stage, "security.prompt_injection")
    assert sorted(await story.told()) == EVERYBODY
    run = await played(stage, story, "injection-response")
    await stage.agree(run, BOB)
    await stage.asked(run)
    assert stage.vendors.guardrail() is True


async def test_personal_data_in_an_answer_that_opik_noticed(stage: Stage) -> None:
    body = {
        "id": "e1", "eventType": "trace:guardrails_triggered", "alertId": "a1", "alertName": "PII in answers",
        "workspaceId": "w", "createdAt": "2026-11-23T03:40:00Z",
        "payload": {
            "alertId": "a1", "alertName": "PII in answers", "eventType": "trace:guardrails_triggered",
            "eventIds": ["e1"], "userNames": ["ada"], "eventCount": 1, "aggregationType": "consolidated",
            "message": "1 guardrail triggered",
            "metadata": [{
                "id": "g", "entity_id": "trace-1", "project_name": "support", "name": "PII", "result": "failed",
                "details": {"text": "call Ada at +49 30 901820"},
            }],
        },
    }  # fmt: skip
    await posts(stage, "opik", body, "support")
    story = await opened(stage, "privacy.pii_leak")
    assert await story.told() != NOBODY
    run = await played(stage, story, "pii-leak")
    await stage.ends(run)
    view = await stage.world.gateway.incidents.get(ME, story.id)
    assert (view.severity, view.assigned_team) == (Severity.P1, "llmops-security")
    assert "901820" not in view.model_dump_json()


async def test_a_gpu_that_fell_off_the_bus(stage: Stage) -> None:
    labels = {
        "alertname": "GPUXidCritical", "severity": "critical", "class": "infrastructure.gpu_fault", "err_code": "79",
        "Hostname": "node-7", "pod": "chat-1", "UUID": "GPU-1",
    }  # fmt: skip
    body = {"version": "4", "status": "firing", "alerts": [{"status": "firing", "labels": labels}]}
    await posts(stage, "alertmanager", body, "inference")
    story = await opened(stage, "infrastructure.gpu_fault")
    assert sorted(await story.told()) == EVERYBODY
    run = await played(stage, story, "gpu-failure")
    await stage.agree(run, BOB)
    await stage.rests(run, "watch")
    assert "Cordon node node-7" in " ".join(await stage.notes(story))


async def test_answers_got_worse_after_a_prompt_was_changed(stage: Stage) -> None:
    now = datetime.now(UTC).isoformat()
    changed = {
        "id": "w1", "timestamp": now, "type": "prompt-version", "apiVersion": "v1", "action": "updated",
        "prompt": {
            "id": "p2", "name": "answer", "version": 2, "projectId": "proj_1", "createdBy": "bob", "type": "text",
            "labels": ["production", "latest"], "prompt": "You are …", "config": {}, "commitMessage": "shorter",
            "tags": [], "createdAt": now, "updatedAt": now,
        },
        "user": {"name": "Bob", "email": "bob@example.com"},
    }  # fmt: skip
    assert (await posts(stage, "langfuse", changed, "answers")).changes == 1
    monitor = {
        "id": "w2", "timestamp": now, "type": "monitor-alert", "apiVersion": "v1",
        "payload": {
            "monitorId": "mon_1", "projectId": "proj_1", "permalink": "https://langfuse.example/alerts/mon_1",
            "message": {
                "title": "[ALERT] Correctness",
                "body": "`avg(scores-numeric.value)` is **below** `0.8` over the last **1h**",
            },
            "severity": "ALERT", "timestamp": now, "fromTimestamp": now, "toTimestamp": now,
            "view": "scores-numeric", "filters": [], "window": "1h",
        },
    }  # fmt: skip
    await posts(stage, "langfuse", monitor, "answers", prompt_name="answer")
    story = await opened(stage, "quality.drop")
    assert sorted(await story.told()) == EVERYBODY
    view = await stage.world.gateway.incidents.get(ME, story.id)
    found = {finding.enricher: finding.summary for finding in view.enrichment}
    assert "answer" in found["changes"], "what was changed is what is suspected"
    run = await played(stage, story, "prompt-rollback")
    await stage.agree(run, BOB, ALICE)
    await stage.rests(run, "watch")
    assert stage.vendors.labels() == [1]


def row(
    number: int,
    *,
    key: str,
    failed: bool = False,
    rate_limited: bool = False,
    session: str = "s",
    cost: float = 0.01,
    guardrail: str | None = None,
    provider: str = "anthropic",
) -> dict[str, object]:
    """A call as LiteLLM's generic_api logs it."""
    now = datetime.now(UTC).timestamp()
    said: dict[str, object] = {
        "id": f"{key}-{session}-{number}", "session_id": session, "call_type": "acompletion",
        "status": "failure" if failed else "success", "custom_llm_provider": provider, "model": "claude-sonnet-4-5",
        "model_group": "claude-sonnet-4-5", "api_base": f"https://api.{provider}.com", "startTime": now - 1,
        "endTime": now, "response_cost": cost, "total_tokens": 100,
        "messages": [{"role": "user", "content": "a secret"}],
        "metadata": {"user_api_key_alias": key, "user_api_key_hash": "h"}, "end_user": f"user-{number % 3}",
    }  # fmt: skip
    if failed:
        said["error_information"] = {
            "error_code": "429" if rate_limited else "503", "llm_provider": provider,
            "error_class": "RateLimitError" if rate_limited else "ServiceUnavailableError",
            "error_rate_limit_category": "vendor_rate_limit" if rate_limited else None,
        }  # fmt: skip
    if guardrail is not None:
        said["guardrail_information"] = [
            {"guardrail_name": "injections", "guardrail_mode": "pre_call", "guardrail_status": guardrail}
        ]
    return said

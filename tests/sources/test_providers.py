"""OpenAI's and Anthropic's own webhooks."""

import pytest

from app.domain.alert import AlertStatus
from app.domain.dedup import fingerprint
from app.domain.errors import Invalid
from app.domain.inbound import Signal
from app.domain.vocabulary import IncidentType, Severity
from tests.sources.posts import alert, inbound, nothing


def openai(kind: str, **data: object) -> dict[str, object]:
    return {"id": "evt_1", "object": "event", "type": kind, "created_at": 1_795_404_870, "data": {"id": "x_1", **data}}


def anthropic(kind: str, about: str = "ekey_1") -> dict[str, object]:
    data = {"type": kind, "id": about, "organization_id": "org_1"}
    return {"id": f"evt_{kind}", "type": "event", "created_at": "2026-11-23T03:34:30Z", "data": data}


@pytest.mark.parametrize(("kind", "severity", "incident_class"), [
    ("fine_tuning.job.failed", Severity.P3, "deploy.finetune_failed"),
    ("eval.run.failed", Severity.P3, "observability.blind_spot"),
    ("batch.failed", Severity.P3, "other.application"),
    ("batch.expired", Severity.P3, "other.application"),
    ("video.failed", Severity.P3, "other.application"),
    ("agent.session.failed", Severity.P2, "agent.tool_failure"),
    ("safety.alert.created", Severity.P2, "security.jailbreak"),
    ("safety.warning_issued", Severity.P1, "security.jailbreak"),
    ("safety.deactivation_issued", Severity.P0, "security.jailbreak"),
    ("safety.something_new", Severity.P2, "security.jailbreak"),
])  # fmt: skip
def test_what_openai_says_of_a_failure(kind: str, severity: Severity, incident_class: str) -> None:
    said = alert("openai", openai(kind), {"webhook-id": "wh_1"})
    assert (said.severity, said.labels["class"], said.labels["provider"]) == (severity, incident_class, "openai")
    assert (said.identity, said.delivery) == (f"{kind}/x_1", "wh_1")
    assert said.starts_at is not None


@pytest.mark.parametrize("kind", ["batch.completed", "fine_tuning.job.succeeded", "agent.session.idle", "x.created"])
def test_what_went_well_at_openai_is_nothing(kind: str) -> None:
    assert nothing("openai", openai(kind))


def test_a_blocked_user_counts_and_is_not_named() -> None:
    body = openai("safety_identifier.blocked", safety_identifier="ada@example.com", safety_category="bio")
    said = inbound("openai", body, {"webhook-id": "wh_1"})
    [sample] = said.samples
    assert (sample.signal, sample.bad, said.delivery) == (Signal.BLOCKS, 1, "wh_1")
    assert sample.subject == {"provider": "openai", "safety_category": "bio"}
    assert "ada" not in said.model_dump_json()
    other = openai("safety_identifier.blocked", safety_identifier="bob@example.com", safety_category="bio")
    assert inbound("openai", other).samples[0].subject == sample.subject, "many users are one burst"


def test_responses_count_as_good_or_bad() -> None:
    bad, good = (inbound("openai", openai(f"response.{end}")).samples[0] for end in ("failed", "completed"))
    assert [(one.signal, one.total, one.bad) for one in (bad, good)] == [(Signal.ERRORS, 1, 1), (Signal.ERRORS, 1, 0)]
    assert bad.subject == good.subject


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_an_event_of_no_kind_is_refused_with_the_fields_name(name: str) -> None:
    with pytest.raises(Invalid, match="type"):
        inbound(name, {"id": "evt_1", "data": {}})


@pytest.mark.parametrize(("kind", "severity", "incident_class"), [
    ("session.budget_reached", Severity.P2, "cost.runaway"),
    ("deployment_run.failed", Severity.P3, "other.application"),
    ("vault_credential.refresh_failed", Severity.P2, "agent.tool_failure"),
    ("memory_store.failed", Severity.P3, "other.application"),
])  # fmt: skip
def test_what_anthropic_says_of_a_failure(kind: str, severity: Severity, incident_class: str) -> None:
    said = alert("anthropic", anthropic(kind))
    assert (said.severity, said.labels["class"], said.status) == (severity, incident_class, AlertStatus.FIRING)
    assert said.delivery == f"evt_{kind}"


@pytest.mark.parametrize(("opened", "over", "severity"), [
    ("external_key.failed", "external_key.recovered", Severity.P0),
    ("user_profile.enforcement_action_opened", "user_profile.enforcement_action_resolved", Severity.P1),
    ("memory_store.failed", "memory_store.recovered", Severity.P3),
])  # fmt: skip
def test_anthropic_says_itself_when_it_is_over(opened: str, over: str, severity: Severity) -> None:
    first, last = alert("anthropic", anthropic(opened)), alert("anthropic", anthropic(over))
    assert (first.status, first.severity, last.status) == (AlertStatus.FIRING, severity, AlertStatus.RESOLVED)
    assert fingerprint(first) == fingerprint(last)
    assert fingerprint(first) != fingerprint(alert("anthropic", anthropic(opened, "another")))
    assert last.ends_at is not None


def test_a_key_that_fails_is_an_outage_of_the_provider() -> None:
    said = alert("anthropic", anthropic("external_key.failed"))
    assert (said.incident_type, said.labels["organization_id"]) == (IncidentType.AVAILABILITY, "org_1")
    assert nothing("anthropic", anthropic("session.idle"))
    assert nothing("anthropic", anthropic("session.created"))

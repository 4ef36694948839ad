"""Datadog's webhook: our template, and the one that it comes with."""

import pytest

from app.domain.alert import AlertStatus
from app.domain.dedup import fingerprint
from app.domain.errors import Invalid
from app.domain.vocabulary import Environment, Severity
from app.sources.datadog import titled
from tests.sources.posts import alert, inbound, nothing


def ours(transition: str, **more: object) -> dict[str, object]:
    return {
        "id": "700", "monitor_id": "42", "title": f"[{transition} on {{host:a}}] LLM error rate", "body": "5% of calls",
        "alert_transition": transition, "alert_type": "error", "alert_status": "", "priority": "P1",
        "alert_query": "avg(last_5m):…", "scope": "host:a", "tags": "env:prod,service:chat,provider:openai,odd",
        "aggreg_key": "agg1", "cycle_key": "c1", "hostname": "$HOSTNAME", "url": "https://app.datadoghq.com/x",
        "date": "1795404870000", "last_updated": "1795404870000", "event_type": "query_alert_monitor",
        "org": {"id": "1", "name": "acme"},
    } | more  # fmt: skip


def default(title: str) -> dict[str, object]:
    return {"body": "5% of calls", "last_updated": "1795404870000", "event_type": "query_alert_monitor", "title": title,
            "date": "1795404870000", "org": {"id": "1", "name": "acme"}, "id": "701"}  # fmt: skip


def test_our_template() -> None:
    said = alert("datadog", ours("Triggered"))
    assert (said.title, said.severity, said.status) == ("LLM error rate", Severity.P1, AlertStatus.FIRING)
    assert (said.affected_services, said.environment, said.delivery) == (("chat",), Environment.PRODUCTION, "700")
    assert said.labels == {"provider": "openai", "monitor_id": "42", "scope": "host:a"}
    assert said.starts_at is not None
    assert said.starts_at.timestamp() == 1_795_404_870


@pytest.mark.parametrize(("transition", "severity", "status"), [
    ("Triggered", Severity.P1, AlertStatus.FIRING), ("Re-Triggered", Severity.P1, AlertStatus.FIRING),
    ("Renotify", Severity.P1, AlertStatus.FIRING), ("Warn", Severity.P3, AlertStatus.FIRING),
    ("No Data", Severity.P3, AlertStatus.FIRING), ("Re-No Data", Severity.P3, AlertStatus.FIRING),
    ("Recovered", Severity.P1, AlertStatus.RESOLVED),
])  # fmt: skip
def test_the_transition_says_what_it_is(transition: str, severity: Severity, status: AlertStatus) -> None:
    said = alert("datadog", ours(transition))
    assert (said.severity, said.status) == (severity, status)
    assert fingerprint(said) == fingerprint(alert("datadog", ours("Triggered")))
    assert fingerprint(said) != fingerprint(alert("datadog", ours(transition, scope="host:b")))
    assert ("observability" in said.labels.get("class", "")) == ("No Data" in transition)


def test_a_muted_monitor_is_nothing() -> None:
    assert nothing("datadog", ours("Muted"))


@pytest.mark.parametrize(("title", "severity"), [
    ("[Triggered on {host:a}] LLM error rate", Severity.P2), ("[Warn on {host:a}] LLM error rate", Severity.P3),
    ("[P4] [Re-Triggered on {host:a}] LLM error rate", Severity.P4),
    ("[No data on {host:a}] LLM error rate", Severity.P3),
])  # fmt: skip
def test_the_default_template_is_read_by_its_title(title: str, severity: Severity) -> None:
    fires = alert("datadog", default(title))
    over = alert("datadog", default("[Recovered on {host:a}] LLM error rate"))
    assert (fires.status, fires.severity, over.status) == (AlertStatus.FIRING, severity, AlertStatus.RESOLVED)
    assert fires.title.removesuffix(": no data") == "LLM error rate"
    assert fingerprint(fires) == fingerprint(over)
    elsewhere = alert("datadog", default("[Recovered on {host:b}] LLM error rate"))
    assert fingerprint(fires) != fingerprint(elsewhere)


@pytest.mark.parametrize(("title", "name"), [
    ("[prod] errors", "[prod] errors"), ("[Triggered]", "[Triggered]"), ("plain", "plain"), ("[P1] x", "x"),
    ("[Alerts team] errors", "[Alerts team] errors"), ("[Re-Warn] x", "x"),
])  # fmt: skip
def test_a_title_of_its_own_stays(title: str, name: str) -> None:
    assert titled(title).name == name


def test_without_a_title_it_is_refused() -> None:
    with pytest.raises(Invalid, match="title"):
        inbound("datadog", {"title": "$EVENT_TITLE"})

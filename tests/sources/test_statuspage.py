"""Status pages: what Statuspage posts, and what changes on a page that is asked."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.alert import AlertStatus
from app.domain.dedup import fingerprint
from app.domain.errors import Invalid
from app.domain.status_page import Component, Seen, Summary, news, summary
from app.domain.vocabulary import Severity
from app.sources.statuspage import changed
from tests.sources.posts import NOW, alert, change, inbound, nothing

PAGE = {"id": "pg1", "status_indicator": "major", "status_description": "Partial System Outage"}


def component(status: str, name: str = "Chat Completions") -> dict[str, object]:
    return {
        "meta": {}, "page": PAGE,
        "component_update": {"id": f"u-{status}", "created_at": "2026-11-23T03:30:00Z", "old_status": "operational",
                             "new_status": status, "component_id": "c1"},
        "component": {"id": "c1", "name": name, "status": "operational"},
    }  # fmt: skip


def incident(status: str, impact: str = "major", **more: object) -> dict[str, object]:
    return {"meta": {}, "page": PAGE, "incident": {
        "id": "i1", "name": "Elevated errors", "status": status, "impact": impact, "shortlink": "https://stspg.io/x",
        "created_at": "2026-11-23T03:20:00Z", "updated_at": "2026-11-23T03:30:00Z",
        "incident_updates": [{"id": f"u-{status}", "status": status, "body": "We are looking into it."}], **more,
    }}  # fmt: skip


@pytest.mark.parametrize(("status", "severity"), [
    ("major_outage", Severity.P2), ("full_outage", Severity.P2), ("partial_outage", Severity.P3),
    ("degraded_performance", Severity.P3), ("under_maintenance", Severity.P4), ("on_fire", Severity.P3),
])  # fmt: skip
def test_a_component_confirms_an_outage_and_never_pages_as_one(status: str, severity: Severity) -> None:
    said = alert("statuspage", component(status), provider="openai")
    assert (said.severity, said.status, said.delivery) == (severity, AlertStatus.FIRING, f"u-{status}")
    assert said.title == f"openai: Chat Completions: {status.replace('_', ' ')}"
    assert said.labels["class"] == "availability.provider_outage"
    assert said.labels["provider"] == "openai"
    over = alert("statuspage", component("operational"), provider="openai")
    assert over.status is AlertStatus.RESOLVED
    assert fingerprint(said) == fingerprint(over)


@pytest.mark.parametrize(("impact", "severity"), [
    ("critical", Severity.P2), ("major", Severity.P2), ("minor", Severity.P3), ("none", Severity.P4), ("", Severity.P3),
])  # fmt: skip
def test_an_incident_of_a_page(impact: str, severity: Severity) -> None:
    said = alert("statuspage", incident("investigating", impact))
    assert (said.severity, said.title, said.description) == (severity, "Elevated errors", "We are looking into it.")
    for status in ("resolved", "postmortem"):
        over = alert("statuspage", incident(status, impact))
        assert over.status is AlertStatus.RESOLVED
        assert fingerprint(said) == fingerprint(over)
    assert alert("statuspage", incident("monitoring", impact)).status is AlertStatus.FIRING


def test_maintenance_is_a_change() -> None:
    said = change("statuspage", incident("in_progress", "maintenance", components=[{"name": "API"}]))
    assert (said.summary, said.services) == ("Elevated errors: maintenance in progress", ("API",))


def test_what_nobody_here_uses_is_nothing() -> None:
    voice = component("major_outage", "ChatGPT voice")
    assert nothing("statuspage", voice, provider="openai")
    assert alert("statuspage", voice).severity is Severity.P2
    about = incident("identified", components=[{"name": "ChatGPT voice"}])
    assert nothing("statuspage", about, provider="openai")
    with pytest.raises(Invalid, match="incident"):
        inbound("statuspage", {"page": PAGE})


def page(*components: tuple[str, str], incidents: list[dict[str, object]] | None = None) -> Summary:
    rows: list[Any] = [{"id": name, "name": name, "status": status} for name, status in components]
    rows += [{"id": "g", "name": "Group", "status": "major_outage", "group": True}, {"name": "no status"}, 7]
    return summary(
        {"page": {"id": "pg1"}, "components": rows} | ({} if incidents is None else {"incidents": incidents})
    )


def told(said: Summary, before: Seen | None) -> tuple[list[tuple[str, str]], Seen]:
    fresh = news(said, before)
    alerts = list(changed("openai", fresh, NOW))
    return [(one.title.removeprefix("openai: "), one.status) for one in alerts], fresh.seen


def test_a_page_that_is_asked_tells_each_change_once() -> None:
    first, seen = told(page(("API", "operational"), ("Batch", "partial_outage")), None)
    assert first == [("Batch: partial outage", "firing"), ("API: operational", "resolved")]
    again, seen = told(page(("API", "operational"), ("Batch", "partial_outage")), seen)
    assert again == []
    worse, seen = told(page(("API", "major_outage"), ("Batch", "operational")), seen)
    assert worse == [("API: major outage", "firing"), ("Batch: operational", "resolved")]
    renamed, seen = told(page(("API v2", "operational")), seen)
    assert renamed == [("API: no longer listed", "resolved")]
    assert told(page(("API v2", "operational")), seen)[0] == []


def test_an_incident_that_is_no_longer_listed_is_over() -> None:
    listed: list[dict[str, object]] = [{"id": "i1", "name": "Errors", "status": "investigating", "impact": "minor"}]
    first, seen = told(page(incidents=listed), None)
    assert first == [("Errors", "firing")]
    assert told(page(incidents=listed), seen)[0] == []
    assert told(page(), seen) == ([], seen), "a page that lists no incidents says nothing of them"
    worse, seen = told(page(incidents=[listed[0] | {"impact": "critical"}]), seen)
    assert worse == [("Errors", "firing")]
    assert told(page(incidents=[listed[0] | {"status": "resolved"}]), seen)[0] == [("Errors", "resolved")]
    assert told(page(incidents=[]), seen)[0] == [("Errors", "resolved")]
    [gone] = changed("openai", news(page(incidents=[]), seen), NOW)
    assert gone.starts_at is None, "our clock may be behind the page's"


def test_the_poll_that_saw_a_change_names_its_delivery() -> None:
    fresh = news(page(("API", "major_outage")), None)
    [one] = changed("openai", fresh, NOW)
    [tried_again] = changed("openai", fresh, NOW)
    [next_time] = changed("openai", fresh, NOW + timedelta(minutes=5))
    assert one.delivery == tried_again.delivery != next_time.delivery
    assert one.identity == "pg1/component/API"


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["page", "id", "components", "incidents", "name", "status", "group", "impact", "updated_at",
                         "incident_updates", "created_at", "body"]), inner, max_size=5),
    max_leaves=30,
)  # fmt: skip


@given(first=junk, second=junk)
def test_whatever_a_page_answers_can_be_read(first: object, second: object) -> None:
    seen = news(summary(first), None).seen
    fresh = news(summary(second), seen)
    assert Seen.model_validate(fresh.seen.model_dump()) == fresh.seen
    for one in changed("openai", fresh, NOW):
        assert type(one).model_validate(one.model_dump()) == one
    assert news(summary(second), fresh.seen).components == ()


def test_a_component_is_judged_by_its_word() -> None:
    assert [Component("1", "x", status).over for status in ("operational", "degraded_performance", "")] == [
        True, False, False,
    ]  # fmt: skip

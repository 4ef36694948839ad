"""What was found around an incident, as each channel says it: short, with its source and age, never markup."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.channels.apprise import body as apprise_body
from app.channels.email import letter
from app.channels.pagerduty import event
from app.channels.slack import blocks
from app.channels.teams import card_message
from app.channels.webhook import payload
from app.channels.words import context, facts
from app.domain.notification import Bundled, Message
from app.domain.representation import Finding

NASTY = "<b>&*bold*</b> <!channel>\n[x](http://x)"


def finding(enricher: str, summary: str, *, minutes: float = 0, **more: Any) -> dict[str, object]:
    said = {
        "enricher": enricher, "status": "found", "summary": summary, "data": {}, "source": "the source",
        "at": datetime.now(UTC) - timedelta(minutes=minutes), "took_ms": 1.0, "cached": False, "error": None,
    }  # fmt: skip
    return Finding.model_validate(said | more).model_dump(mode="json")


def page(*found: dict[str, object], **more: Any) -> Message:
    said = {
        "key": "k", "notification_id": "n", "incident_id": "i", "level": 1, "target": "user:ann", "title": "slow",
        "body": "it is slow", "incident": {"source": "tests", "enrichment": list(found)}, "link": "http://x/i",
    }  # fmt: skip
    return Message.model_validate(said | more)


def found(**more: Any) -> Message:
    """A page with everything that was looked up a moment ago."""
    return page(
        finding("historical", "“slow”, resolved 3 h ago by bob: restarted"),
        finding("prometheus", "error ratio 12 %", minutes=5),
        finding("changes", f"12 min ago: {NASTY}"),
        finding("team", "", status="late", error="no answer within 2 s"),
        finding("loki", "", status="nothing"),
        **more,
    )


def test_a_page_says_what_kind_of_trouble_it_is_whose_and_what_is_done_about_it() -> None:
    incident = {
        "affected_resources": ["chat", "rag"], "tags": {"provider": "openai", "model": "gpt-5", "key": "k"},
        "incident_class": "performance.rate_limit", "suggested_playbook": "rate-limit-throttle",
        "classification": {"stated": True},
    }  # fmt: skip
    said = facts(page(incident=incident))
    assert (said["Service"], said["Class"]) == ("chat, rag", "performance.rate_limit")
    assert (said["Model"], said["Playbook"]) == ("openai gpt-5", "rate-limit-throttle")
    guessed = facts(page(incident=incident | {"classification": {"stated": False}}))
    assert guessed["Class"] == "performance.rate_limit (recognised)"
    assert len(guessed) <= 10, "Slack shows no more"
    odd = facts(page(incident={"affected_resources": "x", "tags": None, "incident_class": 7}))
    assert odd.keys() == {"Severity", "Status", "Level", "Incident"}


def test_a_line_each_what_helps_most_first_with_its_source_and_its_age_when_it_is_old() -> None:
    assert context(found()) == [
        "Changed: 12 min ago: <b>&*bold*</b> <!channel> [x](http://x) (the source)",
        "Similar: “slow”, resolved 3 h ago by bob: restarted (the source)",
        "Prometheus: error ratio 12 % (the source, 5 min ago)",
    ]


def test_no_more_than_fits() -> None:
    long = context(page(*(finding(f"e{n}", "x" * 400) for n in range(20))))
    assert len(long) == 8
    assert all(len(line) < 350 for line in long)


@pytest.mark.parametrize(
    "incident", [{}, {"enrichment": None}, {"enrichment": [{"enricher": "odd"}]}, {"enrichment": [1]}]
)
def test_what_is_not_there_or_not_understood_is_left_out(incident: dict[str, object]) -> None:
    message = page(incident=incident)
    assert context(message) == []
    assert "Context" not in letter(message, "a@example.com", "b@example.com").get_content()
    assert "Context" not in json.dumps(blocks(message))


def test_a_message_about_many_says_nothing_of_one() -> None:
    assert context(found(bundled=(Bundled(incident_id="j", title="t", severity="P2"),))) == []


def test_every_channel_says_it_in_its_own_way() -> None:
    message = found(acknowledge_url="https://x/ack")
    mail = letter(message, "a@example.com", "b@example.com")
    text, html = (part.get_content() for part in mail.iter_parts())
    assert "Context\n    Changed: 12 min ago: <b>" in text.replace("\r\n", "\n")
    assert "<li>Changed: 12 min ago: &lt;b&gt;&amp;*bold*" in html
    slack = json.dumps(blocks(message), ensure_ascii=False)
    assert "*Context*\\nChanged: 12 min ago: &lt;b&gt;&amp;*bold*&lt;/b&gt; &lt;!channel&gt;" in slack
    [card] = json.loads(card_message(message))["attachments"]
    runs = [run["text"] for block in card["content"]["body"] for run in block["inlines"]]
    assert "Context" in runs
    assert "Prometheus: error ratio 12 % (the source, 5 min ago)" in runs
    assert json.loads(event(message, "k"))["payload"]["custom_details"]["Context"] == context(message)
    assert context(message)[0] in apprise_body(message)
    assert payload(message, datetime.now(UTC))["incident"] == message.incident


def test_teams_leaves_it_out_before_a_page_is_too_large() -> None:
    huge = page(*(finding(f"e{n}", "ä" * 400) for n in range(8)), body="ö" * 4000)
    assert len(card_message(huge)) <= 28_000

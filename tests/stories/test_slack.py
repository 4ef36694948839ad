"""Slack: one message per incident, edited, with a thread; and what Slack's refusals mean."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from app.channels.slack import HEADER, SECTION, Slack
from app.config import Notifications
from app.domain.notification import Bundled, Message, Undelivered
from app.domain.vocabulary import MessageKind
from app.net.http import LOOPBACK, Http
from tests.support.pages import PAGE
from tests.support.slack import FakeSlack, fake_slack

CHANNEL = Slack.Address(to="C012AB3CD")
ALICE = Slack.Address(to="U012AB3CD")
HOOK = Slack.Address(to="")


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with fake_slack() as up:
        yield up


@pytest.fixture
async def channel(slack: FakeSlack) -> AsyncIterator[Slack]:
    async with Http(LOOPBACK, deadline_secs=2) as http:
        yield Slack(http, slack.base_url, SecretStr("xoxb-1"), SecretStr(slack.webhook))


def page(**more: object) -> Message:
    return PAGE.model_copy(update={"incident": {"source": "grafana"}, "status": "NEW"} | more)


def buttons(message: dict[str, Any]) -> list[str]:
    return [e["action_id"] for b in message["blocks"] if b["type"] == "actions" for e in b["elements"]]


async def test_who_is_asked_for_a_word_may_press_yes_or_no(slack: FakeSlack, channel: Slack) -> None:
    await channel.send(page(text="Approve?", asks="run/step"), ALICE)
    [asked] = slack.messages.values()
    assert buttons(asked)[:2] == ["approve_run", "reject_run"]
    [actions] = [block for block in asked["blocks"] if block["type"] == "actions"]
    assert actions["elements"][0]["value"] == "run/step"


async def test_an_incident_has_one_message_that_is_edited_and_a_thread(slack: FakeSlack, channel: Slack) -> None:
    first = await channel.send(page(), CHANNEL)
    assert first.delivered
    [reference] = slack.messages
    assert first.reference == reference
    assert slack.items[0].headers["authorization"] == "Bearer xoxb-1"
    assert buttons(slack.messages[reference])[:3] == ["acknowledge", "resolve", "escalate"]
    escalated = page(kind=MessageKind.ESCALATED, thread=reference, status="ESCALATED", level=2)
    assert (await channel.send(escalated, CHANNEL)).reference == reference
    taken = page(kind=MessageKind.ACKNOWLEDGED, thread=reference, status="ACKNOWLEDGED", by="alice")
    await channel.send(taken, CHANNEL)
    assert buttons(slack.messages[reference])[:2] == ["resolve", "escalate"]
    over = page(kind=MessageKind.RESOLVED, thread=reference, status="RESOLVED", by="bob")
    await channel.send(over, CHANNEL)
    assert set(buttons(slack.messages[reference])) <= {"open"}
    said = slack.threads[reference]
    assert [reply.get("reply_broadcast", False) for reply in said] == [True, False, False]
    assert "Acknowledged by alice" in said[1]["text"]
    assert list(slack.messages) == [reference]


async def test_somebody_is_written_to_directly_and_named_when_it_gets_worse(slack: FakeSlack, channel: Slack) -> None:
    first = await channel.send(page(), ALICE)
    assert first.reference is not None
    assert first.reference.startswith("D012AB3CD/")
    await channel.send(page(kind=MessageKind.ESCALATED, thread=first.reference), ALICE)
    assert slack.threads[first.reference][0]["text"].startswith("<@U012AB3CD> ")


async def test_a_message_that_was_deleted_is_posted_anew(slack: FakeSlack, channel: Slack) -> None:
    receipt = await channel.send(page(thread="C012AB3CD/1.0"), CHANNEL)
    assert receipt.reference in slack.messages


@pytest.mark.parametrize(
    ("wrong", "after"),
    [
        ((429, {"retry-after": "17"}), timedelta(seconds=17)),
        ((429, {}), timedelta(seconds=60)),
        ((503, {}), timedelta(seconds=2)),
        ("ratelimited", timedelta(seconds=2)),
        ("internal_error", timedelta(seconds=2)),
        ("channel_not_found", None),
        ("invalid_auth", None),
        ("is_archived", None),
    ],
)
async def test_what_a_refusal_means(
    slack: FakeSlack, channel: Slack, wrong: str | tuple[int, dict[str, str]], after: timedelta | None
) -> None:
    slack.wrongs.append(wrong)
    with pytest.raises(Undelivered) as no:
        await channel.send(page(), CHANNEL)
    assert no.value.retry_after == after
    assert slack.messages == {}
    assert (await channel.send(page(), CHANNEL)).delivered


async def test_what_cannot_be_said_nicely_is_said_plainly(slack: FakeSlack, channel: Slack) -> None:
    slack.wrongs.append("invalid_blocks")
    receipt = await channel.send(page(), CHANNEL)
    assert receipt.reference is not None
    assert "blocks" not in slack.messages[receipt.reference]


async def test_alert_text_is_no_markup_and_fits(slack: FakeSlack, channel: Slack) -> None:
    hostile = "<!channel> <https://evil.example|click> & \x00\ud800" + "x" * 10_000
    receipt = await channel.send(page(title=hostile, body=hostile), CHANNEL)
    assert receipt.reference is not None
    message = slack.messages[receipt.reference]
    assert "<!channel>" not in message["text"]
    for block in message["blocks"]:
        if block["type"] == "header":
            assert len(block["text"]["text"]) <= HEADER
        elif block["type"] == "section" and "text" in block:
            assert len(block["text"]["text"]) <= SECTION
            assert "<" not in block["text"]["text"]


async def test_a_storm_is_one_message(slack: FakeSlack, channel: Slack) -> None:
    others = tuple(Bundled(incident_id=str(n), title=f"t{n}", severity="P2", link="http://x") for n in range(60))
    receipt = await channel.send(page(bundled=others), CHANNEL)
    assert receipt.reference is not None
    message = slack.messages[receipt.reference]
    assert "61 incidents" in message["text"]
    assert buttons(message) == []


async def test_without_a_bot_the_webhook_is_used(slack: FakeSlack, channel: Slack) -> None:
    assert (await channel.send(page(), HOOK)).reference is None
    [call] = slack.items
    assert call.method == "webhook"
    assert set(buttons(call.body)) <= {"open"}
    slack.wrongs.append((404, {}))
    with pytest.raises(Undelivered) as no:
        await channel.send(page(), HOOK)
    assert no.value.retry_after is None


async def test_what_is_not_set_up_is_said(slack: FakeSlack) -> None:
    async with Http(LOOPBACK) as http:
        assert Slack.configured(Notifications(), http) is None
        hook_only = Slack(http, slack.base_url, None, SecretStr(slack.webhook))
        with pytest.raises(Undelivered, match="bot_token"):
            await hook_only.send(page(), CHANNEL)
        bot_only = Slack(http, slack.base_url, SecretStr("xoxb-1"))
        with pytest.raises(Undelivered, match="webhook_url"):
            await bot_only.send(page(), HOOK)

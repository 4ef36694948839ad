"""Playbooks say something about the incident: Slack, mail, PagerDuty, webhooks."""

import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from app.actions.base import Action, Failed
from app.config import Notifications, PagerDuty, Settings, Slack, Smtp
from app.net.http import Http
from tests.support.acting import ID, LINK, action, asked, at, ran, tools
from tests.support.receivers import SILENCE, HttpReceiver, MailReceiver, Reply
from tests.support.slack import FakeSlack

TEXT = "Traffic is moved to the second provider."


def made(name: str, http: Http, **said: Any) -> Action:
    return action(name, tools(http, Settings(notifications=Notifications(**said))))


def in_slack(http: Http, slack: FakeSlack, webhook: bool = True) -> Action:
    hook = SecretStr(slack.webhook) if webhook else None
    said = Slack(bot_token=SecretStr("xoxb-1"), base_url=slack.base_url, webhook_url=hook)
    return made("slack", http, slack=said)


def by_mail(http: Http, mailbox: MailReceiver, timeout_secs: float = 10) -> Action:
    smtp = Smtp(host="127.0.0.1", port=mailbox.port, tls="plain", sender="pager@example.com", timeout_secs=timeout_secs)
    return made("email", http, smtp=smtp)


async def test_slack_gets_the_playbooks_words_and_the_incidents_buttons(http: Http, slack: FakeSlack) -> None:
    one = in_slack(http, slack)
    done = await ran(one, at(), to="C012AB3CD", text=TEXT)
    [reference] = slack.messages
    assert done.output == {"reference": reference}
    [call] = slack.items
    assert TEXT in json.dumps(call.body["blocks"])
    assert {"resolve", "open"} <= {
        button["action_id"]
        for block in call.body["blocks"]
        if block["type"] == "actions"
        for button in block["elements"]
    }
    assert LINK in json.dumps(call.body)
    await ran(one, at(), text=TEXT, subject="Moved")
    assert slack.items[1].method == "webhook"
    assert slack.items[1].body["text"] == "Moved"


async def test_slack_is_asked_whether_the_token_is_good_before_anything_is_said(http: Http, slack: FakeSlack) -> None:
    one = in_slack(http, slack, webhook=False)
    assert "C012AB3CD as pager" in await one.check(asked(one, to="C012AB3CD", text=TEXT), at())
    assert slack.messages == {}
    slack.wrongs.append("invalid_auth")
    with pytest.raises(Failed, match=r"auth\.test: Slack says invalid_auth") as no:
        await one.check(asked(one, to="C012AB3CD", text=TEXT), at())
    assert no.value.retry_after is None
    with pytest.raises(Failed, match="webhook_url is not set"):
        await one.check(asked(one, text=TEXT), at())


@pytest.mark.parametrize(
    ("wrong", "after"),
    [
        ("channel_not_found", None),
        ("ratelimited", timedelta(seconds=2)),
        ((429, {"retry-after": "7"}), timedelta(seconds=7)),
        ((503, {}), timedelta(seconds=2)),
        ((302, {"location": "http://127.0.0.1/"}), None),
    ],
)
async def test_what_slack_refuses_is_tried_again_if_it_may_pass(
    http: Http, slack: FakeSlack, wrong: str | tuple[int, dict[str, str]], after: timedelta | None
) -> None:
    one = in_slack(http, slack)
    slack.wrongs.append(wrong)
    with pytest.raises(Failed) as no:
        await ran(one, at(), to="C012AB3CD", text=TEXT)
    assert (no.value.retry_after, no.value.doubtful) == (after, False)
    await ran(one, at(), to="C012AB3CD", text=TEXT)
    assert len(slack.messages) == 1


async def test_a_mail_of_a_step_is_the_same_over_all_tries(http: Http, mailbox: MailReceiver) -> None:
    one = by_mail(http, mailbox)
    mailbox.replies["DATA"].append("451 later")
    with pytest.raises(Failed, match="451 later") as no:
        await ran(one, at(), to="alice@example.com", text=TEXT)
    assert no.value.retry_after is not None
    for _ in range(2):
        await ran(one, at(), to="alice@example.com", text=TEXT, subject="Moved")
    await ran(one, at(key="run-2/notify"), to="alice@example.com", text=TEXT)
    first, again, another = (mail.message for mail in await mailbox.received(3))
    assert first["Message-ID"] == again["Message-ID"] != another["Message-ID"]
    assert (first["Subject"], first.get_content().strip()) == ("Moved", TEXT)
    assert "chat answers slowly" in another["Subject"]


async def test_a_mail_server_that_says_nothing_leaves_it_in_doubt(http: Http, mailbox: MailReceiver) -> None:
    mailbox.hangs_at.add("CONNECT")
    with pytest.raises(Failed) as no:
        await ran(by_mail(http, mailbox, timeout_secs=0.5), at(), to="alice@example.com", text=TEXT)
    assert no.value.doubtful
    assert no.value.retry_after


async def test_checking_a_mail_sends_none(http: Http, mailbox: MailReceiver) -> None:
    one = by_mail(http, mailbox)
    assert await one.check(asked(one, to="alice@example.com", text=TEXT), at()) == f"mail to alice@example.com: {TEXT}"
    with pytest.raises(ValidationError, match="must be one mail address"):
        asked(one, to="alice", text=TEXT)
    assert mailbox.items == []


def on_pagerduty(http: Http, other: HttpReceiver, key: str | None = "k" * 32) -> Action:
    own = PagerDuty(base_url=f"http://127.0.0.1:{other.port}", integration_key=SecretStr(key) if key else None)
    return made("pagerduty", http, pagerduty=own)


async def test_pagerduty_is_triggered_and_resolved_under_the_incidents_key(http: Http, other: HttpReceiver) -> None:
    other.usually = Reply(202, body=json.dumps({"status": "success", "dedup_key": ID}).encode())
    one = on_pagerduty(http, other)
    assert ID in await one.check(asked(one, text=TEXT), at())
    assert other.items == []
    assert (await ran(one, at(), text=TEXT)).output == {"dedup_key": ID}
    await ran(one, at(key="run-1/later"), event="resolve")
    triggered, resolved = (json.loads(request.body) for request in other.items)
    assert (triggered["event_action"], resolved["event_action"]) == ("trigger", "resolve")
    assert triggered["dedup_key"] == resolved["dedup_key"] == ID
    assert triggered["payload"]["custom_details"]["Description"] == TEXT
    assert triggered["client_url"] == LINK


async def test_pagerduty_without_a_key_is_not_there(http: Http, other: HttpReceiver) -> None:
    with pytest.raises(AssertionError):
        on_pagerduty(http, other, key=None)


async def test_a_webhook_knows_a_second_try_by_its_key(http: Http, hasty: Http, other: HttpReceiver) -> None:
    one = made("webhook", http)
    assert TEXT in await one.check(asked(one, url=other.url, text=TEXT), at())
    assert other.items == []
    other.replies.append(SILENCE)
    with pytest.raises(Failed) as no:
        await ran(made("webhook", hasty), at(), url=other.url, text=TEXT)
    assert (no.value.doubtful, no.value.retry_after is None) == (True, False)
    await ran(one, at(), url=other.url, text=TEXT)
    first, again = other.items
    assert first.headers["idempotency-key"] == again.headers["idempotency-key"] == "run-1/notify"
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    said = json.loads(again.body)
    assert (said["type"], said["text"], said["incident"]["id"]) == ("incident.updated", TEXT, ID)


async def test_a_webhook_to_where_nothing_may_be_sent_is_refused_at_once(http: Http) -> None:
    one = made("webhook", http)
    with pytest.raises(Failed, match="is not a public address") as no:
        await one.check(asked(one, url="http://169.254.169.254/latest", text=TEXT), at())
    assert no.value.retry_after is None

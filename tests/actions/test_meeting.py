"""Playbooks bring people together: in a Slack channel now, at a post-mortem later."""

import json
from datetime import datetime, timedelta
from typing import Any

import icalendar
import pytest
from pydantic import SecretStr, ValidationError

from app.actions.base import Action, Failed
from app.config import Notifications, Settings, Slack, Smtp
from app.net.http import Http
from tests.support.acting import ID, LINK, NOW, action, asked, at, incident, ran, tools
from tests.support.receivers import Mail, MailReceiver
from tests.support.slack import FakeSlack

NAME = f"inc-{ID}"
USERS = ("U0ALICE01", "U0BOB0001")


def rooms(http: Http, slack: FakeSlack) -> Action:
    said = Slack(bot_token=SecretStr("xoxb-1"), base_url=slack.base_url)
    return action("create_war_room", tools(http, Settings(notifications=Notifications(slack=said))))


async def test_a_room_is_made_with_its_people_its_topic_and_a_link(http: Http, slack: FakeSlack) -> None:
    one = rooms(http, slack)
    assert await one.check(asked(one, users=USERS), at()) == f"make #{NAME} and invite 2 users"
    assert slack.rooms == {}
    done = await ran(one, at(), users=USERS)
    [room] = slack.rooms.values()
    assert (room["name"], room["topic"]["value"]) == (NAME, "[P2] chat answers slowly")
    assert room["members"] == set(USERS)
    [message] = slack.messages.values()
    assert LINK in message["text"]
    assert done.output == {"channel": room["id"], "name": NAME, "made": True}
    assert await one.verify(asked(one), done, at()) == f"#{NAME} is there"
    for _ in range(2):
        await one.undo(asked(one), done, at())
    assert room["is_archived"]
    with pytest.raises(Failed, match="is archived"):
        await one.verify(asked(one), done, at())
    with pytest.raises(Failed, match="a bot cannot") as no:
        await ran(one, at(key="run-2/room"))
    assert no.value.retry_after is None


async def test_a_second_run_uses_the_same_room_and_does_not_archive_it(http: Http, slack: FakeSlack) -> None:
    for name in ("general", "random", "llm"):
        slack.room(name)
    one = rooms(http, slack)
    await ran(one, at(), users=USERS[:1])
    assert "which is there already" in await one.check(asked(one), at())
    again = await ran(one, at(key="run-2/room"), users=USERS)
    room = slack.rooms[str(again.output["channel"])]
    assert room["members"] == set(USERS)
    assert len(slack.messages) == 1
    await one.undo(asked(one), again, at(key="run-2/room"))
    assert not room["is_archived"]
    await ran(one, at(key="run-3/room"), users=USERS)


@pytest.mark.parametrize(
    ("lost", "posted"), [("conversations.create", 1), ("conversations.invite", 1), ("conversations.setTopic", 1)]
)
async def test_a_room_whose_making_broke_off_is_finished_and_is_one(
    http: Http, slack: FakeSlack, lost: str, posted: int
) -> None:
    one = rooms(http, slack)
    slack.forgetful.add(lost)
    with pytest.raises(Failed) as no:
        await ran(one, at(), users=USERS)
    assert no.value.retry_after
    done = await ran(one, at(), users=USERS)
    [room] = slack.rooms.values()
    assert (room["members"], len(slack.messages)) == (set(USERS), posted)
    assert room["topic"]["value"]
    assert done.output["made"] is (lost != "conversations.setTopic")


async def test_what_slack_refuses_is_tried_again_if_it_may_pass(http: Http, slack: FakeSlack) -> None:
    one = rooms(http, slack)
    wrongs: list[tuple[Any, timedelta | None]] = [
        ("restricted_action", None), ("missing_scope", None), ("ratelimited", timedelta(seconds=2)),
        ((429, {"retry-after": "30"}), timedelta(seconds=30)), ((502, {}), timedelta(seconds=2)),
    ]  # fmt: skip
    for wrong, after in wrongs:
        slack.wrongs.append(wrong)
        with pytest.raises(Failed) as no:
            await ran(one, at())
        assert no.value.retry_after == after
    slack.unseen.add(NAME)
    with pytest.raises(Failed, match="a channel that the bot cannot see"):
        await ran(one, at())
    assert slack.rooms == {}


async def test_a_room_needs_a_bot(http: Http, slack: FakeSlack) -> None:
    said = Notifications(slack=Slack(webhook_url=SecretStr(slack.webhook)))
    with pytest.raises(AssertionError):
        action("create_war_room", tools(http, Settings(notifications=said)))
    with pytest.raises(ValidationError):
        asked(rooms(http, slack), users=["alice"])


def invites(http: Http, mailbox: MailReceiver) -> Action:
    smtp = Smtp(host="127.0.0.1", port=mailbox.port, tls="plain", sender="Pager <pager@example.com>")
    return action("schedule_postmortem", tools(http, Settings(notifications=Notifications(smtp=smtp))))


PEOPLE: dict[str, Any] = {"to": ("alice@example.com", "bob@example.com"), "zone": "Europe/Berlin"}


def event(mail: Mail) -> tuple[str, Any]:
    """What the mail asks, and its one event."""
    [part] = [part for part in mail.message.walk() if part.get_content_type() == "text/calendar"]
    calendar = icalendar.Calendar.from_ical(part.get_content())
    assert calendar["method"] == part.get_param("method")
    [found] = calendar.walk("VEVENT")
    return str(calendar["method"]), found


async def test_people_are_invited_and_told_when_it_is_cancelled(http: Http, mailbox: MailReceiver) -> None:
    one = invites(http, mailbox)
    said = await one.check(asked(one, **PEOPLE), at())
    assert "at 2026-11-30T09:00:00+00:00" in said  # in two days it is Sunday: the Monday after, at ten in Berlin
    assert mailbox.items == []
    done = await ran(one, at(), **PEOPLE)
    mails = await mailbox.received(2)
    assert [mail.recipients for mail in mails] == [["alice@example.com"], ["bob@example.com"]]
    assert mails[0].message["Subject"] == "Post-mortem: chat answers slowly"
    method, first = event(mails[0])
    assert (method, first["status"], first.start) == ("REQUEST", "CONFIRMED", datetime.fromisoformat(said[-25:]))
    assert (first["organizer"], len(first["attendee"])) == ("mailto:pager@example.com", 2)
    assert LINK in first["description"]
    await one.undo(asked(one, **PEOPLE), done, at(key="run-1/undo", now=NOW + timedelta(days=1)))
    method, cancelled = event((await mailbox.received(4))[3])
    assert (method, cancelled["status"], cancelled["sequence"]) == ("CANCEL", "CANCELLED", 1)
    assert (cancelled["uid"], cancelled.start) == (first["uid"], first.start)


async def test_an_invitation_that_is_tried_again_is_to_the_same_event(http: Http, mailbox: MailReceiver) -> None:
    one = invites(http, mailbox)
    mailbox.replies["DATA"] += ["250 taken", "451 later"]
    with pytest.raises(Failed, match="451 later") as no:
        await ran(one, at(), **PEOPLE)
    assert no.value.retry_after
    await ran(one, at(), **PEOPLE)
    await ran(one, at(incident(title="x\r\nBcc: y"), key="run-2/meet"), **PEOPLE)
    mails = await mailbox.received(5)
    assert len({event(mail)[1]["uid"] for mail in mails[:3]}) == 1
    assert mails[0].message["Message-ID"] == mails[1].message["Message-ID"]
    assert mails[0].message["Message-ID"] != mails[2].message["Message-ID"]
    assert event(mails[3])[1]["uid"] != event(mails[0])[1]["uid"]
    assert mails[3].message["Bcc"] is None
    assert json.dumps(str(mails[3].message["Subject"])) == '"Post-mortem: x Bcc: y"'


async def test_an_address_that_is_none_is_refused(http: Http, mailbox: MailReceiver) -> None:
    one = invites(http, mailbox)
    with pytest.raises(ValidationError, match="must be one mail address"):
        asked(one, to=["alice"])
    with pytest.raises(ValidationError):
        asked(one, to=["alice@example.com"], zone="Europe/Nowhere")
    mailbox.replies["RCPT"].append("550 unknown")
    with pytest.raises(Failed, match="550 unknown") as no:
        await ran(one, at(), **PEOPLE)
    assert no.value.retry_after is None

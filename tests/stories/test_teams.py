"""Pages on their way to Microsoft Teams: the card, its limits, and what a workflow's answers mean."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from app.channels.teams import MESSAGE_BYTES, Teams
from app.config import Notifications
from app.config import Teams as Section
from app.domain.notification import Bundled, Message, Undelivered
from app.domain.vocabulary import MessageKind
from app.net.http import LOOPBACK, Http
from tests.support.pages import DEADLINE, PAGE
from tests.support.receivers import SILENCE, HttpReceiver, Reply, http_receiver

SETTINGS = Teams.Address(url="")


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with Http(LOOPBACK, deadline_secs=DEADLINE) as made:
        yield made


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as up:
        up.usually = Reply(202)
        yield up


def channel(http: Http, receiver: HttpReceiver) -> Teams:
    return Teams.configured(Notifications(teams=Section(webhook_url=SecretStr(receiver.url))), http)


def page(**changes: object) -> Message:
    return PAGE.model_copy(update=changes)


def card(receiver: HttpReceiver) -> dict[str, Any]:
    said = json.loads(receiver.items[-1].body)
    [attachment] = said["attachments"]
    assert (said["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    content: dict[str, Any] = attachment["content"]
    return content


def read(content: dict[str, Any]) -> list[str]:
    """The card's texts. Only runs of a RichTextBlock are never taken for Markdown."""
    assert {block["type"] for block in content["body"]} == {"RichTextBlock"}
    assert {run["type"] for block in content["body"] for run in block["inlines"]} == {"TextRun"}
    return ["".join(run["text"] for run in block["inlines"]) for block in content["body"]]


async def test_a_page_is_a_card_with_a_button(http: Http, receiver: HttpReceiver) -> None:
    assert not (await channel(http, receiver).send(PAGE, SETTINGS)).delivered, "202: it was only queued"
    content = card(receiver)
    assert (content["type"], content["version"]) == ("AdaptiveCard", "1.4")
    assert read(content) == [
        "[P1] checkout model is slow", "Severity: P1", "Status: NEW", "Source: prometheus",
        "Level: 1 (user:alice)", "Incident: in-1", "p95 is 9 s",
    ]  # fmt: skip
    assert content["actions"] == [
        {"type": "Action.OpenUrl", "title": "Open the incident", "url": "http://localhost/in-1"}
    ]
    assert content["body"][0]["inlines"][0]["color"] == "attention"


async def test_who_says_200_has_shown_it(http: Http, receiver: HttpReceiver) -> None:
    receiver.usually = Reply(200, body=b"1")
    assert (await channel(http, receiver).send(PAGE, SETTINGS)).delivered


@pytest.mark.parametrize(("kind", "headline"), [
    (MessageKind.ESCALATED, "[P1] Escalated: checkout model is slow"),
    (MessageKind.ACKNOWLEDGED, "[P1] Acknowledged by bob: checkout model is slow"),
    (MessageKind.RESOLVED, "[P1] Resolved by bob: checkout model is slow"),
    (MessageKind.REMINDER, "[P1] Reminder: checkout model is slow"),
])  # fmt: skip
async def test_what_is_new_is_said_first(http: Http, receiver: HttpReceiver, kind: MessageKind, headline: str) -> None:
    by = "bob" if " by bob" in headline else None
    await channel(http, receiver).send(page(kind=kind, by=by), SETTINGS)
    assert read(card(receiver))[0] == headline


async def test_whose_webhook_it_is(http: Http, receiver: HttpReceiver) -> None:
    async with http_receiver() as other:
        await channel(http, receiver).send(PAGE, Teams.Address(url=other.url))
        await Teams(http).send(PAGE, Teams.Address(url=other.url))
        assert len(other.items) == 2
    with pytest.raises(Undelivered, match=r"notifications\.teams\.webhook_url") as no:
        await Teams(http).send(PAGE, SETTINGS)
    assert no.value.retry_after is None
    assert receiver.items == []


async def test_an_alert_smuggles_no_link_and_no_picture(http: Http, receiver: HttpReceiver) -> None:
    evil = "# [pay](https://evil.example) ![x](https://evil.example/p.png) {{DATE(2017-02-14T06:00:00Z)}} <at>all</at>"
    incident = {"source": evil}
    await channel(http, receiver).send(page(title=evil, body=evil, incident=incident), SETTINGS)
    content = card(receiver)
    said = read(content)
    assert said[0] == f"[P1] {evil}"
    assert said[-1] == evil
    assert [action["url"] for action in content["actions"]] == ["http://localhost/in-1"]


@pytest.mark.parametrize("text", [
    "x\0y\x1b[31m\r\nz", "\ud800 half a pair", "a" * 100_000, "\N{FIRE}" * 100_000, '"\\' * 50_000, ""
])  # fmt: skip
async def test_a_card_says_whatever_people_write_within_its_limit(
    http: Http, receiver: HttpReceiver, text: str
) -> None:
    await channel(http, receiver).send(page(title=text, body=text, by=text, incident={"source": text}), SETTINGS)
    assert len(receiver.items[0].body) <= MESSAGE_BYTES
    said = read(card(receiver))
    assert "Incident: in-1" in said
    assert all(c.isprintable() or c in "\n\t" for line in said for c in line)


async def test_a_storm_is_one_card(http: Http, receiver: HttpReceiver) -> None:
    storm = tuple(
        Bundled(incident_id=f"in-{n}", title="\N{FIRE}" * 200, severity="P2", link=f"http://localhost/in-{n}")
        for n in range(2, 42)
    )
    await channel(http, receiver).send(page(bundled=storm), SETTINGS)
    assert len(receiver.items[0].body) <= MESSAGE_BYTES
    headline, *_, incidents = read(card(receiver))
    assert headline == "[P1] 41 incidents: checkout model is slow and 40 more"
    told = incidents.splitlines()
    assert told[0] == "[P1] checkout model is slow"
    assert told[1].startswith("[P2] \N{FIRE}")
    assert told[1].endswith(" http://localhost/in-2")


async def test_a_short_list_says_how_many_it_leaves_out(http: Http, receiver: HttpReceiver) -> None:
    storm = tuple(Bundled(incident_id=f"in-{n}", title="slow", severity="P2") for n in range(2, 42))
    await channel(http, receiver).send(page(bundled=storm), SETTINGS)
    *_, incidents = read(card(receiver))
    assert incidents.splitlines()[1:] == ["[P2] slow"] * 19 + ["… and 21 more"]


async def test_a_teams_own_card_and_words(http: Http, receiver: HttpReceiver) -> None:
    own = {"type": "AdaptiveCard", "version": "1.2", "body": [{"type": "TextBlock", "text": "ours"}]}
    await channel(http, receiver).send(page(payload=own), SETTINGS)
    assert card(receiver) == own
    whole = {"type": "message", "attachments": []}
    await channel(http, receiver).send(page(payload=whole), SETTINGS)
    assert json.loads(receiver.items[-1].body) == whole
    await channel(http, receiver).send(page(subject="wake up", text="it\nburns"), SETTINGS)
    said = read(card(receiver))
    assert (said[0], said[-1]) == ("wake up", "it\nburns")


async def test_a_card_of_their_own_that_is_too_large_gives_way_to_ours(http: Http, receiver: HttpReceiver) -> None:
    await channel(http, receiver).send(page(payload={"type": "AdaptiveCard", "x": "x" * 30_000}), SETTINGS)
    assert read(card(receiver))[0] == "[P1] checkout model is slow"


@pytest.mark.parametrize(("reply", "again_after"), [
    (Reply(429), 60), (Reply(429, {"retry-after": "7"}), 7), (Reply(500), 2), (Reply(502, {"retry-after": "9"}), 9),
    (Reply(400), None), (Reply(401), None), (Reply(404), None), (Reply(302, {"location": "/"}), None),
    (Reply(200, body=b"Webhook message delivery failed with error: Teams endpoint returned HTTP error 429"), 60),
])  # fmt: skip
async def test_an_answer_says_whether_to_try_again(
    http: Http, receiver: HttpReceiver, reply: Reply, again_after: float | None
) -> None:
    receiver.replies.append(reply)
    with pytest.raises(Undelivered) as no:
        await channel(http, receiver).send(PAGE, SETTINGS)
    assert no.value.retry_after == (None if again_after is None else timedelta(seconds=again_after))
    await channel(http, receiver).send(PAGE, SETTINGS)
    assert len(receiver.items) == 2


async def test_silence_is_tried_again_soon(http: Http, receiver: HttpReceiver) -> None:
    receiver.usually = SILENCE
    with pytest.raises(Undelivered, match=r"within 0\.5 s") as no:
        await channel(http, receiver).send(PAGE, SETTINGS)
    assert no.value.retry_after == timedelta(seconds=2)

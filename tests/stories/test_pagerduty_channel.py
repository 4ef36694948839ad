"""Pages on their way to PagerDuty: what its Events API is told, and what its answers mean."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from app.channels.pagerduty import EVENT_BYTES, PagerDuty
from app.config import Channel, Notifications
from app.config import PagerDuty as Section
from app.domain.notification import Bundled, Message, Undelivered
from app.domain.vocabulary import MessageKind
from app.net.http import LOOPBACK, Http
from tests.support.pages import DEADLINE, PAGE
from tests.support.receivers import SILENCE, HttpReceiver, Reply, http_receiver

KEY, OTHER = "k" * 32, "o" * 32
ACCEPTED = Reply(202, body=b'{"status":"success","message":"Event processed","dedup_key":"in-1"}')
SETTINGS = PagerDuty.Address(key="")
STORM = tuple(
    Bundled(incident_id=f"in-{n}", title=f"model {n} is slow", severity=f"P{n % 3}", link=f"http://localhost/in-{n}")
    for n in range(2, 42)
)


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with Http(LOOPBACK, deadline_secs=DEADLINE) as made:
        yield made


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as up:
        up.usually = ACCEPTED
        yield up


def channel(http: Http, receiver: HttpReceiver, key: str | None = KEY) -> PagerDuty:
    section = Section(base_url=receiver.url.removesuffix("/page"), integration_key=SecretStr(key) if key else None)
    return PagerDuty.configured(Notifications(pagerduty=section), http)


def page(**changes: object) -> Message:
    return PAGE.model_copy(update=changes)


def events(receiver: HttpReceiver) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in receiver.items]


async def test_a_page_opens_an_alert_under_the_incidents_id(http: Http, receiver: HttpReceiver) -> None:
    incident = {
        "source": "prometheus", "environment": "production", "incident_type": "Performance", "tags": {"team": "ml"},
        "affected_resources": ["gateway", "router"], "runbook_url": "https://runbooks.example.com/slow",
    }  # fmt: skip
    receipt = await channel(http, receiver).send(page(incident=incident), SETTINGS)
    assert (receipt.reference, receipt.delivered) == ("in-1", False)
    assert receiver.items[0].path == "/v2/enqueue"
    assert receiver.items[0].headers["content-type"] == "application/json"
    assert events(receiver) == [{
        "routing_key": KEY, "event_action": "trigger", "dedup_key": "in-1",
        "client": "LLM Incident Manager", "client_url": "http://localhost/in-1",
        "links": [
            {"href": "http://localhost/in-1", "text": "Incident"},
            {"href": "https://runbooks.example.com/slow", "text": "Runbook"},
        ],
        "payload": {
            "summary": "[P1] checkout model is slow", "severity": "error", "source": "prometheus",
            "component": "gateway, router", "class": "Performance",
            "custom_details": {
                "Severity": "P1", "Status": "NEW", "Source": "prometheus", "Environment": "production",
                    "Service": "gateway, router",
                "Level": "1 (user:alice)", "Incident": "in-1", "Tags": {"team": "ml"}, "Description": "p95 is 9 s",
            },
        },
    }]  # fmt: skip


async def test_an_incidents_life_is_one_alert(http: Http, receiver: HttpReceiver) -> None:
    for kind in MessageKind:
        await channel(http, receiver).send(page(kind=kind, by="alice"), SETTINGS)
    assert [(event["event_action"], event["dedup_key"]) for event in events(receiver)] == [
        ("trigger", "in-1"), ("trigger", "in-1"), ("acknowledge", "in-1"), ("resolve", "in-1"),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [MessageKind.REMINDER, MessageKind.UPDATED])
async def test_what_would_open_a_closed_alert_again_stays_unsaid(
    http: Http, receiver: HttpReceiver, kind: MessageKind
) -> None:
    assert (await channel(http, receiver).send(page(kind=kind), SETTINGS)).reference is None
    assert receiver.items == []


@pytest.mark.parametrize(("ours", "theirs"), [
    ("P0", "critical"), ("P1", "error"), ("P2", "warning"), ("P3", "info"), ("P4", "info"),
])  # fmt: skip
async def test_severities_in_pagerdutys_words(http: Http, receiver: HttpReceiver, ours: str, theirs: str) -> None:
    await channel(http, receiver).send(page(severity=ours), SETTINGS)
    assert events(receiver)[0]["payload"]["severity"] == theirs


async def test_whose_key_it_is(http: Http, receiver: HttpReceiver) -> None:
    await channel(http, receiver).send(PAGE, PagerDuty.Address(key=OTHER))
    await channel(http, receiver, None).send(PAGE, PagerDuty.Address(key=OTHER))
    assert [event["routing_key"] for event in events(receiver)] == [OTHER, OTHER]
    with pytest.raises(Undelivered, match=r"notifications\.pagerduty\.integration_key") as no:
        await channel(http, receiver, None).send(PAGE, SETTINGS)
    assert no.value.retry_after is None
    assert len(receiver.items) == 2


async def test_the_key_may_stand_in_the_list_of_channels(http: Http, receiver: HttpReceiver) -> None:
    base_url = receiver.url.removesuffix("/page")
    listed = Channel(type="pagerduty", integration_key=SecretStr(OTHER))
    said = Notifications(channels=(listed,), pagerduty=Section(base_url=base_url))
    await PagerDuty.configured(said, http).send(PAGE, SETTINGS)
    assert events(receiver)[0]["routing_key"] == OTHER


async def test_a_storm_is_one_alert_that_no_single_resolve_closes(http: Http, receiver: HttpReceiver) -> None:
    await channel(http, receiver).send(page(bundled=STORM), SETTINGS)
    await channel(http, receiver).send(page(kind=MessageKind.RESOLVED), SETTINGS)
    storm, resolved = events(receiver)
    assert storm["payload"]["summary"] == "[P0] 41 incidents: checkout model is slow and 40 more"
    incidents = storm["payload"]["custom_details"]["Incidents"]
    assert incidents[:2] == ["[P1] checkout model is slow", "[P2] model 2 is slow http://localhost/in-2"]
    assert len(incidents) == 41
    assert storm["dedup_key"] != resolved["dedup_key"] == "in-1"


async def test_a_teams_own_words(http: Http, receiver: HttpReceiver) -> None:
    await channel(http, receiver).send(page(subject="wake up", text="it burns"), SETTINGS)
    payload = events(receiver)[0]["payload"]
    assert (payload["summary"], payload["custom_details"]["Description"]) == ("wake up", "it burns")


@pytest.mark.parametrize("title", ["x\0y\x1b[31m\r\nz", "\ud800 half a pair", "ü" * 100_000, ""])
async def test_a_page_says_whatever_people_write(http: Http, receiver: HttpReceiver, title: str) -> None:
    incident = {"source": title, "tags": {title: title}, "runbook_url": "javascript:alert(1)", "incident_type": title}
    await channel(http, receiver).send(page(title=title, body=title, incident=incident), SETTINGS)
    [event] = events(receiver)
    payload = event["payload"]
    assert len(payload["summary"]) <= 1024
    assert payload["summary"].isprintable()
    assert payload["source"]
    assert event["links"] == [{"href": "http://localhost/in-1", "text": "Incident"}]


async def test_an_event_is_never_too_large(http: Http, receiver: HttpReceiver) -> None:
    tags = {f"tag {n}": "\N{FIRE}" * 1000 for n in range(200)}
    await channel(http, receiver).send(page(incident={"source": "x", "tags": tags}), SETTINGS)
    assert len(receiver.items[0].body) <= EVENT_BYTES
    assert events(receiver)[0]["payload"]["custom_details"]["Incident"] == "in-1"


@pytest.mark.parametrize(("reply", "again_after"), [
    (Reply(429), 60), (Reply(429, {"retry-after": "7"}), 7), (Reply(500), 2), (Reply(503, {"retry-after": "9"}), 9),
    (Reply(400), None), (Reply(403), None),
])  # fmt: skip
async def test_an_answer_says_whether_to_try_again(
    http: Http, receiver: HttpReceiver, reply: Reply, again_after: float | None
) -> None:
    receiver.replies.append(reply)
    with pytest.raises(Undelivered, match=str(reply.status)) as no:
        await channel(http, receiver).send(PAGE, SETTINGS)
    assert no.value.retry_after == (None if again_after is None else timedelta(seconds=again_after))
    assert (await channel(http, receiver).send(PAGE, SETTINGS)).reference == "in-1"
    assert [event["dedup_key"] for event in events(receiver)] == ["in-1", "in-1"]


async def test_a_bad_key_is_said_in_pagerdutys_words(http: Http, receiver: HttpReceiver) -> None:
    why = "Length of 'routing_key' is incorrect (should be 32 characters)"
    body = json.dumps({"status": "invalid event", "message": "Event object is invalid", "errors": [why]})
    receiver.usually = Reply(400, body=body.encode())
    with pytest.raises(Undelivered, match="Length of 'routing_key' is incorrect") as no:
        await channel(http, receiver).send(PAGE, SETTINGS)
    assert no.value.retry_after is None
    assert KEY not in str(no.value)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"dedup_key": 5}'])
async def test_an_acceptance_in_other_words_is_one(http: Http, receiver: HttpReceiver, body: bytes) -> None:
    receiver.usually = Reply(202, body=body)
    assert (await channel(http, receiver).send(PAGE, SETTINGS)).reference == "in-1"


async def test_silence_is_tried_again_soon(http: Http, receiver: HttpReceiver) -> None:
    receiver.usually = SILENCE
    with pytest.raises(Undelivered, match=r"within 0\.5 s") as no:
        await channel(http, receiver).send(PAGE, SETTINGS)
    assert no.value.retry_after == timedelta(seconds=2)

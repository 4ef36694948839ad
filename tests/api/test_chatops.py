"""Buttons in Slack: signed, mapped to somebody of the directory, carried out once."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import pytest
from slack_sdk.signature import Clock, SignatureVerifier

from app.api.http import create_app
from app.config import Settings
from app.runtime import gateway
from tests.api.conftest import Service
from tests.support.playing import waiting_run
from tests.support.receivers import SILENCE, http_receiver
from tests.support.slack import FakeSlack, fake_slack

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
PATH = "/api/v1/chatops/slack/interactions"


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with fake_slack() as up:
        yield up


@pytest.fixture
async def door(service: Service, slack: FakeSlack) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with Slack set up, on the service's own database and Temporal."""
    async for client in opened(service.environment["TEMPORAL_ADDRESS"], service, slack):
        yield client


async def opened(temporal: str, service: Service, slack: FakeSlack) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings.model_validate({
        "storage": {"connection_string": service.environment["DATABASE_URL"]}, "temporal": {"address": temporal},
        "notifications": {
            "slack": {"bot_token": "xoxb-1", "signing_secret": SECRET, "base_url": slack.base_url},
        },
    })  # fmt: skip
    async with gateway(settings) as made:
        transport = httpx.ASGITransport(create_app(made))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as client:
            yield client


def signed(body: str, at: float | None = None, secret: str = SECRET) -> dict[str, str]:
    stamp = str(int(at if at is not None else time.time()))
    signature = SignatureVerifier(secret).generate_signature(timestamp=stamp, body=body)
    return {
        "x-slack-request-timestamp": stamp, "x-slack-signature": str(signature),
        "content-type": "application/x-www-form-urlencoded",
    }  # fmt: skip


def press(slack: FakeSlack, user: str, action: str, incident: str, level: int = 1, at: str = "1.1") -> str:
    value = {"action_id": action, "action_ts": at, "value": f"{incident}|{level}"}
    payload = {
        "type": "block_actions", "user": {"id": user}, "actions": [value], "response_url": slack.response_url,
    }  # fmt: skip
    return urlencode({"payload": json.dumps(payload)})


async def hired(service: Service) -> tuple[str, str]:
    """Somebody, and their Slack id."""
    name, slack_id = f"s-{uuid4()}", f"U{uuid4().hex[:10].upper()}"
    body = {"name": name, "slack_id": slack_id}
    assert (await service.http.put(f"/api/v1/users/{name}", json=body)).status_code == 200
    return name, slack_id


async def timeline(service: Service, incident: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = (await service.http.get(f"/api/v1/incidents/{incident}/timeline")).json()
    return events


def test_a_signature_that_others_check_by() -> None:
    """From the tests of another implementation."""

    class Then(Clock):
        def now(self) -> float:
            return 1590253817

    signature = "v0=be81dff716fe0e1d65558f82a5152430fc03e1c1876e60097c7fd337ff7b22ea"
    assert SignatureVerifier("the-secret", Then()).is_valid("hello, world!", "1590253817", signature)


async def test_whoever_presses_takes_it_once(service: Service, slack: FakeSlack, door: httpx.AsyncClient) -> None:
    name, slack_id = await hired(service)
    incident = await service.incident()
    body = press(slack, slack_id, "acknowledge", incident)
    for _ in range(2):
        began = time.monotonic()
        answer = await door.post(PATH, content=body, headers=signed(body))
        assert (answer.status_code, answer.content) == (200, b"")
        assert time.monotonic() - began < 3
    taken = [event for event in await timeline(service, incident) if event["event_type"] == "acknowledged"]
    assert [event["actor"]["name"] for event in taken] == [name]
    over = press(slack, slack_id, "resolve", incident, at="2.2")
    assert (await door.post(PATH, content=over, headers=signed(over))).status_code == 200
    late = press(slack, slack_id, "acknowledge", incident, at="3.3")
    assert (await door.post(PATH, content=late, headers=signed(late))).status_code == 200
    [told] = await slack.received(1)
    assert told.method == "response"
    assert "RESOLVED" in told.body["text"]
    assert told.body["response_type"] == "ephemeral"


async def test_whoever_is_asked_says_yes_or_no_by_a_button(
    service: Service, slack: FakeSlack, door: httpx.AsyncClient
) -> None:
    name, slack_id = await hired(service)
    _, other = await hired(service)
    run = await waiting_run(service, name)
    for who, action, about in (
        (other, "approve_run", "ask"), (slack_id, "approve_run", "another"), (slack_id, "approve_run", "ask"),
        (slack_id, "reject_run", "ask"),
    ):  # fmt: skip
        body = press(slack, who, action, f"{run}/{about}")
        assert (await door.post(PATH, content=body, headers=signed(body))).status_code == 200
    said = [call.body["text"] for call in await slack.received(4)]
    assert said[0].endswith(f"was not asked; these were: {name}.")
    assert said[1].endswith("waits for nobody's decision about another.")
    assert said[2].startswith("You approved it: ")
    assert said[3].endswith(("waits for nobody's decision about ask.", "is over: completed."))
    assert f"{name} approved it: in Slack" in (await service.http.get(f"/api/v1/playbook-runs/{run}/log")).text


async def test_a_stranger_is_told_how_to_be_known_and_nothing_is_done(
    service: Service, slack: FakeSlack, door: httpx.AsyncClient
) -> None:
    incident = await service.incident()
    body = press(slack, "U0STRANGER", "acknowledge", incident)
    assert (await door.post(PATH, content=body, headers=signed(body))).status_code == 200
    [told] = await slack.received(1)
    assert '"slack_id": "U0STRANGER"' in told.body["text"]
    assert (await service.http.get(f"/api/v1/incidents/{incident}")).json()["status"] == "NEW"


async def test_nobody_else_is_believed(service: Service, slack: FakeSlack, door: httpx.AsyncClient) -> None:
    _, slack_id = await hired(service)
    incident = await service.incident()
    body = press(slack, slack_id, "acknowledge", incident)
    good = signed(body)
    for wrong in (
        {},
        signed(body, secret="another"),
        signed(body, at=time.time() - 310),
        signed(body, at=time.time() + 310),
        signed(body + "&x=1"),
        good | {"x-slack-signature": "v0=é"},
        good | {"x-slack-request-timestamp": "soon"},
    ):
        raw = [(name.encode(), value.encode()) for name, value in wrong.items()]
        answer = await door.post(PATH, content=body, headers=raw)
        assert answer.status_code == 401, wrong
    assert (await service.http.get(f"/api/v1/incidents/{incident}")).json()["status"] == "NEW"
    assert slack.items == []


@pytest.mark.parametrize(
    "body", ["", "payload=nonsense", "payload=[]", 'payload={"type":"view_submission"}', "payload=%ff",
             'payload={"type":"block_actions","user":{},"actions":[]}'[:-1] + "}",
             'payload={"type":"block_actions","user":{"id":"U1"},"actions":[{"value":"x|y","action_id":1}]}'],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(door: httpx.AsyncClient, body: str) -> None:
    answer = await door.post(PATH, content=body, headers=signed(body))
    assert answer.status_code in (400, 200), answer.text
    if answer.status_code == 400:
        assert answer.json()["error"]["details"][0]["field"].startswith("payload")


async def test_without_a_signing_secret_there_is_no_such_door(api: httpx.AsyncClient) -> None:
    answer = await api.post(PATH, content="payload={}", headers=signed("payload={}"))
    assert answer.status_code == 404
    assert "signing_secret" in answer.text


async def test_slack_is_answered_in_time_also_when_temporal_hangs(service: Service, slack: FakeSlack) -> None:
    _, slack_id = await hired(service)
    incident = await service.incident()
    async with http_receiver() as temporal:
        temporal.usually = SILENCE
        async for door in opened(f"127.0.0.1:{temporal.port}", service, slack):
            body = press(slack, slack_id, "acknowledge", incident)
            began = time.monotonic()
            assert (await door.post(PATH, content=body, headers=signed(body))).status_code == 200
            assert time.monotonic() - began < 3
            told = await slack.received(2, within=15)
            assert [call.body["text"].partition(" ")[0] for call in told] == ["Working", "The"]

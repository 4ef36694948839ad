"""Pages on their way through apprise: to real receivers, as text messages, and when services fail or hang."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.channels.apprise import BODY_BYTES, SMS, Apprise, Sms, made
from app.child import CannotStart
from app.config import Apprise as Section
from app.config import Notifications, Settings
from app.config import Sms as SmsSection
from app.domain.notification import Bundled, Message, Undelivered
from app.domain.vocabulary import ChannelName, MessageKind
from app.environment import BadSettings, load
from app.net.http import LOOPBACK, Http
from app.net.slots import Slots
from app.runtime import channels
from tests.support.pages import PAGE
from tests.support.receivers import SILENCE, HttpReceiver, Reply, http_receiver

TOKEN = "s3cr3tT0kenOfTheService"
STORM = tuple(
    Bundled(incident_id=f"in-{n}", title=f"model {n} is slow", severity="P2", link=f"http://localhost/in-{n}")
    for n in range(2, 42)
)


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with Http(LOOPBACK) as opened:
        yield opened


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as up:
        yield up


def services(http: Http, secs: float = 5, **urls: str) -> Apprise:
    section = Section(services={name: SecretStr(url) for name, url in urls.items()}, timeout_secs=secs)
    channel = Apprise.configured(Notifications(apprise=section), http)
    assert channel is not None
    return channel


def sms(http: Http, url: str) -> Sms:
    channel = Sms.configured(Notifications(sms=SmsSection(url=SecretStr(url))), http)
    assert channel is not None
    return channel


def at(receiver: HttpReceiver, rest: str = "", scheme: str = "json") -> str:
    return f"{scheme}://127.0.0.1:{receiver.port}/{rest}"


def to(service: str) -> Apprise.Address:
    return Apprise.Address(service=service)


def page(**changes: object) -> Message:
    return PAGE.model_copy(update=changes)


def told(receiver: HttpReceiver) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(receiver.items[-1].body)
    return said


async def test_a_page_through_a_service_of_the_settings(http: Http, receiver: HttpReceiver) -> None:
    receipt = await services(http, hook=at(receiver)).send(PAGE, to("hook"))
    assert not receipt.delivered
    said = told(receiver)
    assert (said["title"], said["type"]) == ("[P1] checkout model is slow", "failure")
    assert said["message"] == (
        "http://localhost/in-1\n\nSeverity: P1\nStatus: NEW\nSource: prometheus\n"
        "Level: 1 (user:alice)\nIncident: in-1\n\np95 is 9 s"
    )


async def test_a_persons_own_address_stands_in_the_url(http: Http, receiver: HttpReceiver) -> None:
    ntfy = services(http, push=at(receiver, "{to}", "ntfy"), hook=at(receiver, "{to}/page?format=text"))
    await ntfy.send(PAGE, to("push:alices-phone"))
    assert told(receiver)["topic"] == "alices-phone"
    await ntfy.send(PAGE, to("hook:../a/b?x=1&y:é"))
    assert receiver.items[-1].path == "/..%2Fa%2Fb%3Fx=1&y:%C3%A9/page", "no part of it became a query"


@pytest.mark.parametrize(("kind", "severity", "mood"), [
    (MessageKind.CREATED, "P0", "failure"), (MessageKind.ESCALATED, "P1", "failure"),
    (MessageKind.CREATED, "P2", "warning"), (MessageKind.REMINDER, "P4", "warning"),
    (MessageKind.ACKNOWLEDGED, "P0", "info"), (MessageKind.RESOLVED, "P0", "success"),
])  # fmt: skip
async def test_a_message_has_the_mood_of_its_news(
    http: Http, receiver: HttpReceiver, kind: MessageKind, severity: str, mood: str
) -> None:
    await services(http, hook=at(receiver)).send(page(kind=kind, severity=severity), to("hook"))
    assert told(receiver)["type"] == mood


@pytest.mark.parametrize(("service", "why"), [
    ("pager", r"notifications\.apprise\.services has no 'pager'"),
    ("hook:alice", r"notifications\.apprise\.services\.hook has no \{to\}"),
    ("push", r"notifications\.apprise\.services\.push has a \{to\}: add :address"),
])  # fmt: skip
async def test_an_address_that_fits_no_setting_is_said_so(
    http: Http, receiver: HttpReceiver, service: str, why: str
) -> None:
    with pytest.raises(Undelivered, match=why) as no:
        await services(http, hook=at(receiver), push=at(receiver, "{to}", "ntfy")).send(PAGE, to(service))
    assert no.value.retry_after is None
    assert receiver.items == []


async def test_a_text_message_is_short_and_has_the_link(http: Http, receiver: HttpReceiver) -> None:
    phone = Sms.Address(phone="+4930123456")
    await sms(http, at(receiver, "{to}")).send(page(title="slow " * 20_000), phone)
    assert receiver.items[-1].path == "/+4930123456"
    said = told(receiver)
    assert said["title"] == ""
    assert len(said["message"]) == SMS
    assert said["message"].startswith("[P1] slow slow")
    assert said["message"].endswith("…\nhttp://localhost/in-1")
    await sms(http, at(receiver, "{to}")).send(page(bundled=STORM), phone)
    assert told(receiver)["message"] == ("[P1] 41 incidents: checkout model is slow and 40 more\nhttp://localhost/in-1")
    await sms(http, at(receiver, "{to}")).send(page(text="wake up"), phone)
    assert told(receiver)["message"] == "wake up"


def test_twilio_is_called_for_the_person() -> None:
    service = made("twilio://AC" + "a" * 32 + ":" + "b" * 32 + "@15551230000/%2B4930123456")
    assert service is not None
    assert "/%2B4930123456/?" in service.url()  # type: ignore[no-untyped-call]


async def test_a_storm_is_one_message(http: Http, receiver: HttpReceiver) -> None:
    await services(http, hook=at(receiver)).send(page(bundled=STORM), to("hook"))
    [_] = receiver.items
    said = told(receiver)
    assert said["title"] == "[P1] 41 incidents: checkout model is slow and 40 more"
    assert all(f"[P2] {one.title} {one.link}" in said["message"] for one in STORM)


async def test_a_teams_own_words(http: Http, receiver: HttpReceiver) -> None:
    await services(http, hook=at(receiver)).send(page(subject="wake up", text="it\nburns"), to("hook"))
    assert (told(receiver)["title"], told(receiver)["message"]) == ("wake up", "it\nburns")


@pytest.mark.parametrize("text", ["x\0y\x1b[31m\r\nz", "\ud800 half a pair", "\N{FIRE}" * 100_000, "${HOME} \\x41", ""])
@pytest.mark.parametrize("scheme", ["json", "ntfy"])
async def test_a_page_says_whatever_people_write(http: Http, receiver: HttpReceiver, text: str, scheme: str) -> None:
    await services(http, way=at(receiver, "topic", scheme)).send(page(title=text, body=text), to("way"))
    said = told(receiver)
    assert said["title"].isprintable()
    assert "Incident: in-1" in said["message"]
    assert len(said["message"].encode()) <= BODY_BYTES + len("…".encode())
    assert ("\\x41" in said["message"]) is ("\\x41" in text)


@pytest.mark.parametrize(("reply", "why"), [
    (Reply(429, {"retry-after": "42"}), "429"), (Reply(500), "500"), (Reply(401), "401"),
    (Reply(302, {"location": "http://127.0.0.1:1/"}), "302"),
])  # fmt: skip
async def test_a_refused_page_is_tried_again_and_arrives(
    http: Http, receiver: HttpReceiver, reply: Reply, why: str
) -> None:
    channel = services(http, hook=f"json://user:{TOKEN}@127.0.0.1:{receiver.port}/{TOKEN}x?+X-Key={TOKEN}y")
    receiver.replies.append(reply)
    with pytest.raises(Undelivered, match=rf"notifications\.apprise\.services\.hook: .*{why}") as no:
        await channel.send(PAGE, to("hook"))
    assert no.value.retry_after == timedelta(seconds=10)
    assert TOKEN not in str(no.value)
    receiver.usually = Reply(202)
    await channel.send(PAGE, to("hook"))
    assert len(receiver.items) == 2


async def test_a_service_that_is_down_is_said_so_without_its_secrets(
    http: Http, receiver: HttpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    channel = services(http, hook=f"json://user:{TOKEN}@127.0.0.1:{receiver.port}/{TOKEN}x")
    await channel.send(PAGE, to("hook"))
    await receiver.goes_down()
    with pytest.raises(Undelivered, match="onnection") as no:
        await channel.send(PAGE, to("hook"))
    assert TOKEN not in str(no.value) + caplog.text
    await receiver.comes_up()
    await channel.send(PAGE, to("hook"))
    assert len(receiver.items) == 2


async def test_a_silent_service_holds_back_nobody_else(http: Http, receiver: HttpReceiver) -> None:
    async with http_receiver() as silent:
        silent.usually = SILENCE
        channel = services(http, 0.3, silent=at(silent), hook=at(receiver))
        channel.services["silent"].slots.at_once, channel.services["silent"].slots.patience_secs = 8, 0.05
        held = [asyncio.create_task(channel.send(PAGE, to("silent"))) for _ in range(8)]
        await silent.received(8)
        await channel.send(PAGE, to("hook"))
        for late in await asyncio.gather(*held, return_exceptions=True):
            assert isinstance(late, Undelivered)
            assert "no answer within 0.3 s" in str(late)
            assert late.retry_after == timedelta(seconds=5)
        with pytest.raises(Undelivered, match=r"8 sends to notifications\.apprise\.services\.silent") as no:
            await channel.send(PAGE, to("silent"))
        assert no.value.retry_after == timedelta(seconds=1)
        await channel.send(PAGE, to("hook"))
        assert len(silent.items) == 8, "what was refused is never sent after all"
        under_way = set(channel.services["silent"].under_way)
        await silent.goes_down()
        await asyncio.wait(under_way)
        silent.usually = Reply()
        await silent.comes_up()
        await channel.send(PAGE, to("silent"))


async def test_one_service_takes_no_more_threads_than_slots(http: Http) -> None:
    carrier = services(http, hook="json://127.0.0.1/").services["hook"]
    assert carrier.threads._max_workers == Slots().at_once


async def test_nothing_is_kept_on_disk(
    http: Http, receiver: HttpReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "TMPDIR"):
        monkeypatch.setenv(place, str(tmp_path))
    await services(http, push=at(receiver, "{to}", "ntfy")).send(PAGE, to("push:alice"))
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(("url", "why"), [
    (f"nosuchthing://{TOKEN}/x", r"^notifications\.apprise\.services\.bad: .*nosuchthing:// URL$"),
    (f"{TOKEN}", r"^notifications\.apprise\.services\.bad: .* URL$"),
    (f"twilio://{TOKEN}", r"^notifications\.apprise\.services\.bad: .*twilio:// URL$"),
    ("", r"^notifications\.apprise\.services\.bad: .* URL$"),
])  # fmt: skip
async def test_an_unreadable_url_is_refused_at_the_start_and_not_shown(url: str, why: str) -> None:
    said = Notifications(apprise=Section(services={"bad": SecretStr(url)}))
    with pytest.raises(CannotStart, match=why) as no:
        async with channels(Settings(notifications=said)):
            raise AssertionError("it started")
    assert TOKEN not in str(no.value)


def test_services_come_from_a_file_or_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("notifications: {apprise: {services: {telegram: 'tgram://1/{to}', hook: 'json://a'}}}")
    found = load({"CONFIG_PATH": str(file)}).notifications.apprise.services
    assert {name: url.get_secret_value() for name, url in found.items()} == {
        "telegram": "tgram://1/{to}", "hook": "json://a",
    }  # fmt: skip
    said = {"LLM_IM__NOTIFICATIONS__APPRISE__SERVICES": '{"push": "ntfy://a"}'}
    assert load(said).notifications.apprise.services["push"].get_secret_value() == "ntfy://a"
    limits = {"LLM_IM__NOTIFICATIONS__RATE_LIMITS": '{"slack": {"requests_per_minute": 60}}'}
    assert load(limits).notifications.rate_limits[ChannelName.SLACK].requests_per_minute == 60


@pytest.mark.parametrize("value", [TOKEN, f'["{TOKEN}"]', f'{{"hook": ["{TOKEN}"]}}'])
def test_services_written_wrong_are_one_line_without_a_secret(value: str) -> None:
    with pytest.raises(BadSettings, match="LLM_IM__NOTIFICATIONS__APPRISE__SERVICES") as no:
        load({"LLM_IM__NOTIFICATIONS__APPRISE__SERVICES": value})
    assert len(no.value.mistakes) == 1
    assert TOKEN not in str(no.value)


async def test_a_text_message_to_nobody_in_particular_is_refused_at_the_start(http: Http) -> None:
    said = Notifications(sms=SmsSection(url=SecretStr(f"json://{TOKEN}/")))
    with pytest.raises(CannotStart, match=r"^notifications\.sms\.url: must have \{to\}") as no:
        Sms.configured(said, http)
    assert TOKEN not in str(no.value)


@pytest.mark.parametrize("url", [
    "tgram://123456789:" + "a" * 35 + "/{to}", "twilio://AC" + "a" * 32 + ":" + "b" * 32 + "@15551230000/{to}",
    "mailto://user:pass@mail.example.com?to={to}", "ntfy://{to}", "ntfy://ntfy.example.com/{to}",
    "discord://123456789012345678/" + "a" * 68, "pover://" + "u" * 30 + "@" + "t" * 30,
    "slack://" + "T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/{to}",
])  # fmt: skip
def test_what_services_need_for_an_address_is_no_error(http: Http, url: str) -> None:
    assert services(http, way=url).services["way"].setting == "notifications.apprise.services.way"


async def test_a_channel_without_settings_is_none(http: Http) -> None:
    assert Apprise.configured(Notifications(), http) is None
    assert Sms.configured(Notifications(), http) is None
    async with channels(Settings()) as ways:
        assert not {ChannelName.APPRISE, ChannelName.SMS} & set(ways)
        assert {ChannelName.PAGERDUTY, ChannelName.TEAMS} <= set(ways)

"""The one way out: which addresses it reaches, by whatever name they are called."""

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.channels.webhook import Webhook
from app.domain.errors import Invalid
from app.domain.notification import Undelivered
from app.net.http import LOOPBACK, Blocked, Http, Unanswered, allowed, allowed_networks, check_url
from tests.support.pages import PAGE
from tests.support.receivers import Certificate, HttpReceiver, http_receiver

PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1", "100.100.100.200", "169.254.169.254",
    "0.0.0.0", "0.1.2.3", "192.0.0.192", "198.18.0.1", "168.63.129.16", "224.0.0.1", "239.1.1.1", "240.0.0.1",
    "255.255.255.255", "::", "::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
    "ff0e::1", "::ffff:10.0.0.1", "::ffff:100.64.0.1", "::127.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::a00:1",
    "2002:7f00:1::1", "2001::1", "2001:db8::1", "5f00::1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as up:
        yield up


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_out_of_reach_in_every_form(address: str) -> None:
    assert not allowed(ipaddress.ip_address(address), ())


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_within_reach(address: str) -> None:
    assert allowed(ipaddress.ip_address(address), ())


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203"])
def test_a_private_network_can_be_opened(address: str) -> None:
    assert allowed(ipaddress.ip_address(address), [ipaddress.ip_network("10.1.0.0/16")])
    assert not allowed(ipaddress.ip_address(address), [ipaddress.ip_network("10.2.0.0/16")])


def test_where_nothing_is_set_this_machine_is_open_only_to_itself() -> None:
    tens = ipaddress.ip_network("10.0.0.0/8")
    assert allowed_networks(None, loopback=True) == LOOPBACK
    assert allowed_networks(None, loopback=False) == ()
    assert allowed_networks([tens], loopback=True) == (tens,)
    assert allowed_networks([], loopback=True) == ()


@pytest.mark.parametrize("host", [
    "127.0.0.1", "127.1", "2130706433", "0x7f.1", "0", "127.0.0.1.", "localhost", "LOCALHOST.", "a.localhost",
    "10.0.0.1", "100.64.0.1", "224.0.0.1", "0.0.0.0", "[::]", "[ff02::1]", "0xa9fea9fe", "[::1]",
    "[::ffff:127.0.0.1]", "[::7f00:1]", "169.254.169.254", "[fe80::1%25eth0]",
])  # fmt: skip
def test_a_document_cannot_name_a_forbidden_address(host: str) -> None:
    with pytest.raises(Invalid, match=r"net\.allow_networks"):
        check_url(f"http://{host}/page", ())


@pytest.mark.parametrize(("url", "says"), [
    ("ftp://example.com", "http"), ("example.com/page", "http"), ("http://", "host"), ("", "http"),
    ("http://user@example.com", "user name"), ("http://:secret@example.com", "password"),
    ("http://example.com\\@10.0.0.1", "user name"), ("http://example.com:0", "port"),
    ("http://example.com:65536", "port"), ("http://example.com:x", "web address"), ("http://[::1", "web address"),
    ("http://exam\nple.com", "web address"), ("http://0177.0.0.1", "web address"),
    ("http://example.com/\ud800", "web address"), ("http://\udcff.example", "web address"),
])  # fmt: skip
def test_a_document_cannot_name_what_is_no_web_address(url: str, says: str) -> None:
    with pytest.raises(Invalid, match=says) as no:
        check_url(url, ())
    assert "secret" not in str(no.value)


@pytest.mark.parametrize(
    "url", ["https://example.com", "http://hooks.example:8080/a?b=c", "https://8.8.8.8", "http://x"]
)
def test_a_document_may_name_a_public_address_or_any_name(url: str) -> None:
    check_url(url, ())


async def test_a_forbidden_address_is_never_tried_again(receiver: HttpReceiver) -> None:
    async with Http(()) as http:
        with pytest.raises(Undelivered, match=r"127\.0\.0\.1 is not a public address.*net\.allow_networks") as no:
            await Webhook(http).send(PAGE, Webhook.Address(url=receiver.url))
    assert no.value.retry_after is None
    assert receiver.items == []


async def test_a_name_is_checked_each_time_it_is_connected_to(receiver: HttpReceiver) -> None:
    answers = iter([["8.8.8.8", "10.0.0.1"], ["::ffff:169.254.169.254"], ["127.0.0.1"]])

    async def resolve(host: str, port: int) -> list[str]:
        return next(answers)

    address = Webhook.Address(url=f"http://rebound.example:{receiver.port}/page")
    async with Http((), resolve=resolve) as http:
        for seen in ("10.0.0.1", "169.254.169.254", "127.0.0.1"):
            with pytest.raises(Undelivered, match=rf"rebound\.example \(.*{seen}\)") as no:
                await Webhook(http).send(PAGE, address)
            assert no.value.retry_after is not None
    assert receiver.items == []


@pytest.mark.parametrize("address", PRIVATE)
async def test_no_name_leads_to_a_private_address(address: str) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["8.8.8.8", address]

    async with Http((), resolve=resolve) as http:
        with pytest.raises(Blocked, match=r"inward\.example"):
            await http.post("http://inward.example/", b"", {})


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f000001", "localhost", "[::ffff:127.0.0.1]"])
async def test_where_it_connects_every_spelling_is_read_again(receiver: HttpReceiver, host: str) -> None:
    """As if `check_url` had not recognised it: the address is what the system makes of it."""
    async with Http(()) as http:
        request = httpx.Request("POST", f"http://{host}:{receiver.port}/page")
        with pytest.raises(Blocked):
            await http.transport.handle_async_request(request)
    assert receiver.items == []


async def test_a_name_that_moves_inward_is_left_at_the_next_connection(receiver: HttpReceiver) -> None:
    answers = iter(["127.0.0.1", "10.0.0.1"])

    async def resolve(host: str, port: int) -> list[str]:
        return [next(answers)]

    async with Http(LOOPBACK, resolve=resolve) as http:
        assert (await http.post(f"http://moving.example:{receiver.port}", b"", {})).status == 200
        await receiver.goes_down()
        await receiver.comes_up()
        with pytest.raises(Blocked, match=r"moving\.example \(10\.0\.0\.1\)"):
            await http.post(f"http://moving.example:{receiver.port}", b"", {})
    assert len(receiver.items) == 1


@given(st.text(st.characters(exclude_categories=()), max_size=40))
def test_a_web_address_is_one_or_is_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"https://example.com/{text}"):
        with contextlib.suppress(Invalid):
            check_url(url, ())


async def test_a_blocked_name_uses_up_no_connection(receiver: HttpReceiver) -> None:
    found = ["10.0.0.1"]

    async def resolve(host: str, port: int) -> list[str]:
        return found

    async with Http(LOOPBACK, resolve=resolve) as http:
        for _ in range(250):
            with pytest.raises(Blocked):
                await http.post(f"http://moved.example:{receiver.port}", b"", {})
        found[:] = ["127.0.0.1"]
        assert (await http.post(f"http://moved.example:{receiver.port}", b"", {})).status == 200


async def test_the_next_address_is_tried_when_one_is_dead(receiver: HttpReceiver) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["::1", "127.0.0.2", "127.0.0.1"]

    async with Http(LOOPBACK, resolve=resolve) as http:
        assert (await http.post(f"http://two.example:{receiver.port}", b"", {})).status == 200


async def test_a_name_server_that_hangs_holds_back_no_other_name(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, look_up, may_end = [], socket.getaddrinfo, threading.Event()

    def hangs_for_one(host: str, *rest: object, **more: object) -> object:
        if host != "slow.example":
            return look_up(host, *rest, **more)  # type: ignore[arg-type]
        asked.append(host)
        may_end.wait(20)
        raise socket.gaierror("gave up")

    monkeypatch.setattr(socket, "getaddrinfo", hangs_for_one)
    async with Http(LOOPBACK, deadline_secs=0.5) as http:
        waiting = [asyncio.create_task(http.post(f"http://slow.example:{port}", b"", {})) for port in [80] * 10]
        assert (await http.post(f"http://localhost:{receiver.port}", b"", {})).status == 200
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        may_end.set()
    assert all(isinstance(end, Unanswered) for end in ends)
    assert asked == ["slow.example"]


async def test_a_name_that_cannot_be_one_is_unanswered() -> None:
    async with Http(()) as http:
        for name in ("x" * 64 + ".example", "a..example"):
            with pytest.raises(Unanswered):
                await http.post(f"http://{name}/", b"", {})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.made(tmp_path_factory.mktemp("tls"), "pager.example")


async def test_https_reaches_the_checked_address_under_its_own_name(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with http_receiver(certificate.context) as receiver, Http(LOOPBACK, resolve=resolve) as http:
        await Webhook(http).send(PAGE, Webhook.Address(url=f"https://pager.example:{receiver.port}/x"))
        [request] = await receiver.received()
        assert request.headers["host"] == f"pager.example:{receiver.port}"
        with pytest.raises(Undelivered, match=r"(?i)certificate"):
            await Webhook(http).send(PAGE, Webhook.Address(url=f"https://else.example:{receiver.port}/x"))


async def test_nothing_is_told_to_a_server_nobody_vouches_for(certificate: Certificate) -> None:
    async with http_receiver(certificate.context) as impostor, Http(LOOPBACK) as http:
        with pytest.raises(Undelivered, match=r"(?i)certificate") as no:
            await Webhook(http).send(PAGE, Webhook.Address(url=impostor.url))
    assert no.value.retry_after is not None
    assert impostor.items == []

"""Pages on their way to real mail servers: what arrives, and what a server's trouble means for this page and others."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from email import message_from_bytes, policy

import pytest
from aiosmtplib.email import flatten_message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from app.channels.base import plain
from app.channels.email import Email, letter
from app.domain.notification import Undelivered
from app.net.slots import Slots
from tests.support.pages import DEADLINE, PAGE
from tests.support.receivers import Certificate, MailReceiver, mail_receiver

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
BOB = Email.Address(email="bob@example.com")


@pytest.fixture
async def mailbox() -> AsyncIterator[MailReceiver]:
    async with mail_receiver() as up:
        yield up


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate.made(tmp_path_factory.mktemp("tls"))


def post_office(mailbox: MailReceiver, tls: str = "plain", **more: object) -> Email:
    settings: dict[str, object] = {"deadline_secs": DEADLINE} | more
    return Email("127.0.0.1", mailbox.port, "Pager <incidents@example.com>", tls, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("login", [None, "pager"])
@pytest.mark.parametrize("secured", ["plain", "starttls", "implicit"])
async def test_a_mail_arrives(
    secured: str, login: str | None, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    logins = {login: "a secret"} if login else None
    async with mail_receiver(secured, certificate.context, logins) as mailbox:
        channel = post_office(
            mailbox, secured, username=login, password=SecretStr("a secret") if login else None, deadline_secs=5
        )
        receipt = await channel.send(PAGE, BOB)
        [mail] = await mailbox.received()
    assert (mail.secured, mail.login, mail.recipients) == (secured != "plain", login, ["bob@example.com"])
    assert mail.message["Subject"] == "[P1] checkout model is slow"
    assert mail.message["From"] == "Pager <incidents@example.com>"
    assert mail.message["Message-ID"] == receipt.reference
    assert [mail.message[name] for name in ("X-Incident-Id", "X-Escalation-Level", "X-Target", "Auto-Submitted")] == [
        "in-1", "1", "user:alice", "auto-generated",
    ]  # fmt: skip
    text = mail.message.get_content()
    assert all(said in text for said in (PAGE.title, PAGE.body, PAGE.link, "prometheus", "llm-im ack in-1"))


async def test_a_mail_has_one_id_per_page(mailbox: MailReceiver) -> None:
    channel = post_office(mailbox)
    for key in ("a", "a", "b"):
        await channel.send(PAGE.model_copy(update={"key": key}), BOB)
    first, again, other = [mail.message["Message-ID"] for mail in await mailbox.received(3)]
    assert first == again != other


@pytest.mark.parametrize(("title", "subject"), [
    ("down\r\nBcc: eve@example.com\r\n\r\nhello", "[P1] down Bcc: eve@example.com hello"),
    ("a\0b\x1b[31m\u2028c\u202ed", "[P1] a b [31m c d"),
    ("half a \ud83d pair", "[P1] half a ? pair"),
    ("Zahlung läuft nicht 💥", "[P1] Zahlung läuft nicht 💥"),
    ("word " * 100, "[P1]" + " word" * 100),
    ("ü" * 500, "[P1] " + "ü" * 500),
    ("", "[P1]"),
    ("x" * 10_000, "[P1] " + "x" * 10_000),
    ("فشل الدفع שלום", "[P1] فشل الدفع שלום"),
    ("=?utf-8?q?a=0D=0ABcc:_eve=40example.com?=", "[P1] = ?utf-8?q?a=0D=0ABcc:_eve=40example.com?="),
    ("=?utf-7?q?+2AA-?=", "[P1] = ?utf-7?q?+2AA-?="),
])  # fmt: skip
async def test_no_title_keeps_a_mail_from_going_out(mailbox: MailReceiver, title: str, subject: str) -> None:
    await post_office(mailbox).send(PAGE.model_copy(update={"title": title, "body": title * 20}), BOB)
    [mail] = await mailbox.received()
    assert str(mail.message["Subject"]).strip() == subject
    assert mail.message["Bcc"] is None
    assert mail.recipients == ["bob@example.com"]


NASTY = st.sampled_from([
    "\r\n", "\r", "\n", "\r\n.\r\n", "\r\n\r\n", "Bcc: eve@example.com", "\0", "\x1b[31m", "\x85", "\u2028", "\xa0",
    "\ud800", "\udcff", "👩‍🚒", "א", "\u202e", "=?", "?=", "=?utf-8?q?=0D=0AX:y?=", "=?utf-8?b?DQo=?=",
    "=?utf-7?q?+2AA-?=", " ", "\t", "<", ">", '"', ",", ";", ":", "\\", "(", "@", "x" * 80, "é" * 40,
])  # fmt: skip
WRITTEN = st.lists(NASTY | st.text(st.characters(exclude_categories=()), max_size=20), max_size=20).map("".join)
HEADERS = [
    "Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From", "MIME-Version", "Message-ID",
    "Subject", "To", "X-Escalation-Level", "X-Incident-Id", "X-Target",
]  # fmt: skip


def as_read(text: str) -> str:
    return "".join(plain(text).replace("=?", "= ?").split())


@settings(deadline=None)
@given(title=WRITTEN, body=WRITTEN, target=WRITTEN, source=WRITTEN)
def test_whatever_people_write_a_mail_is_a_mail(title: str, body: str, target: str, source: str) -> None:
    said = {"title": title, "body": body, "target": target, "incident": {"source": source}}
    raw = flatten_message(letter(PAGE.model_copy(update=said), "Pager <incidents@example.com>", "bob@example.com"))
    lines, head = raw.split(b"\r\n"), raw.partition(b"\r\n\r\n")[0]
    assert head.isascii()
    assert not any(control in line for line in lines for control in (b"\r", b"\n", b"\0", b"\x1b"))
    assert max(map(len, lines)) <= 998, "RFC 5322 §2.1.1"
    mail = message_from_bytes(raw, policy=policy.default)
    assert sorted(mail.keys()) == HEADERS
    assert as_read(mail["Subject"]) == as_read(f"[P1]{title}")
    assert as_read(mail["X-Target"]) == as_read(target)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=WRITTEN, body=WRITTEN, target=WRITTEN)
async def test_whatever_people_write_goes_out(mailbox: MailReceiver, title: str, body: str, target: str) -> None:
    before = len(mailbox.items)
    said = {"title": title, "body": body, "target": target}
    await post_office(mailbox, deadline_secs=5).send(PAGE.model_copy(update=said), BOB)
    [mail] = (await mailbox.received(before + 1))[before:]
    assert mail.recipients == ["bob@example.com"]
    assert sorted(mail.message.keys()) == HEADERS


@pytest.mark.parametrize(("command", "reply", "again_after"), [
    ("RCPT", "550 5.1.1 nobody here", None), ("RCPT", "450 4.2.1 greylisted", 10), ("RCPT", "421 closing", 10),
    ("DATA", "554 5.7.1 spam", None), ("DATA", "451 4.3.0 later", 10), ("DATA", "552 full\0 of \x1b[31m", None),
])  # fmt: skip
async def test_a_reply_says_whether_to_try_again(
    mailbox: MailReceiver, command: str, reply: str, again_after: float | None
) -> None:
    mailbox.replies[command].append(reply)
    with pytest.raises(Undelivered, match=f"^{reply[:8]}") as no:
        await post_office(mailbox).send(PAGE, BOB)
    assert str(no.value).isprintable()
    assert no.value.retry_after == (None if again_after is None else timedelta(seconds=again_after))
    await post_office(mailbox).send(PAGE, BOB)
    assert len(await mailbox.received()) == 1


@pytest.mark.parametrize("address", ["bob", "böb@example.com", "a b@example.com", "a@" + "x" * 64 + ".com", "",
    "=?utf-8?q?a=0D=0ABcc:_eve?=@example.com", "bob@example.com\r\nRCPT TO:<eve@example.com>", "<bob@example.com>",
    "bob@example.com,eve@example.com", "\ud800@example.com", "bob@\ud800.example",
])  # fmt: skip
async def test_nobody_can_write_to_an_impossible_address(mailbox: MailReceiver, address: str) -> None:
    with pytest.raises(Undelivered, match="no mail address") as no:
        await post_office(mailbox).send(PAGE, Email.Address(email=address))
    assert no.value.retry_after is None


@pytest.mark.parametrize("sender", ["a b@example.com", "Ops <@>", "@example.com", "a@b\ud800"])
async def test_an_impossible_sender_may_be_corrected(mailbox: MailReceiver, sender: str) -> None:
    with pytest.raises(Undelivered) as no:
        await Email("127.0.0.1", mailbox.port, sender, "plain", deadline_secs=DEADLINE).send(PAGE, BOB)
    assert no.value.retry_after == timedelta(seconds=5)


async def test_a_domain_may_be_written_in_any_script(mailbox: MailReceiver) -> None:
    await post_office(mailbox).send(PAGE, Email.Address(email="bob@bücher.example"))
    [mail] = await mailbox.received()
    assert mail.recipients == ["bob@xn--bcher-kva.example"]


@pytest.mark.parametrize(("silent_at", "tls"), [
    ("CONNECT", "plain"), ("CONNECT", "starttls"), ("CONNECT", "implicit"), ("EHLO", "plain"), ("RCPT", "plain"),
    ("DATA", "plain"),
])  # fmt: skip
async def test_a_silent_mail_server_is_left_in_time(mailbox: MailReceiver, silent_at: str, tls: str) -> None:
    began = asyncio.get_running_loop().time()
    async with mail_receiver() as silent:
        silent.hangs_at = {silent_at, "QUIT"}
        waiting = asyncio.create_task(post_office(silent, tls).send(PAGE, BOB))
        await silent.hangs.wait()
        await post_office(mailbox).send(PAGE, BOB)
        with pytest.raises(Undelivered) as no:
            await waiting
    assert no.value.retry_after == timedelta(seconds=5)
    assert asyncio.get_running_loop().time() - began < 3 * DEADLINE
    assert silent.items == []


async def test_a_mail_server_that_never_comes_to_the_point_is_left_in_time() -> None:
    async def chatters(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"220-one moment\r\n")
                await writer.drain()
                await asyncio.sleep(DEADLINE / 20)

    began = asyncio.get_running_loop().time()
    async with await asyncio.start_server(chatters, "127.0.0.1", 0) as chatterbox:
        channel = Email("127.0.0.1", chatterbox.sockets[0].getsockname()[1], "a@example.com", deadline_secs=DEADLINE)
        with pytest.raises(Undelivered, match=r"no answer within 0\.5 s"):
            await channel.send(PAGE, BOB)
    assert asyncio.get_running_loop().time() - began < 3 * DEADLINE


async def test_a_mail_that_was_taken_counts_as_sent_whatever_follows(mailbox: MailReceiver) -> None:
    mailbox.hangs_at = {"QUIT"}
    assert (await post_office(mailbox).send(PAGE, BOB)).reference
    assert len(mailbox.items) == 1


@pytest.mark.parametrize("secured", ["starttls", "implicit"])
async def test_nothing_is_told_to_a_mail_server_nobody_vouches_for(secured: str, certificate: Certificate) -> None:
    async with mail_receiver(secured, certificate.context) as impostor:
        with pytest.raises(Undelivered, match=r"(?i)certificate") as no:
            await post_office(impostor, secured, deadline_secs=5).send(PAGE, BOB)
        assert no.value.retry_after == timedelta(seconds=5)
        assert impostor.items == []


async def test_starttls_is_not_given_up_for_plain_text(mailbox: MailReceiver) -> None:
    with pytest.raises(Undelivered, match="STARTTLS") as no:
        await post_office(mailbox, "starttls").send(PAGE, BOB)
    assert no.value.retry_after is not None
    assert mailbox.items == []


async def test_a_wrong_password_may_be_corrected(mailbox: MailReceiver) -> None:
    async with mail_receiver(logins={"pager": "a secret"}) as closed:
        with pytest.raises(Undelivered, match="535") as no:
            await post_office(closed, username="pager", password=SecretStr("hunter2")).send(PAGE, BOB)
    assert no.value.retry_after == timedelta(seconds=10)
    assert "hunter2" not in str(no.value)


async def test_a_mail_server_that_is_away_is_tried_again() -> None:
    async with mail_receiver() as gone:
        pass
    with pytest.raises(Undelivered) as no:
        await post_office(gone).send(PAGE, BOB)
    assert no.value.retry_after == timedelta(seconds=5)


async def test_one_mail_server_takes_no_more_than_its_share(mailbox: MailReceiver) -> None:
    mailbox.hangs_at = {"DATA"}
    channel = post_office(mailbox, slots=Slots(at_once=1, patience_secs=0.05))
    held = asyncio.create_task(channel.send(PAGE, BOB))
    await mailbox.hangs.wait()
    with pytest.raises(Undelivered, match="under way") as no:
        await channel.send(PAGE, BOB)
    assert no.value.retry_after == timedelta(seconds=1)
    with pytest.raises(Undelivered, match="within"):
        await held

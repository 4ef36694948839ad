"""Pages on their way to real mail servers: what arrives, and what a server's trouble means for this page and others."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from pydantic import SecretStr

from app.channels.email import Email
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
])  # fmt: skip
async def test_no_title_keeps_a_mail_from_going_out(mailbox: MailReceiver, title: str, subject: str) -> None:
    await post_office(mailbox).send(PAGE.model_copy(update={"title": title, "body": title * 20}), BOB)
    [mail] = await mailbox.received()
    assert str(mail.message["Subject"]).strip() == subject
    assert mail.message["Bcc"] is None
    assert mail.recipients == ["bob@example.com"]


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


@pytest.mark.parametrize("address", ["bob", "böb@example.com", "a b@example.com", "a@" + "x" * 64 + ".com", ""])
async def test_nobody_can_write_to_an_impossible_address(mailbox: MailReceiver, address: str) -> None:
    with pytest.raises(Undelivered, match="no mail address") as no:
        await post_office(mailbox).send(PAGE, Email.Address(email=address))
    assert no.value.retry_after is None


async def test_a_domain_may_be_written_in_any_script(mailbox: MailReceiver) -> None:
    await post_office(mailbox).send(PAGE, Email.Address(email="bob@bücher.example"))
    [mail] = await mailbox.received()
    assert mail.recipients == ["bob@xn--bcher-kva.example"]


async def test_a_silent_mail_server_is_left_in_time(mailbox: MailReceiver) -> None:
    began = asyncio.get_running_loop().time()
    async with mail_receiver() as silent:
        silent.hangs_at = {"RCPT", "QUIT"}
        waiting = asyncio.create_task(post_office(silent).send(PAGE, BOB))
        await silent.hangs.wait()
        await post_office(mailbox).send(PAGE, BOB)
        with pytest.raises(Undelivered) as no:
            await waiting
    assert no.value.retry_after == timedelta(seconds=5)
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

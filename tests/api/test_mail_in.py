"""Alerts by SMTP: a real listener, a real client, PostgreSQL behind it."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiosmtplib
import pytest
import trustme
from cryptography.fernet import Fernet

from app.api.mail import receiving
from app.child import CannotStart
from app.config import Settings
from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.representation import IncidentView
from app.domain.requests import IncidentQuery
from app.domain.vocabulary import Role, Severity
from app.runtime import Gateway, gateway
from tests.api.conftest import NOBODY_THERE
from tests.support.databases import another_database


@dataclass
class Office:
    """A gateway that takes mail, an ingest key, and one sender."""

    gateway: Gateway
    port: int
    key: str = ""

    async def send(self, subject: str, to: str = "", text: str = "look", **headers: str) -> str:
        """What is said to the mail: the reply's code and text, of whichever command was refused."""
        mail = EmailMessage()
        mail["From"] = headers.pop("From", "monitor@example.com")
        mail["Subject"] = subject
        for name, value in headers.items():
            mail[name.replace("_", "-")] = value
        mail.set_content(text)
        server = aiosmtplib.SMTP(hostname="127.0.0.1", port=self.port, start_tls=False, timeout=10)
        async with server:
            try:
                recipient = to or f"alerts+{self.key}@in.example.com"
                _, said = await server.sendmail(mail["From"], [recipient], mail.as_bytes())
            except aiosmtplib.SMTPRecipientsRefused as refused:
                return f"{refused.recipients[0].code} {refused.recipients[0].message}"
            except aiosmtplib.SMTPResponseException as refused:
                return f"{refused.code} {refused.message}"
        return f"250 {said}"

    async def incidents(self, title: str) -> list[IncidentView]:
        page = await self.gateway.incidents.list(ME, IncidentQuery(page_size=100))
        return [one for one in page.incidents if one.title == title]


@asynccontextmanager
async def office(
    url: str, key: str = "", tools: dict[str, Any] | None = None, evidence: dict[str, Any] | None = None, **mail: object
) -> AsyncIterator[Office]:
    settings = Settings.model_validate({
        "storage": {"connection_string": url}, "temporal": {"address": NOBODY_THERE},
        "intake": {"mail": {"port": 0} | mail, "tools": tools or {}, "evidence": evidence or {}},
        "notifications": {"smtp": {"sender": "Pager <pager@example.org>"}},
    })  # fmt: skip
    async with gateway(settings) as made, receiving(made) as port:
        assert port is not None
        yield Office(made, port, key)


@pytest.fixture(scope="module")
async def url(database_url: str) -> AsyncIterator[str]:
    async with another_database(database_url) as made:
        yield made


@pytest.fixture(scope="module")
async def mail(url: str) -> AsyncIterator[Office]:
    tools = {"pingdom": {"source": "email", "service": "shop", "environment": "production"}}
    async with office(url, tools=tools, domain="in.example.com") as made:
        made.key = await made.gateway.keys.create("mailer", Role.INGEST)
        yield made


async def test_a_mail_opens_an_incident_and_another_ends_it(mail: Office) -> None:
    assert (await mail.send("CRITICAL: queue grows", text="write to ada@example.com")).startswith("250")
    [incident] = await mail.incidents("queue grows")
    assert (incident.severity, incident.source, incident.description) == (Severity.P0, "email", "write to [e-mail]")
    assert (await mail.send("Re: [OK] queue grows")).startswith("250")
    alerts, _ = await mail.gateway.alerts.of_incident(ME, incident.id, 1, 10)
    assert [alert.status for alert in alerts] == ["resolved", "firing"]


async def test_the_same_mail_twice_is_one_alert_and_its_thread_is_one_incident(mail: Office) -> None:
    for _ in range(2):
        await mail.send("first words", Message_ID="<thread-1@example.com>")
    await mail.send("quite other words", References="<thread-1@example.com>")
    [incident] = await mail.incidents("first words")
    assert incident.alert_count == 2
    assert await mail.incidents("quite other words") == []


async def test_the_name_before_the_key_is_a_tool_of_the_settings(mail: Office) -> None:
    await mail.send("[DOWN] the shop", f"pingdom+{mail.key}@in.example.com")
    [incident] = await mail.incidents("the shop is down")
    assert (incident.affected_resources, incident.environment) == (["shop"], "production")
    await mail.send("nobody's tool", f"{mail.key}@in.example.com")
    [other] = await mail.incidents("nobody's tool")
    assert other.environment is None


async def test_the_key_in_the_address_is_not_kept_as_evidence(url: str, mail: Office) -> None:
    evidence = {"enabled": True, "keys": [Fernet.generate_key().decode()]}
    async with office(url, mail.key, evidence=evidence) as keeping:
        to = f"alerts+{mail.key}@in.example.com"
        assert (await keeping.send("kept as it came", to, Delivered_To=to)).startswith("250")
        [incident] = await keeping.incidents("kept as it came")
        [kept] = (await keeping.gateway.intake.evidence.of_incident(ME, incident.id)).evidence
        shown = await keeping.gateway.intake.evidence.get(ME, kept.id)
        assert "alerts+[key]@in.example.com" in shown.body
        assert mail.key not in str(shown)


async def test_a_sender_whose_address_is_no_text_is_read_all_the_same(mail: Office) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", mail.port)
    commands = (
        b"EHLO x", b"MAIL FROM:<a@\xff.example> SMTPUTF8", f"RCPT TO:<{mail.key}@in.example.com>".encode(), b"DATA",
        b"Subject: from nowhere\r\n\r\nx\r\n.", b"QUIT",
    )  # fmt: skip
    said = [await reader.readline()]
    for command in commands:
        writer.write(command + b"\r\n")
        said.append(await reader.readline())
        while said[-1][3:4] == b"-":
            said.append(await reader.readline())
    writer.close()
    assert said[-2] == b"250 2.0.0 It is durable\r\n"


async def test_a_thread_of_a_tool_goes_on_whatever_its_key_holds(mail: Office) -> None:
    to = f"pingdom+{mail.key}@in.example.com"
    await mail.send("the till", to, X_Incident_Key="till of ada@example.com", Message_ID="<till-1@example.com>")
    await mail.send("quite other words", to, References="<till-1@example.com>")
    [incident] = await mail.incidents("the till")
    assert incident.alert_count == 2


async def test_who_shows_no_key_is_told_so_and_no_more(mail: Office, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    before = await mail.gateway.incidents.list(ME, IncidentQuery())
    for to in ("alerts@in.example.com", f"alerts+{'x' * 32}@in.example.com"):
        assert (await mail.send("let me in", to)).startswith("550 5.7.1 This key is unknown")
    assert (await mail.send("let me in", f"{mail.key}@elsewhere.example")).startswith("550 5.7.1")
    viewer = await mail.gateway.keys.create("viewer", Role.VIEWER)
    assert (await mail.send("let me in", f"a+{viewer}@in.example.com")).startswith("550 5.7.1 The role viewer")
    await mail.send("with the right one")
    assert mail.key not in caplog.text
    assert "x" * 32 not in caplog.text
    after = await mail.gateway.incidents.list(ME, IncidentQuery())
    assert after.total_count == before.total_count + 1


@pytest.mark.parametrize("headers", [
    {"Auto_Submitted": "auto-replied"}, {"X_Incident_Id": "in-1"}, {"In_Reply_To": f"<{'a1' * 20}@example.org>"},
])  # fmt: skip
async def test_our_own_mail_does_not_come_round(mail: Office, headers: dict[str, str]) -> None:
    assert (await mail.send("a loop", **headers)).startswith("550 5.7.1 Not taken")
    assert await mail.incidents("a loop") == []


async def test_bounces_and_strangers_are_refused(url: str, mail: Office) -> None:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=mail.port, start_tls=False) as server:
        await server.ehlo()
        assert (await server.execute_command(b"MAIL", b"FROM:<>")).code == 550
    async with office(url, mail.key, senders=["*@example.com"]) as picky:
        assert (await picky.send("from a stranger", From="eve@example.org")).startswith("550 5.7.1 This sender")
        assert (await picky.send("from a friend", From="Bob@Example.com")).startswith("250")


async def test_what_is_too_long_is_refused_and_long_lines_are_not(url: str, mail: Office) -> None:
    raw = b"From: a@example.com\r\nSubject: one long line\r\n\r\n" + b"x" * 5000 + b"\r\n"
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=mail.port, start_tls=False) as server:
        await server.sendmail("a@example.com", [f"{mail.key}@in.example.com"], raw)
    [incident] = await mail.incidents("one long line")
    assert incident.description == "x" * 5000
    async with office(url, mail.key, max_bytes=2000) as small:
        assert (await small.send("too long", text="x\n" * 5000)).startswith("552")


@asynccontextmanager
async def detour(url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The URL of the same database by a way that is closed once the event is set."""
    parts, closed = urlsplit(url), asyncio.Event()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if closed.is_set():
            writer.close()
            return
        there, back = await asyncio.open_connection(parts.hostname, parts.port)
        ways = [asyncio.create_task(carry(reader, back)), asyncio.create_task(carry(there, writer))]
        await closed.wait()
        for one in (writer, back):
            one.close()
        await asyncio.gather(*ways, return_exceptions=True)

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as server:
        netloc = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield parts._replace(netloc=netloc).geturl(), closed
        finally:
            closed.set()


async def test_without_postgresql_the_sender_is_told_to_come_again(url: str, mail: Office) -> None:
    async with detour(url) as (there, closed), office(there, mail.key) as shaky:
        assert (await shaky.send("while it is there")).startswith("250")
        closed.set()
        assert (await shaky.send("while it is away")).startswith("451 4.3.0 PostgreSQL does not answer")
        assert await mail.incidents("while it is away") == []


async def test_starttls_is_offered_where_there_is_a_certificate(url: str, mail: Office, tmp_path: Path) -> None:
    authority = trustme.CA()
    tls: dict[str, Any] = {"tls_cert_path": tmp_path / "cert.pem", "tls_key_path": tmp_path / "key.pem"}
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tls["tls_cert_path"]))
    certificate.private_key_pem.write_to_path(str(tls["tls_key_path"]))
    async with office(url, mail.key, **tls) as safe:
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        server = aiosmtplib.SMTP(hostname="127.0.0.1", port=safe.port, start_tls=True, tls_context=trusting, timeout=10)
        async with server:
            await server.sendmail(
                "a@example.com", [f"{mail.key}@x.example"], b"From: a@example.com\r\nSubject: safe\r\n\r\n"
            )
        assert len(await mail.incidents("safe")) == 1
    broken = tmp_path / "broken.pem"
    broken.write_text("none")
    with pytest.raises(CannotStart, match=r"intake\.mail"):
        async with office(url, tls_cert_path=broken, tls_key_path=broken):
            pass

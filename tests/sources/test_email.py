"""What an e-mail says: its subject's words, its text, and which mails are about the same."""

from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.alert import Alert, AlertStatus
from app.domain.errors import Invalid
from app.domain.vocabulary import Severity
from app.sources import email
from app.sources.base import Post

NOW = datetime(2026, 11, 23, 3, 40, tzinfo=UTC)
FIRING, OVER = AlertStatus.FIRING, AlertStatus.RESOLVED


def letter(subject: str = "disk full on db-1", text: str = "90 % of /var", **headers: str) -> EmailMessage:
    mail = EmailMessage(policy=SMTP)
    mail["From"] = "Monitoring <monitor@example.com>"
    mail["Subject"] = subject
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content(text)
    return mail


def read(mail: EmailMessage | bytes, **headers: str) -> Alert:
    raw = mail if isinstance(mail, bytes) else mail.as_bytes()
    [alert] = email.read(Post(raw, NOW, {name.replace("_", "-"): value for name, value in headers.items()})).alerts
    return alert


@pytest.mark.parametrize(("subject", "title", "status", "severity"), [
    ("[FIRING:1] HighLatency chat", "HighLatency chat", FIRING, None),
    ("Re: AW: [RESOLVED] HighLatency chat", "HighLatency chat", OVER, None),
    ("** PROBLEM Service Alert: web/http is CRITICAL **", "Service Alert: web/http", FIRING, Severity.P0),
    ("** RECOVERY Service Alert: web/http is OK **", "Service Alert: web/http", OVER, None),
    ('ALARM: "gpu-5xx" in EU', '"gpu-5xx" in EU', FIRING, None), ('OK: "gpu-5xx" in EU', '"gpu-5xx" in EU', OVER, None),
    ("[P1] [Warn] GPU hot", "GPU hot", FIRING, Severity.P1), ("[Recovered] GPU hot", "GPU hot", OVER, None),
    ("Monitor is DOWN: shop", "shop", FIRING, None), ("Monitor is UP: shop", "shop", OVER, None),
    ("DOWN alert: shop is DOWN", "shop", FIRING, None), ("UP alert: shop is UP", "shop", OVER, None),
    ("[RESOLVED] shop is DOWN", "shop", OVER, None), ("OK: web/http is CRITICAL", "web/http", OVER, Severity.P0),
    ("ALERT: shop is UP", "shop", OVER, None),
    ("Resolved in 5m: High CPU", "High CPU", OVER, None), ("CRITICAL - disk full", "disk full", FIRING, Severity.P0),
    ("[prod] [FIRING:2] chat", "[prod] chat", FIRING, None), ("[prod] OK: chat", "[prod] chat", OVER, None),
    ("CRITICAL", "CRITICAL", FIRING, Severity.P0), ("[key: abc] disk full", "disk full", FIRING, None),
])  # fmt: skip
def test_a_subject_says_how_it_stands(subject: str, title: str, status: AlertStatus, severity: Severity | None) -> None:
    said = email.subject(subject)
    assert (said.title, said.status, said.severity) == (title, status, severity)


@pytest.mark.parametrize("subject", [
    "UP TO 5 SERVERS FAIL", "up to 5 things failed", "Error rate is up", "the connection is closed",
    "Open sessions: 90",
    "Problem with checkout", "LOW disk space", "High error rate", "OK-ish answers", "[GPU] hot", "Reply rate low",
])  # fmt: skip
def test_a_word_in_passing_ends_nothing(subject: str) -> None:
    assert email.subject(subject) == (subject, FIRING, None, None)


def test_a_mail_is_an_alert() -> None:
    alert = read(letter("CRITICAL: Zahlung läuft nicht 💥", Message_ID="<1@example.com>"))
    assert (alert.source, alert.title, alert.severity) == ("email", "Zahlung läuft nicht 💥", Severity.P0)
    assert (alert.description, alert.labels) == ("90 % of /var", {"domain": "example.com"})


def test_a_title_says_that_something_is_down() -> None:
    mails = [letter(said) for said in ("Monitor is DOWN: shop", "CRITICAL: shop is DOWN", "[RESOLVED] shop is DOWN")]
    assert [read(mail).title for mail in mails] == ["shop is down", "shop is down", "shop"]
    assert len({read(mail).identity for mail in mails}) == 1


def test_what_is_about_the_same_is_one_problem() -> None:
    first, over = read(letter("CRITICAL: disk full")), read(letter("Re: OK: Disk  full"))
    assert first.identity == over.identity != read(letter("CRITICAL: disk full on db-2")).identity
    other = letter("CRITICAL: disk full")
    other.replace_header("From", "somebody.else@example.com")
    assert read(other).identity != first.identity
    keyed = [
        read(letter("a", X_Incident_Key="k-1")),
        read(letter("[key: k-1] b")),
        read(letter("c"), x_incident_key="k-1"),
    ]
    assert {one.identity for one in keyed} == {"k-1"}
    threaded = [read(letter("1 of 2", References="<r@x> <p@x>")), read(letter("2 of 2", In_Reply_To="<r@x>"))]
    assert len({one.identity for one in threaded}) == 1


def test_the_same_mail_twice_is_one_delivery() -> None:
    first, again, other = (read(letter(Message_ID=f"<{id_}@example.com>")) for id_ in (1, 1, 2))
    assert first.delivery == again.delivery != other.delivery
    assert read(letter()).delivery is None


def test_html_is_read_as_text_and_attachments_are_named() -> None:
    mail = letter()
    mail.set_content(
        "<html><head><style>p{}</style><title>x</title></head><body><p>GPU&nbsp;7 is <b>hot</b></p><script>evil()"
        "</script><table><tr><td>node</td><td>a7</td></tr></table></body></html>", subtype="html",
    )  # fmt: skip
    mail.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="graph.pdf")
    alert = read(mail)
    assert alert.description == "GPU 7 is hot\nnode a7"
    assert alert.annotations["attachments"] == "graph.pdf"


@pytest.mark.parametrize(("headers", "why"), [
    ({"Auto-Submitted": "auto-replied (vacation)"}, "automatic answers"), ({"X-Incident-Id": "in-1"}, "notifications"),
    ({"In-Reply-To": f"<{'a1' * 20}@pager.example>"}, "answers"), ({"Auto-Submitted": "auto-generated"}, None),
    ({"In-Reply-To": f"<{'a1' * 20}@other.example>"}, None), ({}, None),
])  # fmt: skip
def test_our_own_mail_and_answers_are_no_alerts(headers: dict[str, str], why: str | None) -> None:
    mail = email.parsed(letter(**headers).as_bytes())
    said = email.refusal(mail, "pager.example")
    assert said is None if why is None else why in (said or "")


@pytest.mark.parametrize("raw", [
    b"Subject: x\r\nFrom: a@b.example\r\nContent-Type: text/plain; charset=nonsense\r\n\r\n\xff\xfehello",
    b"Subject: =?utf-8?b?AAAA?= =?nonsense?q?a?= \xff\r\nFrom: a@b.example\r\n\r\nhello \0 there",
    b"From: a@b.example\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\n" * 5000,
    b"From: a@b.example\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n%%%",
    b"From: a@b.example\r\nSubject: " + b"x" * 70_000 + b"\r\n\r\n" + b"y" * 200_000,
    b"From: a@b.example\r\n" + b"Content-Type: message/rfc822\r\n\r\n" * 2000,
])  # fmt: skip
def test_however_a_mail_is_broken_it_is_taken(raw: bytes) -> None:
    try:
        alert = read(raw)
    except Invalid:
        return
    assert Alert.model_validate(alert.model_dump()) == alert
    assert "\0" not in alert.model_dump_json()


@given(st.text(max_size=60), st.binary(max_size=200), st.sampled_from(["text/plain", "text/html", "multipart/mixed"]))
def test_whatever_is_written_in_a_mail_is_taken(subject: str, body: bytes, kind: str) -> None:
    head = f"From: a@b.example\r\nSubject: {subject}\r\nContent-Type: {kind}; boundary=x\r\n\r\n"
    try:
        alert = read(head.encode("utf-8", "replace") + body)
    except Invalid:
        return
    assert Alert.model_validate(alert.model_dump()) == alert


@pytest.mark.parametrize(
    "said", ["[" * 5000, "Re: " * 2000, "is " * 5000, "[a]" * 5000, "* " * 5000, "OK " * 2000, "P0" * 999]
)
def test_no_subject_takes_long(said: str) -> None:
    began = datetime.now(UTC)
    email.subject(said)
    assert (datetime.now(UTC) - began).total_seconds() < 0.5

"""Every line is one JSON object, and no secret gets into any of them."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from string import ascii_letters, digits
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app.telemetry.logs import Json, Text, redacted

KEY = "im" + "aB3" * 10
WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, categories=("L", "N", "P", "S")), min_size=6)
PLAIN = st.text(ascii_letters + digits, min_size=6)
PHRASES = st.text(st.characters(codec="utf-8"), min_size=6)
# How a secret gets into a text, and what secrets can be told apart from the text around it.
DISGUISES: list[tuple[Callable[[str], str], st.SearchStrategy[str]]] = [
    (lambda secret: f"Authorization: Bearer {secret} was refused", WORDS),
    (lambda secret: f"X-API-Key: {secret}", WORDS),
    (lambda secret: f"bearer {secret}", WORDS),
    (lambda secret: repr({"authorization": f"Bearer {secret}", "host": "h"}), PHRASES),
    (lambda secret: repr([(b"x-api-key", secret.encode()), (b"host", b"h")]), PHRASES),
    (lambda secret: f"password={secret} host=h", WORDS),
    (lambda secret: f"GET /v1/incidents?token={quote(secret)}&page=2", WORDS),
    (lambda secret: json.dumps({"smtp": {"password": secret}, "n": 1}), PHRASES),
    (lambda secret: json.dumps({"routing_key": secret}, ensure_ascii=False), PHRASES),
    (lambda secret: json.dumps({"secrets": ["x", secret]}), PLAIN),
    (lambda secret: json.dumps({"body": json.dumps({"api_key": secret, "n": 1})}), PHRASES),
    (lambda secret: json.dumps({"password": secret})[:-2], PHRASES),
    (lambda secret: repr({"client_secret": secret}), PHRASES),
    (lambda secret: f"connect to postgresql://me:{secret}@db:5432/incidents failed", WORDS),
    (lambda secret: f"GET https://me:{quote(secret, safe='')}@example.com/path", WORDS),
    (lambda secret: f"signed with whsec_{secret}", PLAIN),
    (lambda secret: f"got eyJ{secret}.eyJ{secret}.{secret}-_, refused", PLAIN),
    (lambda secret: f"the key im{secret} is unknown", st.text(ascii_letters + digits, min_size=30, max_size=30)),
]


@st.composite
def disguised(draw: st.DrawFn) -> tuple[str, str]:
    disguise, secrets = draw(st.sampled_from(DISGUISES))
    secret = "zq" + draw(secrets) if secrets is not DISGUISES[-1][1] else draw(secrets)
    return secret, disguise(secret)


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("app.channels", logging.WARNING, "x.py", 1, message, args, None)
    vars(made).update(extra)
    return made


def raised(text: str) -> logging.LogRecord:
    try:
        raise ConnectionError(text) from ValueError(text)
    except ConnectionError:
        made = record("could not send")
        made.exc_info = sys.exc_info()
        return made


def texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for name, inner in value.items() for text in (name, *texts(inner))]
    if isinstance(value, list):
        return [text for inner in value for text in texts(inner)]
    return [str(value)]


@given(disguised())
def test_a_secret_never_appears(planted: tuple[str, str]) -> None:
    secret, text = planted
    records = [
        record(text),
        record("said: %s", text),
        record("said: %(text)s", {"text": text}),
        record("sent", answer=text, headers={"a": [text, text.encode()]}, error=ValueError(text)),
        raised(text),
    ]
    encoded = json.dumps(secret)[1:-1]
    for made in records:
        line = Json("llm-incident-manager").format(made)
        for shown in (line, *texts(json.loads(line)), Text("llm-incident-manager").format(made)):
            assert secret not in shown
            assert encoded not in shown


@given(
    PHRASES, st.sampled_from(["password", "smtp_password", "X-API-Key", "routing_key", "secret", "token", "api_key"])
)
def test_a_field_with_a_secrets_name_is_hidden_whatever_it_holds(secret: str, name: str) -> None:
    secret = f"hunter2{secret}"
    for made in (record("sent", **{name: secret}), record("sent", body={"deep": [{name: [secret]}]})):
        assert "hunter2" not in Json("s").format(made)
        assert "hunter2" not in Text("s").format(made)


@pytest.mark.parametrize(
    "text",
    [
        "incident 0199c7a6-6d2c-7d5e-9a51-0d8f6c6c9d3e was merged into another",
        "used 4096 tokens: 12 per second, max_tokens=8192",
        "GET http://127.0.0.1:8080/api/v1/incidents?search=me@example.com 200",
        "alice@example.com was told at 2025-01-01T00:00:00Z (dedup_key=db-1)",
        "estimated time: 3 min",
    ],
)
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert redacted(text) == text


def test_what_stands_beside_a_secret_stays_readable() -> None:
    assert redacted(f"key {KEY} of alice") == "key im*** of alice"
    assert redacted("postgresql://me:pw@db/incidents") == "postgresql://me:***@db/incidents"
    assert redacted("Authorization: Bearer abc refused") == "Authorization: *** refused"
    assert redacted('{"password": "a\\"b", "host": "h"}') == '{"password": ***, "host": "h"}'


def test_redaction_takes_linear_time() -> None:
    for text in (
        "password" * 5_000,
        'token="' + "\\" * 50_000,
        "im" * 50_000,
        "postgres://:" * 10_000,
        "bearer " * 10_000,
    ):
        started = datetime.now()
        redacted(text)
        assert datetime.now() - started < timedelta(seconds=2)


def test_a_line_says_when_who_what_and_why() -> None:
    made = raised("first\nsecond")
    made.incident_id, made.password, made.process = "i-1", SecretStr("hunter2"), 7
    made.created, made.msecs, made.ts = 1_735_689_600.25, 250.0, "the sender's"
    line = Json("llm-incident-manager").format(made)
    said = json.loads(line)
    exception = said.pop("exception")
    assert said == {
        "ts": "2025-01-01T00:00:00.250Z",
        "level": "warning",
        "logger": "app.channels",
        "message": "could not send",
        "service": "llm-incident-manager",
        "process": 7,
        "incident_id": "i-1",
        "password": "***",
        "ts_": "the sender's",
    }
    assert "Traceback (most recent call last)" in exception
    assert "ConnectionError: first\nsecond" in exception
    assert "\n" not in line


def test_nothing_that_is_logged_can_stop_the_log() -> None:
    circle: dict[str, object] = {}
    circle["again"] = circle
    odd = {"surrogate": "\ud800", "big": 2**70, "set": {1}, "circle": circle, "raw": b"\xff", 3: "three"}
    for made in (record("%d", "not a number"), record("%s %s", "one"), record("odd", odd=odd)):
        assert json.loads(Json("s").format(made))["level"] == "warning"
    assert "not a number" in Json("s").format(record("%d", "not a number"))


PROCESS = """
import asyncio, logging, warnings, uvicorn
from app.telemetry import logs

async def app(scope, receive, send): pass

logs.configure("info", {json_logs}, "llm-incident-manager")
uvicorn.Config(app, log_config=None)
import temporalio.activity, temporalio.workflow
logging.getLogger("app.x").debug("too quiet")
logging.getLogger("uvicorn.error").info("listening with token=hunter2")
logging.getLogger("uvicorn.access").info("GET /?token=hunter2")
logging.getLogger("httpx").info("POST https://me:hunter2@h/")
temporalio.activity.logger.warning("activity of hunter")
temporalio.workflow.logger.logger.warning("workflow of hunter", extra=dict(incident_id="i-1"))
warnings.warn("deprecated")
logging.getLogger("app.x").info("%d", "no number")
try:
    raise OSError("password=hunter2")
except OSError:
    logging.getLogger("app.x").exception("failed")
"""


def test_a_whole_process_logs_one_json_object_per_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS.format(json_logs=True)], capture_output=True, text=True, check=True, timeout=60
    )
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.stderr == ""
    assert [entry["logger"] for entry in said] == [
        "uvicorn.error", "temporalio.activity", "temporalio.workflow", "py.warnings", "app.x", "app.x",
    ]  # fmt: skip
    assert said[2]["incident_id"] == "i-1"
    assert "OSError: password=***" in said[-1]["exception"]
    assert "hunter2" not in done.stdout


def test_text_logs_are_for_people() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS.format(json_logs=False)], capture_output=True, text=True, check=True, timeout=60
    )
    assert " INFO    uvicorn.error: listening with token=***\n" in done.stdout
    assert "\nOSError: password=***\n" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr

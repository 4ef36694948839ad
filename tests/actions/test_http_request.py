"""Any HTTP request that a playbook makes."""

import json
from datetime import timedelta

import pytest

from app.actions.base import Failed
from app.net.http import Http
from tests.support.acting import action, asked, at, ran, tools
from tests.support.receivers import SILENCE, HttpReceiver, Reply


async def test_a_request_carries_the_steps_key_and_gives_the_answer(http: Http, other: HttpReceiver) -> None:
    one = action("http_request", tools(http))
    assert await one.check(asked(one, url=other.url), at()) == f"POST {other.url}"
    assert other.items == []
    other.usually = Reply(201, body=b'{"id": 7}')
    done = await ran(one, at(), url=other.url, body={"a": 1}, headers={"x-a": "b"})
    assert done.output == {"status": 201, "body": {"id": 7}}
    [request] = other.items
    assert (request.headers["idempotency-key"], request.headers["x-a"]) == ("run-1/notify", "b")
    assert json.loads(request.body) == {"a": 1}
    with pytest.raises(Failed, match="answered 201"):
        await ran(one, at(), url=other.url, expect=[200])


@pytest.mark.parametrize(
    ("body", "kept"),
    [(b"two\nlines\x00", "two lines"), (b'["\\u0000"]', '["\\u0000"]'), (b"[NaN]", "[NaN]"), (b"", ""), (b"\xff", "�")],
)
async def test_what_cannot_be_kept_as_json_is_kept_as_text(
    http: Http, other: HttpReceiver, body: bytes, kept: str
) -> None:
    other.usually = Reply(body=body)
    done = await ran(action("http_request", tools(http)), at(), url=other.url)
    assert done.output["body"] == kept


@pytest.mark.parametrize(
    ("reply", "after", "doubtful"),
    [
        (Reply(404), None, False),
        (Reply(302, {"location": "http://127.0.0.1/"}), None, False),
        (Reply(429, {"retry-after": "3"}), timedelta(seconds=3), False),
        (Reply(502, body=b"\x00<html>"), timedelta(seconds=2), True),
        (SILENCE, timedelta(seconds=2), True),
    ],
)
async def test_what_passes_is_tried_again(
    http: Http, hasty: Http, other: HttpReceiver, reply: Reply, after: timedelta | None, doubtful: bool
) -> None:
    other.replies.append(reply)
    with pytest.raises(Failed) as no:
        await ran(action("http_request", tools(hasty if reply is SILENCE else http)), at(), url=other.url)
    assert (no.value.retry_after, no.value.doubtful) == (after, doubtful)
    assert "\0" not in no.value.message

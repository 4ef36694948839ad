"""Playbooks look: at metrics, at logs, at health, and whether it is over. They never change anything."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr, ValidationError

from app.actions.base import Action, Failed
from app.config import Settings
from app.net.http import Http
from app.surroundings import Elasticsearch, Enrichment, Loki, Prometheus
from tests.support.acting import NOW, action, asked, at, incident, ran, tools
from tests.support.github import says
from tests.support.receivers import SILENCE, HttpReceiver, Reply, Request

UP = 'up{job="chat"}'


def base(other: HttpReceiver) -> str:
    return f"http://127.0.0.1:{other.port}"


def asks(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}


def vector(*values: str) -> Reply:
    found = [{"metric": {"pod": f"chat-{n}"}, "value": [1.0, value]} for n, value in enumerate(values)]
    return says({"status": "success", "data": {"resultType": "vector", "result": found}})


def with_prometheus(name: str, http: Http, other: HttpReceiver) -> Action:
    said = Enrichment(prometheus=Prometheus(url=base(other), bearer_token=SecretStr("t")))
    return action(name, tools(http, Settings(enrichment=said)))


async def test_a_snapshot_keeps_the_highest_series_of_each_query(http: Http, other: HttpReceiver) -> None:
    one = with_prometheus("metrics_snapshot", http, other)
    other.usually = vector("0.5", "NaN", *map(str, range(20)))
    done = await ran(one, at(), queries={"up": UP})
    metrics: Any = done.output["metrics"]
    assert (metrics["up"]["value"], len(metrics["up"]["series"])) == (19.0, 10)
    assert metrics["up"]["series"][0] == {"labels": {"pod": "chat-21"}, "last": 19.0}
    assert done.summary == "up 19"
    assert json.dumps(done.output, allow_nan=False)
    [request] = other.items
    assert request.headers["authorization"] == "Bearer t"
    assert asks(request) == {"query": UP, "time": str(NOW.timestamp())}
    assert "at present: up 19" in await one.check(asked(one, queries={"up": UP}), at())


async def test_a_snapshot_of_a_window_says_how_it_went(http: Http, other: HttpReceiver) -> None:
    one = with_prometheus("metrics_snapshot", http, other)
    course = [{"metric": {"a": "b"}, "values": [[1, "1"], [2, "5"], [3, "2"]]}]
    other.usually = says({"status": "success", "data": {"resultType": "matrix", "result": course}})
    done = await ran(one, at(), queries={"load": "load"}, window_secs=600)
    metrics: Any = done.output["metrics"]
    assert metrics["load"]["series"] == [{"labels": {"a": "b"}, "first": 1.0, "last": 2.0, "low": 1.0, "high": 5.0}]
    said = asks(other.items[0])
    assert (float(said["end"]) - float(said["start"]), said["step"]) == (600, "10.0")


async def test_a_snapshot_of_nothing_has_no_value(http: Http, other: HttpReceiver) -> None:
    other.replies += [vector(), says({"status": "success", "data": {"resultType": "scalar", "result": [1, "3"]}})]
    one = with_prometheus("metrics_snapshot", http, other)
    assert (await ran(one, at(), queries={"up": UP})).summary == "up -"
    assert (await ran(one, at(), queries={"three": "scalar(x)"})).summary == "three 3"


@pytest.mark.parametrize(
    ("reply", "why", "after"),
    [
        (says({"status": "error", "errorType": "bad_data", "error": "parse error"}, 400), "parse error", None),
        (Reply(401), "answered 401", None),
        (Reply(429, {"retry-after": "9"}), "answered 429", timedelta(seconds=9)),
        (Reply(503), "answered 503", timedelta(seconds=2)),
        (Reply(302, {"location": "http://127.0.0.1/"}), "answered 302", None),
        (Reply(200, body=b"<html>"), "without JSON", timedelta(seconds=2)),
        (says({"status": "success", "data": {"resultType": "string", "result": [1, "x"]}}), "gives no number", None),
        (says([1]), "Prometheus says", None),
        (SILENCE, "no answer within|ConnectTimeout", timedelta(seconds=2)),
    ],
)
async def test_what_prometheus_refuses_is_tried_again_if_it_may_pass(
    http: Http, hasty: Http, other: HttpReceiver, reply: Reply, why: str, after: timedelta | None
) -> None:
    other.replies.append(reply)
    first = with_prometheus("metrics_snapshot", hasty if reply is SILENCE else http, other)
    with pytest.raises(Failed, match=why) as no:
        await ran(first, at(), queries={"up": UP})
    assert (no.value.retry_after, no.value.doubtful) == (after, False)
    one = with_prometheus("metrics_snapshot", http, other)
    other.usually = vector("1")
    assert (await ran(one, at(), queries={"up": UP})).summary == "up 1"


def test_without_a_prometheus_there_is_no_snapshot(http: Http) -> None:
    with pytest.raises(AssertionError):
        action("metrics_snapshot", tools(http))


SECRETS = 'POST /login password="hunter2" failed\n', "retry with Authorization: Bearer eyJx.eyJy.z", "x" * 900


def in_loki(request: Request) -> Reply:
    if urlsplit(request.path).path.endswith("/query"):
        return says({"status": "success", "data": {"resultType": "vector", "result": [{"value": [1, "4711"]}]}})
    streams = [{"stream": {}, "values": [["1", SECRETS[0]]]}, {"stream": {}, "values": [["3", SECRETS[1]]]}]
    streams.append({"stream": {}, "values": [["2", SECRETS[2]]]})
    return says({"status": "success", "data": {"resultType": "streams", "result": streams}})


def in_elasticsearch(request: Request) -> Reply:
    hits = [{"_source": {"message": SECRETS[n]}} for n in (1, 2, 0)]
    return says({"hits": {"total": {"value": 4711, "relation": "eq"}, "hits": hits}})


def logs(http: Http, other: HttpReceiver, kind: str) -> Action:
    systems: dict[str, Any] = {
        "loki": {"loki": Loki(url=base(other))},
        "elasticsearch": {"elasticsearch": Elasticsearch(url=base(other), api_key=SecretStr("k"))},
    }
    return action("logs_capture", tools(http, Settings(enrichment=Enrichment(**systems[kind]))))


@pytest.mark.parametrize(("kind", "answers"), [("loki", in_loki), ("elasticsearch", in_elasticsearch)])
async def test_lines_of_log_are_counted_and_a_few_kept_without_their_secrets(
    http: Http, other: HttpReceiver, kind: str, answers: Callable[[Request], Reply], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other, "answer", answers)
    one = logs(http, other, kind)
    done = await ran(one, at(), contains='fa"iled', lines=3)
    assert done.summary == "4711 lines of chat with 'fa\"iled' in 15 min"
    lines: Any = done.output["lines"]
    assert [len(line) for line in lines][1] == 500
    assert "hunter2" not in str(lines)
    assert "eyJx" not in str(lines)
    assert lines[0].startswith("retry with")
    assert "4711 lines" in await one.check(asked(one), at())


async def test_words_to_look_for_stay_words(http: Http, other: HttpReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other, "answer", in_loki)
    await ran(logs(http, other, "loki"), at(), service='a"} or {b="', contains='c"', lines=0)
    [request] = other.items
    assert asks(request)["query"] == (
        r'sum(count_over_time({app="a\x22} or {b=\x22"} |= "c\x22" [15m]))'
    )  # fmt: skip


async def test_elasticsearch_is_asked_for_the_service_the_time_and_the_words(
    http: Http, other: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other, "answer", in_elasticsearch)
    await ran(logs(http, other, "elasticsearch"), at(), contains="failed", minutes=5)
    [request] = other.items
    body = json.loads(request.body)
    assert request.path == "/logs-*/_search"
    assert request.headers["authorization"] == "ApiKey k"
    assert body["query"]["bool"]["filter"] == [
        {"term": {"service.name": "chat"}},
        {"range": {"@timestamp": {"gte": "2026-11-27T09:30:00+00:00||-5m", "lte": "2026-11-27T09:30:00+00:00"}}},
        {"match_phrase": {"message": "failed"}},
    ]


async def test_an_incident_without_a_service_needs_one_named(http: Http, other: HttpReceiver) -> None:
    with pytest.raises(Failed, match="names no service") as no:
        await ran(logs(http, other, "loki"), at(incident(affected_resources=[])))
    assert no.value.retry_after is None
    other.usually = Reply(200, body=b"{}")
    with pytest.raises(Failed, match="without success"):
        await ran(logs(http, other, "loki"), at())


async def test_health_has_to_be_good_so_many_times_in_a_row(http: Http, other: HttpReceiver) -> None:
    one = action("health_check", tools(http))
    other.replies += [Reply(), Reply(503), Reply(body=b"not yet"), Reply(404)]
    other.usually = Reply(body=b"all well")
    done = await ran(one, at(), url=other.url, times=3, every_secs=0.05, contains="all well")
    assert done.output["times"] == 3
    assert len(other.items) == 7


async def test_whoever_does_not_get_well_in_time_has_failed(http: Http, hasty: Http, other: HttpReceiver) -> None:
    one = action("health_check", tools(http))
    other.usually = Reply(500)
    with pytest.raises(Failed, match="it answered 500") as no:
        await ran(one, at(), url=other.url, every_secs=0.25, within_secs=1)
    assert no.value.retry_after is None
    other.usually = Reply(302, {"location": other.url})
    assert "at present: it answered 302" in await one.check(asked(one, url=other.url), at())
    other.usually = SILENCE
    with pytest.raises(Failed, match="within 1 s: no answer yet"):
        await ran(action("health_check", tools(http)), at(), url=other.url, within_secs=1)
    assert "no answer within" in await action("health_check", tools(hasty)).check(asked(one, url=other.url), at())
    with pytest.raises(Failed, match="is not a public address"):
        await one.check(asked(one, url="http://10.0.0.1/"), at())


async def test_it_is_over_when_its_alerts_its_metric_and_its_service_say_so(http: Http, other: HttpReceiver) -> None:
    one = with_prometheus("verify_resolution", http, other)
    other.replies += [vector(), Reply(), vector("0", "0")]
    done = await ran(one, at(), promql="errors > 0.05", url=f"{base(other)}/health")
    assert done.summary == f"quiet: no alert for 600 s; errors > 0.05 gives nothing; {base(other)}/health is well"
    assert "quiet" in await one.check(asked(one, promql="errors > bool 0.05"), at())


async def test_it_is_not_over_while_any_of_them_is_loud(http: Http, other: HttpReceiver) -> None:
    one = with_prometheus("verify_resolution", http, other)
    fresh = at(incident(last_seen_at=NOW - timedelta(seconds=100)))
    with pytest.raises(Failed, match="its last alert came 100 s ago") as no:
        await ran(one, fresh)
    assert no.value.retry_after == timedelta(seconds=200)
    assert "its last alert came" in await one.check(asked(one), fresh)
    other.replies += [vector("0", "0.2"), Reply(500)]
    with pytest.raises(Failed, match=r"errors is 0.2 for pod=chat-1") as no:
        await ran(one, fresh, promql="errors", quiet_secs=0)
    assert no.value.retry_after == timedelta(seconds=15)
    with pytest.raises(Failed, match="it answered 500") as no:
        await ran(one, at(), url=other.url)
    assert no.value.retry_after == timedelta(seconds=15)


async def test_what_cannot_be_asked_is_refused_at_once(http: Http) -> None:
    one = action("verify_resolution", tools(http))
    for ask in (one.check(asked(one, promql="errors"), at()), ran(one, at(), promql="errors")):
        with pytest.raises(Failed, match="url is not set") as no:
            await ask
        assert no.value.retry_after is None
    with pytest.raises(ValidationError, match="promql, url or quiet_secs is needed"):
        asked(one, quiet_secs=0)

"""Prometheus, Loki, Elasticsearch and status pages, asked as their documentation says; whatever they answer."""

import asyncio
import json
import re
import shutil
import string
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from app.child import Child, running
from app.domain.enrichment import About, Found, NoAnswer
from app.domain.vocabulary import Severity
from app.enrichers import ENRICHERS
from app.enrichers.asking import escaped
from app.enrichers.base import Enricher
from app.enrichers.loki import KIND
from app.enrichers.prometheus import KNOWN_BY, course, told
from app.net.http import LOOPBACK, Http
from app.stack import answering, free_port
from app.store.database import Pool
from app.surroundings import PROMQL_VARIABLES, Enrichment, StatusPage
from app.surroundings import Elasticsearch as ElasticsearchSettings
from app.surroundings import Loki as LokiSettings
from app.surroundings import Prometheus as PrometheusSettings
from tests.support.enriching import study
from tests.support.receivers import SILENCE, HttpReceiver, Reply, http_receiver

NOW = datetime.now(UTC)
ABOUT = About(
    incident_id="1", title="OpenAI requests fail", source="litellm", severity=Severity.P1,
    incident_class="availability.provider_outage", services=("chat",), started_at=NOW - timedelta(minutes=5), at=NOW,
    tags={"provider": "openai", "model": "gpt-9"},
)  # fmt: skip


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    async with Http(LOOPBACK, deadline_secs=1) as made:
        yield made


@pytest.fixture
async def other() -> AsyncIterator[HttpReceiver]:
    """Somebody else's system."""
    async with http_receiver() as made:
        yield made


def base(other: HttpReceiver) -> str:
    return f"http://127.0.0.1:{other.port}"


def made(name: str, http: Http, **said: Any) -> Enricher:
    enricher = ENRICHERS[name](Enrichment(**said), http, None)  # type: ignore[arg-type]
    assert enricher is not None
    return enricher


def says(body: object, status: int = 200) -> Reply:
    return Reply(status, body=body if isinstance(body, bytes) else json.dumps(body).encode())


def matrix(*values: str) -> dict[str, object]:
    points = [[NOW.timestamp() + n, value] for n, value in enumerate(values)]
    return {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {"a": "b"}, "values": points}]}}


async def looked(enricher: Enricher, about: About = ABOUT) -> Found:
    found = await enricher.look_up(about)
    assert found is not None
    return found


def test_nobody_is_asked_who_is_not_set_up() -> None:
    http = Http(LOOPBACK)
    for name in ("prometheus", "loki", "elasticsearch", "status"):
        assert ENRICHERS[name](Enrichment(), http, None) is None  # type: ignore[arg-type]


async def test_prometheus_is_asked_about_what_the_incident_names(http: Http, other: HttpReceiver) -> None:
    other.usually = says(matrix("0.01", "0.4", "0.25"))
    said = PrometheusSettings(url=base(other), bearer_token=SecretStr("t"), queries={"own": 'x{s="$service"}'})
    found = await looked(made("prometheus", http, prometheus=said))
    assert "failures of the provider 0.25 (was 0.01, at most 0.4)" in found.summary
    asked = [parse_qs(urlsplit(request.path).query) for request in other.items]
    texts = {query["query"][0] for query in asked}
    assert any('api_provider="openai"' in text for text in texts)
    assert 'x{s="chat"}' in texts
    assert not any("DCGM" in text for text in texts), "asked about a node that nobody named"
    assert all(float(query["end"][0]) - float(query["start"][0]) == pytest.approx(2100, abs=1) for query in asked)
    assert all(2100 / float(query["step"][0]) <= 60 for query in asked)
    assert {request.headers["authorization"] for request in other.items} == {"Bearer t"}


async def test_what_some_queries_find_counts_although_others_fail(http: Http, other: HttpReceiver) -> None:
    other.replies.extend([says({"status": "error", "errorType": "bad_data", "error": "no"}, 400)])
    other.usually = says(matrix("1"))
    said = PrometheusSettings(url=base(other))
    assert (await looked(made("prometheus", http, prometheus=said))).data


async def test_numbers_that_are_none_are_left_out(http: Http, other: HttpReceiver) -> None:
    other.usually = says(matrix("NaN", "+Inf", "what"))
    assert await made("prometheus", http, prometheus=PrometheusSettings(url=base(other))).look_up(ABOUT) is None


@given(value=st.text())
def test_no_label_ends_a_matcher_however_it_is_quoted(value: str) -> None:
    assert not set("\"'`\n") & set(escaped(value))
    assert re.fullmatch(r"([^\\]|\\x[0-9a-f]{2})*", escaped(value), re.DOTALL)
    assert re.sub(r"\\x(..)", lambda hexed: chr(int(hexed[1], 16)), escaped(value)) == value


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("rate(${service}_total[5m])", "inside quotes"), ('x{s="$servce"}', "servce"),
        ('x{s=~"a|b$"}', r"\$\$"), ("x{s='$service'} or $group", "inside quotes"),
    ],
)  # fmt: skip
def test_a_query_that_could_never_be_asked_or_be_broken_out_of_is_refused(query: str, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        PrometheusSettings(queries={"own": query})


def test_every_variable_of_a_query_may_be_used() -> None:
    assert set(PROMQL_VARIABLES) == set(KNOWN_BY)
    said = PrometheusSettings(queries={"own": 'x{a="$service",b=\'${model}\',c=~"y$$"} > 0'})
    assert said.queries


@given(series=st.recursive(
    st.none() | st.text() | st.floats() | st.just(10**400),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["values", "metric", "a"]), inner),
))  # fmt: skip
def test_no_series_is_too_strange(series: object) -> None:
    if (found := course(series)) is not None:
        assert told("it", found, NOW.timestamp())


async def test_a_series_that_ended_is_not_told_as_if_it_went_on(http: Http, other: HttpReceiver) -> None:
    gone = matrix("3")
    gone["data"]["result"][0]["values"] = [[(NOW - timedelta(minutes=9)).timestamp(), "3"]]  # type: ignore[index]
    other.usually = says(gone)
    found = await looked(made("prometheus", http, prometheus=PrometheusSettings(url=base(other))))
    assert f"failures of the provider 3 until {NOW - timedelta(minutes=9):%H:%M} UTC" in found.summary
    old = ABOUT.model_copy(update={"started_at": NOW - timedelta(hours=12)})
    found = await looked(made("prometheus", http, prometheus=PrometheusSettings(url=base(other))), old)
    assert "until" not in found.summary, "a long window has few points"


async def test_loki_counts_kinds_of_errors_and_sends_no_line(http: Http, other: HttpReceiver) -> None:
    counted = {"APITimeoutError": "41", "CUDA out of memory": "2", "": "7"}
    vector = [
        {"metric": {"error_kind": kind} if kind else {}, "value": [NOW.timestamp(), n]} for kind, n in counted.items()
    ]
    other.usually = says({"status": "success", "data": {"resultType": "vector", "result": vector}})
    about = ABOUT.model_copy(update={"services": ('ch"at',)})
    enricher = made("loki", http, loki=LokiSettings(url=base(other), username="u", password=SecretStr("p")))
    found = await looked(enricher, about)
    assert found.summary == "50 lines of errors: APITimeoutError ×41, other ×7, CUDA out of memory ×2"
    asked = urlsplit(other.items[0].path)
    query = parse_qs(asked.query)
    assert asked.path == "/loki/api/v1/query", "counted over there, not fetched"
    assert '(count_over_time({app="ch\\x22at"} |~ `' in query["query"][0]
    assert "[1800s]" in query["query"][0]
    assert int(query["time"][0]) == pytest.approx(NOW.timestamp() * 1e9, abs=1e9)
    assert other.items[0].headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("openai.APITimeoutError: slow", "APITimeoutError"), ("fatal: CUDA out of memory. Tried", "CUDA out of memory"),
        ("error: HTTP 503 from upstream", "HTTP 503"), ("error for ann@example.com", None),
    ],
)  # fmt: skip
def test_what_is_taken_of_a_line_is_the_kind_of_its_error(line: str, kind: str | None) -> None:
    found = re.search(KIND, line)
    assert (found and found.group()) == kind


async def test_elasticsearch_is_asked_for_counts_only(http: Http, other: HttpReceiver) -> None:
    other.usually = says({
        "hits": {"total": {"value": 41}}, "aggregations": {"kinds": {"buckets": [{"key": "Timeout", "doc_count": 40}]}}
    })  # fmt: skip
    said = ElasticsearchSettings(url=base(other), api_key=SecretStr("k"))
    found = await looked(made("elasticsearch", http, elasticsearch=said))
    assert found.summary == "41 lines of errors: Timeout ×40"
    asked = json.loads(other.items[0].body)
    assert (asked["size"], other.items[0].path) == (0, "/logs-*/_search")
    assert {"term": {"service.name": "chat"}} in asked["query"]["bool"]["filter"]
    assert other.items[0].headers["authorization"] == "ApiKey k"


@pytest.mark.parametrize("with_incidents", [True, False], ids=["Statuspage", "incident.io"])
async def test_a_status_page_is_read_by_the_components_that_matter(
    http: Http, other: HttpReceiver, with_incidents: bool
) -> None:
    page: dict[str, object] = {"components": [
        {"name": "Chat Completions", "status": "partial_outage"}, {"name": "ChatGPT voice", "status": "major_outage"},
        {"name": "Embeddings", "status": "operational"},
    ]}  # fmt: skip
    other.usually = says(page | ({"incidents": []} if with_incidents else {}))
    status = made("status", http, status_pages=(StatusPage(provider="OpenAI", url=base(other)),))
    found = await looked(status)
    assert found.summary == "openai: Chat Completions partial outage"
    assert status.key(ABOUT) == status.key(ABOUT.model_copy(update={"incident_id": "2", "services": ("other",)}))
    nobody = ABOUT.model_copy(update={"tags": {}, "title": "disk full"})
    assert await status.look_up(nobody) is None


async def test_all_is_well_is_worth_knowing_too(http: Http, other: HttpReceiver) -> None:
    other.usually = says({"components": [{"name": "Responses", "status": "operational"}]})
    status = made("status", http, status_pages=(StatusPage(provider="openai", url=base(other)),))
    assert (await looked(status)).summary == "openai: all operational"


async def test_one_page_that_is_away_costs_the_other_nothing(http: Http, other: HttpReceiver) -> None:
    other.replies.extend([Reply(503), says({"components": [{"name": "Responses", "status": "degraded_performance"}]})])
    pages = tuple(StatusPage(provider=name, url=base(other)) for name in ("anthropic", "openai"))
    both = ABOUT.model_copy(update={"tags": {}, "title": "OpenAI and Anthropic fail"})
    found = await looked(made("status", http, status_pages=pages), both)
    assert "Responses degraded performance" in found.summary
    assert len(found.data) == 1


async def test_a_page_that_renamed_what_matters_does_not_say_all_is_well(http: Http, other: HttpReceiver) -> None:
    other.usually = says({"components": [{"name": "API v9", "status": "major_outage"}, {"name": "Responses"}]})
    status = made("status", http, status_pages=(StatusPage(provider="openai", url=base(other)),))
    with pytest.raises(NoAnswer, match="none of"):
        await status.look_up(ABOUT)


async def test_a_provider_is_not_found_inside_another_word(http: Http, other: HttpReceiver) -> None:
    status = made("status", http, status_pages=(StatusPage(provider="cohere", url=base(other)),))
    assert await status.look_up(ABOUT.model_copy(update={"tags": {}, "title": "incoherent answers"})) is None
    assert other.items == []


UNSTORABLE = json.dumps(
    matrix("1") | {
        "components": [{"name": "Chat Completions ?", "status": "?"}], "hits": {"total": {"value": 7}},
        "aggregations": {"kinds": {"buckets": [{"key": "?", "doc_count": 7}]}},
    }
    | {"data": {"result": [{"metric": {"a": "?", "error_kind": "?"}, "values": [[7, 7]], "value": [7, 7]}]}}
).encode()  # fmt: skip
STRANGE = {
    "an error": says(b"too many requests", 503), "html": says(b"<html>login</html>"), "a list": says([1, 2]),
    "null": says(b"null"), "a redirect": Reply(302, {"location": "http://169.254.169.254/"}), "nothing": SILENCE,
    "no end": Reply(body=b"x" * 65_536, endless=True), "deep": says(b"[" * 100_000),
    "wrong kinds": says({"status": "success", "data": {"result": {"values": 3}}, "hits": 3, "aggregations": [1]}),
    "a NUL": says(b"it is \0 away", 503), "a kept NUL": says(UNSTORABLE.replace(b"?", rb"\u0000")),
    "half a sign": says(UNSTORABLE.replace(b"?", rb"\ud800")), "too many": says(UNSTORABLE.replace(b"7", b"7" * 400)),
    "half": Reply(headers={}, body=b'{"sta', hangs="after the head"),
}  # fmt: skip


@pytest.mark.parametrize("strange", STRANGE)
async def test_whatever_is_answered_there_is_one_kind_of_failure_and_it_can_be_kept(
    http: Http, other: HttpReceiver, connections: Pool, strange: str
) -> None:
    other.usually = STRANGE[strange]
    url, names = base(other), ("prometheus", "loki", "elasticsearch", "status")
    said = {name: {"url": url} for name in names[:3]} | {"status_pages": ({"provider": "openai", "url": url},)}
    asked = [made(name, http, **said) for name in names]
    async with study(connections) as desk:
        incident = await desk.opens(
            "OpenAI requests fail", affected_services=("chat",), labels={"provider": "openai", "model": "gpt-9"}
        )
        await desk.looks_around(incident, *asked)
        found = await desk.findings(incident)
    assert set(found) == set(names)
    for one in found.values():
        assert one.status in ("found", "nothing") or " " in (one.error or ""), "an exception nobody meant"


async def test_a_private_address_is_not_asked(other: HttpReceiver) -> None:
    async with Http((), deadline_secs=1) as guarded:
        with pytest.raises(NoAnswer, match="public"):
            await made("prometheus", guarded, prometheus=PrometheusSettings(url=base(other))).look_up(ABOUT)
    assert other.items == []


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="no Prometheus is installed here")
async def test_a_real_prometheus_answers(http: Http, other: HttpReceiver, tmp_path: Path) -> None:
    other.usually = Reply(headers={"content-type": "text/plain; version=0.0.4"}, body=b'gpus_busy{service="chat"} 7\n')
    port = free_port()
    scrape = string.Template("""
scrape_configs:
  - {job_name: chat, scrape_interval: 1s, static_configs: [{targets: ["127.0.0.1:$port"]}]}
""").substitute(port=other.port)
    (tmp_path / "prometheus.yml").write_text(scrape)
    command = [
        "prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip

    async def ready() -> bool:
        return await answering("127.0.0.1", port, "/-/ready")

    async with running(Child("prometheus", command, ready, log=tmp_path / "log")):
        said = PrometheusSettings(url=f"http://127.0.0.1:{port}", window_secs=120, queries={
            "busy": 'max(gpus_busy{service="$service"})',
            "said": "label_replace(vector(1), 'said', '$service', '', '')",
        })  # fmt: skip
        enricher = made("prometheus", http, prometheus=said)
        injection = """chat"} or '\\' `or` vector(1)\nor x{a=\""""
        hostile = ABOUT.model_copy(update={"services": (injection,)})
        async with asyncio.timeout(60):
            while (found := await enricher.look_up(replace_at(ABOUT))) is None or "busy" not in found.data:
                await asyncio.sleep(0.2)
        assert found.summary.startswith("busy 7 (was 7")
        assert "up" in found.data
        quoted = await looked(enricher, replace_at(hostile))
        assert set(quoted.data) == {"said"}
        [series] = quoted.data["said"]["series"]  # type: ignore[index]
        assert series["labels"] == {"said": injection}


def replace_at(about: About) -> About:
    return about.model_copy(update={"at": datetime.now(UTC)})

"""The alerts that are sent: some 600 bytes of JSON each, as a monitoring system would write them."""

import itertools
from collections.abc import Iterator

from tests.bench.wire import request

SINGLE = "/api/v1/alerts"
BATCH = "/api/v1/alerts/batch"
PER_BATCH = 100
OPEN = 200
"""Incidents among which duplicates are shared out evenly."""

BODY = (
    b'{"source":"model-gateway","title":"Latency of completions above target, shard %010d",'
    b'"description":"p95 of the chat completions was 4.8 s over the last 5 minutes; the target is 2.5 s. '
    b'Requests queue in front of the decoder, and the share of cancelled streams has doubled since the last release.",'
    b'"severity":"P2","alert_type":"Performance","environment":"production",'
    b'"affected_services":["chat-completions","embeddings"],'
    b'"labels":{"team":"llm-platform","region":"eu-central-1","model":"large-2","cluster":"a7"},'
    b'"annotations":{"dashboard":"https://dashboards.example.org/d/completions","value":"4.81"},'
    b'"runbook_url":"https://runbooks.example.org/completions/latency"}'
)


def new() -> Iterator[int]:
    """Problems nobody has seen."""
    return itertools.count(OPEN)


def known() -> Iterator[int]:
    """Problems that have an open incident."""
    return itertools.cycle(range(OPEN))


def singles(problems: Iterator[int], path: str = SINGLE) -> Iterator[bytes]:
    head = request("POST", path, BODY % 0)[: -len(BODY % 0)]
    for problem in problems:
        yield head + BODY % problem


def batches(problems: Iterator[int], size: int = PER_BATCH) -> Iterator[bytes]:
    while bodies := [BODY % problem for problem in itertools.islice(problems, size)]:
        yield request("POST", BATCH, b'{"alerts":[%b]}' % b",".join(bodies))

"""The three doors beside each other: the same page by REST and GraphQL, the same incident by REST and gRPC."""

import asyncio
import itertools
import json
import time
from collections.abc import Iterator

import grpc

from app.api.grpc.pb import incidents_pb2 as pb
from app.api.grpc.pb.incidents_pb2_grpc import IncidentServiceStub
from tests.bench import alerts, wire
from tests.bench.report import Figure
from tests.bench.stack import Stack, fresh

PAGE = (
    "{ incidents(first: 100) { totalCount edges { cursor node { id title severity status createdAt source category "
    "environment assignedTo { name } alerts { id title } notifications { channel status } } } } }"
)
REFUSED_MS = 100
HOSTILE = {
    "200,000 tokens": "{ " + "a " * 199_998 + "}",
    "aliases": "{ " + " ".join(f"a{n}: version {{ version }}" for n in range(190)) + " }",
    "depth": "{ incidents { nodes " + "{ relatedIncidents " * 60 + "{ id }" + " }" * 60 + " } }",
    "fragments in fragments": "query { ...f0 } "
    + " ".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }}" for n in range(70))
    + " fragment f70 on Query { version { version } }",
    "one field 240 times": "{ " + "version { version } " * 240 + "}",
    "complexity": "{ incidents(first: 100) { nodes { relatedIncidents { alerts { id } timeline { seq } } } } }",
}


async def figures(seconds: float) -> list[Figure]:
    async with fresh() as stack:
        opening = await wire.each(
            stack.port, alerts.batches(iter(range(alerts.OPEN))), b'"accepted":100,', connections=1
        )
        assert not opening.wrong, opening.wrong[:1]
        return [
            await pages(stack, seconds),
            await refusals(stack, 3 if seconds < 2 else 20),
            await created(stack, seconds),
        ]


def posted(query: str) -> bytes:
    return wire.request("POST", "/graphql", json.dumps({"query": query}).encode())


async def pages(stack: Stack, seconds: float) -> Figure:
    listed = wire.request("GET", "/api/v1/incidents?page_size=100", b"")
    rest = await wire.closed_loop(stack.port, itertools.repeat(listed), b'"incidents"', connections=4, seconds=seconds)
    graphql = await wire.closed_loop(
        stack.port, itertools.repeat(posted(PAGE)), b'"edges"', connections=4, seconds=seconds
    )
    assert not rest.wrong + graphql.wrong, (rest.wrong + graphql.wrong)[:1]
    return Figure(
        "a page of 100 incidents",
        f"4 connections, each one request after the other for {seconds:.0f} s; GraphQL with cursor, assignee, alerts "
        "and notifications of each (a constant number of statements), REST the list as it is.",
        f"GraphQL {graphql.rate:.0f}/s, p95 {graphql.percentile(0.95):.0f} ms",
        baseline=f"REST {rest.rate:.0f}/s, p95 {rest.percentile(0.95):.0f} ms; ratio {graphql.rate / rest.rate:.2f}",
    )


async def refusals(stack: Stack, times: int) -> Figure:
    worst: dict[str, float] = {}
    for name, query in HOSTILE.items():
        tally = await wire.each(stack.port, itertools.repeat(posted(query), times), b"{", connections=1)
        assert not tally.wrong, (name, tally.wrong[:1])
        worst[name] = tally.percentile(1.0)
    told = ", ".join(f"{name} {ms:.0f}" for name, ms in worst.items())
    return Figure(
        "GraphQL refused", f"The worst of {times} tries each, in ms, one connection: {', '.join(HOSTILE)}.", told,
        f"each ≤ {REFUSED_MS} ms", max(worst.values()) <= REFUSED_MS,
    )  # fmt: skip


async def created(stack: Stack, seconds: float) -> Figure:
    """New incidents over 16 connections, one call after the other."""
    numbers = alerts.new()
    rest = await wire.closed_loop(
        stack.port, alerts.singles(numbers), b'"outcome":"created"', connections=16, seconds=seconds
    )
    took: list[float] = []
    began = time.perf_counter()

    async def calling(numbers: Iterator[int]) -> None:
        async with grpc.aio.insecure_channel(
            f"{wire.HOST}:{stack.grpc_port}", options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            service = IncidentServiceStub(channel)
            while time.perf_counter() - began < seconds:
                body = json.loads(alerts.BODY % next(numbers))
                asked = pb.CreateIncidentRequest(
                    title=body["title"], description=body["description"], severity="P2", source=body["source"]
                )
                sent = time.perf_counter()
                answer = await service.CreateIncident(asked)
                assert answer.incident.id
                took.append(time.perf_counter() - sent)

    await asyncio.gather(*(calling(numbers) for _ in range(16)))
    rate = len(took) / (time.perf_counter() - began)
    return Figure(
        "gRPC CreateIncident",
        f"16 channels, each one call after the other for {seconds:.0f} s, new incidents whose workflows run meanwhile; "
        "the answer holds the incident, read back from PostgreSQL. The caller is Python's grpc.aio, on the same cores.",
        f"{rate:.0f}/s, p95 {wire.percentile(took, 0.95) * 1000:.0f} ms",
        baseline=f"REST alerts {rest.rate:.0f}/s, p95 {rest.percentile(0.95):.0f} ms; ratio {rate / rest.rate:.2f}",
    )

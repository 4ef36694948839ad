"""What the product stands on goes away and comes back: nothing half-done meanwhile, everything done afterwards."""

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psutil
import pytest

from app.domain.vocabulary import Severity
from tests.support.product import Product, eventually, pages, product
from tests.support.receivers import SILENCE, HttpReceiver, Reply, http_receiver

WITHOUT_POSTGRESQL = {"/health/live": 200, "/health/ready": 503, "/health": 503}
WITHOUT_TEMPORAL = {"/health/live": 200, "/health/ready": 503, "/health": 200}
COMMANDS_WITHIN = 6
"""Seconds after which a command knows that Temporal is away: the service waits five."""


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Product]:
    async with product(tmp_path_factory.mktemp("outages"), NOTIFICATIONS__WEBHOOK__TIMEOUT_SECS="1") as made:
        yield made


def alert(source: str, severity: str = "P2") -> dict[str, object]:
    """A problem of its own."""
    name = str(uuid.uuid4())
    return {"source": source, "title": f"story {name}", "fingerprint": name, "severity": severity}


async def opened(stack: Product, source: str) -> str:
    """The id of a new incident."""
    answer = await stack.ask("POST", "/alerts", alert(source))
    assert answer.json()["outcome"] == "created"
    return str(answer.json()["incident_id"])


async def timed(asked: Awaitable[httpx.Response]) -> tuple[httpx.Response, float]:
    """An answer, and how many seconds it took."""
    began = time.monotonic()
    return await asked, time.monotonic() - began


async def health(stack: Product) -> dict[str, int]:
    paths = ("/health/live", "/health/ready", "/health")
    answers = await asyncio.gather(*(stack.http.get(path) for path in paths))
    return {path: answer.status_code for path, answer in zip(paths, answers, strict=True)}


async def well_again(stack: Product) -> None:
    async def ready() -> bool:
        return (await stack.http.get("/health/ready")).status_code == 200

    await eventually(ready, within=10)


def refused(answer: httpx.Response, *, naming: str) -> None:
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
    assert naming in answer.json()["error"]["message"]


async def refuses_everything(stack: Product, incident: str, alerts: list[dict[str, object]]) -> None:
    """With PostgreSQL away, whoever asks has an answer within two seconds, which names the part."""
    asked = [
        stack.ask("POST", "/alerts/batch", {"alerts": alerts}),
        stack.ask("POST", "/incidents", alerts[0]),
        stack.ask("GET", f"/incidents/{incident}"),
        stack.ask("POST", f"/incidents/{incident}/acknowledge", {}),
        *(stack.ask("POST", "/alerts", one, key=str(one["fingerprint"])) for one in alerts),
    ]
    for answer, took in await asyncio.gather(*map(timed, asked)):
        refused(answer, naming="PostgreSQL")
        assert took < 5
    assert await health(stack) == WITHOUT_POSTGRESQL
    ready = (await stack.http.get("/health/ready")).json()
    assert ready["components"] == {"database": "down", "temporal": "up"}
    assert "PostgreSQL" in ready["failing"]["database"]


@pytest.mark.parametrize("how", ["hangs", "dies"])
async def test_without_postgresql_nothing_is_accepted_and_nothing_half_done(stack: Product, how: str) -> None:
    others = {part: stack.pid(part) for part in ("gateway", "worker", "temporal")}
    source, incident = f"without-postgresql-that-{how}", await opened(stack, "before")
    alerts = [alert(source) for _ in range(40)]
    if how == "hangs":
        with stack.frozen("postgres"):
            await refuses_everything(stack, incident, alerts)
    else:
        with stack.unattended():
            stack.kill("postgres")
            await refuses_everything(stack, incident, alerts)
    again = await stack.granted("/alerts", alerts[0], key=str(alerts[0]["fingerprint"]))
    assert again["outcome"] == "created"
    listed = (await stack.get(f"/incidents?source={source}"))["incidents"]
    assert [(one["id"], one["alert_count"]) for one in listed] == [(again["incident_id"], 1)]
    assert (await stack.ask("POST", f"/incidents/{incident}/acknowledge", {})).status_code == 200
    await well_again(stack)
    assert {part: stack.pid(part) for part in others} == others


async def refuses_commands_only(stack: Product, incident: str) -> None:
    """With Temporal away."""
    asked = [
        stack.ask("POST", f"/incidents/{incident}/acknowledge", {}, key=f"take {incident}"),
        stack.ask("GET", f"/incidents/{incident}/escalation"),
    ]
    for answer, took in await asyncio.gather(*map(timed, asked)):
        refused(answer, naming="workflow")
        assert took < COMMANDS_WITHIN
    assert (await stack.get(f"/incidents/{incident}"))["status"] == "NEW"
    assert await health(stack) == WITHOUT_TEMPORAL
    ready = (await stack.http.get("/health/ready")).json()
    assert ready["components"] == {"database": "up", "temporal": "down"}
    assert "Temporal" in ready["failing"]["temporal"]


async def takes_it(stack: Product, incident: str) -> None:
    """The command that was refused, under the same key: carried out once, whether or not it was the first time."""
    await stack.granted(f"/incidents/{incident}/acknowledge", {}, key=f"take {incident}")
    events = [event["event_type"] for event in await stack.get(f"/incidents/{incident}/timeline")]
    assert events.count("acknowledged") == 1


async def test_a_temporal_that_hangs_holds_up_no_alert(stack: Product) -> None:
    async with http_receiver() as alice:
        await stack.hires(alice=alice)
        await stack.escalates("temporal-hangs", ["alice"])
        before = await opened(stack, "before")
        with stack.frozen("temporal"):
            answer, took = await timed(stack.ask("POST", "/alerts", alert("temporal-hangs")))
            assert answer.status_code == 200
            assert took < 1
            await refuses_commands_only(stack, before)
        [request] = await alice.received(within=15)
        assert answer.json()["incident_id"].encode() in request.body
        await takes_it(stack, before)
        await well_again(stack)


DECIDED = """
SELECT i.severity FROM deliveries d JOIN incidents i ON i.id = d.incident_id WHERE i.source = $1 ORDER BY d.created_at
"""


@pytest.mark.timeout(240)
async def test_without_temporal_alerts_are_accepted_and_paged_afterwards_the_most_severe_first(stack: Product) -> None:
    source = "without-temporal"
    async with http_receiver() as alice:
        await stack.hires(alice=alice)
        await stack.escalates(source, ["alice"])
        before = await opened(stack, "before")
        with stack.unattended():
            stack.kill("temporal")
            alerts = [alert(source, severity) for severity in reversed(Severity) for _ in range(40)]
            answer = await stack.ask("POST", "/alerts/batch", {"alerts": alerts})
            assert answer.json()["accepted"] == len(alerts)
            await refuses_commands_only(stack, before)
            assert alice.items == []
        await alice.received(len(alerts), within=120)
        await takes_it(stack, before)
        async with stack.database() as database:
            decided = [row["severity"] for row in await database.fetch(DECIDED, source)]
        assert list(dict.fromkeys(decided)) == list(Severity)
        received = [page.severity for page in pages(alice)]
        assert len({page.key for page in pages(alice)}) == len(received) == len(alerts)
        assert received[0] == Severity.P0
        for queue in (("P0", "P1"), ("P2", "P3", "P4")):  # urgent pages have a queue of their own
            assert list(dict.fromkeys(severity for severity in received if severity in queue)) == list(queue)


TROUBLES = {
    "broken": (Reply(500, body=b"out of order"), "answered 500: out of order"),
    "throttled": (Reply(429, {"retry-after": "3"}), "answered 429"),
    "silent": (SILENCE, "no answer within 1 s"),
    "down": (None, "connect"),
}


async def deliveries(stack: Product, incident: str) -> dict[str, Any]:
    """An incident's delivery rows, by who is told."""
    rows = await stack.get(f"/incidents/{incident}/notifications")
    return {row["target"].removeprefix("user:"): row for row in rows}


async def held_up(stack: Product, incident: str, who: str) -> Any:
    """The row of a page that was tried twice and more, and waits for its next try."""

    async def tried() -> Any:
        row = (await deliveries(stack, incident))[who]
        return row if row["attempts"] >= 2 and row["status"] == "pending" else None

    return await eventually(tried)


async def delivered(stack: Product, incident: str, who: str) -> Any:
    """The row of a page, once it is sent."""

    async def sent() -> Any:
        row = (await deliveries(stack, incident))[who]
        return row if row["status"] in ("sent", "delivered") else None

    return await eventually(sent)


async def in_trouble(stack: Product, trouble: str) -> None:
    """One of two on the first level cannot take pages for a while; the second level is due after a second."""
    reply, complaint = TROUBLES[trouble]
    ill, well, second = (f"{trouble}-{who}" for who in ("ill", "well", "second"))
    async with http_receiver() as poor, http_receiver() as colleague, http_receiver() as deputy:
        await stack.hires(**{ill: poor, well: colleague, second: deputy})
        await stack.escalates(trouble, [ill, well], [second], after=1)
        if reply is None:
            await poor.goes_down()
        else:
            poor.usually = reply
        incident = await opened(stack, trouble)
        await colleague.received(within=20)
        await deputy.received(within=20)
        assert complaint in (await held_up(stack, incident, ill))["last_error"]

        turned_away = len(poor.items)
        poor.usually = Reply()
        if reply is None:
            await poor.comes_up()
        row = await delivered(stack, incident, ill)
        assert (row["last_error"], len(poor.items)) == (None, turned_away + 1)
        assert {page.key for page in pages(poor)} == {row["idempotency_key"]}
        if trouble == "throttled":
            waited_as_told(poor)
        rows = await deliveries(stack, incident)
        assert [rows[who]["attempts"] for who in (well, second)] == [1, 1]
        assert len(colleague.items) == len(deputy.items) == 1


def waited_as_told(receiver: HttpReceiver) -> None:
    tries = [page.began for page in pages(receiver)]
    assert all(after - before >= timedelta(seconds=3) for before, after in itertools.pairwise(tries))


async def test_receivers_in_trouble_have_their_page_in_the_end_and_hold_up_nobody(stack: Product) -> None:
    await asyncio.gather(*(in_trouble(stack, trouble) for trouble in TROUBLES))


async def test_ctrl_c_ends_every_process_and_the_next_start_goes_on_where_it_was(stack: Product) -> None:
    async with http_receiver() as alice, http_receiver() as bob:
        await stack.hires(alice=alice, bob=bob)
        await stack.escalates("restart", ["alice"], ["bob"], after=10)
        incident = await opened(stack, "restart")
        await alice.received()
        due = datetime.fromisoformat((await stack.get(f"/incidents/{incident}/escalation"))["next"]["at"])
        before = await known(stack)

        everything = stack.processes()
        assert await stack.stop() == 0
        assert psutil.wait_procs(everything, timeout=5)[1] == []

        assert await stack.start() < 60
        back = datetime.now(UTC)
        assert await known(stack) == before
        await bob.received(within=20)
        [page] = pages(bob)
        assert due <= page.began < max(due, back) + timedelta(seconds=15)
        assert len(alice.items) == 1


async def known(stack: Product) -> list[tuple[object, ...]]:
    """What the newest incidents are, whatever has become of them."""
    listed = (await stack.get("/incidents?page_size=100"))["incidents"]
    return [(one["id"], one["title"], one["severity"], one["created_at"], one["alert_count"]) for one in listed]

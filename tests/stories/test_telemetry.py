"""Telemetry from a tool's post to an incident and its end, on a real PostgreSQL; no test waits for a window to pass."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activities.watching import Watch, Watched
from app.config import Settings
from app.domain.access import ANYBODY_ON_THIS_MACHINE as ME
from app.domain.alert import Alert
from app.domain.inbound import Inbound, Sample
from app.runtime import Gateway, gateway
from app.service.intake import Door, Taken
from app.sources.base import Post, Source
from tests.api.conftest import NOBODY_THERE
from tests.support.databases import another_database

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
START = datetime(2026, 11, 23, 8, 0, 30, tzinfo=UTC)
LIMITED: dict[str, Any] = {"signal": "rate_limits", "subject": {"provider": "openai"}, "bad": 1}
ALERTS = "SELECT title, status, severity, labels, annotations, description FROM alerts ORDER BY id"


def read(post: Post) -> Inbound:
    samples = [Sample.model_validate({"source": "probe"} | one) for one in post.json["samples"]]
    return Inbound(samples=tuple(samples), delivery=post.json.get("delivery"))


PROBE = Door("probe", Source(read))


@dataclass
class Probe:
    """A tool that posts telemetry, and what becomes of it."""

    gateway: Gateway

    async def posts(
        self, samples: Sequence[dict[str, Any]], at: datetime = START, delivery: str | None = None
    ) -> Taken:
        body = json.dumps({"samples": samples, "delivery": delivery, "n": str(at)}).encode()
        return await self.gateway.intake.take(ME, PROBE, Post(body, at))

    async def watches(self, at: datetime) -> Watched:
        return await self.gateway.heartbeats.watching.watch(Watch(at=at))

    async def rows(self, sql: str) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.gateway.health.pool.fetch(sql)]

    async def alerts(self) -> list[tuple[str, str]]:
        return [(row["status"], row["severity"]) for row in await self.rows(ALERTS)]

    async def forgets(self) -> None:
        tables = "series, buckets, telemetry_posts, episodes, beats, alerts, incidents, outbox"
        await self.gateway.health.pool.execute(f"TRUNCATE {tables}")
        await self.gateway.health.pool.execute("DELETE FROM facts WHERE name = 'watched'")


@contextlib.asynccontextmanager
async def probing(url: str, **detectors: object) -> AsyncIterator[Probe]:
    settings = Settings.model_validate({
        "storage": {"connection_string": url}, "temporal": {"address": NOBODY_THERE}, "detectors": detectors,
    })  # fmt: skip
    async with gateway(settings) as made:
        yield Probe(made)


@pytest.fixture(scope="module")
async def url(database_url: str) -> AsyncIterator[str]:
    async with another_database(database_url) as made:
        yield made


@pytest.fixture(scope="module")
async def opened(url: str) -> AsyncIterator[Probe]:
    async with probing(url) as made:
        yield made


@pytest.fixture
async def probe(opened: Probe) -> Probe:
    await opened.forgets()
    return opened


async def test_a_batch_counts_once_however_often_and_by_however_many_it_is_sent(probe: Probe) -> None:
    batch = [LIMITED, {"signal": "spend", "subject": {"key_alias": "bot"}, "amount": 0.25}] * 500
    taken = await asyncio.gather(*(probe.posts(batch, delivery="batch-1") for _ in range(5)))
    assert sorted(one.samples for one in taken) == [0, 0, 0, 0, 1000]
    assert (await probe.posts(batch, START + HOUR, delivery="batch-1")).samples == 0
    counted = await probe.rows("SELECT detector, total, bad, amount FROM buckets JOIN series ON id = series ORDER BY 1")
    assert [tuple(row.values()) for row in counted] == [
        ("key_spend", 500, 0, 125.0), ("no_data", 500, 0, 0.0), ("rate_limits", 500, 500, 0.0),
    ]  # fmt: skip
    nameless = await asyncio.gather(probe.posts(batch, START + MINUTE), probe.posts(batch, START + MINUTE))
    assert sorted(one.samples for one in nameless) == [0, 1000]


async def test_a_storm_of_429s_is_one_incident_and_over_when_it_has_passed(probe: Probe) -> None:
    for second in range(0, 50, 10):
        await probe.posts([LIMITED] * 10, START + timedelta(seconds=second))
    assert await probe.alerts() == [("firing", "P2")]
    [first] = await probe.rows(ALERTS)
    assert first["labels"] == {
        "class": "performance.rate_limit", "provider": "openai", "tool": "probe", "detector": "rate_limits",
    }  # fmt: skip
    assert (first["annotations"]["bad"], first["title"]) == ("20", "A rate limit refuses requests: openai")
    assert first["description"].startswith("20 of 20 requests were refused by a rate limit in 5 min")
    for _ in range(2):
        await probe.watches(START + 4 * MINUTE)
    assert await probe.alerts() == [("firing", "P2")]
    for _ in range(2):
        await probe.watches(START + 6 * MINUTE)
    assert await probe.alerts() == [("firing", "P2"), ("resolved", "P2")]
    assert await probe.rows("SELECT * FROM episodes") == []
    await probe.posts([LIMITED] * 30, START + 30 * MINUTE)
    assert len(await probe.rows("SELECT id FROM incidents")) == 1  # its incident still waits for its workflow
    assert await probe.alerts() == [("firing", "P2"), ("resolved", "P2"), ("firing", "P2")]


async def test_ten_gateways_at_once_open_one_incident(probe: Probe) -> None:
    failed = {"signal": "errors", "subject": {"provider": "openai"}, "bad": 1, "service": "chat"}
    several = [failed | {"subject": {"provider": f"p{n}"}} for n in range(20)]
    await asyncio.gather(*(probe.posts([*several, *several[::-1]] * 25, delivery=str(n)) for n in range(10)))
    opened = await probe.rows("SELECT title, affected_services, alert_count FROM incidents")
    assert len(opened) == 20
    assert {(*row["affected_services"], row["alert_count"]) for row in opened} == {("chat", 1)}
    [counted] = await probe.rows("SELECT sum(total)::int AS n FROM buckets JOIN series ON id = series WHERE bad > 0")
    assert counted["n"] == 10_000
    assert set(await probe.alerts()) == {("firing", "P2")}, "of how many is not known"


async def test_an_alert_that_nobody_took_is_told_by_the_next_watch_and_once(probe: Probe) -> None:
    watching = probe.gateway.heartbeats.watching

    async def dies(alerts: Sequence[Alert]) -> None:
        raise ConnectionError("the process is gone")

    gone = replace(watching.detecting, reporting=replace(watching.detecting.reporting, tell=dies))
    broken = replace(probe.gateway.intake, telemetry=replace(probe.gateway.intake.telemetry, detecting=gone))
    body = json.dumps({"samples": [LIMITED] * 30}).encode()
    with pytest.raises(Exception, match="PostgreSQL does not answer"):
        await broken.take(ME, PROBE, Post(body, START))
    assert await probe.alerts() == []
    assert (await probe.watches(START + MINUTE)).told_again == 1
    [told] = await probe.rows("SELECT * FROM episodes")
    assert told["news"] is None
    # As if it had died after the alert was taken, and before that was noted.
    await probe.gateway.health.pool.execute("UPDATE episodes SET news = $1", json_of(await probe.rows(ALERTS), told))
    assert (await probe.watches(START + MINUTE)).told_again == 1
    assert await probe.alerts() == [("firing", "P2")]


def json_of(alerts: list[dict[str, Any]], episode: dict[str, Any]) -> dict[str, Any]:
    """The alert as it was left in an episode."""
    since = episode["since"].isoformat()
    return {
        "source": "detector", "title": alerts[0]["title"], "identity": episode["subject"], "severity": "P2",
        "delivery": f"{episode['subject']} {since} P2", "starts_at": since,
    }  # fmt: skip


async def test_a_session_that_spends_far_more_than_others_is_found(probe: Probe) -> None:
    def spent(session: str, amount: float) -> dict[str, Any]:
        return {"signal": "spend", "subject": {"session_id": session, "key_alias": "bot"}, "amount": amount}

    await probe.posts([spent(f"s{n}", 1.5) for n in range(4)] + [spent("loop", 4.4)])
    assert await probe.alerts() == []
    await probe.posts([spent("loop", 0.7)], START + MINUTE)
    [found] = await probe.rows(ALERTS)
    assert (found["severity"], found["labels"]["session_id"]) == ("P2", "loop")
    assert found["description"] == "$5.10 in 24 h; usual is $1.50, the limit is $5.00."
    await probe.posts([spent("loop", 20)], START + 2 * MINUTE)
    await probe.watches(START + HOUR)
    assert await probe.alerts() == [("firing", "P2"), ("firing", "P1")]
    await probe.watches(START + HOUR + 2 * MINUTE)
    assert (await probe.alerts())[2:] == [("resolved", "P2")]


async def test_what_runs_every_night_is_usual_at_night(probe: Probe) -> None:
    batch = {"signal": "spend", "subject": {"key_alias": "batch"}, "amount": 25}
    for night in (START, START + timedelta(days=1)):
        await probe.posts([batch], night)
        await probe.posts([batch], night + 20 * MINUTE)
    assert await probe.alerts() == []
    await probe.posts([batch, {**batch, "amount": 1}], START + timedelta(days=1, minutes=30))
    [found] = await probe.rows(ALERTS)
    assert (found["severity"], found["description"]) == ("P2", "$76.00 in 1 h; usual is $25.00, the limit is $75.00.")


async def test_that_half_of_all_calls_fail_is_known_only_where_the_others_are_heard_of(probe: Probe) -> None:
    failed = {"signal": "errors", "subject": {"provider": "openai"}, "bad": 1}
    await probe.posts([failed] * 30)
    assert await probe.alerts() == [("firing", "P2")]
    await probe.posts([failed | {"bad": 0}], START + MINUTE)
    assert await probe.alerts() == [("firing", "P2"), ("firing", "P1")]


async def test_what_was_left_untold_is_told_bit_by_bit(probe: Probe) -> None:
    told = list[int]()
    reporting = probe.gateway.heartbeats.watching.detecting.reporting

    async def tell(alerts: Sequence[Alert]) -> None:
        told.append(len(alerts))

    await probe.gateway.health.pool.execute(
        "INSERT INTO episodes (subject, since, severity, threshold, news) SELECT n, $1, 'P2', 1, $2"
        " FROM generate_series(1, 450) AS n", START, {"source": "detector", "title": "x"},
    )  # fmt: skip
    assert await replace(reporting, tell=tell).tell_again() == 450
    assert (told, await reporting.tell_again()) == ([200, 200, 50], 0)


async def test_a_source_that_falls_silent_is_a_blind_spot_until_it_reports_again(probe: Probe) -> None:
    judged = {"signal": "evaluations", "subject": {"evaluation_name": "faithfulness"}, "service": "chat"}
    for five in range(13):
        await probe.posts([judged], START + five * 5 * MINUTE)
        await probe.watches(START + five * 5 * MINUTE)
    last = START + HOUR
    for minute in range(1, 15):
        await probe.watches(last + minute * MINUTE)
    assert await probe.alerts() == []
    await probe.watches(last + 15 * MINUTE)
    [found] = await probe.rows(ALERTS)
    assert found["labels"]["class"] == "observability.blind_spot"
    assert found["title"] == "No telemetry any more: probe, chat: evaluations"
    await probe.posts([judged], last + 16 * MINUTE)
    assert await probe.alerts() == [("firing", "P3"), ("resolved", "P3")]


async def test_whose_users_sleep_at_night_is_silent_only_in_the_morning(probe: Probe) -> None:
    async def works(at: datetime, hours: int) -> datetime:
        for five in range(12 * hours + 1):
            await probe.posts([{"signal": "errors"}], at + five * 5 * MINUTE)
        return at + hours * HOUR

    async def watches(at: datetime, until: datetime) -> None:
        while at < until:
            at += MINUTE
            await probe.watches(at)

    await works(START, 4)
    evening = await works(START + timedelta(days=1), 4)
    await watches(evening - MINUTE, evening + 3 * HOUR)
    assert await probe.alerts() == []
    await watches(START + timedelta(days=2) - 20 * MINUTE, START + timedelta(days=2, minutes=20))
    assert await probe.alerts() == []
    await watches(START + timedelta(days=2, minutes=20), START + timedelta(days=2, minutes=40))
    assert await probe.alerts() == [("firing", "P3")]


async def test_nobody_is_called_silent_when_it_was_us_who_were_away(probe: Probe) -> None:
    for five in range(13):
        await probe.posts([{"signal": "errors"}], START + five * 5 * MINUTE)
        await probe.watches(START + five * 5 * MINUTE)
    back = START + 3 * HOUR
    for minute in range(14):
        await probe.watches(back + minute * MINUTE)
    assert await probe.alerts() == []


async def test_what_is_old_goes_and_what_fires_stays(probe: Probe) -> None:
    await probe.posts([LIMITED] * 30)
    await probe.posts([{"signal": "blocks", "bad": 1, "at": str(START - 3 * 24 * HOUR)}], START + MINUTE)
    assert (await probe.watches(START + 23 * HOUR)).forgotten == 0
    await probe.posts([LIMITED] * 30, START + 23 * HOUR)
    assert (await probe.watches(START + 25 * HOUR)).forgotten > 0
    assert (await probe.watches(START + 72 * HOUR)).forgotten > 0
    left = {name: len(await probe.rows(f"SELECT * FROM {name}")) for name in ("series", "buckets", "telemetry_posts")}
    assert left == {"series": 0, "buckets": 0, "telemetry_posts": 0}


async def test_beyond_the_bound_series_count_together(url: str, probe: Probe) -> None:
    async with probing(url, max_series=20) as bounded:
        batch = [
            {"signal": signal, "subject": {name: str(n)}, "bad": 1}
            for n in range(50)
            for signal, name in (("errors", "model_group"), ("spend", "session_id"))
        ]
        assert (await bounded.posts(batch)).samples == 100
        assert (await bounded.posts(batch, START + MINUTE)).samples == 100
        assert len(await bounded.rows("SELECT id FROM series")) <= 20 + 1
        [lumped] = await bounded.rows("""
            SELECT sum(total)::int AS total FROM buckets JOIN series ON id = series
            WHERE detector = 'errors' AND subject = '{}'
        """)
        assert lumped["total"] > 50

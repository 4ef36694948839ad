"""Looking around an incident: everybody at once, each in its own time, what came is kept."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.enrichment import About, Found, NoAnswer
from app.enrichers import answers
from app.store.database import Pool
from tests.support.enriching import Study, study
from tests.support.redis import redis

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@dataclass
class Scout:
    """Says what it is told to, when `back` is set."""

    name: str = "scout"
    says: str = "all is well"
    fails: Exception | None = None
    timeout_secs: float = 5
    external: bool = False
    data: dict[str, object] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    out: asyncio.Event = field(default_factory=asyncio.Event)
    back: asyncio.Event = field(default_factory=asyncio.Event)
    at_work: list[int] = field(default_factory=lambda: [0, 0])

    def key(self, about: About) -> str:
        return about.title

    async def look_up(self, about: About) -> Found | None:
        self.asked.append(about.title)
        self.out.set()
        self.at_work[0] += 1
        self.at_work[1] = max(self.at_work)
        try:
            await self.back.wait()
        finally:
            self.at_work[0] -= 1
        if self.fails:
            raise self.fails
        return Found(summary=self.says, data=self.data, at=NOW, source="the field") if self.says else None


def home(name: str, **more: object) -> Scout:
    scout = Scout(name, **more)  # type: ignore[arg-type]
    scout.back.set()
    return scout


@pytest.fixture
async def desk(connections: Pool) -> AsyncIterator[Study]:
    async with study(connections) as made:
        yield made


async def test_everything_found_is_kept_with_its_source_and_age_and_twice_is_once(desk: Study) -> None:
    incident = await desk.opens()
    told = home("told", says="deployed\nby ann\0", data={"n": 1})
    for _ in range(2):
        came = await desk.looks_around(incident, told, home("silent", says=""))
        assert (came.found, came.missed) == (("told",), ())
    found = await desk.findings(incident)
    assert set(found) == {"told", "silent"}
    assert (found["told"].summary, found["told"].data, found["told"].at) == ("deployed by ann", {"n": 1}, NOW)
    assert (found["told"].source, found["told"].cached, found["told"].error) == ("the field", True, None)
    assert (found["silent"].status, found["silent"].summary) == ("nothing", "")


async def test_one_that_fails_and_one_that_is_late_cost_nobody_else_their_answer(desk: Study) -> None:
    incident, late = await desk.opens(), Scout("late", timeout_secs=0.05)
    away, broken = home("away", fails=NoAnswer("nobody there")), home("broken", fails=KeyError("secret"))
    began = time.monotonic()
    came = await desk.looks_around(incident, late, away, broken, home("here"))
    assert time.monotonic() - began < 2
    assert (came.found, came.missed) == (("here",), ("away", "broken", "late"))
    found = await desk.findings(incident)
    assert {name: (one.status, one.error) for name, one in found.items()} == {
        "late": ("late", "no answer within 0.05 s"), "away": ("failed", "nobody there"),
        "broken": ("failed", "KeyError"), "here": ("found", None),
    }  # fmt: skip


async def test_what_came_is_there_while_others_are_still_out(desk: Study) -> None:
    incident, out = await desk.opens(), Scout("out")
    looking = asyncio.create_task(desk.looks_around(incident, out, home("quick")))
    await out.out.wait()
    async with asyncio.timeout(10):
        while set(await desk.findings(incident)) != {"quick"}:
            await asyncio.sleep(0.01)
    assert not looking.done()
    out.back.set()
    assert (await looking).found == ("out", "quick")


async def test_the_whole_has_an_end_and_those_who_never_got_their_turn_are_late(desk: Study) -> None:
    incident = await desk.opens()
    came = await desk.looks_around(incident, Scout("first"), Scout("second"), at_once=1, budget_secs=0.1)
    assert came.missed == ("first", "second")


async def test_at_most_so_many_look_at_the_same_time(desk: Study) -> None:
    at_work = [0, 0]
    scouts = [Scout(f"scout{n}", at_work=at_work) for n in range(6)]
    looking = asyncio.create_task(desk.looks_around(await desk.opens(), *scouts, at_once=2))
    for scout in scouts:
        await scout.out.wait()
        await asyncio.sleep(0)
        scout.back.set()
    assert len((await looking).found) == 6
    assert at_work == [0, 2]


async def test_an_answer_that_was_found_is_not_lost_when_somebody_is_away_later(connections: Pool) -> None:
    async with study(connections, ttl_secs=0.01) as desk:
        incident = await desk.opens()
        await desk.looks_around(incident, home("scout"))
        await asyncio.sleep(0.02)
        came = await desk.looks_around(incident, home("scout", fails=NoAnswer("away")))
        assert came.missed == ("scout",)
        assert (await desk.findings(incident))["scout"].status == "found"


async def test_too_much_is_left_out(desk: Study) -> None:
    incident = await desk.opens()
    await desk.looks_around(incident, home("scout", says="x" * 2000, data={"lines": "y" * 40_000}))
    found = (await desk.findings(incident))["scout"]
    assert len(found.summary) == 500
    assert found.data == {"left_out": "more than 32768 bytes"}


async def test_the_same_question_is_asked_once_also_while_it_is_being_answered(desk: Study) -> None:
    scout = Scout("once")
    incidents = [await desk.opens("the same title") for _ in range(5)]
    looking = [asyncio.create_task(desk.looks_around(incident, scout)) for incident in incidents]
    await scout.out.wait()
    await asyncio.sleep(0)
    scout.back.set()
    assert [came.found for came in await asyncio.gather(*looking)] == [("once",)] * 5
    await desk.looks_around(await desk.opens("another title"), scout)
    assert scout.asked == ["the same title", "another title"]


async def test_who_gives_up_does_not_take_the_answer_from_those_who_wait(desk: Study) -> None:
    scout = Scout("patient")
    first, second = await desk.opens("shared"), await desk.opens("shared")
    hasty = asyncio.create_task(desk.looks_around(first, scout, budget_secs=0.1))
    await scout.out.wait()
    waits = asyncio.create_task(desk.looks_around(second, scout))
    assert (await hasty).missed == ("patient",)
    scout.back.set()
    assert (await waits).found == ("patient",)
    assert scout.asked == ["shared"]


async def test_an_answer_grows_old_and_a_failure_is_not_kept_at_all(connections: Pool) -> None:
    async with study(connections, ttl_secs=0.2) as desk:
        scout, incident = home("scout"), await desk.opens()
        for _ in range(2):
            await desk.looks_around(incident, scout)
        assert [cached for _, cached in desk.observed] == [False, True]
        await asyncio.sleep(0.25)
        await desk.looks_around(incident, scout)
        assert desk.observed[-1] == ("scout", False)
        fails = home("away", fails=NoAnswer("away"))
        for _ in range(2):
            await desk.looks_around(incident, fails)
        assert len(fails.asked) == 2


async def test_workers_share_answers_through_redis(connections: Pool) -> None:
    async with (
        redis() as server, study(connections, server.url) as one, study(connections, server.url) as another
    ):  # fmt: skip
        incident, scout = await one.opens(), home("scout", data={"n": [1, 2]})
        await one.looks_around(incident, scout)
        [(key, kept)] = server.kept.items()
        assert key.startswith(b"llm-im:enrichment:scout:")
        assert kept.startswith(b"{")
        await another.looks_around(incident, scout)
        assert len(scout.asked) == 1
        assert (await another.findings(incident))["scout"].data == {"n": [1, 2]}
        assert (await another.findings(incident))["scout"].cached


@pytest.mark.parametrize("poison", [b"{", b'{"summary": 1}', b"\x80\x05\x95", b"[]"])
async def test_what_somebody_else_left_in_redis_is_asked_for_anew(
    connections: Pool, poison: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "REDIS_SECS", 10)
    async with redis() as server, study(connections, server.url) as desk:
        incident, scout = await desk.opens(), home("scout")
        await desk.looks_around(incident, scout)
        server.kept = dict.fromkeys(server.kept, poison)
        assert (await desk.looks_around(incident, scout)).found == ("scout",)
        assert len(scout.asked) == 2


@pytest.mark.parametrize("how", ["gone", "hangs"])
async def test_a_dead_redis_costs_a_moment_once_and_memory_takes_over(connections: Pool, how: str) -> None:
    async with redis(hangs=how == "hangs") as server:
        url = server.url if how == "hangs" else "redis://127.0.0.1:1/0"
        async with study(connections, url) as desk:
            incident, scouts = await desk.opens(), [home(f"scout{n}") for n in range(5)]
            began = time.monotonic()
            assert len((await desk.looks_around(incident, *scouts)).found) == 5
            assert time.monotonic() - began < 1.5
            asked, began = len(server.asked), time.monotonic()
            assert len((await desk.looks_around(incident, *scouts)).found) == 5
            assert time.monotonic() - began < 0.2
            assert [cached for _, cached in desk.observed] == [False] * 5 + [True] * 5
            assert len(server.asked) == asked


async def test_only_those_who_ask_others_make_it_external(desk: Study) -> None:
    assert not desk.enriching(desk.own()).external
    assert desk.enriching([*desk.own(), home("far", external=True)]).external


def test_ages_are_said_as_people_say_them() -> None:
    from app.domain.enrichment import ago

    said = [ago(NOW - timedelta(minutes=minutes), NOW) for minutes in (-5, 0, 1, 119, 120, 2879, 2880, 14_400)]
    assert said == [
        "just now",
        "just now",
        "1 min ago",
        "119 min ago",
        "2 h ago",
        "47 h ago",
        "2 days ago",
        "10 days ago",
    ]

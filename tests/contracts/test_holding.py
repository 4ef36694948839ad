"""Holding over a real PostgreSQL: what it reads, whom it tells, and that whoever hides has somebody to hide behind."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from activities.holding import Holding
from app.domain.incident import Hold, HoldReason, Incident, Standing
from app.domain.matching import Condition, Subject
from app.domain.suppression import Flapping
from app.domain.timeline import Entry, EventType
from app.domain.vocabulary import Severity
from app.store.database import Pool, pool
from app.store.documents import DocumentStore
from app.store.holding import HoldingStore
from app.store.incidents import BESIDE, IncidentStore
from tests.api.conftest import door
from tests.support.databases import another_database

MANY = 2500
COPIES = """
INSERT INTO incidents SELECT (jsonb_populate_record(i, jsonb_build_object(
    'id', gen_random_uuid(), 'fingerprint', gen_random_uuid(), 'created_at', i.created_at + interval '1 second' * n
))).* FROM incidents i, generate_series(1, $2) n WHERE i.id = $1
"""
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@dataclass
class Desk:
    """A gateway, and holding as the worker does it, over one database."""

    http: httpx.AsyncClient
    connections: Pool

    @property
    def store(self) -> HoldingStore:
        return HoldingStore(self.connections)

    async def forgets(self) -> None:
        await self.connections.execute(
            "TRUNCATE incidents, documents, outbox, timeline, incident_groups, incident_members, incident_edges"
        )

    async def puts(self, kind: str, id_: str, **body: object) -> None:
        answer = await self.http.put(f"/api/v1/{kind}/{id_}", json={"name": id_} | body)
        assert answer.is_success, answer.text

    async def opens(self, source: str, severity: str = "P2", **labels: str) -> str:
        alert = {"source": source, "title": f"slow {uuid4()}", "severity": severity, "labels": labels}
        answer = await self.http.post("/api/v1/alerts", json=alert)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["incident_id"])

    async def holds(self, id_: str, at: datetime | None = None, flapping: Flapping | None = None) -> Standing:
        """What stands, as a look of the incident's workflow writes it down."""
        at = at or datetime.now(UTC)
        _, _, row = await IncidentStore(self.connections).load(id_)
        subject = Subject.model_validate(dict(row.items()) | {"at": at})
        holding = Holding(DocumentStore(self.connections), self.store, flapping)
        found = await holding.holds(subject, id_, row["created_at"], (), at)
        shown = [hold.model_dump(mode="json") for hold in found.holds]
        await self.connections.execute("UPDATE incidents SET holds = $2 WHERE id = $1", UUID(id_), shown)
        return found

    async def reasons(self, id_: str) -> list[tuple[HoldReason, str]]:
        return [(hold.reason, hold.by) for hold in (await self.holds(id_)).holds]

    async def resolves(self, *ids: str) -> None:
        await self.connections.execute(
            "UPDATE incidents SET status = 'RESOLVED', collecting = false WHERE id = ANY($1::uuid[])",
            [UUID(id_) for id_ in ids],
        )

    async def groups(self, lead: str, *members: str, status: str = "active") -> None:
        group = uuid4()
        await self.connections.execute(
            "INSERT INTO incident_groups (id, status, lead_id, manual, created_at, updated_at)"
            " VALUES ($1, $3, $2, false, now(), now())", group, UUID(lead), status,
        )  # fmt: skip
        for one in (lead, *members):
            await self.connections.execute(
                "INSERT INTO incident_members (incident_id, group_id, joined_at, score) VALUES ($1, $2, now(), 1)",
                UUID(one), group,
            )  # fmt: skip

    async def told(self) -> Counter[str]:
        """Whose workflows were to look again since this was last asked."""
        rows = await self.connections.fetch("DELETE FROM outbox RETURNING incident_id")
        return Counter(str(row["incident_id"]) for row in rows)


@pytest.fixture(scope="module")
async def desk(database_url: str) -> AsyncIterator[Desk]:
    async with another_database(database_url) as url, door(url) as client, pool(url, 4) as connections:
        yield Desk(client, connections)


@pytest.fixture(autouse=True)
async def anew(desk: Desk) -> None:
    await desk.forgets()


def a(name: str, value: str = "yes") -> dict[str, object]:
    return {"field": f"tags.{name}", "operator": "equals", "value": value}


def from_source(source: str) -> dict[str, object]:
    return {"field": "source", "operator": "equals", "value": source}


def for_an_hour() -> dict[str, str]:
    now = datetime.now(UTC)
    return {"starts_at": (now - timedelta(minutes=1)).isoformat(), "ends_at": (now + timedelta(hours=1)).isoformat()}


async def test_nothing_configured_holds_nobody(desk: Desk) -> None:
    assert await desk.holds(await desk.opens("x")) == Standing()


async def test_rules_with_and_without_equal_labels_stand_side_by_side(desk: Desk) -> None:
    await desk.puts("inhibition-rules", "one", source=from_source("x"), target=from_source("y"), equal=["cluster"])
    await desk.puts("inhibition-rules", "any", source=from_source("x"), target=from_source("z"))
    await desk.puts("inhibition-rules", "odd", source=a("down"), target={"or": [from_source("v"), {"not": a("b")}]})
    down = await desk.opens("x", cluster="eu")
    assert await desk.reasons(await desk.opens("y", cluster="eu")) == [(HoldReason.INHIBITION, down)]
    assert await desk.reasons(await desk.opens("y", cluster="us")) == []
    assert await desk.reasons(await desk.opens("z", cluster="us")) == [(HoldReason.INHIBITION, down)]
    assert await desk.reasons(down) == []


async def test_an_empty_label_is_one_that_is_not_there(desk: Desk) -> None:
    await desk.puts(
        "inhibition-rules", "r", source=from_source("x"), target=from_source("y"), equal=["cluster", "severity"]
    )
    down = await desk.opens("x", cluster="")
    assert await desk.reasons(await desk.opens("y")) == [(HoldReason.INHIBITION, down)]
    assert await desk.reasons(await desk.opens("y", severity="P3")) == []


async def test_a_source_that_opens_tells_those_that_can_hide_behind_it_and_only_those(desk: Desk) -> None:
    await desk.puts("inhibition-rules", "r", source=from_source("x"), target=from_source("y"), equal=["cluster"])
    near, far, over = [await desk.opens("y", cluster=cluster) for cluster in ("eu", "us", "eu")]
    await desk.resolves(over)
    down = await desk.opens("x", cluster="eu")
    await desk.told()
    assert await desk.reasons(down) == []
    assert await desk.told() == {near: 1}
    assert await desk.reasons(near) == [(HoldReason.INHIBITION, down)]
    await desk.reasons(down)
    assert await desk.told() == {}
    await desk.resolves(down)
    assert await desk.reasons(near) == await desk.reasons(far) == []


async def test_a_source_that_is_silenced_inhibits_nobody_and_one_that_is_inhibited_does(desk: Desk) -> None:
    await desk.puts("inhibition-rules", "r", source=from_source("x"), target=from_source("y"))
    await desk.puts("inhibition-rules", "s", source=from_source("w"), target=from_source("x"))
    x, y = await desk.opens("x"), await desk.opens("y")
    assert await desk.reasons(y) == [(HoldReason.INHIBITION, x)]
    w = await desk.opens("w")
    assert await desk.reasons(x) == [(HoldReason.INHIBITION, w)]
    assert await desk.reasons(y) == [(HoldReason.INHIBITION, x)]
    await desk.puts("silences", "s", matchers=from_source("x"), **for_an_hour())
    assert (HoldReason.SILENCE, "s") in await desk.reasons(x)
    assert await desk.reasons(y) == []


async def test_the_first_of_a_storm_is_found_however_many_came_after_it(desk: Desk) -> None:
    await desk.puts("inhibition-rules", "r", source=from_source("x"), target=from_source("y"), equal=["cluster"])
    down = await desk.opens("x", cluster="eu")
    slow = await desk.opens("y", cluster="eu")
    await desk.connections.execute(COPIES, UUID(slow), MANY)
    last = await desk.connections.fetchval("SELECT id FROM incidents ORDER BY created_at DESC LIMIT 1")
    assert await desk.reasons(str(last)) == [(HoldReason.INHIBITION, down)]
    await desk.told()
    await desk.holds(down)
    assert len(await desk.told()) == MANY  # all but the last, which hides already


async def test_the_lead_of_a_group_pages_for_its_members(desk: Desk) -> None:
    lead, member, worse, alone = [await desk.opens("x", severity=s) for s in ("P2", "P2", "P1", "P2")]
    await desk.groups(lead, member, worse)
    assert await desk.reasons(member) == [(HoldReason.GROUP, lead)]
    assert await desk.reasons(lead) == await desk.reasons(worse) == await desk.reasons(alone) == []
    await desk.resolves(lead)
    assert await desk.reasons(member) == []


async def test_a_group_that_is_over_holds_nobody(desk: Desk) -> None:
    lead, member = await desk.opens("x"), await desk.opens("x")
    await desk.groups(lead, member, status="resolved")
    assert await desk.reasons(member) == []


@pytest.mark.parametrize("reason", [HoldReason.INHIBITION, HoldReason.GROUP])
async def test_whoever_hides_in_the_moment_the_other_is_resolved_looks_again(desk: Desk, reason: HoldReason) -> None:
    """The other one's resolve has told everybody it could see, when the hold becomes visible."""
    source, target = await desk.opens("source"), await desk.opens("target")
    await desk.told()
    store, at = IncidentStore(desk.connections), datetime.now(UTC)
    hidden = Incident(
        id=target, severity=Severity.P2, heard_severity=Severity.P2, opened_at=at,
        holds=(Hold(reason=reason, by=source),), seq=1,
    )  # fmt: skip
    entry = Entry(seq=1, type=EventType.SUPPRESSED, at=at)
    async with desk.connections.transaction() as resolving:
        await resolving.execute("UPDATE incidents SET status = 'RESOLVED' WHERE id = $1", UUID(source))
        await resolving.execute(BESIDE, UUID(source))
        projecting = asyncio.create_task(store.project(hidden, 1, [entry], stop_pages=False))
        async with asyncio.timeout(10):
            while not await desk.connections.fetchval(WAITS):
                await asyncio.sleep(0.01)
        assert not projecting.done()
    await projecting
    assert target in await desk.told()


async def test_a_hold_that_is_projected_again_after_a_crash_is_checked_again(desk: Desk) -> None:
    source, target = await desk.opens("source"), await desk.opens("target")
    store, at = IncidentStore(desk.connections), datetime.now(UTC)
    hidden = Incident(
        id=target, severity=Severity.P2, heard_severity=Severity.P2, opened_at=at,
        holds=(Hold(reason=HoldReason.GROUP, by=source),), seq=1,
    )  # fmt: skip
    entry = Entry(seq=1, type=EventType.SUPPRESSED, at=at)
    await store.project(hidden, 1, [entry], stop_pages=False)
    await desk.resolves(source)
    await desk.told()
    await store.project(hidden, 1, [entry], stop_pages=False)
    assert await desk.told() == {target: 1}


async def test_reopenings_are_read_from_the_timeline_within_the_window(desk: Desk) -> None:
    id_, now = await desk.opens("x"), datetime.now(UTC)
    for n in range(4):
        await desk.connections.execute(
            "INSERT INTO timeline (incident_id, seq, type, at, actor_name, actor_type, data, version_time, version_seq)"
            " VALUES ($1, $2, 'reopened', $3, 'system', 'system', '{}'::jsonb, 0, 0)",
            UUID(id_), n + 1, now - timedelta(minutes=10 * n),
        )  # fmt: skip
    flapping = Flapping(changes=4, window_secs=3600, hold_secs=900)
    assert (await desk.holds(id_, now, flapping)).holds == ()  # so few that nobody asks
    await desk.connections.execute("UPDATE incidents SET flap_count = 4 WHERE id = $1", UUID(id_))
    held = await desk.holds(id_, now, flapping)
    until = now + timedelta(seconds=900)
    assert held.holds == (Hold(reason=HoldReason.FLAPPING, by=id_, until=until),)
    assert held.look_again_at == until
    assert (await desk.holds(id_, until, flapping)).holds == ()
    assert (await desk.holds(id_, now, flapping.model_copy(update={"window_secs": 1700}))).holds == ()
    assert (await desk.holds(id_, now, None)).holds == ()


async def test_writing_and_deleting_tells_the_open_incidents_it_meets_before_or_after(desk: Desk) -> None:
    x, y, over = await desk.opens("x"), await desk.opens("y"), await desk.opens("x")
    await desk.resolves(over)
    await desk.connections.execute("UPDATE incidents SET created_at = created_at - interval '1 hour'")
    await desk.told()
    await desk.puts("silences", "s", matchers=from_source("x"), **for_an_hour())
    assert set(await desk.told()) == {x}
    await desk.puts("silences", "s", matchers=from_source("y"), **for_an_hour())
    assert set(await desk.told()) == {x, y}
    assert (await desk.http.delete("/api/v1/silences/s")).status_code == 204
    assert set(await desk.told()) == {y}
    await desk.puts("maintenance-windows", "w", matchers=from_source("x"), **for_an_hour())
    assert set(await desk.told()) == {x}
    await desk.puts("inhibition-rules", "r", source=from_source("x"), target=from_source("y"))
    assert set(await desk.told()) == {x, y}
    await desk.puts("users", "alice", email="alice@example.com")
    assert await desk.told() == {}


async def test_whoever_opens_while_a_silence_is_being_deleted_looks_again(desk: Desk) -> None:
    await desk.puts("silences", "s", matchers=from_source("x"), **for_an_hour())
    async with desk.connections.transaction() as held_up:
        await held_up.execute("LOCK documents IN SHARE MODE")
        deleting = asyncio.create_task(desk.http.delete("/api/v1/silences/s"))
        async with asyncio.timeout(10):
            while not await desk.connections.fetchval(WAITS):
                await asyncio.sleep(0.01)
        id_ = await desk.opens("x")
        assert await desk.reasons(id_) == [(HoldReason.SILENCE, "s")]
        await desk.told()
    assert (await deleting).status_code == 204
    assert set(await desk.told()) == {id_}
    assert await desk.reasons(id_) == []


CONDITIONS: list[object] = [
    from_source("x"), {"field": "source", "operator": "in", "value": ["x", "z"]}, a("cluster", "eu"),
    {"not": from_source("x")}, {"or": [from_source("x"), a("cluster", "us")]}, {}, {"or": []},
    {"and": [from_source("y"), {"or": [a("cluster", "us"), {"field": "title", "operator": "contains", "value": "s"}]}]},
    {"field": "severity", "operator": "equals", "value": "critical"}, {"severity": ["P2", "P3"]},
    {"field": "severity", "operator": "greater_than", "value": "P2"},
    {"field": "service", "operator": "in", "value": ["chat"]}, {"field": "category", "operator": "equals",
    "value": "other"}, {"field": "environment", "operator": "equals", "value": "prod"},
    {"field": "tags.cluster", "operator": "not_equals", "value": "eu"},
]  # fmt: skip


async def test_what_sql_finds_is_what_the_condition_says(desk: Desk) -> None:
    ids = {source: await desk.opens(source, cluster=cluster) for source, cluster in (("x", "eu"), ("y", "us"))}
    ids["z"] = await desk.opens("z", severity="P0")
    asked = {"source": "v", "title": "chat", "environment": "production", "affected_services": ["chat", "search"]}
    ids["v"] = str((await desk.http.post("/api/v1/alerts", json=asked)).json()["incident_id"])
    expected = ["x", "xz", "x", "yzv", "xy", "xyzv", "", "y", "z", "xyv", "z", "v", "xyzv", "v", "yzv"]
    found = [await desk.store.matched([Condition.model_validate(one)], datetime.now(UTC)) for one in CONDITIONS]
    said = ["".join(name for name, id_ in ids.items() if UUID(id_) in one) for one in found]
    assert said == expected


LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from(["1", "2"]))
SIDE = st.dictionaries(st.sampled_from("ab"), st.sampled_from(["1", "2"]), max_size=1).map(
    lambda labels: [a(name, value) for name, value in labels.items()]
)
THEM = st.lists(st.tuples(LABELS, st.sampled_from(["P1", "P2"]), st.booleans()), min_size=2, max_size=5)
RULES = st.lists(st.tuples(SIDE, SIDE, st.sets(st.sampled_from("ab"), max_size=1)), max_size=3)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(THEM, RULES, st.permutations(range(5)), st.integers(0, 4))
async def test_nobody_hides_unless_somebody_pages(
    desk: Desk,
    them: list[tuple[dict[str, str], str, bool]],
    rules: list[tuple[object, object, set[str]]],
    order: Sequence[int],
    lead: int,
) -> None:
    """Whatever the rules, the group and the order in which they look: everybody's chain ends at one that pages."""
    await desk.forgets()
    await desk.puts("silences", "s", matchers=from_source("silenced"), **for_an_hour())
    for n, (source, target, equal) in enumerate(rules):
        await desk.puts("inhibition-rules", f"r{n}", source=source, target=target, equal=sorted(equal))
    ids = [await desk.opens("silenced" if quiet else "x", severity, **labels) for labels, severity, quiet in them]
    await desk.groups(ids[lead % len(ids)], *(id_ for n, id_ in enumerate(ids) if n != lead % len(ids)))
    looking = [ids[n] for n in order if n < len(ids)]
    for _ in range(3):
        stand = {id_: (await desk.holds(id_)).holds for id_ in looking}
    settled = {id_: (await desk.holds(id_)).holds for id_ in looking}
    assert {id_: _by(holds) for id_, holds in settled.items()} == {id_: _by(holds) for id_, holds in stand.items()}
    silenced = {id_ for id_, (_, _, quiet) in zip(ids, them, strict=True) if quiet}
    for id_ in ids:
        if id_ not in silenced:
            _ends_at_one_that_pages(id_, settled, silenced)


def _by(holds: Sequence[Hold]) -> list[tuple[HoldReason, str]]:
    return [(hold.reason, hold.by) for hold in holds]


def _ends_at_one_that_pages(id_: str, settled: dict[str, tuple[Hold, ...]], silenced: set[str]) -> None:
    seen: list[Any] = [id_]
    while settled[id_]:
        id_ = settled[id_][0].by
        assert id_ not in seen
        assert id_ not in silenced
        seen.append(id_)

"""Groups of incidents over REST, and as the worker finds them: at once, again, and after somebody had a hand in it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from activities.correlating import Correlating, Grouped
from app.domain.correlation import Rules
from app.store.catalogue import CatalogueStore
from app.store.database import Pool, pool
from app.store.grouping import GroupStore
from tests.api.conftest import door
from tests.support.databases import another_database

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
OPEN = """
INSERT INTO incidents (id, fingerprint, source, title, description, category, incident_type, created_at, severity,
    reported_severity, last_seen_at, last_firing_at, updated_at, affected_services)
SELECT u.id, u.id::text, u.source, u.title, '', 'other', 'Unknown', u.at, u.severity, u.severity, u.at, u.at, u.at,
    u.services
FROM jsonb_to_recordset($1::jsonb)
    AS u(id uuid, source text, title text, at timestamptz, severity text, services text[])
"""


@dataclass
class Desk:
    """A gateway, and correlation as the worker does it, over one database. `groups` are the worker's."""

    http: httpx.AsyncClient
    connections: Pool
    seen: list[Grouped | None] = field(default_factory=list)

    def worker(self, connections: Pool | None = None, rules: Rules = Rules()) -> Correlating:
        connections = connections or self.connections
        return Correlating(
            GroupStore(connections), CatalogueStore(connections), rules, lambda _, grouped: self.seen.append(grouped)
        )

    async def opens(self, *services: str, after: float = 0, severity: str = "P2", title: str | None = None) -> str:
        """The id of an incident, opened `after` noon by so many seconds, that is like no other but for its services."""
        [id_] = await self.open_all([{"services": services, "after": after, "severity": severity, "title": title}])
        return id_

    async def open_all(self, incidents: Sequence[dict[str, Any]]) -> list[str]:
        ids = [str(uuid4()) for _ in incidents]
        rows = [
            {
                "id": id_, "source": f"s-{uuid4()}", "title": one.get("title") or f"{uuid4()} {uuid4()}",
                "at": (NOON + timedelta(seconds=one.get("after", 0))).isoformat(),
                "severity": one.get("severity", "P2"), "services": list(one["services"]),
            }
            for id_, one in zip(ids, incidents, strict=True)
        ]  # fmt: skip
        await self.connections.execute(OPEN, rows)
        return ids

    async def correlates(self, *ids: str, rules: Rules = Rules()) -> Grouped | None:
        """What becomes of the last of these, each asked for in turn."""
        worker, found = self.worker(rules=rules), None
        for id_ in ids:
            found = await worker.correlate(id_, NOON)
        return found

    async def group(self, size: int = 2, **more: Any) -> tuple[Grouped, list[str]]:
        """Incidents of one service, found to be a group."""
        service = f"svc-{uuid4()}"
        ids = [await self.opens(service, after=n, **more) for n in range(size)]
        grouped = await self.correlates(*ids)
        assert grouped is not None
        return grouped, ids

    async def ends(self, *ids: str) -> None:
        await self.connections.execute(
            "UPDATE incidents SET status = 'RESOLVED', collecting = false, resolved_at = $2 WHERE id = ANY($1::uuid[])",
            [UUID(id_) for id_ in ids], NOON,
        )  # fmt: skip

    async def told(self) -> set[str]:
        """Whose workflows are to look again since this was asked last."""
        rows = await self.connections.fetch("DELETE FROM outbox RETURNING incident_id::text")
        return {row["incident_id"] for row in rows}

    async def get(self, path: str) -> Any:
        answer = await self.http.get(f"/api/v1{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, status: int = 200, **body: Any) -> Any:
        answer = await self.http.post(f"/api/v1{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def led_by(self, *ids: str) -> list[str | None]:
        """The lead of the group each of these is in."""
        groups = [(await self.get(f"/incidents/{id_}/correlation"))["group"] for id_ in ids]
        return [group and group["lead_id"] for group in groups]


@pytest.fixture(scope="module")
async def url(database_url: str) -> AsyncIterator[str]:
    async with another_database(database_url) as made:
        yield made


@pytest.fixture(scope="module")
async def opened(url: str) -> AsyncIterator[Desk]:
    async with pool(url, 20) as connections, door(url) as http:
        yield Desk(http, connections)


@pytest.fixture
async def desk(opened: Desk) -> Desk:
    """Nobody's incidents of an earlier story stand about."""
    await opened.connections.execute("TRUNCATE incidents, incident_groups, incident_members, incident_edges, outbox")
    opened.seen.clear()
    return opened


async def test_two_that_belong_together_are_a_group_and_why_can_be_read(desk: Desk) -> None:
    first, second = await desk.opens("checkout"), await desk.opens("checkout", after=10)
    stranger = await desk.opens("billing", after=11)
    assert await desk.correlates(first, second, stranger) is None
    found = await desk.get(f"/incidents/{second}/correlation")
    assert found == await desk.get(f"/incidents/{second}/correlations")
    assert (found["group"]["lead_id"], found["group"]["status"], found["group"]["size"]) == (first, "stable", 2)
    [edge] = found["edges"]
    assert {edge["source"], edge["target"]} == {first, second}
    assert edge["score"] > found["threshold"]
    assert edge["reasons"] == [{"strategy": "service", "evidence": 0.65, "said": "both affect checkout"}]
    group = await desk.get(f"/correlations/groups/{found['group']['id']}")
    assert [(m["incident_id"], m["lead"]) for m in group["members"]] == [(first, True), (second, False)]
    assert {node["id"] for node in group["graph"]["nodes"]} == {first, second}
    assert group["graph"]["edges"] == found["edges"]
    assert (await desk.get(f"/incidents/{stranger}/correlation"))["group"] is None


async def test_the_catalogue_says_what_depends_on_what(desk: Desk) -> None:
    suffix = uuid4().hex[:8]
    web, checkout = f"web-{suffix}", f"checkout-{suffix}"
    body = {"name": "Web", "dependencies": [checkout]}
    answer = await desk.http.put(f"/api/v1/services/{web}", json=body)
    assert answer.is_success, answer.text
    first, second = await desk.opens(checkout), await desk.opens(web, after=5)
    grouped = await desk.correlates(first, second)
    assert grouped is not None
    [edge] = (await desk.get(f"/incidents/{second}/correlation"))["edges"]
    assert edge["reasons"][0]["strategy"] == "topology"


async def test_asking_twice_is_asking_once(desk: Desk) -> None:
    grouped, ids = await desk.group(3)
    await desk.told()
    again = await desk.correlates(*ids)
    assert again is not None
    assert (again.group_id, again.size, again.founded, again.joined) == (grouped.group_id, 3, False, False)
    assert await desk.told() == set()
    assert sum(g is not None and g.founded for g in desk.seen) == 1


async def test_the_most_severe_leads_and_whoever_is_led_from_now_on_looks_again(desk: Desk) -> None:
    small = await desk.opens("checkout", severity="P3")
    big = await desk.opens("checkout", after=5, severity="P1")
    grouped = await desk.correlates(big)
    assert grouped is not None
    assert grouped.lead_id == big
    assert await desk.told() == {small}
    bigger = await desk.opens("checkout", after=8, severity="P0")
    grouped = await desk.correlates(bigger)
    assert grouped is not None
    assert grouped.lead_id == big
    assert await desk.told() == set()


async def test_two_hundred_at_once_are_one_group(desk: Desk, url: str) -> None:
    ids = await desk.open_all([{"services": ("checkout",), "after": n / 100} for n in range(200)])
    async with AsyncExitStack() as stack:
        pools = [await stack.enter_async_context(pool(url, 5)) for _ in range(4)]
        workers = [desk.worker(each) for each in pools]
        slots = asyncio.Semaphore(40)

        async def correlate(n: int, id_: str) -> Grouped | None:
            async with slots:
                return await workers[n % 4].correlate(id_, NOON)

        found = await asyncio.gather(*(correlate(n, id_) for n, id_ in enumerate(ids)))
    assert {(g.group_id, g.lead_id) for g in found if g} == {
        (found[0] and found[0].group_id, found[0] and found[0].lead_id)
    }
    assert None not in found
    assert sum(g is not None and g.founded for g in found) == 1
    [group] = (await desk.get("/correlations/groups"))["groups"]
    assert group["size"] == 200
    members = (await desk.get(f"/correlations/groups/{group['id']}"))["members"]
    assert sum(not member["overflow"] for member in members) == 50


async def test_a_storm_that_goes_on_stays_one_group(desk: Desk) -> None:
    rules = Rules(max_size=5)
    ids = [await desk.opens("checkout", after=n * 20) for n in range(40)]
    for id_ in ids:
        await desk.correlates(id_, rules=rules)
    [group] = (await desk.get("/correlations/groups"))["groups"]
    assert group["size"] == 40


async def test_who_belongs_to_two_groups_makes_one_of_them(desk: Desk) -> None:
    left, right = await desk.group(2), await desk.group(2)
    services = await desk.connections.fetch(
        "SELECT DISTINCT affected_services[1] AS name FROM incidents WHERE id = ANY($1::uuid[])",
        [UUID(id_) for id_ in (left[1][0], right[1][0])],
    )
    await desk.told()
    bridge = await desk.opens(*(row["name"] for row in services), after=2)
    grouped = await desk.correlates(bridge, rules=Rules(merge_threshold=0.5))
    assert grouped is not None
    assert (grouped.group_id, grouped.lead_id, grouped.size) == (left[0].group_id, left[0].lead_id, 5)
    assert await desk.told() == set(right[1])
    assert (await desk.http.get(f"/api/v1/correlations/groups/{right[0].group_id}")).status_code == 404


async def test_bridges_from_all_sides_at_once_leave_one_group(desk: Desk, url: str) -> None:
    services = [f"svc-{n}" for n in range(6)]
    pairs = await desk.open_all([{"services": (name,), "after": n} for name in services for n in range(2)])
    for id_ in pairs:
        await desk.correlates(id_)
    assert len((await desk.get("/correlations/groups"))["groups"]) == 6
    ring = zip(services, services[1:] + services[:1], strict=True)
    bridges = await desk.open_all([{"services": pair, "after": 2} for pair in ring for _ in range(3)])
    async with pool(url, 5) as one, pool(url, 5) as other:
        workers = [desk.worker(each, Rules(merge_threshold=0.5)) for each in (one, other)]
        async with asyncio.timeout(20):
            await asyncio.gather(*(workers[n % 2].correlate(id_, NOON) for n, id_ in enumerate(bridges)))
    [group] = (await desk.get("/correlations/groups"))["groups"]
    assert group["size"] == len(pairs) + len(bridges)


async def test_when_the_lead_is_over_whoever_comes_next_finds_another(desk: Desk) -> None:
    grouped, [first, second] = await desk.group(2)
    assert grouped.lead_id == first
    await desk.ends(first)
    name = await desk.connections.fetchval("SELECT affected_services[1] FROM incidents WHERE id = $1", UUID(first))
    third = await desk.opens(name, after=3)
    found = await desk.correlates(third)
    assert found is not None
    assert (found.group_id, found.lead_id) == (grouped.group_id, second)
    await desk.ends(second, third)
    assert (await desk.get(f"/correlations/groups/{grouped.group_id}"))["status"] == "resolved"
    fourth = await desk.opens(name, after=4)
    assert await desk.correlates(fourth) is None


async def test_whoever_was_taken_out_does_not_come_back_by_itself(desk: Desk) -> None:
    grouped, [first, second, third] = await desk.group(3)
    await desk.told()
    path = f"/correlations/groups/{grouped.group_id}"
    divided = await desk.post(f"{path}/split", incident_ids=[third], reason="another cause")
    assert (divided["group"]["size"], divided["new_group"]) == (2, None)
    assert await desk.told() == {third}
    assert await desk.correlates(third) is None
    assert await desk.led_by(first, second, third) == [first, first, None]
    name = await desk.connections.fetchval("SELECT affected_services[1] FROM incidents WHERE id = $1", UUID(first))
    fourth = await desk.opens(name, after=4)
    await desk.correlates(fourth)
    assert (await desk.led_by(third, fourth)) == [None, first]


async def test_a_lead_that_is_split_off_leaves_its_place(desk: Desk) -> None:
    grouped, [first, second, third, fourth] = await desk.group(4)
    await desk.told()
    path = f"/correlations/groups/{grouped.group_id}/split"
    divided = await desk.post(path, incident_ids=[first, fourth], new_group=True)
    assert divided["group"]["lead_id"] == second
    assert divided["new_group"]["lead_id"] == first
    assert await desk.told() == {first, second, third, fourth}
    rest = await desk.post(path, incident_ids=[second])
    assert rest == {"group": None, "new_group": None}
    assert await desk.led_by(second, third) == [None, None]


async def test_people_group_incidents_and_merge_groups(desk: Desk) -> None:
    one, other, third = [await desk.opens(name) for name in ("a", "b", "c")]
    made = await desk.post("/correlations/manual", 201, incident_ids=[one, other], reason="same deploy")
    assert (made["manual"], made["reason"], made["size"], made["correlation_types"]) == (
        True,
        "same deploy",
        2,
        ["manual"],
    )
    more = await desk.post("/correlations/manual", 201, incident_ids=[other, third])
    assert (more["id"], more["size"]) == (made["id"], 3)
    grouped, ids = await desk.group(2)
    await desk.told()
    refused = await desk.post("/correlations/manual", 409, incident_ids=[one, ids[0]])
    assert "merge" in refused["message"]
    merged = await desk.post(f"/correlations/groups/{made['id']}/merge", group_ids=[grouped.group_id])
    assert (merged["size"], merged["lead_id"]) == (5, made["lead_id"])
    assert await desk.told() == set(ids)


async def test_another_member_leads(desk: Desk) -> None:
    grouped, [first, second] = await desk.group(2)
    await desk.told()
    path = f"/api/v1/correlations/groups/{grouped.group_id}/lead"
    answer = await desk.http.put(path, json={"incident_id": second})
    assert answer.json()["lead_id"] == second
    assert await desk.told() == {first, second}
    await desk.ends(first)
    assert (await desk.http.put(path, json={"incident_id": first})).status_code == 409
    stranger = await desk.opens("z")
    answer = await desk.http.put(path, json={"incident_id": stranger})
    assert (answer.status_code, answer.json()["error"]["details"][0]["field"]) == (400, "incident_id")


async def test_a_group_is_resolved_once_and_its_incidents_are_not(desk: Desk) -> None:
    grouped, ids = await desk.group(2)
    await desk.told()
    path = f"/correlations/groups/{grouped.group_id}"
    for _ in range(2):
        over = await desk.post(f"{path}/resolve")
        assert (over["group"]["status"], over["resolved"]) == ("resolved", [])
        assert await desk.told() == set(ids)
    assert (await desk.get(f"/incidents/{ids[0]}"))["status"] == "NEW"
    other, _ = await desk.group(2)
    await desk.post(f"{path}/merge", 409, group_ids=[other.group_id])
    name = await desk.connections.fetchval("SELECT affected_services[1] FROM incidents WHERE id = $1", UUID(ids[0]))
    assert await desk.correlates(await desk.opens(name, after=3)) is None


async def test_its_incidents_are_resolved_with_it_when_asked_for(desk: Desk) -> None:
    grouped, ids = await desk.group(2)
    answer = await desk.post(f"/correlations/groups/{grouped.group_id}/resolve", resolve_incidents=True)
    assert answer["resolved"] == []  # Temporal is away here: each says so
    assert set(answer["refused"]) == set(ids)


async def test_a_deleted_group_leaves_its_incidents_alone(desk: Desk) -> None:
    grouped, ids = await desk.group(2)
    await desk.told()
    path = f"/api/v1/correlations/groups/{grouped.group_id}"
    assert (await desk.http.delete(path)).status_code == 204
    assert (await desk.http.delete(path)).status_code == 404
    assert await desk.told() == set(ids)
    assert await desk.correlates(*ids) is None


async def test_lists_in_pages_by_status_and_figures(desk: Desk) -> None:
    groups = [(await desk.group(2))[0].group_id for _ in range(3)]
    fresh, _ = await desk.group(2)
    await desk.connections.execute("UPDATE incident_groups SET updated_at = $1", NOON)
    await desk.connections.execute(
        "UPDATE incident_groups SET updated_at = now() WHERE id = $1", UUID(fresh.group_id)
    )  # fmt: skip
    over, members = await desk.group(2)
    await desk.ends(*members)
    page = await desk.get("/correlations/groups?limit=4")
    rest = await desk.get(f"/correlations/groups?limit=4&cursor={page['next_cursor']}")
    listed = [group["id"] for group in page["groups"] + rest["groups"]]
    assert listed == [over.group_id, fresh.group_id, *reversed(groups)]
    assert rest["next_cursor"] is None
    for status, expected in {"stable": set(groups), "active": {fresh.group_id}, "resolved": {over.group_id}}.items():
        found = (await desk.get(f"/correlations/groups?status={status}"))["groups"]
        assert {group["id"] for group in found} == expected
        assert {group["status"] for group in found} == {status}
    stats = await desk.get("/correlations/stats")
    assert stats == {
        "groups": 5, "active": 1, "stable": 3, "resolved": 1, "manual": 0, "incidents": 10, "largest": 2,
        "average_size": 2.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("GET", "/correlations/groups/nonsense", None, 404, None),
        ("GET", f"/correlations/groups/{UUID(int=1)}", None, 404, None),
        ("GET", f"/incidents/{UUID(int=1)}/correlation", None, 404, None),
        ("GET", "/correlations/groups?status=lost", None, 400, "status"),
        ("GET", "/correlations/groups?limit=0", None, 400, "limit"),
        ("GET", "/correlations/groups?cursor=x", None, 400, "cursor"),
        ("POST", "/correlations/manual", {"incident_ids": [str(UUID(int=1))]}, 400, "incident_ids"),
        ("POST", "/correlations/manual", {"incident_ids": [str(UUID(int=1))] * 2}, 400, "incident_ids"),
        ("POST", "/correlations/manual", {"incident_ids": [str(UUID(int=1)), "x"]}, 400, "incident_ids[1]"),
        ("POST", "/correlations/manual", {"incident_ids": [str(UUID(int=1)), str(UUID(int=2))]}, 404, None),
        ("POST", "/correlations/manual", {"incidents": []}, 400, "incident_ids"),
        ("POST", f"/correlations/groups/{UUID(int=1)}/merge", {"group_ids": [str(UUID(int=1))]}, 400, "group_ids[0]"),
        ("POST", f"/correlations/groups/{UUID(int=1)}/merge", {"group_ids": [str(UUID(int=2))]}, 404, None),
        ("POST", f"/correlations/groups/{UUID(int=1)}/split", {"incident_ids": [str(UUID(int=2))]}, 404, None),
        ("POST", f"/correlations/groups/{UUID(int=1)}/resolve", {}, 404, None),
        ("PUT", f"/correlations/groups/{UUID(int=1)}/lead", {"incident_id": str(UUID(int=2))}, 404, None),
    ],
)
async def test_what_cannot_be_is_refused_and_says_why(
    desk: Desk, method: str, path: str, body: Any, status: int, field: str | None
) -> None:
    answer = await desk.http.request(method, f"/api/v1{path}", json=body)
    assert answer.status_code == status, answer.text
    if field is not None:
        assert answer.json()["error"]["details"][0]["field"] == field


async def test_a_member_is_named_that_is_none(desk: Desk) -> None:
    grouped, ids = await desk.group(2)
    body = {"incident_ids": [ids[0], str(UUID(int=1))]}
    answer = await desk.http.post(f"/v1/correlations/groups/{grouped.group_id}/split", json=body)
    assert (answer.status_code, answer.json()["error"]["details"][0]["field"]) == (400, "incident_ids[1]")
    assert await desk.led_by(*ids) == [ids[0], ids[0]]

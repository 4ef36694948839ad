"""What the product itself knows around an incident: its past, its services, whose they are, what was changed."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from app.domain.alert import ChangeEvent
from app.domain.representation import Finding
from app.store.catalogue import CatalogueStore
from app.store.changes import ChangeStore
from app.store.database import Pool, pool
from app.store.documents import DocumentStore
from app.surroundings import Enrichment
from tests.support.databases import another_database
from tests.support.enriching import Study, study

MIN = timedelta(minutes=1)


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Study]:
    """An installation of its own: its past is empty."""
    async with another_database(database_url) as url, pool(url, 10) as connections, study(connections) as made:
        yield made


async def writes(desk: Study, kind: str, id_: str, **body: Any) -> None:
    said = {"id": id_, "name": id_.title()} | body
    await DocumentStore(desk.connections).write(kind, id_, said, expected=None, by="tests", at=datetime.now(UTC))


async def changed(desk: Study, summary: str, ago: timedelta, *services: str, **more: Any) -> None:
    now = datetime.now(UTC)
    event = ChangeEvent(source="ci", summary=summary, at=now - ago, services=services, **more)
    await ChangeStore(desk.connections).record(event, now)


def listed(finding: Finding, name: str) -> list[dict[str, Any]]:
    found = finding.data[name]
    assert isinstance(found, list)
    return found


async def test_the_one_like_it_of_the_past_is_found_with_what_resolved_it(desk: Study) -> None:
    for title, notes in (
        ("vLLM replica out of GPU memory", "Lowered max_num_seqs to 64"),
        ("Embedding index is three days old", "Restarted the indexer"),
        ("OpenAI answers 429 to the checkout assistant", "Raised the quota"),
    ):
        before = await desk.opens(title, description=f"{title}. Seen on production.")
        await desk.resolves(before, "alice", notes)
    new = await desk.opens("GPU out of memory on vLLM replica", description="CUDA out of memory, replica 3")
    assert "historical" in (await desk.looks_around(new, *desk.own())).found
    found = (await desk.findings(new))["historical"]
    assert found.summary.startswith("“vLLM replica out of GPU memory”, resolved 3 h ago by alice: Lowered max_num_seqs")
    best = listed(found, "incidents")[0]
    assert (best["resolution_notes"], best["resolved_by"]) == ("Lowered max_num_seqs to 64", "alice")
    assert 0.5 <= best["score"] <= 1


async def test_what_is_open_too_old_or_nothing_like_it_is_not_the_past(desk: Study) -> None:
    open_one = await desk.opens("latency of the summarizer doubled")
    old = await desk.opens("latency of the summarizer doubled")
    await desk.resolves(old, "bob", "Restarted", ago=timedelta(days=40))
    other = await desk.opens("certificate of the gateway expires soon")
    await desk.resolves(other, "bob", "Renewed")
    looks = desk.own(Enrichment(history_days=30), "historical")
    await desk.looks_around(open_one, *looks)
    assert (await desk.findings(open_one))["historical"].status == "nothing"
    later = await desk.opens("latency of the summarizer doubled")
    async with study(desk.connections) as another:
        await another.looks_around(later, *another.own(Enrichment(history_days=41), "historical"))
    assert [one["incident_id"] for one in listed((await desk.findings(later))["historical"], "incidents")] == [old]


async def test_the_catalogue_says_what_is_affected_by_any_of_its_names(desk: Study) -> None:
    await writes(
        desk, "services", "checkout", tier=1, owner="shop", runbook_url="https://wiki.example/co",
        dependencies=["llm-gateway"], aliases=["checkout-api"],
    )  # fmt: skip
    for names in ({"affected_services": ["Checkout-API"]}, {"labels": {"service": "checkout"}}):
        incident = await desk.opens(**names)
        await desk.looks_around(incident, *desk.own())
        assert (await desk.findings(incident))["service"].summary == (
            "Checkout: tier 1, owned by shop, runbook https://wiki.example/co, needs llm-gateway"
        )
    await writes(desk, "services", "checkout", tier=2)
    incident = await desk.opens(affected_services=["checkout", "checkout", "ghost"])
    await desk.looks_around(incident, *desk.own())
    found = (await desk.findings(incident))["service"]
    assert found.summary == "Checkout: tier 2"
    assert found.source == "service catalogue"


async def test_the_owning_team_and_whoever_is_on_call_there_now(desk: Study) -> None:
    day = {"name": "l", "users": ["ann"], "start_date": "2026-01-01"}
    await writes(desk, "users", "ann", name="Ann Example")
    await writes(desk, "schedules", "shop-duty", layers=[day])
    await writes(desk, "teams", "shop", name="Shop", on_call_schedule_id="shop-duty")
    await writes(desk, "teams", "idle", name="Idle", on_call_schedule_id="empty")
    await writes(desk, "schedules", "empty")
    for id_, owner in (("checkout", "shop"), ("search", "idle"), ("mail", "the people upstairs")):
        await writes(desk, "services", id_, owner=owner)
    told = []
    for service in ("checkout", "search", "mail", "unknown"):
        incident = await desk.opens(affected_services=[service])
        await desk.looks_around(incident, *desk.own())
        told.append((await desk.findings(incident))["team"].summary)
    assert told == [
        "Shop (owns Checkout); on call: Ann Example", "Idle (owns Search); nobody is on call",
        "the people upstairs (owns Mail)", "",
    ]  # fmt: skip
    orphan = await desk.opens()
    await desk.connections.execute("UPDATE incidents SET assigned_team = 'shop' WHERE id = $1", orphan)
    await desk.looks_around(orphan, *desk.own())
    assert (await desk.findings(orphan))["team"].summary == "Shop (assigned); on call: Ann Example"


async def test_the_likeliest_change_comes_first_near_and_fresh(desk: Study) -> None:
    await writes(desk, "services", "checkout", dependencies=["gateway"])
    await writes(desk, "services", "gateway", dependencies=["model"], aliases=["gw"])
    await writes(desk, "services", "model", dependencies=["gpu"])
    await changed(desk, "new prompt", 30 * MIN, "Checkout", author="ann")
    await changed(desk, "gateway 2.1", 12 * MIN, "gw", author="ci-bot", environment="production")
    await changed(desk, "model swapped", 2 * MIN, "model")
    await changed(desk, "driver update", MIN, "gpu")
    await changed(desk, "elsewhere", MIN, "search")
    await changed(desk, "too long ago", 70 * MIN, "checkout")
    await changed(desk, "on staging", MIN, "checkout", environment="staging")
    incident = await desk.opens(affected_services=["checkout"], environment="production")
    await desk.looks_around(incident, *desk.own())
    found = (await desk.findings(incident))["changes"]
    assert found.summary == (
        "30 min ago by ann: new prompt (Checkout); 12 min ago by ci-bot: gateway 2.1 (gw);"
        " 2 min ago: model swapped (model)"
    )
    assert [one["source"] for one in listed(found, "changes")] == ["ci"] * 3


async def test_nothing_is_found_where_nothing_is_named(desk: Study) -> None:
    await changed(desk, "something", MIN, "checkout")
    incident = await desk.opens()
    came = await desk.looks_around(incident, *desk.own())
    assert (came.found, came.missed) == ((), ())
    assert {one.status for one in (await desk.findings(incident)).values()} == {"nothing"}


async def test_each_can_be_switched_off_and_given_its_own_time(connections: Pool) -> None:
    async with study(connections) as desk:
        off = dict.fromkeys(("enable_historical", "enable_service", "enable_team", "enable_changes"), False)
        assert desk.own(Enrichment(**off)) == []
        said = Enrichment(timeouts_secs={"team": 0.5, "changes": 60})
        patience = {enricher.name: enricher.timeout_secs for enricher in desk.own(said)}
        assert patience == {"historical": 2, "service": 2, "team": 0.5, "changes": 10}


async def test_the_catalogue_is_read_again_when_it_changes_and_only_then(desk: Study) -> None:
    store, id_ = CatalogueStore(desk.connections), f"s-{uuid4()}"
    await writes(desk, "services", id_, tier=1)
    first = await store.catalogue()
    assert await store.catalogue() is first
    await writes(desk, "services", id_, tier=2)
    assert (await store.catalogue()).services[id_].tier == 2
    now = datetime.now(UTC)
    await DocumentStore(desk.connections).write("services", id_, None, expected=None, by="tests", at=now)
    assert id_ not in (await store.catalogue()).services

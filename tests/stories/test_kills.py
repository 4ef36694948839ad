"""kill -9 of every part in the middle of a storm: nothing is lost, nothing counted or told twice."""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from temporalio.client import Client

from app.domain.incident import Incident
from tests.support.product import NO_ANSWER, Product, eventually, pages, product
from tests.support.receivers import SILENCE, HttpReceiver, Request, http_receiver
from tests.support.storm import PARTS, PATIENCE_SECS, PROBLEMS, Storm, deliveries, problems
from workflows import names
from workflows.incident import IncidentWorkflow

SEED = 20261123

People = tuple[HttpReceiver, HttpReceiver]
Note = Callable[[str, object], None]


UNSETTLED = """
SELECT (SELECT count(*) FROM outbox) AS outbox,
       (SELECT count(*) FROM deliveries WHERE status IN ('pending', 'sending')) AS pages,
       (SELECT count(*) FROM incidents WHERE NOT (status = 'ACKNOWLEDGED' OR (status = 'ESCALATED' AND level = 2)))
           AS incidents
"""


async def settled(stack: Product) -> None:
    """Until nothing waits to be told, sent or escalated any more."""
    async with stack.database() as database:

        async def calm() -> bool:
            left = await database.fetchrow(UNSETTLED)
            return left is not None and not any(left.values())

        await eventually(calm, within=60)


async def agreed(stack: Product, temporal: Client, incident: str) -> Incident:
    """The state of an incident's workflow, once PostgreSQL shows just the same."""
    handle = temporal.get_workflow_handle(names.workflow_id(incident))
    async with stack.database() as database:

        async def same() -> Incident | None:
            shown = await database.fetchval("SELECT workflow_state FROM incidents WHERE id = $1::uuid", incident)
            known = await handle.query(IncidentWorkflow.standing)
            return known if shown and known == Incident.model_validate(shown) else None

        found = await eventually(same, within=15)
    assert found is not None
    return found


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Product]:
    async with product(tmp_path_factory.mktemp("kills")) as made:
        yield made


@pytest.fixture(scope="module")
async def people() -> AsyncIterator[People]:
    """Whom the first level pages, and whom the second."""
    async with http_receiver() as alice, http_receiver() as bob:
        yield alice, bob


@pytest.fixture(scope="module")
async def storm(stack: Product, people: People) -> Storm:
    """A storm that is over, with everything that came of it."""
    await stack.hires(alice=people[0], bob=people[1])
    await stack.escalates("storm", ["alice"], ["bob"], after=PATIENCE_SECS)
    chance = random.Random(SEED)
    made = Storm(stack, chance, problems(chance))
    await made.rages()
    for part in PARTS:
        await stack.runs(part)
    await settled(stack)
    return made


async def test_only_what_was_killed_has_died_and_nobody_was_told_of_a_bug(stack: Product, storm: Storm) -> None:
    obituaries = [line for line in stack.lines.items if "restarting in" in line and "before it was ready" not in line]
    deaths = Counter(line.split()[0] for line in obituaries)
    assert deaths == Counter(part for part, _ in storm.kills)
    assert set(PARTS) == set(deaths)
    assert stack.refused
    assert set(stack.refused) <= {NO_ANSWER, 503}


async def test_every_problem_is_one_incident_with_every_alert_that_was_accepted(stack: Product, storm: Storm) -> None:
    async with stack.database() as database:
        assert await database.fetchval("SELECT count(*) FROM incidents") == PROBLEMS
    for problem in storm.problems:
        incident = storm.incident(problem)
        shown = await stack.get(f"/incidents/{incident}")
        assert shown["alert_count"] == problem.deliveries
        assert shown["status"] == ("ESCALATED" if problem.taken_after is None else "ACKNOWLEDGED")
        listed = (await stack.get(f"/incidents/{incident}/alerts?page_size=100"))["alerts"]
        assert sorted(alert["labels"]["delivery"] for alert in listed) == sorted(deliveries(problem))


async def test_everybody_was_paged_who_should_be_each_under_one_key(
    storm: Storm, people: People, record_testsuite_property: Note
) -> None:
    keys: dict[tuple[str, int, str], set[str]] = defaultdict(set)
    times: dict[str, list[datetime]] = defaultdict(list)
    for page in pages(*people):
        keys[page.incident, page.level, page.target].add(page.key)
        times[page.key].append(page.began)
    for incident in (storm.incident(problem) for problem in storm.problems if problem.taken_after is None):
        assert {(incident, 1, "user:alice"), (incident, 2, "user:bob")} <= set(keys)
    assert {len(found) for found in keys.values()} == {1}
    assert len(times) == len(keys)
    twice = [began for began in times.values() if len(began) > 1]
    record_testsuite_property("pages", len(times))
    record_testsuite_property("pages that were sent twice", len(twice))
    for first, *_, last in twice:  # in the hands of a worker that was killed
        assert any(part == "worker" and first <= at <= last for part, at in storm.kills)


async def test_nobody_is_paged_once_an_acknowledge_was_answered(storm: Storm, people: People) -> None:
    taken = {storm.incident(problem) for problem in storm.problems if problem.taken_after is not None}
    assert set(storm.taken_at) == taken
    assert [page for page in pages(*people) if page.began > storm.taken_at.get(page.incident, page.began)] == []
    spared = taken - {page.incident for page in pages(people[1])}
    assert spared


async def test_postgresql_shows_what_the_workflows_know_and_no_timeline_has_a_gap(stack: Product, storm: Storm) -> None:
    temporal = await stack.temporal()
    for problem in storm.problems:
        incident = storm.incident(problem)
        state = await agreed(stack, temporal, incident)
        assert (await stack.get(f"/incidents/{incident}"))["status"] == state.status
        timeline = await stack.get(f"/incidents/{incident}/timeline")
        assert [event["seq"] for event in timeline] == list(range(1, state.seq + 1))


@pytest.mark.parametrize("victim", ["gateway", "everything"])
async def test_killed_right_after_its_answers_it_has_lost_nothing(stack: Product, storm: Storm, victim: str) -> None:
    async with http_receiver() as carol:
        await stack.hires(carol=carol)
        await stack.escalates(victim, ["carol"])
        alerts = [{"source": victim, "title": f"{victim} {n}", "fingerprint": f"{n}"} for n in range(100)]
        answers = await asyncio.gather(*(stack.ask("POST", "/alerts", alert) for alert in alerts))
        if victim == "gateway":
            stack.kill("gateway")
            await stack.runs("gateway")
        else:
            await stack.crash()
            await stack.start()
        accepted = [answer.json()["incident_id"] for answer in answers if answer.status_code == 200]
        listed = (await stack.get(f"/incidents?source={victim}&page_size=100"))["incidents"]
        assert len(accepted) == 100
        assert sorted(one["id"] for one in listed) == sorted(accepted)

        async def all_paged() -> bool:
            return {page.incident for page in pages(carol)} == set(accepted)

        await eventually(all_paged)
        assert len({page.key for page in pages(carol)}) == 100
        if victim == "gateway":
            assert len(carol.items) == 100


async def test_what_fell_due_while_the_worker_was_dead_goes_out_when_it_is_back(
    stack: Product, storm: Storm, record_testsuite_property: Note
) -> None:
    async with http_receiver() as dave, http_receiver() as erin:
        await stack.hires(dave=dave, erin=erin)
        await stack.escalates("stuck", ["dave"], ["erin"], after=PATIENCE_SECS)
        for n in range(8):
            await stack.granted(
                "/alerts", {"source": "stuck", "title": f"{n}", "fingerprint": f"{n}"}, key=f"stuck {n}"
            )
        await dave.received(8)
        with stack.unattended():
            stack.kill("worker")
            due = max(page.began for page in pages(dave)) + timedelta(seconds=PATIENCE_SECS)
            assert erin.items == []
            await asyncio.sleep((due - datetime.now(UTC)).total_seconds())
            assert erin.items == []
            said = len(stack.lines.items)
        await stack.says(r"^worker: ready", said)
        back = time.monotonic()
        await erin.received(8, within=5)
        record_testsuite_property(
            "seconds from the worker's restart to the last page that was due", time.monotonic() - back
        )
        assert {page.incident for page in pages(erin)} == {page.incident for page in pages(dave)}


async def sent(stack: Product, incident: str) -> int:
    """How many tries the incident's only page took, once it is sent."""

    async def tries() -> int:
        [row] = await stack.get(f"/incidents/{incident}/notifications")
        return int(row["attempts"]) if row["status"] in ("sent", "delivered") else 0

    return await eventually(tries)


async def test_a_page_in_the_hands_of_a_killed_worker_goes_out_again_under_its_key(
    stack: Product, storm: Storm
) -> None:
    async with http_receiver() as frank:
        frank.replies.append(SILENCE)
        await stack.hires(frank=frank)
        await stack.escalates("in-hand", ["frank"])
        answer = await stack.granted("/alerts", {"source": "in-hand", "title": "in hand"}, key="in hand")
        await frank.received()
        stack.kill("worker")
        await frank.received(2, within=15)
        first, again = pages(frank)
        assert first.key == again.key
        assert await sent(stack, answer["incident_id"]) == 2


class Slow(HttpReceiver):
    """Answers when `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def take(self, item: Request) -> None:
        await super().take(item)
        await self.go.wait()


async def test_a_page_that_was_taken_while_postgresql_was_dead_is_not_sent_again(stack: Product, storm: Storm) -> None:
    grace = Slow()
    await grace.comes_up()
    await stack.hires(grace=grace)
    await stack.escalates("taken", ["grace"])
    answer = await stack.granted("/alerts", {"source": "taken", "title": "taken"}, key="taken")
    await grace.received()
    with stack.unattended():
        sessions = psutil.Process(stack.pid("postgres")).children()
        stack.kill("postgres")
        assert psutil.wait_procs(sessions, timeout=5)[1] == []
        grace.go.set()
    await stack.runs("postgres")
    assert await sent(stack, answer["incident_id"]) == 1
    assert len(grace.items) == 1
    await grace.goes_down()

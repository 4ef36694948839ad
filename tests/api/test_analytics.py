"""Figures over a range of time, reckoned from incidents whose times are known."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from tests.api.conftest import door
from tests.support.databases import another_database

MONDAY = datetime(2026, 6, 1, tzinfo=UTC)
MINUTES = timedelta(minutes=1)
TOLD = (
    "INSERT INTO timeline (incident_id, seq, type, at, actor_name, actor_type) VALUES ($1, $2, $3, now(), 'a', 'user')"
)
LIVED = """
UPDATE incidents SET created_at = $2, began_at = $3, acknowledged_at = $4, acknowledged_by = $5, resolved_at = $6,
    status = $7, assigned_team = $8 WHERE id = $1
"""
# severity, category, day, minutes to: begin (before), acknowledge, resolve; team, what happened besides
LIVES: tuple[tuple[str, str, int, float | None, float | None, float | None, str, tuple[str, ...]], ...] = (
    ("P0", "performance", 0, 10, 2, 10, "llm", ()),
    ("P0", "performance", 0, None, 4, 20, "llm", ("escalated", "escalated", "reopened")),
    ("P1", "security", 1, 2, 30, 40, "llm", ("escalated",)),
    ("P4", "cost", 9, None, None, None, "billing", ()),
)


@pytest.fixture(scope="module")
async def past(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway whose incidents are `LIVES`, opened in the first days of June 2026."""
    async with another_database(database_url) as url, door(url) as api:
        connection = await asyncpg.connect(url)
        for n, (severity, category, day, began, taken, over, team, besides) in enumerate(LIVES):
            body = {"source": "tests", "title": f"life {n}", "severity": severity, "category": category}
            id_ = (await api.post("/api/v1/alerts", json=body)).json()["incident_id"]
            at = MONDAY + timedelta(days=day, hours=8)
            moments = [at + MINUTES * m if m is not None else None for m in (began and -began, taken, over)]
            status = "RESOLVED" if over else "NEW"
            await connection.execute(
                LIVED, id_, at, moments[0], moments[1], "ada" if taken else None, moments[2], status, team
            )
            for seq, type_ in enumerate(besides, 1):
                await connection.execute(TOLD, id_, seq, type_)
        yield api
        await connection.close()


async def asked(api: httpx.AsyncClient, path: str, **query: Any) -> Any:
    june = {"start_date": "2026-06-01T00:00:00Z", "end_date": "2026-07-01T00:00:00Z"}
    answer = await api.get(f"/api/v1/analytics/{path}", params=june | query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_month_in_figures(past: httpx.AsyncClient) -> None:
    month = await asked(past, "metrics")
    assert month["time_range"] == {"start": "2026-06-01T00:00:00Z", "end": "2026-07-01T00:00:00Z"}
    assert month["total_incidents"] == 4
    assert month["incidents_by_severity"] == {"P0": 2, "P1": 1, "P2": 0, "P3": 0, "P4": 1}
    assert month["incidents_by_category"]["performance"] == 2
    assert (month["incidents_by_status"]["RESOLVED"], month["incidents_by_status"]["NEW"]) == (3, 1)
    assert (month["average_mttd"], month["average_mtta"]) == (6 * 60, 12 * 60)
    assert month["average_mttr"] == pytest.approx(70 * 60 / 3)
    assert (month["p50_mttr"], month["p50_mtta"]) == (20 * 60, 4 * 60)
    assert (month["p95_mttr"], month["p99_mttr"]) == (pytest.approx(38 * 60), pytest.approx(39.6 * 60))
    # Taken in time: both P0. Over in time: the first P0, and the P1. The P4 was never taken nor ended.
    assert (month["sla_acknowledgment_compliance"], month["sla_resolution_compliance"]) == (0.5, 0.5)
    assert (month["sla_compliance"], month["total_sla_breaches"]) == (0.25, 3)
    assert len(month["incident_trend"]) == len(month["mttr_trend"]) == 30
    assert month["mttr_trend"][0] == {"timestamp": "2026-06-01T00:00:00Z", "value": 900.0, "metadata": {"incidents": 2}}
    assert month["groups"] == []


async def test_figures_can_be_grouped(past: httpx.AsyncClient) -> None:
    groups = (await asked(past, "metrics", group_by="team,severity"))["groups"]
    assert [(g["group"], g["total_incidents"]) for g in groups] == [
        ({"team": "llm", "severity": "P0"}, 2), ({"team": "billing", "severity": "P4"}, 1),
        ({"team": "llm", "severity": "P1"}, 1),
    ]  # fmt: skip
    assert groups[0]["average_mtta"] == 180


async def test_nothing_is_zeros_and_nulls(past: httpx.AsyncClient) -> None:
    empty = await asked(past, "metrics", start_date="2025-06-01T00:00:00+00:00", end_date="2025-06-02T00:00:00Z")
    assert (empty["total_incidents"], empty["average_mttr"], empty["p99_mttr"], empty["sla_compliance"]) == (
        0, None, None, None,
    )  # fmt: skip
    assert empty["incident_trend"] == [{"timestamp": "2025-06-01T00:00:00Z", "value": 0, "metadata": {"incidents": 0}}]


@pytest.mark.parametrize(("interval", "buckets", "first"), [
    ("hour", 720, "2026-06-01T00:00:00Z"), ("day", 30, "2026-06-01T00:00:00Z"),
    ("week", 5, "2026-06-01T00:00:00Z"), ("month", 1, "2026-06-01T00:00:00Z"),
])  # fmt: skip
async def test_a_trend_has_a_point_for_every_bucket(
    past: httpx.AsyncClient, interval: str, buckets: int, first: str
) -> None:
    points = await asked(past, "trends", interval=interval)
    assert (len(points), points[0]["timestamp"]) == (buckets, first)
    assert sum(point["value"] for point in points) == 4


async def test_a_trend_of_each_metric(past: httpx.AsyncClient) -> None:
    values = {
        metric: [point["value"] for point in await asked(past, "trends", interval="week", metric=metric)][:3]
        for metric in ("mttd", "MTTA", "mttr", "sla_compliance", "INCIDENT_COUNT")
    }
    assert values == {
        "mttd": [360, None, None], "MTTA": [720, None, None], "mttr": [1400, None, None],
        "sla_compliance": [pytest.approx(1 / 3), 0, None], "INCIDENT_COUNT": [3, 1, 0],
    }  # fmt: skip


async def test_a_team_in_figures(past: httpx.AsyncClient) -> None:
    team = await asked(past, "teams/llm")
    assert (team["total_incidents_handled"], team["incidents_by_severity"]["P0"]) == (3, 2)
    assert (team["average_response_time"], team["average_resolution_time"]) == (720, 1400)
    assert (team["reopened_incidents"], team["escalated_incidents"]) == (1, 2)
    assert team["user_metrics"] == [{"user_id": "ada", "incidents_handled": 3, "average_resolution_time": 1400}]
    assert (await asked(past, "teams/nobody"))["total_incidents_handled"] == 0


@pytest.mark.parametrize(("query", "field", "said"), [
    ("start_date=2026-06-01T00:00:00Z", "end_date", "is required"),
    ("start_date=2026-06-01T00:00:00Z&end_date=2027-06-03T00:00:00Z", "body", "at most 366 days"),
    ("start_date=2026-06-02T00:00:00Z&end_date=2026-06-01T00:00:00Z", "body", "must be after start_date"),
    ("start_date=2026-06-01T00:00:00Z&end_date=2026-06-02T00:00:00Z&group_by=shoe", "group_by[0]", "'severity'"),
    ("start_date=2026-06-01&end_date=2026-06-02T00:00:00Z", "start_date", "needs a time zone"),
    ("since=2026-06-01", "since", "there are start_date, end_date, group_by"),
])  # fmt: skip
async def test_a_range_that_is_none_is_named(past: httpx.AsyncClient, query: str, field: str, said: str) -> None:
    answer = await past.get(f"/api/v1/analytics/metrics?{query}")
    assert answer.status_code == 400
    assert any(wrong["field"] == field and said in wrong["message"] for wrong in answer.json()["error"]["details"]), (
        answer.text
    )

"""How incidents went, reckoned where they are."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from app.domain.reports import (
    Group,
    GroupBy,
    IncidentAnalytics,
    Interval,
    MetricsQuery,
    Range,
    TeamMetrics,
    TimeRange,
    TrendMetric,
    TrendPoint,
    UserMetrics,
)
from app.domain.sla import Targets
from app.domain.vocabulary import Category, Severity, Status
from app.store.database import Connection, Pool

GROUPS_MAX = 10_000

# What `app.domain.sla` says of one incident, of many.
MEASURED = """
WITH measured AS (
    SELECT i.id, i.severity, i.category, i.status, i.environment, i.source, i.assigned_team AS team, i.created_at,
        i.acknowledged_by,
        CASE WHEN i.began_at <= i.created_at THEN extract(epoch FROM i.created_at - i.began_at)::float8 END AS mttd,
        extract(epoch FROM i.acknowledged_at - i.created_at)::float8 AS mtta,
        extract(epoch FROM i.resolved_at - i.created_at)::float8 AS mttr,
        coalesce(least(i.acknowledged_at, i.resolved_at, i.closed_at), $3)
            <= i.created_at + make_interval(secs => t.taken) AS taken,
        coalesce(least(i.resolved_at, i.closed_at), $3) <= i.created_at + make_interval(secs => t.over) AS over
    FROM incidents i JOIN unnest($4::text[], $5::float8[], $6::float8[]) AS t(severity, taken, over)
        ON t.severity = i.severity
    WHERE i.created_at >= $1 AND i.created_at < $2
)
"""
MEANS = """
count(*) AS total_incidents, avg(mttd) AS average_mttd, avg(mtta) AS average_mtta, avg(mttr) AS average_mttr,
avg((taken AND over)::int)::float8 AS sla_compliance, avg(taken::int)::float8 AS sla_acknowledgment_compliance,
avg(over::int)::float8 AS sla_resolution_compliance, count(*) FILTER (WHERE NOT (taken AND over)) AS total_sla_breaches
"""
SHARES = (50, 90, 95, 99)
WHOLE = f"""
{MEASURED} SELECT {MEANS}, percentile_cont(ARRAY[.5, .9, .95, .99]) WITHIN GROUP (ORDER BY mtta) AS mtta,
    percentile_cont(ARRAY[.5, .9, .95, .99]) WITHIN GROUP (ORDER BY mttr) AS mttr FROM measured
"""
COUNTS = f"{MEASURED} SELECT severity, category, status, count(*) AS many FROM measured GROUP BY 1, 2, 3"
TREND = f"""
{MEASURED}, buckets AS (SELECT date_trunc($7, created_at, 'UTC') AS at, {MEANS} FROM measured GROUP BY 1)
SELECT whole.at AS timestamp, b.* FROM generate_series(
    date_trunc($7, $1::timestamptz, 'UTC'), $2::timestamptz - interval '1 microsecond', ('1 ' || $7)::interval, 'UTC'
) AS whole(at) LEFT JOIN buckets b USING (at) ORDER BY whole.at
"""
TEAM = f"""
{MEASURED} SELECT severity, count(*) AS many, sum(mtta) AS response, count(mtta) AS responded, sum(mttr) AS resolution,
    count(mttr) AS resolved,
    count(*) FILTER (WHERE EXISTS (
        SELECT 1 FROM timeline t WHERE t.incident_id = measured.id AND t.type = 'reopened')) AS reopened,
    count(*) FILTER (WHERE EXISTS (
        SELECT 1 FROM timeline t WHERE t.incident_id = measured.id AND t.type = 'escalated')) AS escalated
FROM measured WHERE team = $7 GROUP BY severity
"""
USERS = f"""
{MEASURED} SELECT acknowledged_by AS user_id, count(*) AS incidents_handled, avg(mttr) AS average_resolution_time
FROM measured WHERE team = $7 AND acknowledged_by IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1000
"""
VALUES = {
    TrendMetric.INCIDENT_COUNT: "total_incidents", TrendMetric.MTTD: "average_mttd", TrendMetric.MTTA: "average_mtta",
    TrendMetric.MTTR: "average_mttr", TrendMetric.SLA_COMPLIANCE: "sla_compliance",
}  # fmt: skip


@dataclass(frozen=True)
class ReportStore:
    """`targets` are what service levels are reckoned by."""

    pool: Pool
    targets: Targets

    async def metrics(self, query: MetricsQuery, now: datetime) -> IncidentAnalytics:
        """Everything about a range; of groups those 10,000 that have most incidents."""
        asked = self._asked(query, now)
        async with self.pool.acquire() as connection:
            [whole] = await connection.fetch(WHOLE, *asked)
            counts = await connection.fetch(COUNTS, *asked)
            groups = await _groups(connection, query.group_by, asked)
            by_day = await connection.fetch(TREND, *asked, Interval.DAY)
        spread = {
            f"p{share}_{name}": value
            for name in ("mtta", "mttr")
            for share, value in zip(SHARES, whole[name] or [None] * len(SHARES), strict=True)
        }
        return IncidentAnalytics.model_validate(
            dict(whole.items())
            | spread
            | {
                "time_range": _time(query),
                "incidents_by_severity": _counted(Severity, counts, "severity"),
                "incidents_by_category": _counted(Category, counts, "category"),
                "incidents_by_status": _counted(Status, counts, "status"),
                "groups": groups,
                "incident_trend": [_point(row, TrendMetric.INCIDENT_COUNT) for row in by_day],
                "mttr_trend": [_point(row, TrendMetric.MTTR) for row in by_day],
            }
        )

    async def trend(self, query: Range, interval: Interval, metric: TrendMetric, now: datetime) -> list[TrendPoint]:
        """One point per bucket, in order, empty ones as well."""
        return [_point(row, metric) for row in await self.pool.fetch(TREND, *self._asked(query, now), interval)]

    async def team(self, team: str, query: Range, now: datetime) -> TeamMetrics:
        """Of the incidents that are a team's; nothing but zeros of a team that has none."""
        async with self.pool.acquire() as connection:
            rows = await connection.fetch(TEAM, *self._asked(query, now), team)
            users = await connection.fetch(USERS, *self._asked(query, now), team)
        total: Counter[str] = Counter()
        for row in rows:
            total.update({name: value or 0 for name, value in row.items() if name != "severity"})
        return TeamMetrics(
            team_id=team, time_range=_time(query), total_incidents_handled=total["many"],
            incidents_by_severity=_counted(Severity, rows, "severity"),
            average_response_time=total["response"] / total["responded"] if total["responded"] else None,
            average_resolution_time=total["resolution"] / total["resolved"] if total["resolved"] else None,
            reopened_incidents=total["reopened"], escalated_incidents=total["escalated"],
            user_metrics=[UserMetrics.model_validate(dict(row.items())) for row in users],
        )  # fmt: skip

    def _asked(self, query: Range, now: datetime) -> tuple[object, ...]:
        said = self.targets
        secs = [[by[severity] for severity in Severity] for by in (said.acknowledgment_secs, said.resolution_secs)]
        return (query.start_date, query.end_date, now, list(Severity), *secs)


async def _groups(connection: Connection, by: tuple[GroupBy, ...], asked: tuple[object, ...]) -> list[Group]:
    if not by:
        return []
    columns = ", ".join(by)
    sql = f"{MEASURED} SELECT {columns}, {MEANS} FROM measured GROUP BY {columns}"
    rows = await connection.fetch(f"{sql} ORDER BY count(*) DESC, {columns} LIMIT {GROUPS_MAX}", *asked)
    return [Group.model_validate(dict(row.items()) | {"group": {name: row[name] for name in by}}) for row in rows]


def _time(query: Range) -> TimeRange:
    return TimeRange(start=query.start_date, end=query.end_date)


def _counted(words: Any, rows: list[asyncpg.Record], column: str) -> dict[Any, int]:
    many = Counter(dict.fromkeys(words, 0))
    for row in rows:
        many[words(row[column])] += row["many"]
    return dict(many)


def _point(row: asyncpg.Record, metric: TrendMetric) -> TrendPoint:
    total = row["total_incidents"] or 0
    value = total if metric is TrendMetric.INCIDENT_COUNT else row[VALUES[metric]]
    return TrendPoint(timestamp=row["timestamp"], value=value, metadata={"incidents": total})

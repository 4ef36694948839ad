"""How incidents went: figures, as GraphQL shows them. Seconds, and shares from 0 to 1."""

from datetime import datetime
from typing import cast

import strawberry
from strawberry.scalars import JSON

from app.api.graphql import inputs
from app.api.graphql.context import Info
from app.domain import reports
from app.domain.decode import decode
from app.domain.reports import GroupBy, Interval, TrendMetric

for _enum, _name in ((GroupBy, "MetricGroupBy"), (Interval, "TrendInterval"), (TrendMetric, "TrendMetric")):
    strawberry.enum(_enum, name=_name)


@strawberry.type
class TimeSpan:
    start: datetime
    end: datetime


@strawberry.type
class TrendPoint:
    """A bucket that begins at `timestamp`."""

    timestamp: datetime
    value: float | None
    metadata: JSON


@strawberry.type
class IncidentAnalytics:
    """Of the incidents that were opened in a range of time."""

    time_range: TimeSpan
    total_incidents: int
    incidents_by_severity: JSON
    incidents_by_category: JSON
    incidents_by_status: JSON
    average_mttd: float | None
    average_mtta: float | None
    average_mttr: float | None
    p50_mtta: float | None
    p90_mtta: float | None
    p95_mtta: float | None
    p99_mtta: float | None
    p50_mttr: float | None
    p90_mttr: float | None
    p95_mttr: float | None
    p99_mttr: float | None
    sla_compliance: float | None
    sla_acknowledgment_compliance: float | None
    sla_resolution_compliance: float | None
    total_sla_breaches: int
    incident_trend: list[TrendPoint]
    mttr_trend: list[TrendPoint]

    @strawberry.field
    def groups(self, root: strawberry.Parent[reports.IncidentAnalytics]) -> JSON:
        return cast("JSON", [group.model_dump(mode="json") for group in root.groups])


@strawberry.type
class SLACompliance:
    """Shares that kept their deadlines."""

    @strawberry.field
    def overall(self, root: strawberry.Parent[reports.IncidentAnalytics]) -> float | None:
        return root.sla_compliance

    @strawberry.field
    def acknowledgment(self, root: strawberry.Parent[reports.IncidentAnalytics]) -> float | None:
        return root.sla_acknowledgment_compliance

    @strawberry.field
    def resolution(self, root: strawberry.Parent[reports.IncidentAnalytics]) -> float | None:
        return root.sla_resolution_compliance

    @strawberry.field
    def total_breaches(self, root: strawberry.Parent[reports.IncidentAnalytics]) -> int:
        return root.total_sla_breaches


@strawberry.type
class TeamMetrics:
    """How a team fared."""

    team_id: strawberry.ID
    time_range: TimeSpan
    total_incidents_handled: int
    incidents_by_severity: JSON
    average_response_time: float | None
    average_resolution_time: float | None
    reopened_incidents: int
    escalated_incidents: int

    @strawberry.field
    def user_metrics(self, root: strawberry.Parent[reports.TeamMetrics]) -> JSON:
        return cast("JSON", [one.model_dump(mode="json") for one in root.user_metrics])


async def _reckoned(
    info: Info, start: datetime, end: datetime, group_by: list[GroupBy] | None = None
) -> reports.IncidentAnalytics:
    asked = {"start_date": start, "end_date": end, "group_by": group_by or []}
    query = decode(reports.MetricsQuery, asked)
    return await info.context.gateway.reports.metrics(info.context.caller, query)


@strawberry.type
class Reports:
    """Of how incidents went. A range is 366 days at most."""

    @strawberry.field
    async def analytics(self, info: Info, time_range: inputs.TimeRange) -> IncidentAnalytics:
        return cast("IncidentAnalytics", await _reckoned(info, time_range.start, time_range.end))

    @strawberry.field
    async def incident_metrics(
        self, info: Info, start_date: datetime, end_date: datetime, group_by: list[GroupBy] | None = None
    ) -> IncidentAnalytics:
        return cast("IncidentAnalytics", await _reckoned(info, start_date, end_date, group_by))

    @strawberry.field
    async def incident_trends(
        self,
        info: Info,
        start_date: datetime,
        end_date: datetime,
        interval: Interval = Interval.DAY,
        metric: TrendMetric = TrendMetric.INCIDENT_COUNT,
    ) -> list[TrendPoint]:
        asked = {"start_date": start_date, "end_date": end_date, "interval": interval, "metric": metric}
        query = decode(reports.TrendQuery, asked)
        return cast("list[TrendPoint]", await info.context.gateway.reports.trends(info.context.caller, query))

    @strawberry.field
    async def sla_compliance(self, info: Info, start_date: datetime, end_date: datetime) -> SLACompliance:
        return cast("SLACompliance", await _reckoned(info, start_date, end_date))

    @strawberry.field
    async def team_metrics(self, info: Info, team_id: strawberry.ID, time_range: inputs.TimeRange) -> TeamMetrics:
        query = decode(reports.Range, {"start_date": time_range.start, "end_date": time_range.end})
        found = await info.context.gateway.reports.team_metrics(info.context.caller, str(team_id), query)
        return cast("TeamMetrics", found)

"""How incidents went."""

from fastapi import APIRouter, Request

from app.api.auth import Caller
from app.api.rest.events import Named
from app.api.rest.query import asking, query
from app.api.rest.wire import Served
from app.domain.reports import IncidentAnalytics, MetricsQuery, Range, TeamMetrics, TrendPoint, TrendQuery

router = APIRouter(prefix="/analytics", tags=["analytics"])


@router.get("/metrics", openapi_extra=asking(MetricsQuery))
async def metrics(request: Request, who: Caller, gateway: Served) -> IncidentAnalytics:
    """Counts, means and percentiles of the incidents that were opened in a range; at most 366 days."""
    return await gateway.reports.metrics(who, query(request, MetricsQuery))


@router.get("/trends", openapi_extra=asking(TrendQuery))
async def trends(request: Request, who: Caller, gateway: Served) -> list[TrendPoint]:
    """One figure per hour, day, week or month of a range."""
    return await gateway.reports.trends(who, query(request, TrendQuery))


@router.get("/teams/{team}", openapi_extra=asking(Range))
async def team(request: Request, team: Named, who: Caller, gateway: Served) -> TeamMetrics:
    """How a team fared with the incidents that are its own."""
    return await gateway.reports.team_metrics(who, team, query(request, Range))

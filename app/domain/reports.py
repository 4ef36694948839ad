"""How incidents went, over a range of time. Times are in seconds, compliance is a share from 0 to 1."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from app.domain.decode import Instant
from app.domain.record import Record
from app.domain.vocabulary import Category, Severity, Status

LONGEST = timedelta(days=366)


class _Word(StrEnum):
    @classmethod
    def _missing_(cls, value: object) -> "Self | None":
        return cls._value2member_map_.get(str(value).strip().lower())  # type: ignore[return-value]


class GroupBy(_Word):
    SEVERITY = "severity"
    CATEGORY = "category"
    STATUS = "status"
    ENVIRONMENT = "environment"
    SOURCE = "source"
    TEAM = "team"


class Interval(_Word):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class TrendMetric(_Word):
    INCIDENT_COUNT = "incident_count"
    MTTD = "mttd"
    MTTA = "mtta"
    MTTR = "mttr"
    SLA_COMPLIANCE = "sla_compliance"


class Range(Record):
    """Incidents that were opened from `start_date` on and before `end_date`, at most 366 days."""

    start_date: Instant
    end_date: Instant

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if not timedelta() < self.end_date - self.start_date <= LONGEST:
            raise ValueError(f"end_date must be after start_date, by at most {LONGEST.days} days")
        return self


class MetricsQuery(Range):
    group_by: tuple[GroupBy, ...] = Field(default=(), max_length=len(GroupBy))


class TrendQuery(Range):
    """Buckets begin on whole hours, days, Mondays and months in UTC."""

    interval: Interval = Interval.DAY
    metric: TrendMetric = TrendMetric.INCIDENT_COUNT


class TimeRange(Record):
    start: datetime
    end: datetime


class TrendPoint(Record):
    """A bucket that begins at `timestamp`. `value` is None where nothing was there to be measured."""

    timestamp: datetime
    value: float | None
    metadata: dict[str, object]


class Measured(Record):
    """Means of incidents; None where none of them is that far. mttd, mtta and mttr are from the first alert, as on an
    incident; an incident that is open counts as kept until its deadline has passed."""

    total_incidents: int
    average_mttd: float | None = None
    average_mtta: float | None = None
    average_mttr: float | None = None
    sla_compliance: float | None = None
    sla_acknowledgment_compliance: float | None = None
    sla_resolution_compliance: float | None = None
    total_sla_breaches: int = 0


class Group(Measured):
    """The incidents that have the same values in `group`."""

    group: dict[GroupBy, str | None]


class IncidentAnalytics(Measured):
    """The trends are by day."""

    time_range: TimeRange
    incidents_by_severity: dict[Severity, int]
    incidents_by_category: dict[Category, int]
    incidents_by_status: dict[Status, int]
    p50_mtta: float | None
    p90_mtta: float | None
    p95_mtta: float | None
    p99_mtta: float | None
    p50_mttr: float | None
    p90_mttr: float | None
    p95_mttr: float | None
    p99_mttr: float | None
    groups: list[Group]
    incident_trend: list[TrendPoint]
    mttr_trend: list[TrendPoint]


class UserMetrics(Record):
    """`incidents_handled`: those that somebody acknowledged."""

    user_id: str
    incidents_handled: int
    average_resolution_time: float | None


class TeamMetrics(Record):
    """The incidents that are a team's: how soon it took and resolved them, how many were reopened or escalated."""

    team_id: str
    time_range: TimeRange
    total_incidents_handled: int
    incidents_by_severity: dict[Severity, int]
    average_response_time: float | None
    average_resolution_time: float | None
    reopened_incidents: int
    escalated_incidents: int
    user_metrics: list[UserMetrics]

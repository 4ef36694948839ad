"""What one post of a tool can say: alerts, changes, and telemetry that means something only in numbers."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from app.domain.alert import Alert, ChangeEvent
from app.domain.record import Record


class Signal(StrEnum):
    """What is counted. `bad` of a sample are failures, refusals by a rate limit, interventions, failed evaluations."""

    ERRORS = "errors"
    RATE_LIMITS = "rate_limits"
    SPEND = "spend"
    GUARDRAILS = "guardrails"
    GUARDRAIL_FAILURES = "guardrail_failures"
    EVALUATIONS = "evaluations"
    BLOCKS = "blocks"


Word = Annotated[str, Field(min_length=1, max_length=255)]


class Sample(Record):
    """What one piece of telemetry adds to the series that `signal`, `source` and `subject` name.

    `subject` holds what alerts of it will be labelled with (`provider`, `model_group`, `key_alias`, `session_id` …):
    no text of users, no secret. It counts in that series alone: who tells what a session or an end user adds
    tells once more, without them, what its key or guardrail does. `labels` only come along. `bad` of `total` went
    wrong; `amount` is what was spent, in US dollars.
    """

    signal: Signal
    source: Word
    subject: dict[str, Word] = {}
    labels: dict[str, str] = {}
    service: str | None = Field(None, max_length=255)
    environment: str | None = Field(None, max_length=255)
    at: datetime | None = None
    total: int = Field(1, ge=0)
    bad: int = Field(0, ge=0)
    amount: float = Field(0.0, ge=0, allow_inf_nan=False)


class Inbound(Record):
    """`delivery` names the post itself, so that telemetry that comes twice counts once."""

    alerts: tuple[Alert, ...] = ()
    changes: tuple[ChangeEvent, ...] = ()
    samples: tuple[Sample, ...] = ()
    delivery: str | None = None

"""Reports of test runs, from CI: one alert for each thing that fails, and the end of it once it passes.

`?service=` says whose run it was, `?run_id=` which, `?environment=` where; `?max_fail=` how large a share may fail, and
`?severity=` how urgent a failure is, where the report's own source doesn't know better.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple

from app.domain.alert import AlertStatus
from app.domain.errors import Invalid
from app.domain.inbound import Inbound
from app.domain.vocabulary import Severity
from app.sources.base import Post, canonical

REGRESSION, BLIND = "eval.regression", "observability.blind_spot"
FINDINGS_MAX = 5_000


class Finding(NamedTuple):
    """What a run says of one thing, which `identity` names from run to run."""

    identity: str
    title: str
    failing: bool
    incident_class: str = REGRESSION
    severity: Severity | None = None
    description: str = ""
    labels: Mapping[str, object] = {}
    notes: Mapping[str, object] = {}


def inbound(
    source: str, post: Post, findings: Iterable[Finding], *, run: str | None = None, at: datetime | None = None
) -> Inbound:
    """The findings as alerts. Of what a run says twice the worse counts.

    Where the run has a name (`run_id`, or the report's own), the same report twice is once.

    Raises: Invalid for what the query says.
    """
    service, run = post.query.get("service") or None, post.query.get("run_id") or run
    urgent, sent = asked_severity(post), sha256(post.body).hexdigest()
    worst: dict[str, Finding] = {}
    for finding in findings:
        if finding.identity not in worst or (finding.failing and not worst[finding.identity].failing):
            worst[finding.identity] = finding
    if len(worst) > FINDINGS_MAX:
        raise Invalid.field("body", f"must not be about more than {FINDINGS_MAX:,} things")
    return Inbound(alerts=tuple(
        canonical(
            source, finding.title, f"{service or ''}/{identity}",
            incident_class=finding.incident_class,
            severity=finding.severity or (urgent if finding.incident_class == REGRESSION else None),
            status=AlertStatus.FIRING if finding.failing else AlertStatus.RESOLVED,
            description=finding.description, service=service, environment=post.query.get("environment"),
            labels=finding.labels, notes={"run_id": run, **finding.notes}, starts_at=at,
            delivery=f"{run}/{sent}/{identity}" if run else None,
        )
        for identity, finding in worst.items()
    ))  # fmt: skip


def asked_severity(post: Post) -> Severity | None:
    """Raises: Invalid."""
    try:
        return Severity(post.query["severity"]) if post.query.get("severity") else None
    except ValueError:
        raise Invalid.field("severity", "must be P0, P1, P2, P3 or P4") from None


def share(post: Post, default: float) -> float:
    """How much may fail (`?max_fail=`), between 0 and 1. Raises: Invalid."""
    try:
        allowed = float(post.query.get("max_fail") or default)
    except ValueError:
        allowed = math.nan
    if not 0 <= allowed <= 1:
        raise Invalid.field("max_fail", "must be a share between 0 and 1, like 0.1")
    return allowed


def moment(value: object) -> datetime | None:
    """The moment that a text like 2026-11-23T08:00:00Z names, in UTC where it has no zone; None for others."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC) if at else None
    except (ValueError, OverflowError):
        return None


def number(value: object) -> float | None:
    """A finite number; None for everything else."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and abs(value) < 1e300 else None  # type: ignore[arg-type]


def count(value: object) -> int:
    """How many; 0 for what isn't a number."""
    found = number(value)
    return max(0, int(found)) if found is not None else 0


def word(value: object) -> str:
    """A text on one line, "" for everything else."""
    return " ".join(value.split()) if isinstance(value, str) else ""


def part(value: object, *path: str) -> object:
    """What stands at a path of objects, or None."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def rows(value: object) -> list[dict[str, object]]:
    """The objects of a list."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []

"""Whether the process runs, and whether it can do its work. Nobody has to say who asks."""

import time
from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter, Response, status

from app.api.rest.wire import Served, reply
from app.domain.record import Record
from app.runtime import Gateway
from app.service.health import VERSION
from app.telemetry.metrics import exposition

STARTED = time.monotonic()

router = APIRouter(tags=["health"])


class HealthReport(Record):
    """`status` is healthy, degraded (alerts are still accepted) or unhealthy; `failing` says why."""

    status: Literal["healthy", "degraded", "unhealthy"]
    timestamp: datetime
    version: str
    uptime: float
    uptime_seconds: int
    components: dict[str, Literal["up", "down"]]
    failing: dict[str, str]


EITHER: dict[int | str, dict[str, Any]] = {
    200: {"model": HealthReport, "description": "It can do its work."},
    503: {"model": HealthReport, "description": "It can't; `failing` says why."},
}
TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


async def condition(gateway: Gateway) -> dict[str, object]:
    """`status` is healthy, degraded (alerts are still accepted) or unhealthy; `components` says which part fails."""
    parts = await gateway.health.ready()
    failing = {part: said for part, said in parts.items() if said != "up"}
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    uptime = round(time.monotonic() - STARTED, 3)
    return {
        "status": "unhealthy" if "database" in failing else "degraded" if failing else "healthy",
        "timestamp": now,
        "version": VERSION,
        "uptime": uptime,
        "uptime_seconds": int(uptime),
        "components": {part: "down" if part in failing else "up" for part in parts},
        "failing": failing,
    }


@router.get("/health/live")
async def live() -> dict[str, str]:
    """The process runs."""
    return {"status": "alive"}


@router.get("/health/ready", responses=EITHER)
@router.get("/ready", responses=EITHER)
async def ready(gateway: Served) -> Response:
    """503 while any part is away, naming it."""
    found = await condition(gateway)
    return reply(found, status.HTTP_503_SERVICE_UNAVAILABLE if found["failing"] else status.HTTP_200_OK)


@router.get("/health", responses=EITHER)
async def health(gateway: Served) -> Response:
    """The whole picture. 503 when no alert can be accepted."""
    found = await condition(gateway)
    return reply(found, status.HTTP_503_SERVICE_UNAVAILABLE if found["status"] == "unhealthy" else status.HTTP_200_OK)


@router.get("/metrics", response_class=Response, responses=TEXT)
async def metrics() -> Response:
    """Prometheus' text format."""
    body, media_type = exposition()
    return Response(body, headers={"content-type": media_type})

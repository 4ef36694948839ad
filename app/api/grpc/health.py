"""grpc.health.v1 (https://github.com/grpc/grpc/blob/master/doc/health-checking.md): whether the parts answer."""

import asyncio
from collections.abc import AsyncIterator, Collection

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer

from app.api.grpc.wire import Context
from app.domain.errors import NotFound
from app.service.health import UP, Health

LOOKS_EVERY_SECS = 2.0
INGESTION = "alerts.AlertIngestion"


class Checks(HealthServicer):  # type: ignore[misc]  # comes without types
    """`services` by their full names. Alerts come in without Temporal; all else, and "", needs every part."""

    def __init__(self, health: Health, services: Collection[str]) -> None:
        self.health = health
        self.services = {"", *services}

    async def Check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:
        if request.service not in self.services:
            raise NotFound("service", request.service)
        return HealthCheckResponse(status=await self._status(request.service))

    async def Watch(self, request: HealthCheckRequest, context: Context) -> AsyncIterator[HealthCheckResponse]:
        said = None
        while True:
            status = await self._status(request.service)
            if status != said:
                yield HealthCheckResponse(status=status)
                said = status
            await asyncio.sleep(LOOKS_EVERY_SECS)

    async def _status(self, service: str) -> str:
        if service not in self.services:
            return "SERVICE_UNKNOWN"
        parts = await self.health.ready()
        needed = ["database"] if service == INGESTION else list(parts)
        return "SERVING" if all(parts[part] == UP for part in needed) else "NOT_SERVING"

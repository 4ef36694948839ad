"""Whether the parts the service stands on answer."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client
from temporalio.service import RPCError

from app.store.database import AWAY, Pool

PATIENCE = timedelta(seconds=1)
UP = "up"
VERSION = version("llm-incident-manager")


@dataclass(frozen=True)
class Health:
    pool: Pool
    temporal: Client

    async def ready(self) -> dict[str, str]:
        """Each part with "up", or why it isn't. Takes two seconds at most."""
        database, temporal = await asyncio.gather(self._database(), self._temporal())
        return {"database": database, "temporal": temporal}

    async def _database(self) -> str:
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                await self.pool.fetchval("SELECT 1")
        except AWAY as away:
            return f"PostgreSQL does not answer: {type(away).__name__}"
        return UP

    async def _temporal(self) -> str:
        try:
            service = self.temporal.workflow_service
            await service.get_system_info(GetSystemInfoRequest(), timeout=PATIENCE)
        except (RPCError, RuntimeError, OSError) as away:
            return f"Temporal does not answer: {type(away).__name__}"
        return UP

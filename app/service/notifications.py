"""Messages after they were sent: what came of them, what their providers say later, and once more."""

import asyncio
import hashlib
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.directory import Redeliver
from app.domain.access import Principal, Scope
from app.domain.errors import Conflict, Unavailable
from app.domain.representation import NotificationView
from app.domain.vocabulary import DeliveryStatus
from app.store.database import answering
from app.store.deliveries import DeliveryStore
from workflows import names
from workflows.incident import IncidentWorkflow

ANSWER_WITHIN = timedelta(seconds=5)
HEARD_WITHIN = timedelta(seconds=1)
"""Of a signal while PostgreSQL waits to note it, which by itself may take `PATIENCE_SECS`."""
OVER = (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION)


@dataclass(frozen=True)
class Notifications:
    store: DeliveryStore
    temporal: Client

    async def get(self, who: Principal, id_: str) -> NotificationView:
        """Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            return await self.store.get(id_)

    async def receipt(
        self, who: Principal, id_: str, status: Literal["delivered", "failed"], reason: str | None
    ) -> NotificationView:
        """What a provider says after it took a message. One that failed is followed by the person's next channel.

        It holds for all incidents that the message told of. Saying the same again changes nothing; word about a
        message that isn't sent yet neither.

        Raises: Forbidden, NotFound, Unavailable.
        """
        who.may(Scope.SEND_ALERTS)
        async with answering():
            await self.store.get(id_)
            together = await self.store.together(id_)
        for one in together:
            # Noted only once the workflow has heard of it: whoever is told otherwise asks again.
            async with answering(), self.store.receipt(one, DeliveryStatus(status), reason) as news:
                if news and status == "failed":
                    await self._tell(*news)
        async with answering():
            return await self.store.get(id_)

    async def redeliver(self, who: Principal, id_: str, key: str | None) -> NotificationView:
        """The message once more, as a new notification. Asking again with the same `key` is asking once.

        Raises: Forbidden, NotFound, Conflict when the incident is over for good, Unavailable.
        """
        who.may(Scope.RESPOND)
        async with answering():
            before = await self.store.get(id_)
        request = hashlib.sha256(f"{id_}\n{who.name}\n{key}".encode()).hexdigest() if key else uuid.uuid4().hex
        ask = Redeliver(key=before.idempotency_key, by=who.name, id=request)
        try:
            async with asyncio.timeout(ANSWER_WITHIN.total_seconds()):
                again = await self._of(before.incident_id).execute_update(
                    IncidentWorkflow.redeliver, ask, id=request, rpc_timeout=ANSWER_WITHIN
                )
        except (RPCError, WorkflowUpdateFailedError) as no:
            if isinstance(no, WorkflowUpdateFailedError) or no.status in OVER:
                raise Conflict(f"The incident {before.incident_id} is over: nothing is sent for it any more.") from no
            raise _away() from no
        except (WorkflowUpdateRPCTimeoutOrCancelledError, RuntimeError, OSError) as away:
            raise _away() from away
        async with answering():
            return await self.store.get(again)

    async def _tell(self, incident_id: str, key: str) -> None:
        try:
            async with asyncio.timeout(HEARD_WITHIN.total_seconds()):
                await self._of(incident_id).signal(IncidentWorkflow.undelivered, key, rpc_timeout=HEARD_WITHIN)
        except RPCError as no:
            if no.status not in OVER:
                raise _away() from no
        except (RuntimeError, OSError) as away:
            raise _away() from away

    def _of(self, incident_id: str) -> WorkflowHandle[IncidentWorkflow, None]:
        return self.temporal.get_workflow_handle_for(IncidentWorkflow.run, names.workflow_id(incident_id))


def _away() -> Unavailable:
    return Unavailable("temporal", "The incident's workflow does not answer: ask again.", retry_after=2)

"""One message: what came of it, what its provider says later, and once more."""

from typing import Literal

from fastapi import APIRouter, Request, status

from app.api.auth import Caller
from app.api.rest.wire import IDEMPOTENT, Served, accepts, idempotency_key, read
from app.domain.record import Record
from app.domain.representation import NotificationView
from app.domain.requests import Text

router = APIRouter(prefix="/notifications/{notification_id}", tags=["notifications"])


class ProvidersWord(Record):
    """What a provider says after it took the message."""

    status: Literal["delivered", "failed"]
    reason: Text | None = None


@router.get("")
async def one(notification_id: str, who: Caller, gateway: Served) -> NotificationView:
    return await gateway.notifications.get(who, notification_id)


@router.post("/receipt", openapi_extra=accepts(ProvidersWord))
async def receipt(request: Request, notification_id: str, who: Caller, gateway: Served) -> NotificationView:
    """A message that failed after all is followed by the person's next channel."""
    said = await read(request, ProvidersWord)
    return await gateway.notifications.receipt(who, notification_id, said.status, said.reason)


@router.post("/redeliver", status_code=status.HTTP_202_ACCEPTED, openapi_extra=IDEMPOTENT)
async def redeliver(request: Request, notification_id: str, who: Caller, gateway: Served) -> NotificationView:
    """The message once more, as a new notification. With an Idempotency-Key asking twice is asking once."""
    return await gateway.notifications.redeliver(who, notification_id, idempotency_key(request))

"""A message to one person through one channel, and what came of it."""

from datetime import datetime, timedelta

from app.domain.record import Record
from app.domain.vocabulary import ChannelName, DeliveryStatus


def delivery_key(incident_id: str, cycle: int, rung: int, target: str, channel: str) -> str:
    """The identity of one page, stable over retries, crashes and replays.

    `cycle` counts the times the ladder was started (reopening starts it anew), `rung` the step
    within it, repeats included. The same five always give the same key; two different pages never do.
    """
    return f"{incident_id}/{cycle}/{rung}/{target}/{channel}"


class Message(Record):
    """What is said, in the channel's own terms made of these fields.

    `key` is the idempotency key (`delivery_key`); `incident` is the public representation of the
    incident as it stood when the message went out (a JSON object); `level` counts from 1.
    """

    key: str
    notification_id: str
    incident_id: str
    level: int
    target: str
    title: str
    body: str
    link: str | None = None
    severity: str = "P3"
    incident: dict[str, object] = {}


class Receipt(Record):
    """The provider took it. `reference` is the provider's own id for it, if it gave one."""

    reference: str | None = None


class Undelivered(Exception):
    """The provider did not take the message.

    `retry_after` is how long to wait before trying again, or None when it will never be taken.
    """

    def __init__(self, reason: str, retry_after: timedelta | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Delivery(Record):
    """One row of an incident's notifications: who is told what, through which channel, and how it went."""

    id: str
    key: str
    incident_id: str
    cycle: int
    rung: int
    level: int
    target: str
    channel: ChannelName
    address: dict[str, str]
    status: DeliveryStatus = DeliveryStatus.PENDING
    attempts: int = 0
    last_error: str | None = None
    reference: str | None = None
    created_at: datetime | None = None
    sent_at: datetime | None = None

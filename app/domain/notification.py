"""A message to one person through one channel, and what came of it."""

from datetime import datetime, timedelta
from typing import Literal

from app.domain.people import veiled
from app.domain.record import Record
from app.domain.vocabulary import ChannelName, DeliveryStatus, MessageKind, Wanted


def delivery_key(incident_id: str, cycle: int, rung: int, target: str, channel: str, step: int = 0) -> str:
    """The identity of one page, stable over retries, crashes and replays.

    `cycle` counts the times the ladder was started (reopening starts it anew), `rung` the step within it, repeats
    included; `step` counts the times a person's rules use the same channel, from 0. The same six always give the
    same key; two different pages never do.
    """
    return f"{incident_id}/{cycle}/{rung}/{target}/{channel}{f'+{step}' if step else ''}"


def notice_key(incident_id: str, seq: int, kind: MessageKind, target: str, channel: str) -> str:
    """The identity of a notice about the incident's timeline entry number `seq`."""
    return f"{incident_id}/{kind}-{seq}/{target}/{channel}"


class Outgoing(Record):
    """A message that was written down to be sent: its key, and whom it tells through what.

    `due_at` is when it goes out; None = now. `wanted` is how long it is worth sending.
    """

    key: str
    cycle: int
    rung: int
    level: int
    target: str
    channel: ChannelName
    kind: MessageKind = MessageKind.CREATED
    wanted: Wanted = Wanted.UNTAKEN
    due_at: datetime | None = None


class Notice(Record):
    """Word to somebody who was paged, about what has become of the incident since (timeline entry `seq`)."""

    kind: MessageKind
    seq: int
    target: str
    channel: ChannelName


class Bundled(Record):
    """An incident that is told of by another one's message, so that a storm is one message and not a hundred."""

    incident_id: str
    title: str
    severity: str
    link: str | None = None


class Invitation(Record):
    """A calendar (RFC 5545) that a mail carries, and what is asked by it (RFC 5546)."""

    method: Literal["REQUEST", "CANCEL"]
    calendar: str


class Message(Record):
    """What is said, in the channel's own terms made of these fields.

    `key` is the idempotency key; `incident` is the public representation of the incident as it stood when the
    message went out (a JSON object); `level` counts from 1. `thread` is the provider's own id of the first message
    about this incident at this address, None in the first one. `by` is who caused what a notice tells.
    `subject`, `text`, `html` and `payload` were rendered from the team's own template; None = the channel's words.
    `acknowledge_url` lets this person take the incident with one click, where that was set up. `invitation` goes with
    a mail, and with nothing else. `asks` is a run of a playbook and its step, `run/step`, which a word is wanted about.
    """

    key: str
    notification_id: str
    incident_id: str
    kind: MessageKind = MessageKind.CREATED
    level: int
    target: str
    title: str
    body: str
    link: str | None = None
    severity: str = "P3"
    status: str = "NEW"
    by: str | None = None
    incident: dict[str, object] = {}
    thread: str | None = None
    bundled: tuple[Bundled, ...] = ()
    subject: str | None = None
    text: str | None = None
    html: str | None = None
    payload: dict[str, object] | None = None
    acknowledge_url: str | None = None
    invitation: Invitation | None = None
    asks: str | None = None


class Receipt(Record):
    """The provider took it. `reference` is the provider's own id for it, if it gave one.

    `delivered`: it said that the receiver has it. False when it was only queued, or said nothing about that.
    """

    reference: str | None = None
    delivered: bool = False


class Undelivered(Exception):
    """The provider did not take the message.

    `retry_after` is how long to wait before trying again, or None when it will never be taken.
    """

    def __init__(self, reason: str, retry_after: timedelta | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Unasked(Undelivered):
    """The provider was not asked at all, for it is known not to answer: that was no try."""


class Delayed(Record):
    """A message has to wait: until when, how many seconds that is, and for what."""

    until: datetime
    secs: float
    reason: str


class Delivery(Record):
    """One row of an incident's notifications: who is told what, through which channel, and how it went."""

    id: str
    key: str
    incident_id: str
    kind: MessageKind = MessageKind.CREATED
    wanted: Wanted = Wanted.UNTAKEN
    cycle: int
    rung: int
    level: int
    target: str
    channel: ChannelName
    address: dict[str, str]
    template: str | None = None
    by: str | None = None
    due_at: datetime | None = None
    status: DeliveryStatus = DeliveryStatus.PENDING
    attempts: int = 0
    last_error: str | None = None
    reference: str | None = None
    created_at: datetime | None = None
    sent_at: datetime | None = None

    @property
    def outgoing(self) -> Outgoing:
        return Outgoing.model_validate(self, from_attributes=True)


def destination(channel: ChannelName, address: dict[str, str]) -> str:
    """What messages to the same receiver have in common, whatever incident and target they are for."""
    return f"{channel}:{next(iter(address.values()), '')}"


def recipient(channel: ChannelName, address: dict[str, str]) -> str:
    """The address as it may be shown: an integration key is veiled."""
    shown = next(iter(address.values()), "")
    return veiled(shown) if channel is ChannelName.PAGERDUTY and shown else shown

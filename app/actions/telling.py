"""A message about the incident through a channel that is set up, in the playbook's own words."""

from typing import Annotated
from uuid import NAMESPACE_URL, uuid5

from pydantic import StringConstraints

from app.actions.base import Failed, Situation
from app.channels.base import Channel
from app.domain.notification import Message, Receipt, Undelivered
from app.domain.record import Record
from app.domain.vocabulary import MessageKind
from app.net.http import Unanswered

Text = Annotated[str, StringConstraints(min_length=1, max_length=3000, strip_whitespace=True)]
Subject = Annotated[str, StringConstraints(min_length=1, max_length=150, strip_whitespace=True)]


def message(
    at: Situation,
    link: str | None,
    text: str | None,
    subject: str | None = None,
    kind: MessageKind = MessageKind.UPDATED,
) -> Message:
    """The step's message: the same key and id over all its tries. `text` None leaves the channel its own words."""
    incident = at.incident
    return Message(
        key=at.key, notification_id=str(uuid5(NAMESPACE_URL, at.key)), incident_id=incident.id, kind=kind,
        level=incident.escalation_level, target=at.actor, title=incident.title, body=incident.description, link=link,
        severity=incident.severity, status=incident.status, by=at.actor, incident=incident.model_dump(mode="json"),
        subject=subject, text=text,
    )  # fmt: skip


async def told(channel: Channel, said: Message, to: Record) -> Receipt:
    """Raises: Failed."""
    try:
        return await channel.send(said, to)
    except Undelivered as no:
        unheard = isinstance(no.__cause__, Unanswered | OSError)
        raise Failed(str(no), no.retry_after, doubtful=unheard) from no

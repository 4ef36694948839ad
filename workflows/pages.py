"""The messages of an incident that are on their way: each an activity, retried until it is taken or nobody needs it."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from activities.directory import Directory, Informing, Keys
from activities.sending import GiveUp, Send, Sending, Sent
from app.domain import paging
from app.domain.notification import Outgoing
from workflows import options
from workflows.local import local

if TYPE_CHECKING:
    from workflows.incident import IncidentWorkflow


class Pages:
    """`under_way` maps delivery keys to their messages, in the order in which they were handed out.

    `doubted`: PostgreSQL said that nobody needs them, which is not so: it shows something that a killed
    worker wrote there and never got to decide.
    """

    def __init__(self, of: "IncidentWorkflow", give_up_after: timedelta) -> None:
        self.of = of
        self.give_up_after = give_up_after
        self.under_way: dict[str, Outgoing] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.doubted: list[Outgoing] = []

    def send(self, messages: Iterable[Outgoing]) -> None:
        """Starts sending, without waiting. A message that is on its way already is not started again."""
        for message in messages:
            if message.key not in self.under_way and self.of.incident.wants(message):
                before = [o.key for o in self.under_way.values() if _receiver(o) == _receiver(message)]
                self.under_way[message.key] = message
                self.tasks[message.key] = asyncio.create_task(self._send(message, before))

    def stop_unwanted(self) -> None:
        for key, message in list(self.under_way.items()):
            if not self.of.incident.wants(message):
                self.tasks[key].cancel()

    async def inform(self, notices: tuple[Outgoing, ...], by: str | None = None) -> None:
        """Tells people who were paged what has become of the incident."""
        if notices:
            await local(Directory.inform, Informing(incident_id=self.of.incident.id, notices=notices, by=by))
            self.send(notices)

    async def insist(self) -> None:
        """Sends pages again that PostgreSQL, which has been put right meanwhile, called off."""
        doubted, self.doubted = self.doubted, []
        wanted = tuple(message for message in doubted if self.of.incident.wants(message))
        if not wanted:
            return
        known = await local(Directory.insist, Keys(keys=tuple(message.key for message in wanted)))
        for message in wanted:
            if message.key in known.keys:
                self.send([message])
            else:
                self.of.take(paging.failed(self.of.incident, message, "its record is gone", workflow.now()))

    async def _send(self, message: Outgoing, before: list[str]) -> None:
        try:
            if not message.kind.page:
                await workflow.wait_condition(lambda: not any(key in self.under_way for key in before))
            sent = await self._deliver(message)
        except (ActivityError, asyncio.CancelledError) as ended:
            if not is_cancelled_exception(ended):
                await self._failed(message, ended)
        else:
            await self._arrived(message, needed=sent.outcome == "sent")
        finally:
            del self.under_way[message.key], self.tasks[message.key]

    async def _deliver(self, message: Outgoing) -> Sent:
        severity = self.of.incident.severity
        return await workflow.execute_activity_method(
            Sending.send,
            Send(key=message.key),
            task_queue=options.send_queue(severity),
            start_to_close_timeout=options.SEND_TIMEOUT,
            schedule_to_close_timeout=self.give_up_after,
            heartbeat_timeout=options.SEND_HEARTBEAT,
            retry_policy=options.SEND_RETRY,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            priority=options.priority(severity),
            summary=f"{message.kind}, level {message.level}: {message.target} by {message.channel}"[:200],
        )

    async def _arrived(self, message: Outgoing, *, needed: bool) -> None:
        if needed:
            self.of.take(paging.sent(self.of.incident, message, workflow.now()))
            await self.inform(paging.late_notice(self.of.incident, message))
        elif message.kind.page and self.of.incident.wants(message):
            self.doubted.append(message)
            self.of.stirred = True

    async def _failed(self, message: Outgoing, ended: BaseException) -> None:
        """A message that will never arrive."""
        cause = ended.__cause__
        reason = cause.message if isinstance(cause, ApplicationError) else "nobody took it in time"
        await local(Sending.give_up, GiveUp(key=message.key, reason=reason))
        self.of.take(paging.failed(self.of.incident, message, reason, workflow.now()))


def _receiver(message: Outgoing) -> tuple[str, str]:
    return message.target, message.channel

"""The pages of an incident that are on their way: each an activity, retried until it is taken or nobody needs it."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from activities.directory import Directory, Paging
from activities.sending import GiveUp, Send, Sending
from activities.triage import Outgoing
from app.domain import lifecycle
from app.domain.incident import Page
from app.domain.timeline import SYSTEM, EventType
from workflows import options
from workflows.local import local

if TYPE_CHECKING:
    from workflows.incident import IncidentWorkflow

Rung = tuple[int, int]


class Pages:
    """`under_way` maps delivery keys to their pages; `arrived` are the rungs of which at least one page was taken.

    `doubted`: PostgreSQL said that nobody needs them, which is not so: it shows something that a killed
    worker wrote there and never got to decide.
    """

    def __init__(self, of: "IncidentWorkflow", give_up_after: timedelta) -> None:
        self.of = of
        self.give_up_after = give_up_after
        self.under_way: dict[str, Outgoing] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.arrived: set[Rung] = set()
        self.doubted: list[Outgoing] = []

    def send(self, pages: Iterable[Outgoing]) -> None:
        """Starts sending, without waiting. A page that is on its way already is not started again."""
        for page in pages:
            if page.key not in self.under_way:
                self.under_way[page.key] = page
                self.tasks[page.key] = asyncio.create_task(self._send(page))

    def stop_unwanted(self) -> None:
        for key, page in list(self.under_way.items()):
            if not self.of.wanted(page):
                self.tasks[key].cancel()

    async def _send(self, page: Outgoing) -> None:
        incident = self.of.incident
        try:
            sent = await workflow.execute_activity_method(
                Sending.send,
                Send(key=page.key),
                task_queue=options.send_queue(incident.severity),
                start_to_close_timeout=options.SEND_TIMEOUT,
                schedule_to_close_timeout=self.give_up_after,
                heartbeat_timeout=options.SEND_HEARTBEAT,
                retry_policy=options.SEND_RETRY,
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                priority=options.priority(incident.severity),
                summary=f"level {page.level}: {page.target} by {page.channel}"[:200],
            )
        except (ActivityError, asyncio.CancelledError) as ended:
            if not is_cancelled_exception(ended):
                await self._failed(page, ended)
        else:
            self._arrived(page, needed=sent.outcome == "sent")
        finally:
            del self.under_way[page.key], self.tasks[page.key]

    def _arrived(self, page: Outgoing, *, needed: bool) -> None:
        if needed:
            self.arrived.add((page.cycle, page.rung))
            self._tell(EventType.NOTIFICATION_SENT, page)
        elif self.of.wanted(page):
            self.doubted.append(page)
            self.of.stirred = True

    async def insist(self, doubted: Iterable[Outgoing]) -> None:
        """Decides pages again that PostgreSQL, which has been put right meanwhile, called off."""
        for page in doubted:
            if self.of.wanted(page):
                await local(Directory.page, Paging(incident_id=self.of.incident.id, page=self._page(page)))
                self.send([page])

    def _page(self, page: Outgoing) -> Page:
        policy = self.of.incident.policy
        if policy is None:
            raise RuntimeError("a page without a policy")
        return Page(cycle=page.cycle, rung=page.rung, number=page.level, level=policy.level(page.rung))

    async def _failed(self, page: Outgoing, ended: BaseException) -> None:
        """A page that will never arrive. When no other of its level may, the next level does not wait."""
        cause = ended.__cause__
        reason = cause.message if isinstance(cause, ApplicationError) else "nobody took it in time"
        await local(Sending.give_up, GiveUp(key=page.key, reason=reason))
        self._tell(EventType.NOTIFICATION_FAILED, page, reason)
        rung = (page.cycle, page.rung)
        others = any((o.cycle, o.rung) == rung and o.key != page.key for o in self.under_way.values())
        if not others and rung not in self.arrived and self.of.wanted(page):
            self.of.take((lifecycle.at_once(self.of.incident, self._page(page), workflow.now()), ()))
            self.of.stirred = True

    def _tell(self, kind: EventType, page: Outgoing, reason: str | None = None) -> None:
        self.of.take(
            lifecycle.told(
                self.of.incident, workflow.now(), SYSTEM, kind, key=page.key, level=page.level, target=page.target,
                channel=page.channel, reason=reason,
            )
        )  # fmt: skip

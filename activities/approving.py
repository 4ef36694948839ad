"""Telling people that a playbook waits for their word."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from app.domain.escalation import Level, Policy, Target
from app.domain.notification import Message, Undelivered
from app.domain.reach import Planned, reach
from app.domain.vocabulary import ChannelName, MessageKind, Severity, TargetType

if TYPE_CHECKING:
    from activities.directory import Directory
    from app.channels.base import Channel
    from app.domain.playbook import Approval
    from app.store.documents import DocumentStore
    from app.store.runs import Kept, RunStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Approving:
    """`link` is the address of a run; `one_click` that of a page to decide about a step of it, where there is one."""

    directory: Directory
    documents: DocumentStore
    runs: RunStore
    channels: Mapping[ChannelName, Channel]
    link: Callable[[str], str]
    one_click: Callable[[str, str, str, ChannelName], Awaitable[str | None]]

    async def __call__(self, kept: Kept, step_id: str, approval: Approval | None, reminder: int) -> tuple[str, ...]:
        """Whose word is wanted: those an approval names, else those whom the incident pages first. All are told, as

        far as they can be reached; who can't be is named in the log.
        """
        now = datetime.now(UTC)
        targets = approval.approvers if approval is not None else await self._concerned(kept)
        if not targets:
            return ()
        level = Level(targets=targets, escalate_after_secs=0)
        people = await self.directory.people(level, now)
        found = reach(level, Severity.P0, people, tuple(self.channels), now)
        for unreached in found.unreached:
            await self.runs.say(kept.id, step_id, f"{unreached.target} was not told: {unreached.reason}", now)
        told: dict[str, str] = {}
        for planned in found.messages:
            if planned.due_at <= now and await self._tell(kept, step_id, approval, planned, reminder):
                told[planned.target] = planned.channel
        by = ", ".join(f"{target} by {channel}" for target, channel in told.items()) or "nobody"
        await self.runs.say(kept.id, step_id, f"{'reminded' if reminder else 'asked'}: {by}", now)
        named = {planned.target for planned in found.messages} | {each.target for each in found.unreached}
        return tuple(sorted(name.removeprefix("user:") for name in named if name.startswith("user:")))

    async def _concerned(self, kept: Kept) -> tuple[Target, ...]:
        incident = kept.incident
        assigned = incident.assigned_to
        own = (Target(type=TargetType.USER, id=assigned),) if assigned is not None else ()
        policy = await self.documents.get("escalation-policies", incident.escalation_policy_id or "")
        paged = Policy.model_validate(policy.body).levels[0].targets if policy is not None else ()
        return (*own, *paged)

    async def _tell(self, kept: Kept, step_id: str, approval: Approval | None, planned: Planned, reminder: int) -> bool:
        channel = self.channels[planned.channel]
        word = "Still waiting for your word" if reminder else "Your word is wanted"
        why = approval.message if approval is not None and approval.message else "It goes on once it is approved."
        page = await self.one_click(kept.id, step_id, planned.target, planned.channel)
        click = f"Approve or reject: {page}\n" if page else ""
        text = (
            f"{word}: playbook {kept.playbook.name}, step {step_id}, on [{kept.incident.severity}]"
            f" {kept.incident.title}\n{why}\n{click}"
            f"llm-im playbook approve {kept.id}   (or reject)\n{self.link(kept.id)}"
        )
        message = Message(
            key=f"{kept.id}/{step_id}/{f'reminder-{reminder}/' if reminder else ''}{planned.target}/{planned.channel}",
            notification_id=kept.id, incident_id=kept.incident.id, kind=MessageKind.UPDATED, level=1,
            target=planned.target, title=f"Approve? {kept.playbook.name}", body=text,
            subject=f"Approve? {kept.playbook.name}: {kept.incident.title}"[:200], text=text, link=self.link(kept.id),
            severity=kept.incident.severity, status=kept.incident.status,
            incident=kept.incident.model_dump(mode="json"), asks=f"{kept.id}/{step_id}",
        )  # fmt: skip
        try:
            await channel.send(message, channel.Address(**planned.address))
        except Undelivered as no:
            await self.runs.say(kept.id, step_id, f"{planned.target} was not told: {no}", datetime.now(UTC))
            return False
        return True

"""What people do in their chat."""

import asyncio
import logging
from dataclasses import dataclass, field

from app.channels.slack import Slack
from app.domain.access import Principal
from app.domain.errors import Refused
from app.domain.incident import CommandKind
from app.domain.notification import Undelivered
from app.domain.people import User
from app.domain.record import Record
from app.domain.requests import Ask
from app.domain.vocabulary import Role
from app.service.incidents import Incidents
from app.service.playbooks import Playbooks
from app.store.database import answering
from app.store.documents import DocumentStore

log = logging.getLogger(__name__)

PATIENCE_SECS = 2.0
"""Slack shows an error after three."""
DEEDS = {kind.value: kind for kind in (CommandKind.ACKNOWLEDGE, CommandKind.RESOLVE, CommandKind.ESCALATE)}
WORDS = {"approve_run": True, "reject_run": False}


class Press(Record):
    """A button that somebody pressed. `at` tells one press from another; `about` is an incident's id, or `run/step`."""

    slack_id: str
    action: str
    about: str
    level: int
    at: str
    response_url: str | None = None


@dataclass(frozen=True)
class Chatops:
    """`slack` is None where it isn't set up."""

    documents: DocumentStore
    incidents: Incidents
    playbooks: Playbooks
    slack: Slack | None
    under_way: set[asyncio.Task[None]] = field(default_factory=set)

    async def pressed(self, press: Press) -> None:
        """Does what a button says. Returns within `PATIENCE_SECS`; what takes longer is told when it is done."""
        task = asyncio.create_task(self._do(press))
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)
        done, _ = await asyncio.wait([task], timeout=PATIENCE_SECS)
        if not done:
            await self._say(press, "Working on it …")

    async def _do(self, press: Press) -> None:
        """Whatever comes of it is said to whoever pressed, unless the incident's own message shows it."""
        if press.action not in DEEDS and press.action not in WORDS:
            return
        try:
            who = await self._who(press.slack_id)
            if who is None:
                await self._say(press, _stranger(press.slack_id))
                return
            if press.action in WORDS:
                await self._decide(who, press)
                return
            kind = DEEDS[press.action]
            key = f"slack:{press.slack_id}:{press.at}:{press.action}"
            at_level = press.level if kind is CommandKind.ESCALATE else None
            await self.incidents.ask(who, press.about, Ask(kind=kind, key=key[:255], at_level=at_level))
        except Refused as refusal:
            await self._say(press, refusal.message)
        except Exception:
            log.exception("a button of Slack's failed")
            await self._say(press, "That did not work. The log of the service says why.")

    async def _decide(self, who: Principal, press: Press) -> None:
        run_id, _, step_id = press.about.partition("/")
        approve = WORDS[press.action]
        run = await self.playbooks.decide(who, run_id, approve=approve, comment="in Slack", about=step_id)
        await self._say(press, f"You {'approved' if approve else 'rejected'} it: the run is {run.status}.")

    async def _who(self, slack_id: str) -> Principal | None:
        async with answering():
            documents = await self.documents.all("users")
        users = (User.model_validate(document.body) for document in documents)
        found = next((user for user in users if user.slack_id == slack_id and user.active), None)
        return Principal(name=found.id, role=Role.RESPONDER) if found is not None else None

    async def _say(self, press: Press, text: str) -> None:
        if self.slack is None or press.response_url is None:
            return
        try:
            await self.slack.answer(press.response_url, text)
        except Undelivered as no:
            log.warning("Slack was not answered: %s", no)


def _stranger(slack_id: str) -> str:
    return (
        f"Nobody here is linked to your Slack user {slack_id}. Ask an administrator to set it:"
        f' PUT /api/v1/users/<you> with "slack_id": "{slack_id}". Nothing was done.'
    )

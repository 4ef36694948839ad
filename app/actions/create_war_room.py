"""A Slack channel for the incident.

Source of the API: https://docs.slack.dev/reference/methods/conversations.create, …invite, …setTopic, …list, …info,
…archive. What only reads takes no JSON (https://docs.slack.dev/apis/web-api#post-bodies), so it is asked by GET.
The bot needs channels:manage, channels:read and chat:write; for private rooms groups:write and groups:read.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlencode

from pydantic import Field, StringConstraints

from app.actions.api import answered
from app.actions.base import Done, Failed, Plain, Situation, Tools
from app.actions.slack import Refusal, called, complaint, said
from app.actions.telling import Subject
from app.channels.slack import Slack, escaped
from app.channels.words import cut
from app.domain.digging import dug, listed
from app.domain.record import Record
from app.domain.vocabulary import ChannelName
from app.net.http import Http

TOPIC = 250
PAGES = 50
"""Of 1,000 channels each, that are looked through for one whose name is taken."""
SlackUser = Annotated[str, StringConstraints(pattern=r"^[UW][A-Z0-9]{2,30}$")]


@dataclass(frozen=True)
class CreateWarRoom(Plain):
    """The room is called `inc-<incident's id>`: a name that is taken is the incident's room, which is used again.

    Its topic is set last: a room without one is an earlier try's, to be finished; to one that has it nothing is posted.

    `users`: up to 100 Slack users who are invited. `private`: only they see it. `topic`: up to 150 characters, none =
    severity and title of the incident. Undoing archives the room, if it was made here; a bot cannot bring it back.
    """

    http: Http
    slack: Slack
    link: Callable[[str], str | None]

    class Parameters(Record):
        users: tuple[SlackUser, ...] = Field((), max_length=100)
        private: bool = False
        topic: Subject | None = None

    undoes: ClassVar[bool] = True

    @classmethod
    def configured(cls, tools: Tools) -> Self | None:
        slack = tools.channels.get(ChannelName.SLACK)
        if not isinstance(slack, Slack) or slack.token is None:
            return None
        return cls(tools.http.named("slack"), slack, tools.link)

    async def check(self, asked: Parameters, at: Situation) -> str:
        await called(self.slack, "auth.test", {})
        found = await self._found(at)
        if found is None:
            return f"make #{name(at)} and invite {len(asked.users)} users"
        return f"use #{name(at)}, which is there already, and invite {len(asked.users)} users"

    async def run(self, asked: Parameters, at: Situation) -> Done:
        room, made = await self._room(asked, at)
        id = said(room, "id")  # noqa: A001
        if asked.users:
            await self._invite(id, asked.users)
        if not said(room, "topic", "value"):
            link, incident = self.link(at.incident.id), at.incident
            about = f"[{incident.severity}] {incident.title}"
            await called(self.slack, "chat.postMessage", {
                "channel": id, "text": escaped(f"{about}\n{link or incident.id}"), "unfurl_links": False,
            })  # fmt: skip
            topic = cut(" ".join((asked.topic or about).split()), TOPIC)
            await called(self.slack, "conversations.setTopic", {"channel": id, "topic": topic})
        how = "is made" if made else "was there already"
        return Done(summary=f"#{name(at)} {how}", output={"channel": id, "name": name(at), "made": made})

    async def verify(self, asked: Parameters, done: Done, at: Situation) -> str:
        known = await self._look("conversations.info", at, channel=done.output["channel"])
        if dug(known, "channel", "is_archived"):
            raise Failed(f"#{done.output['name']} is archived")
        return f"#{done.output['name']} is there"

    async def undo(self, asked: Parameters, done: Done, at: Situation) -> Done:
        if not done.output.get("made"):
            return Done(summary="no room was made")
        try:
            await called(self.slack, "conversations.archive", {"channel": done.output["channel"]})
        except Refusal as no:
            if no.error != "already_archived":
                raise
        return Done(summary=f"archived #{done.output['name']}")

    async def _room(self, asked: Parameters, at: Situation) -> tuple[dict[str, Any], bool]:
        """The room, and whether this made it."""
        try:
            made = await called(self.slack, "conversations.create", {"name": name(at), "is_private": asked.private})
            return room(made.get("channel")), True
        except Refusal as no:
            if no.error != "name_taken":
                raise
        found = await self._found(at)
        if found is None:
            raise Failed(f"#{name(at)} is taken by a channel that the bot cannot see")
        return found, not said(found, "topic", "value")

    async def _found(self, at: Situation) -> dict[str, Any] | None:
        """The room, if it is there. Raises: Failed when it is archived."""
        cursor = ""
        for _ in range(PAGES):
            page = await self._look(
                "conversations.list", at, types="public_channel,private_channel", limit=1000, cursor=cursor
            )
            found = next((one for one in listed(page.get("channels")) if dug(one, "name") == name(at)), None)
            if found is not None:
                if dug(found, "is_archived"):
                    raise Failed(f"#{name(at)} is archived: somebody has to bring it back, a bot cannot")
                return room(found)
            if not (cursor := said(page, "response_metadata", "next_cursor")):
                return None
        raise Failed(f"#{name(at)} is not among the first {PAGES * 1000} channels")

    async def _invite(self, channel: str, users: tuple[str, ...]) -> None:
        """`force`: whoever is there already, or isn't known, keeps out nobody else."""
        try:
            await called(
                self.slack, "conversations.invite", {"channel": channel, "users": ",".join(users), "force": True}
            )
        except Refusal as no:
            if no.error not in ("already_in_channel", "cant_invite_self"):
                raise

    async def _look(self, method: str, at: Situation, **asks: object) -> dict[str, Any]:
        token = self.slack.token.get_secret_value() if self.slack.token else ""
        url = f"{self.slack.base_url}/{method}?{urlencode(asks)}"
        answer = await answered(self.http, "GET", url, {"authorization": f"Bearer {token}"}, at)
        if dug(answer, "ok") is not True:
            raise complaint(method, str(dug(answer, "error"))[:100])
        return room(answer)


def name(at: Situation) -> str:
    """Lower case, no blanks or dots, 80 characters at most."""
    return re.sub(r"[^a-z0-9_-]", "-", f"inc-{at.incident.id}".lower())[:80]


def room(found: object) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise Failed("Slack's answer makes no sense", doubtful=True)
    return found

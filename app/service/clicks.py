"""Links in mails that take an incident, or say a word about a playbook's run, with one click."""

import hashlib
from dataclasses import dataclass

from app.domain.access import Principal
from app.domain.errors import Forbidden, NotFound
from app.domain.incident import CommandKind
from app.domain.notification import Delivery
from app.domain.people import User
from app.domain.representation import IncidentView
from app.domain.requests import Ask
from app.domain.vocabulary import ChannelName, Role
from app.net.signing import BadLink, Click, Signer
from app.service.incidents import Incidents
from app.service.playbooks import Playbooks
from app.store.database import answering
from app.store.documents import DocumentStore
from app.store.facts import FactStore
from app.store.runs import Kept

SECRET = "one-click links"  # noqa: S105 — a name, not a secret
DECIDE = "decide"


@dataclass(frozen=True)
class Question:
    """Whose word about which step of a run is wanted; `waited_for` says whether it still is."""

    who: Principal
    kept: Kept
    step_id: str

    @property
    def waited_for(self) -> bool:
        deciding = self.kept.state.deciding
        return deciding is not None and deciding.step_id == self.step_id and self.who.name not in deciding.approved


@dataclass(frozen=True)
class Clicks:
    facts: FactStore
    documents: DocumentStore
    incidents: Incidents
    playbooks: Playbooks
    max_age_secs: float

    async def look(self, token: str) -> tuple[Principal, IncidentView]:
        """For whom a link is, and the incident it is about. Raises: Forbidden, NotFound, Unavailable."""
        who, click = await self._read(token, CommandKind.ACKNOWLEDGE)
        return who, await self.incidents.get(who, click.about)

    async def act(self, token: str) -> tuple[Principal, IncidentView]:
        """Takes the incident. A second click with the same link is the same request.

        Raises: Forbidden, NotFound, InvalidTransition, Unavailable.
        """
        who, click = await self._read(token, CommandKind.ACKNOWLEDGE)
        key = f"click:{hashlib.sha256(token.encode()).hexdigest()}"
        ask = Ask(kind=CommandKind.ACKNOWLEDGE, key=key, reason="by the link in a mail")
        return who, await self.incidents.ask(who, click.about, ask)

    async def question(self, token: str) -> Question:
        """What a link asks, and whom. Raises: Forbidden, NotFound, Unavailable."""
        who, click = await self._read(token, DECIDE)
        run_id, _, step_id = click.about.partition("/")
        return Question(who, await self.playbooks.kept(who, run_id), step_id)

    async def answer(self, token: str, *, approve: bool) -> Question:
        """Says the word, while it is waited for. Raises: Forbidden, NotFound, Conflict, Unavailable."""
        asked = await self.question(token)
        if asked.waited_for:
            comment = "by the link in a mail"
            await self.playbooks.decide(asked.who, asked.kept.id, approve=approve, comment=comment, about=asked.step_id)
            return await self.question(token)
        return asked

    async def _read(self, token: str, action: str) -> tuple[Principal, Click]:
        try:
            click = (await signer(self.facts, self.max_age_secs)).read(token)
        except BadLink as bad:
            raise Forbidden("This link is not valid, or no longer.") from bad
        async with answering():
            document = await self.documents.get("users", click.user)
        if document is None or not User.model_validate(document.body).active:
            raise Forbidden("This link is not valid, or no longer.")
        if click.action != action:
            raise NotFound("action", click.action)
        return Principal(name=click.user, role=Role.RESPONDER), click


async def signer(facts: FactStore, max_age_secs: float) -> Signer:
    """Raises: Unavailable."""
    async with answering():
        return Signer(await facts.secret(SECRET), max_age_secs)


@dataclass(frozen=True)
class OneClick:
    """Makes the links; `max_age_secs` of 0 makes none. `base` is the address they begin with."""

    facts: FactStore
    base: str
    max_age_secs: float

    async def __call__(self, delivery: Delivery) -> str | None:
        """The link for whom a page goes to; None where there is none: not by mail, nobody of the directory, no page."""
        kind, _, user = delivery.target.partition(":")
        mail_to_somebody = delivery.channel is ChannelName.EMAIL and kind == "user" and delivery.kind.page
        if not self.max_age_secs or not mail_to_somebody:
            return None
        signed = (await signer(self.facts, self.max_age_secs)).sign(
            Click(about=delivery.incident_id, user=user)
        )  # fmt: skip
        return f"{self.base}/click/{signed}"

    async def decide(self, run_id: str, step_id: str, target: str, channel: ChannelName) -> str | None:
        """The link to a page where whoever is asked says a word about a step; None where there is none, as above."""
        kind, _, user = target.partition(":")
        if not self.max_age_secs or channel is not ChannelName.EMAIL or kind != "user":
            return None
        click = Click(about=f"{run_id}/{step_id}", user=user, action=DECIDE)
        return f"{self.base}/decide/{(await signer(self.facts, self.max_age_secs)).sign(click)}"

"""Slack: one message per incident and conversation, edited as things change, what happened in its thread.

Source: https://docs.slack.dev/reference/methods/chat.postMessage, …/chat.update, and
https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks for the webhook without a bot.
Slack takes no idempotency key: a crash between its answer and our note of it posts a message again.
"""

import json
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import SecretStr

from app.channels.base import plain
from app.channels.post import SOON, encoded, post
from app.channels.words import context, cut, facts, headline, lines, listed
from app.config import Notifications
from app.domain.notification import Message, Receipt, Undelivered
from app.domain.record import Record
from app.domain.vocabulary import MessageKind, Status
from app.net.http import Http

HEADER, SECTION, TEXT, LISTED = 150, 3000, 4000, 40
PASSING = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout",
     "message_limit_exceeded", "team_added_to_org"}
)  # fmt: skip
GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found"})
UNSAYABLE = frozenset({"invalid_blocks", "msg_too_long", "msg_blocks_too_long", "invalid_blocks_format"})
ANSWERS_AT = "hooks.slack.com"


class Complaint(Exception):
    """`ok: false`, and Slack's word for why."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True)
class Slack:
    """`webhook` serves the address "", `token` every other."""

    http: Http
    base_url: str
    token: SecretStr | None = None
    webhook: SecretStr | None = None

    class Address(Record):
        """A user's or channel's id, or #name; empty for the incoming webhook."""

        to: str

    @classmethod
    def configured(cls, said: Notifications, http: Http) -> Self | None:
        webhook = said.webhook_of("slack")
        if said.slack.bot_token is None and webhook is None:
            return None
        return cls(http.named("slack"), said.slack.base_url, said.slack.bot_token, webhook)

    async def send(self, message: Message, to: Address) -> Receipt:
        """`reference` is `channel/ts` of the incident's message there. Raises: Undelivered."""
        if not to.to:
            return await self._post_to_webhook(message)
        if self.token is None:
            raise Undelivered("notifications.slack.bot_token is not set: only the incoming webhook can be used")
        try:
            try:
                return await self._say(message, to.to, blocks(message))
            except Complaint as no:
                if no.error not in UNSAYABLE:
                    raise
                return await self._say(message, to.to, None)
        except Complaint as no:
            raise Undelivered(f"Slack says {no.error}", SOON if no.error in PASSING else None) from no

    async def _say(self, message: Message, to: str, shown: list[dict[str, Any]] | None) -> Receipt:
        said = {"text": cut(escaped(headline(message)), TEXT)} | ({"blocks": shown} if shown else {})
        if message.thread:
            channel, _, ts = message.thread.partition("/")
            try:
                await self.call("chat.update", {"channel": channel, "ts": ts, **said})
                await self.call("chat.postMessage", {"channel": channel, "thread_ts": ts, **reply(message, to)})
                return Receipt(reference=message.thread, delivered=True)
            except Complaint as no:
                if no.error not in GONE:
                    raise
        posted = await self.call("chat.postMessage", {"channel": to, "unfurl_links": False, **said})
        return Receipt(reference=f"{posted['channel']}/{posted['ts']}", delivered=True)

    async def call(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        """What Slack answers to one of its methods that take JSON. Raises: Undelivered, Complaint."""
        token = self.token.get_secret_value() if self.token else ""
        headers = {"content-type": "application/json; charset=utf-8", "authorization": f"Bearer {token}"}
        answer = await post(self.http, f"{self.base_url}/{method}", encoded(body), headers)
        try:
            said = json.loads(answer.text)
        except ValueError as wrong:
            raise Undelivered("Slack's answer is no JSON", SOON) from wrong
        if not isinstance(said, dict) or said.get("ok") is not True:
            error = plain(str(said.get("error", "nothing"))) if isinstance(said, dict) else "nothing"
            raise Complaint(error[:100])
        return said

    async def _post_to_webhook(self, message: Message) -> Receipt:
        if self.webhook is None:
            raise Undelivered("notifications.slack.webhook_url is not set")
        body = message.payload or {
            "text": cut(escaped(headline(message)), TEXT),
            "blocks": blocks(message, buttons=False),
        }
        await post(self.http, self.webhook.get_secret_value(), encoded(body))
        return Receipt(delivered=True)

    async def answer(self, response_url: str, text: str) -> None:
        """Says something to whoever pressed a button, and to nobody else. Raises: Undelivered."""
        host = urlsplit(response_url).hostname
        if host not in (ANSWERS_AT, urlsplit(self.base_url).hostname):
            raise Undelivered(f"{host} is not Slack's")
        said = {"response_type": "ephemeral", "replace_original": False, "text": cut(escaped(text), TEXT)}
        await post(self.http, response_url, encoded(said))


def escaped(text: str) -> str:
    """Text that is no markup (https://docs.slack.dev/messaging/formatting-message-text#escaping)."""
    return lines(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def blocks(message: Message, *, buttons: bool = True) -> list[dict[str, Any]]:
    """The message in Block Kit, within its limits."""
    if message.payload is not None and isinstance(own := message.payload.get("blocks"), list):
        return own
    head = {"type": "header", "text": {"type": "plain_text", "text": cut(lines(headline(message)), HEADER)}}
    if message.bundled:
        return [head, section("\n".join(escaped(line) for line in listed(message, LISTED)))]
    if message.text is not None:
        shown = [head, section(escaped(message.text))]
    else:
        said = [f"*{name}*\n{escaped(value)}" for name, value in facts(message).items()]
        fields = [{"type": "mrkdwn", "text": cut(text, 2000)} for text in said]
        shown = [head, {"type": "section", "fields": fields[:10]}]
        if message.body.strip():
            shown.append(section(escaped(message.body)))
        if around := context(message):
            shown.append(section("*Context*\n" + "\n".join(escaped(line) for line in around)))
    return [*shown, *_actions(message, buttons)]


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": cut(text, SECTION) or " "}}


def _actions(message: Message, buttons: bool) -> list[dict[str, Any]]:
    if message.asks is not None and buttons:
        return [{"type": "actions", "elements": _words(message.asks, message.link)}]
    status, value = Status(message.status), f"{message.incident_id}|{message.level}"
    pressed: list[dict[str, Any]] = []
    if buttons and status.open:
        if status.waits_for_somebody:
            pressed += [button("acknowledge", "Acknowledge", value, style="primary")]
        confirm = {
            "title": {"type": "plain_text", "text": "Resolve?"},
            "text": {"type": "plain_text", "text": "The incident ends, and nobody is paged for it any more."},
            "confirm": {"type": "plain_text", "text": "Resolve"}, "deny": {"type": "plain_text", "text": "Not yet"},
        }  # fmt: skip
        pressed += [button("resolve", "Resolve", value, confirm=confirm), button("escalate", "Escalate", value)]
    if message.link:
        pressed.append(button("open", "Open", value, url=message.link))
    return [{"type": "actions", "elements": pressed}] if pressed else []


def _words(asks: str, link: str | None) -> list[dict[str, Any]]:
    """For whoever is asked whether a playbook goes on."""
    look = [button("open", "Open", asks, url=link)] if link else []
    return [
        button("approve_run", "Approve", asks, style="primary"), button("reject_run", "Reject", asks, style="danger"),
        *look,
    ]  # fmt: skip


def button(action: str, text: str, value: str, **more: object) -> dict[str, Any]:
    return {"type": "button", "action_id": action, "text": {"type": "plain_text", "text": text}, "value": value, **more}


def reply(message: Message, to: str) -> dict[str, Any]:
    """What happened, for the thread. An escalation is shown in the channel too, and names whom it pages."""
    whom = f"<@{to}> " if message.kind is MessageKind.ESCALATED and to.startswith(("U", "W")) else ""
    said = {"text": cut(f"{whom}{escaped(headline(message))}", TEXT)}
    return said | ({"reply_broadcast": True} if message.kind is MessageKind.ESCALATED else {})

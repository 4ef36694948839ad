"""Microsoft Teams: an Adaptive Card, posted to the webhook of a workflow ("when a Teams webhook request is received").

Sources: https://learn.microsoft.com/connectors/teams (the envelope), https://learn.microsoft.com/microsoftteams/
platform/webhooks-and-connectors/how-to/add-incoming-webhook (28 KB), https://adaptivecards.io/explorer (the card).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from pydantic import SecretStr

from app.channels.post import RATE_LIMITED, encoded, post
from app.channels.words import context, cut, facts, headline, lines, listed
from app.config import Notifications
from app.domain.notification import Message, Receipt, Undelivered
from app.domain.record import Record
from app.net.http import Http

MESSAGE_BYTES = 28_000
LISTED = 20
COLORS = {"P0": "attention", "P1": "attention", "P2": "warning"}
CARD = "application/vnd.microsoft.card.adaptive"


@dataclass(frozen=True)
class Teams:
    http: Http
    webhook_url: SecretStr | None = None

    class Address(Record):
        """`url` = "" stands for the settings' webhook."""

        url: str = ""

    @classmethod
    def configured(cls, said: Notifications, http: Http) -> Self:
        return cls(http, said.webhook_of("teams"))

    async def send(self, message: Message, to: Address) -> Receipt:
        """`delivered` unless Teams has only queued it (202). Raises: Undelivered."""
        url = to.url or (self.webhook_url.get_secret_value() if self.webhook_url else "")
        if not url:
            raise Undelivered("no webhook: set notifications.teams.webhook_url")
        way = self.http.by_address("teams") if to.url else self.http.named("teams")
        answer = await post(way, url, card_message(message))
        # The older connectors say 200 to what Teams itself refused, and tell of it in the text.
        if "HTTP error 429" in answer.text:
            raise Undelivered("answered 200, but that Teams is rate limited (429)", RATE_LIMITED)
        return Receipt(delivered=answer.status != 202)


def card_message(message: Message) -> bytes:
    """The card in its envelope. A description, list or template that would be too large is cut or left out."""
    if message.payload is not None and len(own := encoded(envelope(message.payload))) <= MESSAGE_BYTES:
        return own
    cards = (encoded(envelope(card(message, room))) for room in (4000, 1000, 0))
    return next(content for content in cards if len(content) <= MESSAGE_BYTES)


def envelope(content: Mapping[str, object]) -> Mapping[str, object]:
    if content.get("type") == "message":
        return content
    return {"type": "message", "attachments": [{"contentType": CARD, "contentUrl": None, "content": content}]}


def card(message: Message, room: int) -> dict[str, object]:
    """`room` is how many characters there are for the description and the list of incidents.

    Every text is a TextRun: in a TextBlock or a Fact, what an alert says would be Markdown.
    """
    body = [_text({"text": cut(headline(message), 500), "weight": "bolder", "size": "large"} | _color(message))]
    body += [
        _text({"text": f"{name}: ", "weight": "bolder"}, {"text": value}, spacing="none")
        for name, value in facts(message).items()
    ]
    if room and (said := description(message)):
        body.append(_text({"text": cut(said, room)}))
    if room and message.text is None and (around := context(message)):
        body.append(_text({"text": "Context", "weight": "bolder"}))
        body += [_text({"text": line}, spacing="none") for line in around]
    made: dict[str, object] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": body,
    }
    if message.link:
        made["actions"] = [{"type": "Action.OpenUrl", "title": "Open the incident", "url": message.link}]
    return made


def description(message: Message) -> str:
    if message.text is not None:
        return lines(message.text).strip()
    return "\n".join(listed(message, LISTED)) if message.bundled else lines(message.body).strip()


def _text(*runs: Mapping[str, str], spacing: str = "default") -> dict[str, object]:
    return {"type": "RichTextBlock", "spacing": spacing, "inlines": [{"type": "TextRun", **run} for run in runs]}


def _color(message: Message) -> dict[str, str]:
    return {"color": COLORS[message.severity]} if message.severity in COLORS else {}

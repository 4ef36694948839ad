"""PagerDuty's Events API v2.

Source: https://developer.pagerduty.com/docs/send-alert-event; limits: an event at most 512 KB, its summary 1,024
characters. An event that repeats a dedup_key goes to the alert that is open under it.
"""

import json
from dataclasses import dataclass
from typing import Self

from pydantic import SecretStr

from app.channels.base import plain
from app.channels.post import encoded, post
from app.channels.words import context, cut, facts, headline, lines, listed
from app.config import Notifications
from app.domain.notification import Message, Receipt, Undelivered
from app.domain.record import Record
from app.domain.vocabulary import MessageKind
from app.net.http import Http

ACTIONS = {
    MessageKind.CREATED: "trigger",
    MessageKind.ESCALATED: "trigger",
    MessageKind.ACKNOWLEDGED: "acknowledge",
    MessageKind.RESOLVED: "resolve",
}
"""A reminder or an update has no event of its own: as a trigger it would open again what is closed there."""
SEVERITIES = {"P0": "critical", "P1": "error", "P2": "warning"}
EVENT_BYTES = 512_000
SUMMARY = 1024
NAME = 255
LISTED = 200


@dataclass(frozen=True)
class PagerDuty:
    http: Http
    base_url: str = "https://events.pagerduty.com"
    integration_key: SecretStr | None = None

    class Address(Record):
        """`key` = "" stands for the settings' integration key."""

        key: str = ""

    @classmethod
    def configured(cls, said: Notifications, http: Http) -> Self:
        return cls(http.named("pagerduty"), said.pagerduty.base_url, said.integration_key)

    async def send(self, message: Message, to: Address) -> Receipt:
        """`reference` is the dedup_key, None where there was nothing to send. Raises: Undelivered."""
        if message.kind not in ACTIONS:
            return Receipt()
        key = to.key or (self.integration_key.get_secret_value() if self.integration_key else "")
        if not key:
            raise Undelivered("no integration key: set notifications.pagerduty.integration_key")
        answer = await post(self.http, f"{self.base_url}/v2/enqueue", event(message, key))
        return Receipt(reference=_dedup_key(answer.text) or dedup_key(message))


def dedup_key(message: Message) -> str:
    """The incident's id. What stands for many incidents has a key of its own: it isn't over when one of them is."""
    return f"{message.incident_id}/storm" if message.bundled else message.incident_id


def event(message: Message, key: str) -> bytes:
    """The event as JSON. One that would be too large goes without the incident's details."""
    action = ACTIONS[message.kind]
    said: dict[str, object] = {"routing_key": key, "event_action": action, "dedup_key": dedup_key(message)}
    if action != "trigger":
        return encoded(said)
    payload: dict[str, object] = {
        "summary": cut(headline(message), SUMMARY),
        "severity": SEVERITIES.get(message.severity, "info"),
        "source": cut(plain(str(message.incident.get("source") or "")), NAME) or "llm-incident-manager",
        "custom_details": details(message),
    }
    if services := message.incident.get("affected_resources"):
        payload["component"] = cut(plain(", ".join(map(str, services)) if isinstance(services, list) else ""), NAME)
    if incident_type := message.incident.get("incident_type"):
        payload["class"] = cut(plain(str(incident_type)), NAME)
    said |= {"payload": payload, "client": "LLM Incident Manager", "links": links(message)}
    if message.link:
        said["client_url"] = message.link
    if len(whole := encoded(said)) <= EVENT_BYTES:
        return whole
    return encoded(said | {"payload": payload | {"custom_details": facts(message)}})


def details(message: Message) -> dict[str, object]:
    said: dict[str, object] = {**facts(message)}
    tags = message.incident.get("tags")
    if isinstance(tags, dict) and tags:
        said["Tags"] = {plain(str(name)): plain(str(value)) for name, value in tags.items()}
    if message.bundled:
        said["Incidents"] = list(listed(message, LISTED))
    if around := context(message):
        said["Context"] = around
    if text := lines(message.text if message.text is not None else message.body).strip():
        said["Description"] = text
    return said


def links(message: Message) -> list[dict[str, str]]:
    runbook = message.incident.get("runbook_url")
    found = {"Incident": message.link, "Runbook": runbook if isinstance(runbook, str) else None}
    return [
        {"href": plain(href), "text": text}
        for text, href in found.items()
        if href and href.startswith(("http://", "https://"))
    ]


def _dedup_key(answer: str) -> str | None:
    try:
        said = json.loads(answer)
    except ValueError:
        return None
    key = said.get("dedup_key") if isinstance(said, dict) else None
    return cut(plain(key), NAME) if isinstance(key, str) else None

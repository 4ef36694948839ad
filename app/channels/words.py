"""What a message says in plain words; each channel escapes and cuts them for its own wire."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from app.channels.base import encodable, plain
from app.domain.enrichment import ago
from app.domain.notification import Message
from app.domain.representation import Finding
from app.domain.vocabulary import MessageKind

NEWS = {
    MessageKind.CREATED: "",
    MessageKind.ESCALATED: "Escalated",
    MessageKind.ACKNOWLEDGED: "Acknowledged",
    MessageKind.RESOLVED: "Resolved",
    MessageKind.REMINDER: "Reminder",
    MessageKind.UPDATED: "Updated",
}

FINDINGS = {"service": "Service", "team": "Team", "changes": "Changed", "historical": "Similar"}
"""How what was found is called, what helps most first; others are called by their enricher's name."""
CONTEXT_LINES = 8
OLD = timedelta(minutes=2)
"""Younger than this, the age of what was found isn't worth saying."""


def headline(message: Message) -> str:
    """One line: how bad it is, what is new, and the incident's title; or how many incidents there are."""
    if message.subject is not None:
        return plain(message.subject)
    title = plain(message.title)
    if message.bundled:
        worst = min(message.severity, *(one.severity for one in message.bundled))
        return f"[{worst}] {1 + len(message.bundled)} incidents: {cut(title, 100)} and {len(message.bundled)} more"
    news = NEWS[message.kind]
    if news and message.by:
        news = f"{news} by {cut(plain(message.by), 100)}"
    return f"[{message.severity}] {news}{': ' if news else ''}{title}"


def facts(message: Message) -> dict[str, str]:
    """What one wants to know first, by its name; nothing that would be empty."""
    services, tags = message.incident.get("affected_resources"), message.incident.get("tags")
    tags = tags if isinstance(tags, dict) else {}
    said = {
        "Severity": message.severity,
        "Status": message.status,
        "Source": message.incident.get("source"),
        "Environment": message.incident.get("environment"),
        "Service": ", ".join(map(str, services)) if isinstance(services, list) else "",
        "Class": _class(message),
        "Model": " ".join(tags[name] for name in ("provider", "model") if isinstance(tags.get(name), str)),
        "Playbook": message.incident.get("suggested_playbook"),
        "Level": f"{message.level} ({message.target})",
        "Incident": message.incident_id,
    }
    return {name: cut(plain(str(value)), 200) for name, value in said.items() if value}


def _class(message: Message) -> str:
    name, said = message.incident.get("incident_class"), message.incident.get("classification")
    if not isinstance(name, str):
        return ""
    return name if isinstance(said, dict) and said.get("stated") else f"{name} (recognised)"


def context(message: Message, longest: int = 300) -> list[str]:
    """A line for everything that was found around the incident: what, from where, how old. At most eight.

    None where the message stands for many incidents.
    """
    said = message.incident.get("enrichment")
    if not isinstance(said, list) or message.bundled:
        return []
    try:
        found = [Finding.model_validate(one) for one in said]
    except ValidationError:  # a newer version's
        return []
    found = [one for one in found if one.status == "found" and one.summary]
    order = {name: n for n, name in enumerate(FINDINGS)}
    found.sort(key=lambda one: (order.get(one.enricher, len(order)), one.enricher))
    return [_context(one, longest) for one in found[:CONTEXT_LINES]]


def _context(finding: Finding, longest: int) -> str:
    now = datetime.now(UTC)
    age = f", {ago(finding.at, now)}" if now - finding.at >= OLD else ""
    name = FINDINGS.get(finding.enricher, finding.enricher.capitalize())
    source = f" ({plain(finding.source)}{age})" if finding.source else ""
    return f"{name}: {cut(plain(finding.summary), longest)}{source}"


def listed(message: Message, at_most: int) -> Iterator[str]:
    """A line for every incident that the message stands for, and one for those that are `at_most` too many."""
    yield f"[{message.severity}] {cut(plain(message.title), 100)}"
    for one in message.bundled[: at_most - 1]:
        yield " ".join((f"[{one.severity}]", cut(plain(one.title), 100), *([one.link] if one.link else [])))
    if (unsaid := len(message.bundled) - at_most + 1) > 0:
        yield f"… and {unsaid} more"


def lines(text: str) -> str:
    """The text with its line breaks, and a space for everything else that cannot be printed."""
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in encodable(text))


def cut(text: str, longest: int) -> str:
    """At most `longest` characters; an ellipsis says that there were more."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"

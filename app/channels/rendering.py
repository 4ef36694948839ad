"""The team's own words for a message."""

import json
from collections.abc import Sequence
from typing import Any

from app.channels.base import encodable
from app.channels.sandbox import Broken, Form, say
from app.domain.decode import decode
from app.domain.errors import Invalid
from app.domain.notification import Message
from app.domain.template import Subject, Template, choose
from app.domain.vocabulary import ChannelName

FORMS = {"html": Form.HTML, "payload": Form.JSON}
DEEPEST = 32


class Unsayable(Exception):
    """A template that can't be rendered: `field` and what is wrong, with the line."""

    def __init__(self, template: str, field: str, problem: str) -> None:
        super().__init__(f"template {template!r}, {field}: {problem}")
        self.field = field
        self.problem = problem


def render(template: Template, message: Message, channel: ChannelName) -> Message:
    """The message with what the template says for the channel. Raises: Unsayable."""
    said: dict[str, Any] = {}
    context = _context(template, message)
    for field, source in template.channels[channel].said.items():
        try:
            text = say(source, context, FORMS.get(field, Form.TEXT))
            said[field] = _object(text) if field == "payload" else text if text.strip() else None
        except Broken as no:
            raise Unsayable(template.id, f"channels.{channel}.{field}", str(no)) from no
    return message.model_copy(update=said)


def rendered(
    templates: Sequence[Template], message: Message, channel: ChannelName, named: str | None
) -> tuple[Message, str | None]:
    """The message in the team's own words where there are any, and what is wrong with those. Never raises."""
    try:
        template = choose(templates, message.kind, channel, _subject(message), named)
        return (render(template, message, channel), None) if template is not None else (message, None)
    except Unsayable as no:
        return message, f"said without its template: {no}"


def _subject(message: Message) -> Subject:
    try:
        return decode(Subject, {"severity": message.severity} | dict(message.incident), extra="ignore")
    except Invalid:
        return decode(Subject, {"severity": message.severity}, extra="ignore")


def _context(template: Template, message: Message) -> dict[str, object]:
    shown = message.model_dump(
        mode="json", include={"kind", "level", "target", "by", "link", "severity", "status", "title", "body"}
    )
    bundled = [other.model_dump(mode="json") for other in message.bundled]
    return {"incident": message.incident, "message": shown, "bundled": bundled, "variables": template.variables}


def _object(text: str) -> dict[str, object]:
    """The JSON object, of what every receiver can read. Raises: Broken."""
    try:
        found = json.loads(text)
        if not isinstance(found, dict):
            raise Broken("its output must be a JSON object")
        if not _shallow(found, DEEPEST):
            raise Broken(f"its output is nested deeper than {DEEPEST} levels")
        clean: dict[str, object] = json.loads(encodable(json.dumps(found, ensure_ascii=False, allow_nan=False)))
    except (ValueError, RecursionError) as wrong:
        raise Broken(f"its output is no JSON: {wrong}") from wrong
    return clean


def _shallow(value: object, levels: int) -> bool:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return not inner or (levels > 1 and all(_shallow(item, levels - 1) for item in inner))

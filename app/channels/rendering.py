"""The team's own words for a message: Jinja in a sandbox, of which only what is harmless is left.

Alert text is only ever a value. No calls, assignments, macros or inclusions, no operator or filter that multiplies,
loops over what is there and at most two deep: so the work is bounded by the template's size times the incident's.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from jinja2 import StrictUndefined, TemplateError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from app.channels.base import encodable
from app.domain.decode import decode
from app.domain.errors import Invalid
from app.domain.notification import Message
from app.domain.template import Subject, Template, choose
from app.domain.vocabulary import ChannelName

LONGEST = 65_536
DEEPEST_LOOP = 2
ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Slice,
    nodes.Filter, nodes.Test, nodes.If, nodes.For, nodes.Const, nodes.Compare, nodes.Operand, nodes.And, nodes.Or,
    nodes.Not, nodes.CondExpr, nodes.Concat, nodes.Add, nodes.Sub, nodes.Neg, nodes.Tuple, nodes.List,
)  # fmt: skip
FILTERS = frozenset(
    {
        "abs", "capitalize", "count", "d", "default", "e", "escape", "first", "float", "int", "items", "join", "last",
        "length", "list", "lower", "round", "sort", "string", "title", "tojson", "trim", "truncate", "upper", "urlize",
    }
)  # fmt: skip


class Unsayable(Exception):
    """A template that can't be rendered: `field` and what is wrong, with the line."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


def _joined(values: Iterable[Any], between: str = "") -> str:
    parts, size = [], 0
    for value in values:
        parts.append(str(value))
        size += len(parts[-1]) + len(between)
        if size > LONGEST:
            raise TemplateError(f"join makes more than {LONGEST} characters")
    return str(between).join(parts)


def _environment(*, html: bool) -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=html, keep_trailing_newline=True)
    made.globals = {}
    made.filters = {name: made.filters[name] for name in FILTERS} | {"join": _joined}
    return made


TEXT, HTML = _environment(html=False), _environment(html=True)


def render(template: Template, message: Message, channel: ChannelName) -> Message:
    """The message with what the template says for the channel. Raises: Unsayable."""
    said: dict[str, Any] = {}
    for field, source in template.channels[channel].said.items():
        where = f"channels.{channel}.{field}"
        text = _rendered(source, _context(template, message), where, html=field == "html")
        said[field] = _object(text, where) if field == "payload" else text
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
    return {
        "incident": message.incident, "message": shown, "bundled": bundled, "variables": template.variables,
    }  # fmt: skip


def _rendered(source: str, context: dict[str, object], where: str, *, html: bool) -> str:
    environment = HTML if html else TEXT
    try:
        _check(environment.parse(source), 0)
        text = ""
        for part in environment.from_string(source).generate(context):
            text += str(part)
            if len(text) > LONGEST:
                raise TemplateError(f"it makes more than {LONGEST} characters")
    except TemplateError as wrong:
        line = getattr(wrong, "lineno", None)
        raise Unsayable(where, f"line {line}: {wrong.message}" if line else str(wrong.message)) from wrong
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as wrong:
        raise Unsayable(where, encodable(str(wrong))[:300]) from wrong
    return encodable(text)


def _check(node: nodes.Node, loops: int) -> None:
    """Raises: TemplateError with the line of what isn't allowed."""
    for child in node.iter_child_nodes():
        if not isinstance(child, ALLOWED) or (isinstance(child, nodes.For) and loops >= DEEPEST_LOOP):
            what = "a third loop in a loop" if isinstance(child, nodes.For) else type(child).__name__.lower()
            raise _at(child, f"{what} is not allowed here")
        if isinstance(child, nodes.Name) and child.name == "self":
            raise _at(child, "there is no self here")
        if isinstance(child, nodes.Filter) and child.name not in FILTERS:
            raise _at(child, f"there is no filter {child.name!r}; there are {', '.join(sorted(FILTERS))}")
        _check(child, loops + isinstance(child, nodes.For))


def _at(node: nodes.Node, problem: str) -> TemplateError:
    error = TemplateError(problem)
    error.lineno = node.lineno  # type: ignore[attr-defined]
    return error


def _object(text: str, where: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except ValueError as wrong:
        raise Unsayable(where, f"its output is no JSON: {wrong}") from wrong
    if not isinstance(found, dict):
        raise Unsayable(where, "its output must be a JSON object")
    return found

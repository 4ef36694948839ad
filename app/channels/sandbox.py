"""A team's own words: Jinja in a sandbox, of which only what is harmless is left, and of that only so much.

Context is only ever a value. No calls, assignments, macros or inclusions, and no operator that multiplies; whatever
grows with the data (loops, filters, concatenations) is paid for out of a budget, so that no template holds up others.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sized
from contextvars import ContextVar
from enum import StrEnum
from functools import lru_cache, wraps
from traceback import walk_tb
from typing import Any

import jinja2
from jinja2 import StrictUndefined, TemplateError, is_undefined, nodes, pass_context, pass_eval_context
from jinja2.nodes import EvalContext
from jinja2.runtime import Context, markup_join, str_join
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import htmlsafe_json_dumps, missing
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

from app.channels.base import encodable, plain

LONGEST = 65_536
BUDGET = 500_000
"""Characters and items handled per text (chosen: eight times the longest text, a few tenths of a second at worst)."""
NODE = 10
"""What a step of a loop's body costs: as much as ten characters."""
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
LOOPED, JOINED = "for", "~"
"""Filters of ours that no template can name: the one is a keyword, the other no identifier."""


class Broken(Exception):
    """What is wrong with a template, with the line."""


class Form(StrEnum):
    """What a text is to become, and so how values stand in it: as they are, escaped for HTML, or for JSON."""

    TEXT = "text"
    HTML = "html"
    JSON = "json"


def say(source: str, context: Mapping[str, object], form: Form) -> str:
    """What a template says. Raises: Broken."""
    _left.set(BUDGET)
    try:
        text = ""
        for part in _compiled(source, form).generate(context):
            text += str(part)
            if len(text) > LONGEST:
                raise TemplateError(f"it makes more than {LONGEST} characters")
    except (SyntaxError, RecursionError) as wrong:
        raise Broken("it is nested too deeply") from wrong
    except Exception as wrong:
        line, problem = _line(wrong), plain(str(wrong))[:600]
        raise Broken(f"line {line}: {problem}" if line else problem) from wrong
    return encodable(text)


_left: ContextVar[int] = ContextVar("left")


def _pay(price: int) -> None:
    left = _left.get() - price
    _left.set(left)
    if left < 0:
        raise TemplateError("it is too much work: loops, filters and ~ over that much text are not allowed")


def _size(value: object) -> int:
    return len(value) if isinstance(value, Sized) and not is_undefined(value) else 1


def _paid(function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, at the price of what goes in and comes out."""

    @wraps(function)
    def filtered(*args: Any, **kwargs: Any) -> Any:
        _pay(sum(map(_size, args)))
        made = function(*args, **kwargs)
        _pay(_size(made))
        return made

    return filtered


@pass_context
def _looped(_: Context, values: Iterable[Any], body: int) -> list[Any]:
    """What a loop goes over, at the price of its body of so many nodes for each."""
    found = list(values)
    _pay(len(found) * body * NODE)
    return found


@pass_eval_context
def _concatenated(how: EvalContext, values: list[object]) -> str:
    _pay(sum(map(_size, values)))
    return markup_join(values) if how.autoescape else str_join(values)


def _join(values: Iterable[Any], between: str = "") -> str:
    parts = [str(value) for value in values]
    _pay(sum(map(len, parts)) + len(parts) * len(between))
    return str(between).join(parts)


def _round(number: float, digits: int = 0) -> float:
    return round(float(number), digits)


def _json(value: object) -> Markup:
    return htmlsafe_json_dumps(value)


class Unknown(StrictUndefined):
    """Says what there is instead."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if isinstance(self._undefined_obj, Mapping):
            there = ", ".join(map(str, list(self._undefined_obj)[:60]))
            return f"there is no {self._undefined_name!r} here; there is {there or 'nothing'}"
        if self._undefined_obj is missing and not self._undefined_hint:
            return f"{self._undefined_name!r} is undefined; there is incident, message, bundled and variables"
        return super()._undefined_message


class Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"+"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        _pay(_size(left) + _size(right))
        return super().call_binop(context, operator, left, right)


def _in_json(value: object) -> object:
    """A value as it stands in JSON: a text between the quotes of the template, anything else as it is."""
    if isinstance(value, Markup):
        return value
    return json.dumps(value)[1:-1] if isinstance(value, str) else json.dumps(value, default=str)


def _environment(form: Form) -> Sandbox:
    made = Sandbox(
        undefined=Unknown, autoescape=form is Form.HTML, keep_trailing_newline=True,
        finalize=_in_json if form is Form.JSON else None,
    )  # fmt: skip
    ours = {"join": _join, "round": _round, "tojson": _json}
    made.globals = {}
    made.filters = {name: _paid(ours.get(name, made.filters[name])) for name in FILTERS}
    made.filters |= {LOOPED: _looped, JOINED: _concatenated}
    return made


ENVIRONMENTS = {form: _environment(form) for form in Form}


@lru_cache(maxsize=512)
def _compiled(source: str, form: Form) -> jinja2.Template:
    environment = ENVIRONMENTS[form]
    tree = environment.parse(source)
    Fence().visit(tree)
    tree.set_environment(environment)
    return environment.from_string(tree)


class Fence(NodeTransformer):
    """Puts a price on loops and concatenations. Raises: TemplateError with the line of what isn't allowed."""

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        if not isinstance(node, ALLOWED):
            raise _at(node, f"{type(node).__name__.lower()} is not allowed here")
        if isinstance(node, nodes.Name) and node.name == "self":
            raise _at(node, "there is no self here")
        if isinstance(node, nodes.Filter) and node.name not in FILTERS:
            raise _at(node, f"there is no filter {node.name!r}; there are {', '.join(sorted(FILTERS))}")
        return super().generic_visit(node, *args, **kwargs)

    def visit_For(self, loop: nodes.For) -> nodes.Node:
        body = nodes.Const(1 + sum(1 for _ in loop.find_all(nodes.Node)))
        self.generic_visit(loop)
        loop.iter = nodes.Filter(loop.iter, LOOPED, [body], [], None, None, lineno=loop.lineno)
        return loop

    def visit_Concat(self, concat: nodes.Concat) -> nodes.Node:
        self.generic_visit(concat)
        values = nodes.List(concat.nodes, lineno=concat.lineno)
        return nodes.Filter(values, JOINED, [], [], None, None, lineno=concat.lineno)


def _at(node: nodes.Node, problem: str) -> TemplateError:
    error = TemplateError(problem)
    error.lineno = node.lineno  # type: ignore[attr-defined]
    return error


def _line(wrong: Exception) -> int | None:
    """Of the template; Jinja writes its lines into the traceback."""
    known: int | None = getattr(wrong, "lineno", None)
    lines = [line for frame, line in walk_tb(wrong.__traceback__) if frame.f_code.co_filename == "<template>"]
    return known or (lines[-1] if lines else None)

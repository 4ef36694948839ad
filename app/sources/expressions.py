"""JMESPath (https://jmespath.org/specification.html) that can't cost much, whatever it is and whatever it looks at.

With `split`, `lower`, `upper`, `trim` and `replace` of the JMESPath Community's string functions. No list and no text
that an expression builds can grow beyond what it has left.
"""

from functools import lru_cache
from typing import Any

import jmespath
from jmespath import functions
from jmespath.exceptions import JMESPathError
from jmespath.visitor import Options, TreeInterpreter

STEPS_MAX = 500_000
"""Visits of nodes by all the expressions of one post (chosen: about a second)."""
TEXT_MAX = 1024 * 1024


class Exhausted(Exception):
    """An expression has used up its steps."""


class Strings(functions.Functions):
    """JMESPath's own functions, and some of texts: https://jmespath.site/main/#functions."""

    @functions.signature({"types": ["string"]}, {"types": ["string"]})
    def _func_split(self, text: str, separator: str) -> list[str]:
        return text.split(separator) if separator else list(text)

    @functions.signature({"types": ["string"]})
    def _func_lower(self, text: str) -> str:
        return text.lower()

    @functions.signature({"types": ["string"]})
    def _func_upper(self, text: str) -> str:
        return text.upper()

    @functions.signature({"types": ["string"]})
    def _func_trim(self, text: str) -> str:
        return text.strip()

    @functions.signature({"types": ["string"]}, {"types": ["string"]}, {"types": ["string"]})
    def _func_replace(self, text: str, old: str, new: str) -> str:
        if old and len(text) + text.count(old) * len(new) > TEXT_MAX:
            raise Exhausted
        return text.replace(old, new) if old else text

    @functions.signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, separator: str, texts: list[str]) -> str:
        if len(separator) * len(texts) > TEXT_MAX:
            raise Exhausted
        return separator.join(texts)


class Bounded(TreeInterpreter):
    """An interpreter that gives up: what it may do, and what it may build, is counted."""

    def __init__(self) -> None:
        super().__init__(Options(custom_functions=Strings()))
        self.left = STEPS_MAX

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        found = super().visit(node, *args, **kwargs)
        kind, cost = node["type"], 1
        if kind.startswith("multi_select"):
            cost += weight(found, self.left)  # the same thing twice doubles what everybody after it has to look at
        elif kind in ("function_expression", "flatten") and isinstance(found, list):
            cost += len(found)
        elif kind == "function_expression" and isinstance(found, str):
            cost += len(found) // 100
        self.left -= cost
        if self.left < 0:
            raise Exhausted
        return found


def weight(value: object, most: int) -> int:
    """How many values there are in a value, `most` and a few more at most."""
    seen, waiting = 0, [value]
    while waiting and seen <= most:
        one = waiting.pop()
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        seen += 1 + len(inner)
        waiting.extend(inner)
    return seen


@lru_cache(maxsize=1024)
def compiled(expression: str) -> Any:
    """What the expression says, parsed. Raises: ValueError with what is wrong, and where."""
    try:
        parsed = jmespath.compile(expression).parsed
    except JMESPathError as wrong:
        raise ValueError(f"must be JMESPath: {' '.join(str(wrong).split())[:300]}") from None
    except RecursionError:
        raise ValueError("must not be nested so deep") from None
    _check_functions(parsed)
    return parsed


def _check_functions(node: Any) -> None:
    if node["type"] == "function_expression" and node["value"] not in Strings.FUNCTION_TABLE:
        raise ValueError(
            f"there is no function {node['value']!r}; there are {', '.join(sorted(Strings.FUNCTION_TABLE))}"
        )
    for child in node.get("children", ()):
        if isinstance(child, dict):
            _check_functions(child)

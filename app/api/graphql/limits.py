"""How much one operation may ask for. Measured once, before anything else looks at it: each fragment is read one time,

so that fragments which name each other again and again cost no more than they are long.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
)
from strawberry.extensions import SchemaExtension
from strawberry.types.execution import ExecutionContext

NUL = re.compile(r"\0|\\u0000|\\u\{0+\}")
TOO_MUCH = 10**9
REPEATS = 20
"""Where counting ends."""
LISTS = {
    "incidents": 50, "searchIncidents": 50, "activeIncidents": 50, "criticalIncidents": 50, "events": 50,
    "correlationGroups": 50, "users": 50, "teams": 50, "escalationPolicies": 50, "documents": 50,
    "incidentTimeline": 50, "relatedIncidents": 10, "alerts": 10, "timeline": 10, "resolutionLogs": 10, "comments": 5,
    "notifications": 5, "members": 10, "incidentComments": 20,
    "playbooks": 50, "playbookRuns": 50, "playbookExecutions": 5, "stepsExecuted": 10, "playbookActions": 50,
}  # fmt: skip
"""How many items a list is reckoned with where its size is not given (chosen)."""
SIZES = frozenset({"first", "last", "pageSize", "limit"})
PER_PAGE = frozenset({"edges", "nodes"})
"""Already counted by the connection they are in; `incidents` within one is, too."""
INTROSPECTION = frozenset({"__schema", "__type", "__typename"})


@dataclass(frozen=True)
class Cost:
    """`depth`: fields within each other. `aliases`: renamed fields. `objects`: what is asked for in all."""

    depth: int = 0
    aliases: int = 0
    objects: int = 0

    def beside(self, other: "Cost") -> "Cost":
        return Cost(
            max(self.depth, other.depth), min(self.aliases + other.aliases, TOO_MUCH),
            min(self.objects + other.objects, TOO_MUCH),
        )  # fmt: skip


class Circular(Exception):
    """Fragments that name each other in a circle: graphql-core's own rules say so better."""


class Measuring:
    """One document's fragments, each measured once."""

    def __init__(self, document: DocumentNode, variables: Mapping[str, object]) -> None:
        self.variables = variables
        self.fragments = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }
        self.known: dict[tuple[str, bool], Cost] = {}
        self.open: set[str] = set()
        self.repeats = 0
        """How often a field is named in one place, at most: validating compares each with each."""

    def cost(self, selections: SelectionSetNode | None, within_page: bool = False) -> Cost:
        """Raises: Circular."""
        total = Cost()
        named: Counter[str] = Counter()
        for selection in selections.selections if selections is not None else ():
            if isinstance(selection, FieldNode):
                named[selection.alias.value if selection.alias else selection.name.value] += 1
            if isinstance(selection, FieldNode):
                total = total.beside(self._field(selection, within_page))
            elif isinstance(selection, InlineFragmentNode):
                total = total.beside(self.cost(selection.selection_set, within_page))
            elif isinstance(selection, FragmentSpreadNode):
                total = total.beside(self._fragment(selection.name.value, within_page))
        self.repeats = max(self.repeats, *named.values(), 0)
        return total

    def _fragment(self, name: str, within_page: bool) -> Cost:
        if (name, within_page) not in self.known:
            if name in self.open:
                raise Circular
            fragment = self.fragments.get(name)
            self.open.add(name)
            self.known[name, within_page] = self.cost(fragment.selection_set if fragment else None, within_page)
            self.open.discard(name)
        return self.known[name, within_page]

    def _field(self, field: FieldNode, within_page: bool) -> Cost:
        aliases = 1 if field.alias is not None else 0
        if field.name.value in INTROSPECTION:  # allowed or not, it reads nothing
            return Cost(1, aliases, 0)
        if field.selection_set is None:
            return Cost(1, aliases, 0)
        name = field.name.value
        page = name in PER_PAGE or (within_page and name == "incidents")
        times = 1 if page else self._size(field, name)
        inner = self.cost(field.selection_set, name in LISTS)
        objects = min(times * (1 + inner.objects), TOO_MUCH)
        return Cost(1 + inner.depth, min(aliases + inner.aliases, TOO_MUCH), objects)

    def _size(self, field: FieldNode, name: str) -> int:
        for argument in field.arguments or ():
            if argument.name.value in SIZES:
                value = argument.value
                if isinstance(value, IntValueNode):
                    return max(int(value.value[:9]), 1)
                if isinstance(value, VariableNode):
                    given = self.variables.get(value.name.value)
                    if isinstance(given, int):
                        return max(given, 1)
        return LISTS.get(re.sub(r"_(.)", lambda found: found[1].upper(), name), 1)


@dataclass(frozen=True)
class Limits:
    """What the settings allow."""

    depth: int
    aliases: int
    tokens: int
    complexity: int

    def refusal(self, document: DocumentNode, variables: Mapping[str, object]) -> GraphQLError | None:
        """Why the operation is too much, or None."""
        measuring = Measuring(document, variables)
        try:
            costs = [
                measuring.cost(one.selection_set)
                for one in document.definitions
                if isinstance(one, (OperationDefinitionNode, FragmentDefinitionNode))
            ]
        except (Circular, RecursionError):
            return None
        for name, found, most in (
            ("repetition of a field", measuring.repeats, REPEATS),
            ("depth", max(cost.depth for cost in costs), self.depth),
            ("aliases", sum(cost.aliases for cost in costs), self.aliases),
            ("complexity", max(cost.objects for cost in costs), self.complexity),
        ):
            if found > most:
                many = f"{found:,}" if found < TOO_MUCH else "far too much"
                message = f"The operation's {name} is {many}; {most:,} is allowed."
                return GraphQLError(message, extensions={"code": "COMPLEXITY_LIMITED", "limit": name, "allowed": most})
        return None


class Limited(SchemaExtension):
    """Refuses what is too much before it is validated."""

    limits: Limits

    def __init__(self, *, execution_context: ExecutionContext | None = None) -> None:
        """Made anew for each operation."""

    def on_operation(self) -> Iterator[None]:
        self.execution_context.parse_options["max_tokens"] = self.limits.tokens
        yield

    def on_validate(self) -> Iterator[None]:
        context = self.execution_context
        if NUL.search(context.query or ""):
            context.pre_execution_errors = [GraphQLError("The operation must not contain the character NUL.")]
        elif context.graphql_document is not None:
            refusal = self.limits.refusal(context.graphql_document, context.variables or {})
            if refusal is not None:
                context.pre_execution_errors = [refusal]
        yield

"""The schema: every contract's names in one, limits before anything is looked up, refusals in one form."""

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from functools import partial
from typing import Any, cast

import orjson
import strawberry
from graphql import GraphQLError, GraphQLObjectType, GraphQLSyntaxError, NoSchemaIntrospectionCustomRule, print_schema
from strawberry.extensions import AddValidationRules
from strawberry.schema.config import StrawberryConfig
from strawberry.types.execution import ExecutionResult, PreExecutionError
from strawberry.types.graphql import OperationType

from app.api.graphql.context import Context
from app.api.graphql.limits import Limited, Limits
from app.api.graphql.mutations import Mutation
from app.api.graphql.queries import Query
from app.api.graphql.scalars import SCALARS
from app.api.graphql.sharing import Sharing
from app.api.graphql.subscriptions import Subscription
from app.domain.errors import Refused

log = logging.getLogger(__name__)

CODES = {
    "AUTHENTICATION_ERROR": "UNAUTHENTICATED", "AUTHORIZATION_ERROR": "UNAUTHORIZED",
    "RATE_LIMIT_EXCEEDED": "RATE_LIMITED",
    "INVALID_STATE_TRANSITION": "CONFLICT", "PAYLOAD_TOO_LARGE": "VALIDATION_ERROR",
}  # fmt: skip
"""Our codes → those of the GraphQL contract; the others are called the same."""
IN_BOTH_CASINGS = (
    "Incident", "SLATracking", "IncidentMetrics", "Resolution", "ResolutionAction", "Event", "Alert", "ResourceInfo",
)  # fmt: skip
SUBSCRIBES = re.compile(r"^\s*(?:#.*\n\s*)*subscription\b")
CURSOR = re.compile(r"\bafter\b")


class Schema(strawberry.Schema):
    """Subscriptions of the same words by the same caller share one run."""

    def __init__(self, limits: Limits, *, introspection: bool, most_behind: int) -> None:
        def limited() -> Limited:
            made = Limited()
            made.limits = limits
            return made

        closed = [] if introspection else [partial(AddValidationRules, [NoSchemaIntrospectionCustomRule])]
        super().__init__(
            query=Query, mutation=Mutation, subscription=Subscription, extensions=[limited, *closed],
            config=StrawberryConfig(scalar_map=SCALARS, disable_field_suggestions=not introspection),
        )  # fmt: skip
        self.sharing = Sharing(most_behind)
        for name in IN_BOTH_CASINGS:
            _in_both_casings(cast("GraphQLObjectType", self._schema.type_map[name]))

    @property
    def sdl(self) -> str:
        return print_schema(self._schema)

    async def execute(self, *args: Any, **kwargs: Any) -> ExecutionResult:
        return worded(await super().execute(*args, **kwargs))

    async def stream(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any | None = None,
        root_value: Any | None = None,
        operation_name: str | None = None,
        operation_extensions: dict[str, Any] | None = None,
        allowed_operation_types: Iterable[OperationType] | None = None,
    ) -> Any:
        """The results of one operation, one after the other."""

        async def begin() -> AsyncIterator[Any]:
            return await super(Schema, self).stream(
                query, variable_values, context_value, root_value, operation_name, operation_extensions,
                allowed_operation_types,
            )  # fmt: skip

        if query is None or not SUBSCRIBES.match(query) or CURSOR.search(query):
            return self._worded(await begin())
        context = cast("Context", context_value)
        said = orjson.dumps([query, variable_values, operation_name], option=orjson.OPT_SORT_KEYS)
        return self._worded(self.sharing.listen((context.caller, said), begin, context.drop))

    async def _worded(self, results: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
        try:
            async for result in results:
                yield worded(result)
        finally:
            if isinstance(results, AsyncGenerator):
                await results.aclose()


def _in_both_casings(type_: GraphQLObjectType) -> None:
    """Every field under its name in snake_case too, unless that is another field."""
    for name, field in list(type_.fields.items()):
        snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        type_.fields.setdefault(snake, field)


def worded(result: ExecutionResult) -> ExecutionResult:
    """The result, its errors with a code; what was no refusal is logged and not shown."""
    if result.errors:
        result.errors = [_worded(error, isinstance(result, PreExecutionError)) for error in result.errors]
    return result


def _worded(error: GraphQLError, early: bool) -> GraphQLError:
    cause = error.original_error
    if isinstance(cause, Refused):
        code = CODES.get(cause.code, cause.code)
        extensions = {"code": code, "reason": cause.code, "details": cause.details}
        return _again(error, cause.message, extensions)
    if error.extensions and "code" in error.extensions:
        return error
    if isinstance(error, GraphQLSyntaxError) or early or cause is None:
        too_long = "tokens" in error.message and isinstance(error, GraphQLSyntaxError)
        error.extensions = {"code": "COMPLEXITY_LIMITED" if too_long else "VALIDATION_ERROR"}
        return error
    if isinstance(cause, GraphQLError):
        return _again(error, cause.message, {"code": "VALIDATION_ERROR"})
    log.error("a resolver failed at %s", error.path, exc_info=cause)
    return _again(error, "Something went wrong here; it has been logged.", {"code": "INTERNAL_ERROR"})


def _again(error: GraphQLError, message: str, extensions: dict[str, Any]) -> GraphQLError:
    return GraphQLError(
        message, error.nodes, error.source, error.positions, error.path, error.original_error, extensions
    )

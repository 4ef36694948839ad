"""Pages of lists, as Relay has them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import strawberry

from app.api.graphql import inputs
from app.api.graphql.context import Info
from app.api.graphql.incident import Incident
from app.domain.errors import Invalid
from app.domain.requests import IncidentQuery
from app.store.search import cursor_of

T = TypeVar("T")

PAGE_SIZE = 50


@strawberry.type
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type
class Edge(Generic[T]):
    cursor: str
    node: T


@strawberry.type
class Connection(Generic[T]):
    """A page. `nodes` are the edges' nodes."""

    edges: list[Edge[T]]
    nodes: list[T]
    page_info: PageInfo
    total_count: int


@strawberry.type
class IncidentConnection(Connection[Incident]):
    """A page of incidents. `incidents` are its nodes, once more."""

    incidents: list[Incident]
    page: int
    page_size: int


@dataclass(frozen=True)
class Window:
    """Which part of a list: forwards from `after`, backwards from `before`, or the page `page`, from 1."""

    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None
    page: int | None = None
    page_size: int | None = None

    @property
    def backwards(self) -> bool:
        return self.last is not None or self.before is not None

    def asked(self, order: str) -> dict[str, object]:
        """As `IncidentQuery` has it. Raises: Invalid for what contradicts itself."""
        if self.backwards and (self.first is not None or self.after is not None):
            raise Invalid.field("last", "goes with before, first with after: not both")
        for name, size in (("first", self.first), ("last", self.last), ("pageSize", self.page_size)):
            if size is not None and not 1 <= size <= inputs.MOST:
                raise Invalid.field(name, f"must be 1 to {inputs.MOST}")
        size = self.last or self.first or self.page_size or PAGE_SIZE
        found: dict[str, object] = {"page_size": size, "cursor": self.before if self.backwards else self.after}
        if self.page is not None:
            found["page"] = max(self.page, 1)
        return found | ({"order": "desc" if order == "asc" else "asc"} if self.backwards else {})


async def page(info: Info, conditions: dict[str, Any], window: Window) -> IncidentConnection:
    """The part of the incidents that the conditions find. Raises: Forbidden, Invalid, Unavailable."""
    order = str(conditions.get("order", "desc"))
    query: IncidentQuery = inputs.query_of(conditions | window.asked(order))
    found = await info.context.gateway.incidents.list(info.context.caller, query)
    rows = found.incidents[::-1] if window.backwards else found.incidents
    nodes = cast("list[Incident]", rows)
    edges = [Edge(cursor=cursor_of(query.sort, row), node=cast("Incident", row)) for row in rows]
    more, came_from = found.next_cursor is not None, query.cursor is not None or query.page > 1
    page_info = PageInfo(
        has_next_page=came_from if window.backwards else more,
        has_previous_page=more if window.backwards else came_from,
        start_cursor=edges[0].cursor if edges else None, end_cursor=edges[-1].cursor if edges else None,
    )  # fmt: skip
    return IncidentConnection(
        edges=edges, nodes=nodes, incidents=nodes, page_info=page_info, total_count=found.total_count,
        page=query.page, page_size=query.page_size,
    )  # fmt: skip


def whole(found: Sequence[tuple[str, T]], first: int | None, after: str | None) -> Connection[T]:
    """The part of a list that is at hand; the cursors are ids. Raises: Invalid."""
    if first is not None and first < 1:
        raise Invalid.field("first", "must be 1 or more")
    rest = [(id_, node) for id_, node in found if after is None or id_ > after]
    shown = rest[:first]
    edges = [Edge(cursor=id_, node=node) for id_, node in shown]
    page_info = PageInfo(
        has_next_page=len(shown) < len(rest), has_previous_page=len(rest) < len(found),
        start_cursor=edges[0].cursor if edges else None, end_cursor=edges[-1].cursor if edges else None,
    )  # fmt: skip
    return Connection(edges=edges, nodes=[node for _, node in shown], page_info=page_info, total_count=len(found))

"""Lists of incidents: filters, words, order, pages and cursors, as one SQL statement each."""

import base64
import binascii
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import orjson

from app.domain.errors import Invalid
from app.domain.representation import IncidentView
from app.domain.requests import IncidentQuery
from app.domain.taxonomy import CLASSES
from app.domain.vocabulary import Severity, Status

SEARCHED = "to_tsvector('simple'::regconfig, (title || ' '::text) || description)"
"""What words are looked up in; the index `incidents_search` is built on this very expression."""

OF_CLASS = "id IN (SELECT incident_id FROM classifications WHERE incident_class = ANY({0}::text[]))"

KINDS = {"severity": Severity, "status": Status}


@dataclass
class Clause:
    """Conditions that must all hold, with their arguments as $1 …."""

    conditions: list[str] = field(default_factory=list)
    arguments: list[object] = field(default_factory=list)

    def add(self, condition: str, *arguments: object) -> None:
        """`condition` with {0}, {1} … where its arguments go."""
        begin = len(self.arguments) + 1
        self.arguments += arguments
        self.conditions.append(condition.format(*(f"${begin + n}" for n in range(len(arguments)))))

    @property
    def sql(self) -> str:
        return f"WHERE {' AND '.join(self.conditions)}" if self.conditions else ""


def conditions(query: IncidentQuery) -> Clause:
    """What the incidents of a query have in common."""
    where = Clause()
    for column in ("severity", "status", "category", "environment", "source"):
        if values := getattr(query, column):
            where.add(f"{column} = ANY({{0}}::text[])", [str(value) for value in values])
    if query.active_only:
        where.add("status NOT IN ('RESOLVED', 'CLOSED')")
    if query.suppressed is not None:
        held = "(holds <> '[]'::jsonb AND status NOT IN ('RESOLVED', 'CLOSED'))"
        where.add(held if query.suppressed else f"NOT {held}")
    for column in ("assigned_to", "assigned_team"):
        if (value := getattr(query, column)) is not None:
            where.add(f"{column} = {{0}}", value)
    for condition, value in (
        (OF_CLASS, list(query.incident_class)),
        ("id IN (SELECT incident_id FROM incident_members WHERE group_id = {0})", query.correlation_group),
        ("tags @> {0}::jsonb", query.tags),
        ("created_at >= {0}", query.start_date),
        ("created_at <= {0}", query.end_date),
    ):
        if value:
            where.add(condition, value)
    if query.search and query.search.strip():
        _says(where, query.search)
    return where


def _says(where: Clause, search: str) -> None:
    """The words in title or description; of the name of a class its incidents as well."""
    part = search.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    either = f"{SEARCHED} @@ websearch_to_tsquery('simple'::regconfig, {{0}}) OR title ILIKE {{1}}"
    class_ = search.strip().casefold()
    if class_ in CLASSES:  # asked of every search, it would keep the index of words from being used
        of_class = OF_CLASS.replace("{0}", "{2}")
        where.add(f"({either} OR {of_class})", search, f"%{part}%", [class_])
    else:
        where.add(f"({either})", search, f"%{part}%")


def page(query: IncidentQuery, columns: str) -> tuple[str, list[object]]:
    """The statement for one page and one row more, which tells whether there is another. Raises: Invalid."""
    where, offset = conditions(query), (query.page - 1) * query.page_size
    if query.cursor is not None:
        kind = "text" if query.sort in KINDS else "timestamptz"
        beyond = ">" if query.order == "asc" else "<"
        where.add(f"({query.sort}, id) {beyond} ({{0}}::{kind}, {{1}}::uuid)", *position(query))
        offset = 0
    order = f"{query.sort} {query.order}, id {query.order}"
    limit = f"LIMIT {query.page_size + 1} OFFSET {offset}"
    return f"SELECT {columns} FROM incidents {where.sql} ORDER BY {order} {limit}", where.arguments


def count(query: IncidentQuery) -> tuple[str, list[object]]:
    where = conditions(query)
    return f"SELECT count(*) FROM incidents {where.sql}", where.arguments


def cursor_of(sort: str, last: IncidentView) -> str:
    """Leads to what comes after an incident in a list."""
    key = getattr(last, sort)
    place = [sort, key.isoformat() if isinstance(key, datetime) else key, last.id]
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=")


def position(query: IncidentQuery) -> tuple[object, UUID]:
    """The sort key and id after which a page begins. Raises: Invalid."""
    try:
        padded = (query.cursor or "") + "=" * (-len(query.cursor or "") % 4)
        sort, key, id_ = orjson.loads(base64.urlsafe_b64decode(padded))
        if sort != query.sort:
            raise Invalid.field("cursor", f"belongs to a list sorted by {sort}, not {query.sort}")
        return KINDS[sort](key) if sort in KINDS else datetime.fromisoformat(key), UUID(id_)
    except (ValueError, TypeError, binascii.Error):
        raise Invalid.field("cursor", "is not one that an earlier page gave") from None

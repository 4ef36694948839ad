"""Posts of tools, as tests make them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from app.domain.alert import Alert, ChangeEvent
from app.domain.inbound import Inbound
from app.sources import SOURCES
from app.sources.base import Post

NOW = datetime.fromtimestamp(1_795_405_000, UTC)
HELLO = b'{"hello":"world"}'


def post(body: object, headers: Mapping[str, str] | None = None, query: Mapping[str, str] | None = None) -> Post:
    return Post(json.dumps(body).encode(), NOW, headers or {}, query or {})


def inbound(name: str, body: object, headers: Mapping[str, str] | None = None, **query: str) -> Inbound:
    return SOURCES[name].read(post(body, headers, query))


def alert(name: str, body: object, headers: Mapping[str, str] | None = None, **query: str) -> Alert:
    """The only thing that is said."""
    said = inbound(name, body, headers, **query)
    assert (len(said.alerts), said.changes, said.samples) == (1, (), ())
    return said.alerts[0]


def change(name: str, body: object, headers: Mapping[str, str] | None = None) -> ChangeEvent:
    said = inbound(name, body, headers)
    assert (len(said.changes), said.alerts, said.samples) == (1, (), ())
    return said.changes[0]


def nothing(name: str, body: object, headers: Mapping[str, str] | None = None, **query: str) -> bool:
    return inbound(name, body, headers, **query) == Inbound()

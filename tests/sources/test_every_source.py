"""What holds of every source, whatever its tool sends."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.errors import Invalid
from app.domain.inbound import Inbound
from app.sources import SOURCES
from app.sources.base import Post
from app.sources.unreadable import unreadable

NOW = datetime(2026, 11, 23, 3, 40, tzinfo=UTC)
LENIENT = {name: source for name, source in SOURCES.items() if not source.strict}
text = st.text(max_size=12) | st.sampled_from(["", "\0", "é" * 600, "x" * 70_000, "ada@example.com"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=6),
    max_leaves=20,
)


def read(name: str, post: Post) -> Inbound:
    """What intake keeps of a post."""
    try:
        return SOURCES[name].read(post)
    except Invalid as why:
        return Inbound(alerts=(unreadable(name, post, why),))


def taken(name: str, raw: bytes) -> int:
    """How much is kept of a body."""
    said = read(name, Post(raw, NOW))
    kept = (*said.alerts, *said.changes, *said.samples)
    for one in kept:
        assert type(one).model_validate(one.model_dump()) == one
        assert "\0" not in json.dumps(one.model_dump(mode="json"), ensure_ascii=False)
    return len(kept)


@pytest.mark.parametrize("name", LENIENT)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=anything)
def test_whatever_json_comes_nothing_breaks(name: str, body: object) -> None:
    taken(name, json.dumps(body).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("name", LENIENT)
@settings(max_examples=50, deadline=None)
@given(raw=st.binary(min_size=1, max_size=60))
def test_whatever_bytes_come_something_is_kept(name: str, raw: bytes) -> None:
    assert taken(name, raw)


@pytest.mark.parametrize("name", LENIENT)
@pytest.mark.parametrize("body", [{}, [], {"some": "thing"}, "text", 3, None, [{}], {"alerts": [{}]}])
def test_what_is_none_of_its_bodies_is_kept_as_unreadable(name: str, body: object) -> None:
    assert taken(name, json.dumps(body).encode())

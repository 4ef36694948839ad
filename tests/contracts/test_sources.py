"""Whatever bytes arrive, at every door: alerts that PostgreSQL can hold, or a refusal that can be written down."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.alert import Alert, ChangeEvent
from app.domain.dedup import delivery_id, fingerprint
from app.domain.errors import Invalid
from app.sources import SOURCES, alertmanager, native, pagerduty
from app.sources.base import Post, Source
from app.sources.strict_json import parse_json

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def tool(source: Source) -> Callable[[object], Sequence[Alert | Invalid | ChangeEvent]]:
    def said(obj: object) -> Sequence[Alert | Invalid | ChangeEvent]:
        inbound = source.read(Post(json.dumps(obj).encode(), NOW))
        return [*inbound.alerts, *inbound.changes]

    return said


DOORS: dict[str, Callable[[object], Sequence[Alert | Invalid | ChangeEvent]]] = {
    "alerts": lambda obj: [native.alert(obj)],
    "batch": native.batch,
    "incidents": lambda obj: [native.incident(obj).alert],
    "push": lambda obj: alertmanager.push(obj, now=NOW),
    "enqueue": lambda obj: [pagerduty.event(obj, new_key=lambda: "minted").alert],
    "change": lambda obj: [pagerduty.change(obj)],
    **{name: tool(source) for name, source in SOURCES.items()},
}

text = st.text(st.characters(exclude_characters="\0"), max_size=12) | st.sampled_from([
    "", " ", "P1", "critical", "firing", "resolved", "2026-11-23T08:00:00Z", "0001-01-01T00:00:00+14:00", "\\u0000",
    "9999-12-31T23:59:59-14:00", "é" * 600, "x" * 5000, "trigger", "resolve", "production", "cost", "Data",
])  # fmt: skip
unclean = st.sampled_from(["\0", "\ud800", "a\udfff", float("nan"), float("-inf")])
field = st.sampled_from([
    "source", "title", "status", "severity", "description", "alert_type", "category", "environment", "impact",
    "resource", "affected_services", "labels", "tags", "annotations", "runbook_url", "external_id", "fingerprint",
    "delivery_id", "starts_at", "ends_at", "event", "options", "force_severity", "skip_deduplication", "assign_to",
    "timestamp", "metrics", "payload", "alerts", "startsAt", "endsAt", "generatorURL", "groupKey", "truncatedAlerts",
    "routing_key", "event_action", "dedup_key", "summary", "component", "class", "custom_details", "links", "images",
])  # fmt: skip
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(field | text, inner, max_size=8),
    max_leaves=30,
)
name = st.text("abc", min_size=1, max_size=3)
words = st.dictionaries(name, text, max_size=4)
level = st.sampled_from(["P0", "critical", "warn", "info", "error"])
moment = st.datetimes(timezones=st.timezones()).map(datetime.isoformat)
native_alert = st.fixed_dictionaries({"source": name, "title": name}, optional={
    "severity": level, "labels": words, "tags": words | st.lists(name), "starts_at": moment, "metrics": anything,
    "resource": st.dictionaries(name, anything), "fingerprint": name, "event_id": name, "description": text,
})  # fmt: skip
vendor_alert = st.fixed_dictionaries({"labels": words}, optional={
    "annotations": words, "startsAt": moment, "endsAt": moment, "fingerprint": name, "generatorURL": text,
})  # fmt: skip
payload = st.fixed_dictionaries({"summary": name, "source": name, "severity": st.just("error")}, optional={
    "timestamp": moment, "custom_details": anything, "component": text, "class": text,
})  # fmt: skip
event = st.fixed_dictionaries(
    {"routing_key": name, "event_action": st.just("trigger"), "payload": payload},
    optional={"dedup_key": text, "links": st.lists(st.dictionaries(name, anything)), "client": text},
)
raw_event = st.fixed_dictionaries({"event": native_alert}, optional={"options": st.just({"skip_deduplication": True})})
LIKELY = {
    "alerts": native_alert,
    "batch": st.lists(native_alert | anything, min_size=1, max_size=3),
    "incidents": native_alert | raw_event,
    "push": st.lists(vendor_alert, min_size=1, max_size=3),
    "enqueue": event,
    "change": event,
    "alertmanager": st.fixed_dictionaries({"alerts": st.lists(vendor_alert, min_size=1, max_size=3)}),
}
unlikely = anything | st.dictionaries(field, unclean | text, max_size=3)


def taken_or_refused(door: str, raw: bytes) -> Sequence[Alert | Invalid | ChangeEvent]:
    try:
        return DOORS[door](parse_json(raw))
    except Invalid as refusal:
        return [refusal]


@pytest.mark.parametrize("door", DOORS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_json_is_taken_or_refused(door: str, data: st.DataObject) -> None:
    sent = data.draw(LIKELY.get(door, anything) | unlikely)
    made = taken_or_refused(door, json.dumps(sent).encode())
    for one in made:
        if isinstance(one, Invalid):
            assert orjson.dumps([one.message, one.details]), "can be written down"
        else:
            assert type(one).model_validate(one.model_dump()) == one
            assert "\0" not in json.dumps(one.model_dump(mode="json"), ensure_ascii=False)
        if isinstance(one, Alert):
            assert len(fingerprint(one)) == 64
            assert all(at is None or at.utcoffset() is not None for at in (one.starts_at, one.ends_at))
            assert delivery_id(one, "f") is None or one.delivery or one.starts_at


@pytest.mark.parametrize("door", DOORS)
@settings(max_examples=100, deadline=None)
@given(raw=st.binary(max_size=60))
def test_any_bytes_are_refused_with_words(door: str, raw: bytes) -> None:
    for one in taken_or_refused(door, raw):
        assert isinstance(one, Invalid)
        assert orjson.dumps([one.message, one.details])


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("raw", [
    b'{"title": NaN}', b'[{"labels": {"a": 1e400}}]', b'{"title": "\\ud800"}', b'{"a\\u0000": 1}', b'{"title": "\xff"}',
    b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b"", b"nul",
])  # fmt: skip
def test_what_is_no_clean_json_reaches_no_parser(door: str, raw: bytes) -> None:
    with pytest.raises(Invalid) as refusal:
        DOORS[door](parse_json(raw))
    assert orjson.dumps(refusal.value.details)

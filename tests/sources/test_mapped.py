"""Saved mappings: what each part of one does, what hostile ones cost, and that nothing is lost."""

import base64
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.alert import Alert, AlertStatus
from app.domain.decode import decode
from app.domain.errors import Invalid
from app.domain.inbound import Inbound
from app.domain.mapping import Mapping
from app.domain.vocabulary import Environment, Severity
from app.sources import mapped
from app.sources.base import Forged, Post, Stale

NOW = datetime(2026, 11, 23, 3, 40, tzinfo=UTC)
PLAIN: dict[str, Any] = {"id": "acme", "fields": {"title": "name"}}


def mapping(**parts: Any) -> Mapping:
    return decode(Mapping, PLAIN | parts)


def read(body: object, **parts: Any) -> Inbound:
    return mapped.applied(mapping(**parts), Post(json.dumps(body).encode(), NOW)).inbound


def alert(body: object, **parts: Any) -> Alert:
    [one] = read(body, **parts).alerts
    return one


FULL = {
    "each": "checks[?kind == 'probe']",
    "fields": {
        "title": "join(': ', [group, name])", "description": "detail", "severity": "level", "status": "state",
        "identity": "id", "delivery": "join('/', [id, to_string(seq)])", "service": "split(group, '/')[1]",
        "environment": "lower(env)", "incident_class": "class", "starts_at": "since", "occurrences": "seq",
        "url": "link", "runbook_url": "book",
    },
    "labels": {"region": "where.region", "none": "nothing"},
    "lookups": {"severity": {"RED": "P0"}, "status": {"Gone": "resolved"}},
    "drop": "muted", "resolved": "acked && fixed",
}  # fmt: skip
CHECK = {
    "kind": "probe", "group": "eu/chat", "name": "ttft", "detail": "12 s", "level": "red", "state": "bad", "id": "c-1",
    "seq": 3, "env": "PROD", "class": "performance.latency", "since": 1795404870000, "link": "https://acme/c-1",
    "book": "https://wiki/ttft", "where": {"region": "eu"},
}  # fmt: skip


def test_every_part_of_a_mapping_says_its_own() -> None:
    one = alert({"checks": [CHECK, {"kind": "note"}, {**CHECK, "muted": True}]}, **FULL)
    assert (one.source, one.title, one.description, one.severity) == ("acme", "eu/chat: ttft", "12 s", Severity.P0)
    assert (one.identity, one.delivery, one.occurrences) == ("c-1", "c-1/3", 3)
    assert (one.affected_services, one.environment) == (("chat",), Environment.PRODUCTION)
    assert one.labels == {"class": "performance.latency", "region": "eu"}
    assert one.annotations == {"url": "https://acme/c-1"}
    assert (one.runbook_url, one.starts_at) == ("https://wiki/ttft", datetime.fromtimestamp(1795404870, UTC))


@pytest.mark.parametrize(("check", "status"), [
    ({}, AlertStatus.FIRING), ({"state": "gone"}, AlertStatus.RESOLVED), ({"state": "OK"}, AlertStatus.RESOLVED),
    ({"acked": True}, AlertStatus.FIRING), ({"acked": True, "fixed": 1}, AlertStatus.RESOLVED),
])  # fmt: skip
def test_it_is_over_where_the_rule_the_table_or_the_word_says_so(check: dict[str, object], status: AlertStatus) -> None:
    assert alert({"checks": [CHECK | check]}, **FULL).status is status


def test_defaults_stand_where_nothing_is_found_and_unknown_words_are_no_severity() -> None:
    defaults = {"severity": "low", "service": "chat", "title": "Something", "incident_class": "quality.drop"}
    one = alert({"level": "purple"}, defaults=defaults, fields={"title": "name", "severity": "level"})
    assert (one.title, one.severity, one.affected_services) == ("Something", Severity.P3, ("chat",))
    assert one.labels["class"] == "quality.drop"
    assert alert({"name": "x"}).severity is Severity.P2
    assert alert({"name": "x"}).identity == "x\n"


def test_a_mapping_of_changes_makes_changes() -> None:
    fields = {"title": "msg", "service": "app", "author": "who", "url": "link", "starts_at": "at"}
    body = {"msg": "chat 2.4.1", "app": "chat", "who": "ada", "link": "https://ci/1", "at": "2026-11-23T03:00:00Z"}
    inbound = read(body, kind="change", fields=fields, labels={"sha": "missing"})
    [change] = inbound.changes
    assert not inbound.alerts
    assert (change.summary, change.services, change.author) == ("chat 2.4.1", ("chat",), "ada")
    assert change.at == datetime(2026, 11, 23, 3, tzinfo=UTC)
    assert change.links == ({"href": "https://ci/1"},)


def test_what_cannot_be_mapped_is_said_and_holds_back_nothing() -> None:
    one, other = read([{"name": "fine"}, {"nom": "4111 1111"}], each="@").alerts
    assert (one.title, other.severity) == ("fine", Severity.P4)
    assert other.title == "acme sent something that could not be read"
    assert "nom: text of 9 characters" in other.description
    unmapped: tuple[object, ...] = ({"nom": 1}, [], 3)
    for body in unmapped:
        with pytest.raises(Invalid, match=r"fields\.title: finds nothing"):
            read(body)
    with pytest.raises(Invalid, match="each: finds no list"):
        read({"name": "x"}, each="items")
    assert read({"items": []}, each="items") == Inbound()


def test_of_very_many_the_first_are_taken_and_the_rest_is_said() -> None:
    alerts = read([{"name": f"n{n}"} for n in range(1500)], each="@").alerts
    assert len(alerts) == mapped.ITEMS_MAX + 1
    assert "finds 1,500 items" in alerts[-1].description


DOUBLED = "|".join(["[@,@]"] * 120)


@pytest.mark.parametrize("each", [
    f"{DOUBLED}|to_string(@)", f"{DOUBLED}|[]", f"{DOUBLED}|[?@ == @]", "|".join(["[@,@][]"] * 90), "!" * 900 + "@",
    "[?" * 300 + "@" + "]" * 300, "[::0]", "[*].join(@.a, ['', '', ''])", "map(&map(&a, @), [@, @, @, @])",
    "join('" + "x" * 900 + "', [*].a)", "[*].replace(a, 'x', '" + "y" * 900 + "')",
    "`\"\\ud800\\u0000\"`", "sum([*].n)",
])  # fmt: skip
def test_a_hostile_expression_costs_little_and_breaks_nothing(each: str) -> None:
    began = time.process_time()
    try:
        mapped.checked(mapping(each=each))
        for one in read([{"a": "x" * 20, "n": 2**63}] * 5000, each=each).alerts:
            assert Alert.model_validate(one.model_dump()) == one
    except Invalid:
        pass
    assert time.process_time() - began < 5


def test_whatever_an_expression_finds_fits() -> None:
    hostile = {"name": '`"a\\ud800\\u0000b"`', "n": "sum([`9223372036854775807`, `9223372036854775807`])"}
    one = alert({}, fields={"title": hostile["name"], "occurrences": "n"}, labels={"n": hostile["n"], "ref": "&name"})
    assert (one.title, one.labels) == ("a?b", {"n": "18446744073709551614"})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*CHECK, "checks"]), inner, max_size=9),
    max_leaves=20,
))  # fmt: skip
def test_whatever_json_comes_nothing_breaks(body: object) -> None:
    for each in (None, "@", "checks"):
        try:
            inbound = read(body, **{**FULL, "each": each})
        except Invalid:
            continue
        for one in inbound.alerts:
            assert Alert.model_validate(one.model_dump()) == one
            assert "\0" not in str(one)


def test_every_broken_expression_is_named_at_once() -> None:
    broken = mapping(fields={"title": "a..b", "service": "nope(@)"}, labels={"x": "]"}, drop="(" * 500)
    with pytest.raises(Invalid) as refusal:
        mapped.checked(broken)
    details: Any = refusal.value.details
    assert {one["field"] for one in details} == {"fields.title", "fields.service", "labels.x", "drop"}
    assert any("there is no function 'nope'; there are abs" in one["message"] for one in details)
    with pytest.raises(Invalid, match="is the name of a source"):
        mapped.checked(mapping(id="grafana"), frozenset({"grafana"}))


BODY = b'{"name": "x"}'
AT = str(int(NOW.timestamp()))
GITHUB = {"header": "X-Hub-Signature-256", "prefix": "sha256="}
GRAFANA = {"header": "X-Sig", "timestamp_header": "X-Time", "content": "{timestamp}:{body}"}
STRIPE = {"header": "Stripe-Signature", "part": "v1", "timestamp_part": "t", "content": "{timestamp}.{body}"}
BASE64 = {"header": "X-Sig", "algorithm": "sha512", "encoding": "base64"}


def digest(secret: str, content: bytes = BODY, algorithm: str = "sha256") -> bytes:
    return hmac.new(secret.encode(), content, algorithm).digest()


def headers(kind: str, secret: str) -> dict[str, str]:
    """As the tool would send them."""
    dated = digest(secret, f"{AT}.".encode() + BODY).hex()
    match kind:
        case "github":
            return {"x-hub-signature-256": f"sha256={digest(secret).hex().upper()}"}
        case "grafana":
            return {"x-sig": digest(secret, f"{AT}:".encode() + BODY).hex(), "x-time": AT}
        case "stripe":
            return {"stripe-signature": f"t={AT}, v1={'0' * 64},v1={dated},v0=x"}
        case _:
            return {"x-sig": base64.b64encode(digest(secret, algorithm="sha512")).decode()}


KINDS = {"github": GITHUB, "grafana": GRAFANA, "stripe": STRIPE, "base64": BASE64}


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_is_checked_as_the_mapping_describes_it(kind: str) -> None:
    verify = mapped.source(mapping(signature=KINDS[kind])).verify
    assert verify is not None
    for secret in ("new", "old"):
        verify(Post(BODY, NOW, headers=headers(kind, secret)), ["new", "old"])
    for bad in (headers(kind, "third"), {}, dict.fromkeys(headers(kind, "new"), "é")):
        with pytest.raises(Forged):
            verify(Post(BODY, NOW, headers=bad), ["new", "old"])
    with pytest.raises(Forged):
        verify(Post(b'{"name": "y"}', NOW, headers=headers(kind, "new")), ["new"])
    late = Post(BODY, NOW + timedelta(minutes=6), headers=headers(kind, "new"))
    if "timestamp" in str(KINDS[kind]):
        with pytest.raises(Stale):
            verify(late, ["new"])
    else:
        verify(late, ["new"])


def test_standard_webhooks_need_no_description() -> None:
    verify = mapped.source(mapping(signature={"scheme": "standard_webhooks"})).verify
    secret = base64.b64encode(b"k" * 24).decode()
    signature = base64.b64encode(hmac.new(b"k" * 24, f"m1.{AT}.".encode() + BODY, "sha256").digest()).decode()
    signed = {"webhook-id": "m1", "webhook-timestamp": AT, "webhook-signature": f"v1,{signature}"}
    assert verify is not None
    verify(Post(BODY, NOW, headers=signed), [f"whsec_{secret}"])
    with pytest.raises(Forged):
        verify(Post(BODY, NOW, headers=signed | {"webhook-id": "m2"}), [f"whsec_{secret}"])


@pytest.mark.parametrize(("signature", "said"), [
    ({}, "needs a header"), ({"header": "X", "content": "x"}, "must have {body} once"),
    ({"header": "X", "content": "{body}{secret}"}, "must have {body} once"),
    ({"header": "X", "content": "{timestamp}{body}"}, "where timestamp_header"),
    ({"header": "X", "timestamp_header": "T"}, "where timestamp_header"), ({"header": "X Y"}, "signature.header"),
])  # fmt: skip
def test_a_description_that_cannot_be_right_is_refused(signature: dict[str, str], said: str) -> None:
    with pytest.raises(Invalid) as refusal:
        mapping(signature=signature)
    assert said in refusal.value.message


def test_an_episode_that_becomes_worse_is_told_of_again() -> None:
    fields = {"fields": {"title": "name", "severity": "level", "status": "state", "starts_at": "since"}}
    once, again, worse, over = (
        alert({"name": "x", "since": "2026-11-23T03:00:00Z"} | more, **fields).delivery
        for more in ({"level": "P3"}, {"level": "P3"}, {"level": "P1"}, {"level": "P3", "state": "ok"})
    )
    assert once == again
    assert len({once, worse, over}) == 3
    assert alert({"name": "x", "level": "P3"}, **fields).delivery is None

"""What is taken out of all that comes in, and what stays as it is."""

import time
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.alert import Alert, ChangeEvent, Event
from app.domain.dedup import fingerprint
from app.domain.inbound import Sample, Signal
from app.intake import Detector
from app.sources.redaction import ALL_OUT, Redaction

GERMAN = Redaction(region="DE")
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
KEYS = [
    "sk-proj-Ab12" + "x" * 40, "sk-ant-api03-" + "Z9" * 20, "sk-" + "a1" * 11, "AKIAIOSFODNN7EXAMPLE",
    "AIza" + "B" * 35, "ghp_" + "a1" * 18, "github_pat_" + "1A" * 20, "xoxb-" + "1234567890-abc", "hf_" + "q" * 34,
    "sk-lf-01234567-89ab-cdef-0123-456789abcdef", "pk-lf-01234567-89ab-cdef-0123-456789abcdef",
    "sk_live_" + "a1" * 12, JWT, PEM, PEM.partition("\n-----END")[0], "whsec_" + "QUJD" * 8, "im" + "Ab3" * 10,
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_keys_are_taken_out(key: str) -> None:
    assert ALL_OUT.text(f'it said "{key}"').startswith('it said "[key]')
    assert ALL_OUT.text(f"key={key}") == "key=[key]"


@pytest.mark.parametrize(("said", "left"), [
    ("ask ada@example.com, now", "ask [e-mail], now"),
    ("<o'brien+x@mail.example.co.uk>", "<[e-mail]>"),
    ("https://example.com/?user=ada%40example.com", "https://example.com/?user=[e-mail]"),
    ("postgres://app:secret@db.example.com/x", "postgres://app:[e-mail]/x"),
    ("müller@bücher.example", "[e-mail]"),
    ("call +49 30 12345678 or +1 (212) 555-2368.", "call [phone] or [phone]."),
    ("card 4111 1111 1111 1111 12/29", "card [card] 12/29"),
    ("card 4111-1111-1111-1111", "card [card]"), ("378282246310005", "[card]"), ("5555555555554444;", "[card];"),
    ("Authorization: Bearer abcdef0123456789abcdef==", "Authorization: Bearer [key]"),
])  # fmt: skip
def test_people_and_cards_are_taken_out(said: str, left: str) -> None:
    assert ALL_OUT.text(said) == left


@pytest.mark.parametrize("said", [
    "1795405000", "1795405000123", "1795405000123456", "1795405000123456789", "2026-11-23T03:40:00+01:00",
    "2026-11-23 03:40:00.123456", "20261123034000123", "10.12.13.141", "fe80::1ff:fe23:4567:890a", "v2.14.1-rc.3",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "4" * 64, "0" * 32, "4111111111111112",
    "user@host", "root@10.0.0.1", "image@sha256:" + "ab" * 32, "git@github.com:org/repo.git", "@channel please",
    "task-manager-of-the-team", "sk-learn-is-a-library-of-python", "the bearer authentication-of-clients failed",
    "latency +12% over 5m, p95 4.81 s", "shard 0000000007", "$12,000.00", "12345678-1234-4234-8234-123456789012",
    "the time of immediate improvements", "Bearer token of the team",
])  # fmt: skip
def test_what_is_nobodys_stays(said: str) -> None:
    assert ALL_OUT.text(said) == said
    assert GERMAN.text(said) == said


def test_a_region_knows_its_own_numbers() -> None:
    assert GERMAN.text("Tel. 030 12345678") == "Tel. [phone]"
    assert ALL_OUT.text("Tel. 030 12345678") == "Tel. 030 12345678"


@given(st.uuids(), st.binary(min_size=32, max_size=32), st.datetimes(min_value=datetime(1970, 1, 2)), st.ip_addresses())
def test_ids_moments_and_addresses_survive(id_: UUID, digest: bytes, at: datetime, ip: object) -> None:
    aware = at.replace(tzinfo=UTC)
    for said in (str(id_), digest.hex(), aware.isoformat(), str(ip), f"{int(aware.timestamp())}", f"x {id_} {ip} y"):
        assert ALL_OUT.text(said) == said


PARTS = st.sampled_from([
    "ada@example.com", "+49 30 12345678", "4111111111111111", JWT, "sk-" + "a1" * 11, "@", "+", "-", ".", " ", "4",
    "im", "whsec_", "%40", "Bearer ", "[key]", "[e-mail]", "a", "1", "é",
])  # fmt: skip


@given(st.lists(PARTS | st.text(max_size=5), max_size=12).map("".join))
def test_twice_is_once(said: str) -> None:
    left = ALL_OUT.text(said)
    assert ALL_OUT.text(left) == left


@pytest.mark.parametrize(("one", "mark"), [
    ("+49 30 12345678", "[phone]"), ("+ada@example.com", "[e-mail]"), ("030 12345678/", "[phone]/"),
    ("AIza" + "B" * 35, "[key]"), ("4111 1111 1111 1111 ", "[card] "),
])  # fmt: skip
def test_one_right_behind_the_other_leaves_none(one: str, mark: str) -> None:
    assert GERMAN.text(one * 5) == mark * 5


@given(st.text(st.characters(exclude_characters="@+%0123456789", exclude_categories=("Cs", "Nd")), max_size=80))
def test_words_stay(said: str) -> None:
    assert ALL_OUT.text(said) == said


@pytest.mark.parametrize("part", [
    "1", "4", "4 ", "4-1", "@", "a@", "a", "a.", "a'", "a@a.", "sk-", "eyJ", "eyJaaaaaaaa.", "+1", "+49 ", "xoxb-",
    "im", "+12125552368 ", "-----BEGIN PRIVATE KEY-----", "Bearer ", "whsec_", "%40", "4111111111111111 ",
    "github_pat_", "1. ",
])  # fmt: skip
def test_whatever_is_sent_takes_time_in_proportion_to_its_length(part: str) -> None:
    def took(size: int) -> float:
        said, began = part * (size // len(part)), time.process_time()
        Redaction(region="US").text(said)
        return time.process_time() - began

    assert took(65_536) < 1, "where time grows with the square of the length, it takes minutes"


def test_each_detector_can_be_switched_off() -> None:
    said = f"ada@example.com +4930123456789 4111111111111111 {JWT}"
    assert Redaction(frozenset()).text(said) == said
    assert Redaction(frozenset({Detector.EMAIL})).text(said) == said.replace("ada@example.com", "[e-mail]")
    assert Redaction(frozenset(Detector) - {Detector.KEY}).text(said) == f"[e-mail] [phone] [card] {JWT}"


def alert(**more: object) -> Alert:
    return Alert.model_validate({"source": "tests", "title": "checkout is slow"} | more)


def test_an_alert_without_anything_of_the_kind_is_the_same() -> None:
    usual = alert(description="p95 4.8 s", labels={"team": "llm", "shard": "0000000007"}, identity="a7")
    assert ALL_OUT.alert(usual) is usual


def test_everything_that_an_alert_says_is_looked_at() -> None:
    who = "ada@example.com"
    said = ALL_OUT.alert(alert(
        title=f"{who} is out", description=who, impact=who, labels={"user": who}, annotations={who: "x"},
        resource={"owner": [who]}, runbook_url=f"https://example.com/{who}", affected_services=[who],
        event=Event(tags={"user": who}, labels=(who,), payload={"a": {"b": who}}, correlation_id=who, event_id="e-1"),
    ))  # fmt: skip
    assert who not in said.model_dump_json()
    assert (said.title, said.labels, said.annotations) == ("[e-mail] is out", {"user": "[e-mail]"}, {"[e-mail]": "x"})
    assert said.event is not None
    assert (said.event.event_id, said.event.payload) == ("e-1", {"a": {"b": "[e-mail]"}})


def test_a_problem_that_is_named_by_somebody_is_told_from_anothers() -> None:
    named = [ALL_OUT.alert(alert(identity=f"budget of {who}@example.com")) for who in ("ada", "bob", "ada")]
    first, other, again = map(fingerprint, named)
    assert first == again != other
    assert not any("@" in one.model_dump_json() for one in named)


def test_a_problem_is_the_same_whoever_it_happened_to() -> None:
    ada, bob = (ALL_OUT.alert(alert(title=f"login of {who}@example.com fails")) for who in ("ada", "bob"))
    assert fingerprint(ada) == fingerprint(bob)


def test_prompts_and_answers_are_no_part_of_an_event() -> None:
    payload = {
        "messages": [{"role": "user", "content": "my diagnosis"}], "gen_ai.input.messages": "my diagnosis",
        "usage": {"input": 1200, "output": "300"}, "prompt": {"name": "triage", "version": 3, "text": "my diagnosis"},
        "model": "large-2", "nested": [{"Response_Body": "my diagnosis"}],
    }  # fmt: skip
    said = ALL_OUT.alert(alert(event=Event(payload=payload), annotations={"details.prompt": "my diagnosis", "a": "b"}))
    assert said.event is not None
    assert said.event.payload == {
        "messages": "[content]", "gen_ai.input.messages": "[content]", "usage": {"input": 1200, "output": "300"},
        "prompt": {"name": "triage", "version": 3, "text": "[content]"}, "model": "large-2",
        "nested": [{"Response_Body": "[content]"}],
    }  # fmt: skip
    assert said.annotations == {"details.prompt": "[content]", "a": "b"}
    kept = Redaction(frozenset(Detector) - {Detector.CONTENT}).alert(alert(event=Event(payload=payload)))
    assert kept.event is not None
    assert kept.event.payload == payload


def test_a_change_and_a_count_name_nobody() -> None:
    change = ChangeEvent(
        source="ci", summary="ada@example.com deployed chat", author="ada@example.com",
        details={"prompt": "be kind", "sha": "a7"}, links=({"href": "https://example.com/ada@example.com"},),
    )  # fmt: skip
    said = ALL_OUT.change(change)
    assert (said.summary, said.author) == ("[e-mail] deployed chat", "[e-mail]")
    assert said.details == {"prompt": "[content]", "sha": "a7"}
    assert "ada" not in said.model_dump_json()
    spent = Sample(signal=Signal.SPEND, source="litellm", subject={"user": "ada@example.com", "model": "large-2"})
    assert ALL_OUT.sample(spent).subject["model"] == "large-2"
    assert ALL_OUT.sample(spent) == ALL_OUT.sample(spent) != spent

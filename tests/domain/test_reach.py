"""Whom a level reaches: by people's own rules, their sleep, their teams and schedules."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.decode import decode
from app.domain.errors import Invalid
from app.domain.escalation import Level
from app.domain.oncall import Schedule
from app.domain.people import Team, User
from app.domain.reach import People, least_loaded, next_in_turn, pick, reach
from app.domain.vocabulary import ChannelName, Severity, TeamMode

NIGHT = datetime(2026, 11, 23, 2, tzinfo=UTC)
EVERY = frozenset(ChannelName)
MAIL_THEN_SMS = {"default": [{"channel": "email"}, {"wait_secs": 120}, {"channel": "sms"}]}


def user(id: str, **more: object) -> User:  # noqa: A002
    return decode(User, {"id": id, "name": id, "email": f"{id}@example.com", "phone": "+4930123456"} | more)


def level(*targets: dict[str, Any], **more: object) -> Level:
    return decode(Level, {"targets": targets or [{"type": "user", "id": "alice"}]} | more)


def told(
    level: Level, *users: User, severity: Severity = Severity.P2, at: datetime = NIGHT, teams: Sequence[Team] = (),
    schedules: Sequence[Schedule] = (), channels: frozenset[ChannelName] = EVERY, turns: dict[str, str] | None = None,
) -> tuple[list[tuple[str, str, float]], dict[str, str]]:  # fmt: skip
    """Who is told through what after how many minutes, and who isn't and why."""
    people = People(
        users={user.id: user for user in users}, teams={team.id: team for team in teams},
        schedules={schedule.id: schedule for schedule in schedules}, turns=turns or {},
    )  # fmt: skip
    found = reach(level, severity, people, channels, at)
    messages = [
        (m.target.partition(":")[2], str(m.channel), (m.due_at - at) / timedelta(minutes=1)) for m in found.messages
    ]
    return messages, {unreached.target: unreached.reason for unreached in found.unreached}


def test_without_rules_every_channel_is_used_at_once() -> None:
    assert told(level(), user("alice")) == ([("alice", "email", 0), ("alice", "sms", 0)], {})


def test_rules_are_followed_in_their_order() -> None:
    alice = user("alice", notification_preferences={"rules": MAIL_THEN_SMS})
    assert told(level(), alice)[0] == [("alice", "email", 0), ("alice", "sms", 2)]


def test_what_is_important_has_rules_of_its_own() -> None:
    rules = MAIL_THEN_SMS | {"important": [{"channel": "sms"}]}
    alice = user("alice", notification_preferences={"rules": rules})
    assert told(level(), alice, severity=Severity.P1)[0] == [("alice", "sms", 0)]
    assert len(told(level(), alice, severity=Severity.P2)[0]) == 2


def test_a_channel_that_cannot_be_used_costs_no_time() -> None:
    rules = {
        "default": [
            {"channel": "slack"},
            {"wait_secs": 300},
            {"channel": "email"},
            {"wait_secs": 60},
            {"channel": "sms"},
        ]
    }
    alice = user("alice", notification_preferences={"rules": rules})
    assert told(level(), alice)[0] == [("alice", "email", 0), ("alice", "sms", 1)]


def test_a_level_that_leaves_none_of_somebodys_rules_still_reaches_them() -> None:
    alice = user("alice", notification_preferences={"rules": {"default": [{"channel": "sms"}]}})
    assert told(level(channels=["email"]), alice)[0] == [("alice", "email", 0)]


@pytest.mark.parametrize(("severity", "minutes"), [("P0", 0), ("P1", 0), ("P2", 300), ("P4", 300)])
def test_sleep_is_broken_for_what_is_important_only(severity: str, minutes: float) -> None:
    quiet = {"start": "23:00", "end": "08:00"}
    preferences = {"quiet_hours": quiet, "rules": MAIL_THEN_SMS}
    alice = user("alice", timezone="Europe/Berlin", notification_preferences=preferences)
    messages, nobody = told(level(), alice, severity=Severity(severity))
    assert [after for _, _, after in messages] == [minutes, minutes + 2]
    assert nobody == {}


def test_a_later_step_that_falls_into_somebodys_sleep_waits_for_its_end() -> None:
    preferences = {"quiet_hours": {"start": "02:01", "end": "03:00"}, "rules": MAIL_THEN_SMS}
    assert told(level(), user("alice", notification_preferences=preferences))[0] == [
        ("alice", "email", 0), ("alice", "sms", 60),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("alice", "why"),
    [
        ({"email": None, "phone": None}, "has no address on any channel of this level"),
        ({"active": False}, "is inactive"),
        ({"notification_preferences": {"severity_filter": ["P0"]}}, "is not told of P2"),
        (None, "is not in the directory"),
    ],
)
def test_whoever_is_not_told_is_named_with_the_reason(alice: dict[str, object] | None, why: str) -> None:
    users = [user("alice", **alice)] if alice is not None else []
    assert told(level(), *users) == ([], {"user:alice": why})


def test_a_fallback_stands_in_for_whoever_cannot_be_reached() -> None:
    target = {"type": "user", "id": "ghost", "fallback": {"type": "user", "id": "bob"}}
    assert told(level(target), user("bob")) == (
        [("bob", "email", 0), ("bob", "sms", 0)], {"user:ghost": "is not in the directory"},
    )  # fmt: skip
    assert told(level(target | {"id": "alice"}), user("alice"), user("bob"))[0][0][0] == "alice"


def test_everybody_is_told_once_however_often_they_are_named() -> None:
    team = Team(id="sre", name="SRE", members=("alice", "bob"))
    named = level({"type": "user", "id": "alice"}, {"type": "team", "id": "sre"}, channels=["email"])
    assert told(named, user("alice"), user("bob"), teams=[team])[0] == [("alice", "email", 0), ("bob", "email", 0)]


def test_whoever_is_on_duty_is_told_and_a_gap_is_said() -> None:
    layers = [{"name": "days", "users": ["alice", "bob"], "rotation": "daily", "start_date": "2026-11-22",
               "handoff_time": "09:00"}]  # fmt: skip
    schedule = decode(Schedule, {"id": "main", "name": "main", "timezone": "UTC", "layers": layers})
    on_call = level({"type": "on_call", "id": "main"}, channels=["email"])
    people = (user("alice"), user("bob"))
    assert told(on_call, *people, schedules=[schedule])[0] == [("alice", "email", 0)]
    assert told(on_call, *people, schedules=[schedule], at=NIGHT + timedelta(hours=8))[0] == [("bob", "email", 0)]
    nobody = schedule.model_copy(update={"enabled": False})
    assert told(on_call, *people, schedules=[nobody]) == ([], {"on_call:main": "has nobody on duty"})


def test_in_turns_only_one_of_a_team_is_told() -> None:
    team = Team(id="sre", name="SRE", members=("alice", "bob"))
    in_turns = level({"type": "team", "id": "sre", "mode": "round_robin"}, channels=["email"])
    people = (user("alice"), user("bob"))
    assert told(in_turns, *people, teams=[team], turns={"sre": "bob"})[0] == [("bob", "email", 0)]
    assert told(in_turns, *people, teams=[team])[1] == {"team:sre": "has no member who can be reached"}


def test_a_channel_that_is_off_reaches_nobody() -> None:
    pager = level({"type": "external", "id": "pagerduty"})
    assert told(pager)[0] == [("pagerduty", "pagerduty", 0)]
    off = EVERY - {ChannelName.PAGERDUTY}
    assert told(pager, channels=off) == ([], {"external:pagerduty": "is not reached: pagerduty is off here"})


def test_an_integration_key_is_shown_to_nobody() -> None:
    key = "0123456789abcdef0123456789abcdef"
    [target] = level({"type": "external", "id": f"pagerduty:{key}"}).targets
    assert key not in target.label
    other = level({"type": "external", "id": f"pagerduty:{key[::-1]}"}).targets[0]
    assert target.label != other.label


members = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True)


@given(members=members, rounds=st.integers(1, 5), data=st.data())
def test_turns_are_fair(members: list[str], rounds: int, data: st.DataObject) -> None:
    reachable = data.draw(st.lists(st.sampled_from(members), min_size=1, unique=True))
    last, served = None, []
    for _ in range(rounds * len(reachable)):
        last = next_in_turn(members, reachable, last)
        assert last is not None
        served.append(last)
    assert all(served.count(member) == rounds for member in reachable)
    assert next_in_turn(members, [], last) is None


@given(members=members, load=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 5)))
def test_the_least_loaded_has_nobody_below(members: list[str], load: dict[str, int]) -> None:
    chosen = least_loaded(members, load)
    assert chosen == pick(TeamMode.LOAD_BALANCED, members, members, None, load)
    assert chosen is not None
    assert all(load.get(chosen, 0) <= load.get(member, 0) for member in members)


@pytest.mark.parametrize(
    ("preferences", "field"),
    [
        ({"rules": {"default": [{"channel": "fax"}]}}, "notification_preferences.rules.default[0].channel"),
        ({"rules": {"default": [{"wait_secs": 60}]}}, "notification_preferences.rules"),
        ({"rules": {"default": [{"channel": "sms", "wait_secs": 1}]}}, "notification_preferences.rules.default[0]"),
        ({"quiet_hours": {"start": "25:00", "end": "08:00"}}, "notification_preferences.quiet_hours.start"),
        ({"severity_filter": ["urgent"]}, "notification_preferences.severity_filter[0]"),
    ],
)
def test_wrong_preferences_are_refused_by_their_field(preferences: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        user("alice", notification_preferences=preferences)
    assert [problem["field"] for problem in refused.value.details] == [field]  # type: ignore[attr-defined]

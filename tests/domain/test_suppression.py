"""What keeps an incident from paging, and until when: round the clock changes, and so that somebody always pages."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.calendar import WEEK, Weekday
from app.domain.decode import decode
from app.domain.errors import Invalid
from app.domain.incident import Hold, HoldReason
from app.domain.matching import Condition, Subject, holds
from app.domain.suppression import (
    AT_LEAST,
    HORIZON,
    Flapping,
    InhibitionRule,
    Lead,
    MaintenanceWindow,
    Other,
    Silence,
    Timed,
    behind,
    flapping_until,
    inhibited,
    inhibitor,
    open_until,
    opens_next,
    standing,
    state,
)
from app.domain.vocabulary import Severity

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
CHANGES = [
    ("America/New_York", date(2026, 3, 8)), ("America/New_York", date(2026, 11, 1)),
    ("Europe/Berlin", date(2026, 3, 29)), ("Europe/Berlin", date(2026, 10, 25)),
    ("Australia/Lord_Howe", date(2026, 4, 5)), ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("Africa/Casablanca", date(2026, 2, 15)), ("Asia/Kolkata", date(2026, 3, 8)),
]  # fmt: skip
"""Half an hour on Lord Howe; none in Kolkata."""
CLOCKS = st.times().map(lambda at: at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0))
MATCHERS = {"field": "source", "operator": "equals", "value": "grafana"}


def subject(**more: object) -> Subject:
    return Subject.model_validate({"severity": "P2", "source": "grafana", "at": NOW} | more)


def silence(**more: object) -> Silence:
    body = {"id": "s", "matchers": MATCHERS, "starts_at": NOW, "ends_at": NOW + HOUR} | more
    return decode(Silence, body)


def window(**more: object) -> MaintenanceWindow:
    return decode(MaintenanceWindow, {"id": "w", "name": "w", "matchers": MATCHERS} | more)


def rule(source: object, target: object, *equal: str, id_: str = "r") -> InhibitionRule:
    return decode(InhibitionRule, {"id": id_, "source": source, "target": target, "equal": equal})


def a(name: str, value: str = "yes") -> dict[str, object]:
    return {"field": f"tags.{name}", "operator": "equals", "value": value}


def other(id_: str, opened: int = 0, **more: Any) -> Other:
    about = {key: more.pop(key) for key in ("tags", "severity", "affected_services") if key in more}
    return Other(id=id_, subject=subject(**about), opened_at=NOW + opened * MINUTE, **more)


# Who is meant


def matcher(name: str, value: str, **more: bool) -> dict[str, object]:
    return {"name": name, "value": value, **more}


@pytest.mark.parametrize(
    ("matchers", "true"),
    [
        ([matcher("cluster", "eu-1")], True),
        ([matcher("cluster", "eu")], False),
        ([matcher("cluster", "eu", isRegex=True)], False),  # anchored
        ([matcher("cluster", "eu|us-1", isRegex=True)], False),
        ([matcher("cluster", "eu-.*|us", isRegex=True)], True),
        ([matcher("cluster", "eu-1", isEqual=False)], False),
        ([matcher("cluster", "us-.*", isRegex=True, isEqual=False)], True),
        ([matcher("cluster", "eu-1"), matcher("pod", "b")], False),
        ([matcher("cluster", "eu-1"), matcher("pod", "a")], True),
        ([matcher("node", "")], True),  # what isn't there is empty
        ([matcher("cluster", "")], False),
        ([matcher("node", "", isEqual=False)], False),
        ([matcher("node", ".*", isRegex=True)], True),
        ([matcher("node", ".+", isRegex=True)], False),
        ([matcher("node", ".+", isRegex=True, isEqual=False)], True),
        ([matcher("alertname", "GpuLost")], True),  # the label, whatever the title says
        ([matcher("alertname", "A GPU is lost")], True),  # the title, where a source has no such label
        ([matcher("alertname", "Other")], False),
        ([matcher("alertname", "GpuLost", isEqual=False)], False),
        ([matcher("service", "chat")], True),
        ([matcher("severity", "warning")], True),
        ([matcher("severity", "critical")], False),
        ([matcher("severity", "page-the-dba")], False),  # no word of ours: the label alone
        ([matcher("env", "prod")], True),
        ([matcher("env", "perf-lab")], False),
    ],
)
def test_alertmanagers_matchers_mean_what_they_mean_there(matchers: list[object], true: bool) -> None:
    about = subject(
        title="A GPU is lost", affected_services=["chat"], environment="production",
        tags={"cluster": "eu-1", "pod": "a", "alertname": "GpuLost"},
    )  # fmt: skip
    assert holds(silence(matchers=matchers).matchers, about) is true


def test_a_silence_reads_back_as_it_was_understood() -> None:
    written = silence(matchers=[matcher("cluster", "eu-.*", isRegex=True), matcher("alertname", "GpuLost")])
    assert silence(matchers=written.model_dump(mode="json")["matchers"]) == written


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"matchers": [matcher("cluster", "(", isRegex=True)]}, "matchers"),
        ({"matchers": {"field": "hour", "operator": "greater_than", "value": 22}}, "matchers"),
        ({"matchers": {"not": {"field": "alert_count", "operator": "greater_than", "value": 9}}}, "matchers"),
        ({"matchers": {"time_of_day": {"start": "22:00", "end": "06:00"}}}, "matchers"),
        ({"ends_at": NOW}, "ends_at"),
        ({"ends_at": NOW + timedelta(days=367)}, "ends_at"),
        ({"starts_at": "9999-12-31T23:59:59Z", "ends_at": "9999-12-31T23:59:59Z"}, "ends_at"),
    ],
)
def test_what_a_silence_may_not_say_is_refused_by_name(wrong: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        silence(**wrong)
    assert field in str(refused.value.details)


def test_a_silence_is_pending_active_and_expired() -> None:
    one = silence()
    assert [state(one, NOW + at) for at in (-MINUTE, 0 * MINUTE, HOUR - MINUTE, HOUR)] == [
        "pending", "active", "active", "expired",
    ]  # fmt: skip
    assert state(silence(enabled=False), NOW) == "disabled"


# When


@settings(max_examples=30)
@given(
    st.sampled_from(CHANGES), CLOCKS, CLOCKS, st.sets(st.sampled_from(Weekday), min_size=1),
    st.sets(st.sampled_from((*range(1, 32), -1)), max_size=25),
)  # fmt: skip
def test_minute_by_minute_a_window_is_open_when_it_says_it_is(
    change: tuple[str, date], start: Any, end: Any, days: set[Weekday], month: set[int]
) -> None:
    zone, day = change
    one = window(
        timezone=zone, hours={"start": start, "end": end, "days": sorted(days)}, days_of_month=sorted(month)
    )  # fmt: skip
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC) - 36 * HOUR
    minutes = [begin + n * MINUTE for n in range(72 * 60)]
    until = {at: open_until(one, at) for at in minutes}
    for before, at in pairwise(minutes):
        ends = until[before]
        if ends is None:
            assert until[at] is None or opens_next(one, before) == at
        else:
            assert ends > before
            assert (until[at] is not None) or ends == at  # it stays open until it said
        if steady(zone, at):
            assert (until[at] is not None) is on_the_wall(one, at)
    closed = next((at for at in minutes if until[at] is None), None)
    opens = opens_next(one, closed) if closed is not None else None
    if opens is not None and closed is not None:
        assert all(until[at] is None for at in minutes if closed <= at < opens)
        assert until.get(opens, opens) is not None


def steady(zone: str, at: datetime) -> bool:
    """No clock is changed two days around."""
    return len({(at + n * HOUR).astimezone(ZoneInfo(zone)).utcoffset() for n in range(-48, 49, 6)}) == 1


def on_the_wall(one: MaintenanceWindow, at: datetime) -> bool:
    """Read off the clock and the calendar on the wall."""
    assert one.hours is not None
    local = at.astimezone(ZoneInfo(one.timezone)).replace(tzinfo=None)
    for began in (local.date(), local.date() - DAY):
        start, end = (datetime.combine(began, clock) for clock in (one.hours.start, one.hours.end))
        end += DAY if end <= start else timedelta()
        last = (began + DAY).day == 1
        month = not one.days_of_month or began.day in one.days_of_month or (last and -1 in one.days_of_month)
        if WEEK[began.weekday()] in one.hours.days and month and start <= local < end:
            return True
    return False


def test_the_last_day_of_the_month_is_the_28th_in_february() -> None:
    one = window(hours={"start": "22:00", "end": "02:00"}, days_of_month=[-1])
    assert opens_next(one, datetime(2026, 2, 1, tzinfo=UTC)) == datetime(2026, 2, 28, 22, tzinfo=UTC)
    assert open_until(one, datetime(2026, 3, 1, 1, tzinfo=UTC)) == datetime(2026, 3, 1, 2, tzinfo=UTC)
    assert open_until(one, datetime(2026, 3, 2, 1, tzinfo=UTC)) is None


def test_a_friday_the_13th_is_found_a_year_ahead() -> None:
    one = window(hours={"start": "00:00", "end": "00:00", "days": ["fri"]}, days_of_month=[13])
    assert opens_next(one, datetime(2026, 11, 14, tzinfo=UTC)) == datetime(2027, 8, 13, tzinfo=UTC)


def test_a_recurring_window_keeps_within_its_bounds() -> None:
    nightly = {"start": "22:00", "end": "06:00"}
    one = window(hours=nightly, starts_at="2026-11-23T23:00Z", ends_at="2026-11-25T01:00Z")
    assert opens_next(one, NOW) == datetime(2026, 11, 23, 23, tzinfo=UTC)
    assert open_until(one, datetime(2026, 11, 23, 22, 30, tzinfo=UTC)) is None
    assert open_until(one, datetime(2026, 11, 24, 23, tzinfo=UTC)) == datetime(2026, 11, 25, 1, tzinfo=UTC)
    assert opens_next(one, datetime(2026, 11, 25, 1, tzinfo=UTC)) is None
    assert open_until(one, datetime(2026, 11, 25, 2, tzinfo=UTC)) is None
    assert opens_next(window(hours=nightly, starts_at="2027-11-23T00:00Z"), NOW) == datetime(2027, 11, 23, tzinfo=UTC)


def test_what_begins_beyond_all_plans_is_not_waited_for() -> None:
    for one in (
        window(hours={"start": "22:00", "end": "06:00"}, starts_at="9999-12-30T00:00Z"),
        window(starts_at="9999-12-30T00:00Z", ends_at="9999-12-31T00:00Z"),
        silence(starts_at=NOW + HORIZON + DAY, ends_at=NOW + HORIZON + 2 * DAY),
    ):
        assert (open_until(one, NOW), opens_next(one, NOW)) == (None, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {}, {"starts_at": NOW}, {"starts_at": NOW, "ends_at": NOW}, {"days_of_month": [1], "starts_at": NOW,
        "ends_at": NOW + DAY}, {"hours": {"start": "22:00", "end": "06:00"}, "days_of_month": [0]},
        {"hours": {"start": "22:00", "end": "06:00"}, "timezone": "Berlin"},
    ],
)  # fmt: skip
def test_a_window_that_does_not_say_when_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        window(**wrong)


# What stands at a moment


def stands(*timed: Timed, at: datetime = NOW, others: Sequence[Hold] = ()) -> list[tuple[HoldReason, str]]:
    return [(hold.reason, hold.by) for hold in standing(subject(), timed, others, at).holds]


def test_every_reason_is_said_and_always_in_the_same_order() -> None:
    group = Hold(reason=HoldReason.GROUP, by="1")
    past = Hold(reason=HoldReason.RULE, by="over", until=NOW)
    night = window(starts_at=NOW - HOUR, ends_at=NOW + HOUR)
    two = [silence(id="b"), silence(id="a"), silence(id="off", enabled=False)]
    expected = [
        (HoldReason.SILENCE, "a"), (HoldReason.SILENCE, "b"), (HoldReason.MAINTENANCE, "w"), (HoldReason.GROUP, "1"),
    ]  # fmt: skip
    assert stands(night, *two, others=[group, past]) == stands(*reversed(two), night, others=[past, group]) == expected
    assert stands(silence(matchers={"field": "source", "operator": "equals", "value": "loki"})) == []


def test_it_is_looked_at_again_when_the_first_of_them_changes_and_never_later_than_in_an_hour() -> None:
    found = standing(subject(), [silence(ends_at=NOW + 20 * MINUTE), silence(id="t", ends_at=NOW + HOUR)], [], NOW)
    assert [hold.until for hold in found.holds] == [NOW + 20 * MINUTE, NOW + HOUR]
    assert found.look_again_at == NOW + 20 * MINUTE
    assert standing(subject(), [silence(ends_at=NOW + DAY)], [], NOW).look_again_at == NOW + AT_LEAST
    pending = silence(starts_at=NOW + DAY, ends_at=NOW + 2 * DAY)
    assert standing(subject(), [pending], [], NOW).look_again_at == NOW + DAY
    assert standing(subject(), [], [], NOW).look_again_at is None
    elsewhere = pending.model_copy(update={"matchers": Condition.model_validate(a("cluster"))})
    assert standing(subject(), [elsewhere], [], NOW).look_again_at is None


# Who comes and goes


def test_what_comes_and_goes_is_held_until_it_has_been_steady() -> None:
    four = [NOW - n * 10 * MINUTE for n in (4, 3, 2, 1)]
    flapping = Flapping(changes=4, window_secs=3600, hold_secs=900)
    assert flapping_until(four, Severity.P2, flapping, NOW) == NOW + 5 * MINUTE
    assert flapping_until(four[1:], Severity.P2, flapping, NOW) is None
    assert flapping_until(four, Severity.P0, flapping, NOW) is None
    assert flapping_until(four, Severity.P2, flapping, NOW + 5 * MINUTE) is None  # steady: it pages
    assert flapping_until([*four, NOW + 4 * MINUTE], Severity.P2, flapping, NOW + 5 * MINUTE) == NOW + 19 * MINUTE
    assert flapping_until(four, Severity.P2, flapping, NOW + 50 * MINUTE) is None  # the first is forgotten


# Who hides behind whom


def test_a_member_hides_behind_a_lead_that_pages_and_is_as_urgent() -> None:
    lead = Lead(id="lead", severity=Severity.P2, open=True, held=False)
    assert behind(lead, Severity.P2) == Hold(reason=HoldReason.GROUP, by="lead")
    assert behind(lead, Severity.P4) is not None
    assert behind(lead, Severity.P1) is None
    assert behind(lead.model_copy(update={"open": False}), Severity.P2) is None
    assert behind(lead.model_copy(update={"held": True}), Severity.P2) is None
    assert behind(None, Severity.P2) is None


def test_a_source_inhibits_its_target_where_all_that_is_asked_for_is_equal() -> None:
    rules = [rule(a("down"), a("slow"), "cluster", "service")]
    down = other("down", tags={"down": "yes", "cluster": "eu"}, affected_services=("chat", "search"))
    slow = other("slow", tags={"slow": "yes", "cluster": "eu"}, affected_services=("search", "chat"))
    far = other("far", tags={"slow": "yes", "cluster": "us"}, affected_services=("search", "chat"))
    nowhere = other("nowhere", tags={"slow": "yes"}, affected_services=("search", "chat"))
    assert inhibitor(rules, slow, [down]) == "down"
    assert inhibitor(rules, down, [slow]) is inhibitor(rules, far, [down]) is inhibitor(rules, nowhere, [down]) is None
    assert inhibited(rules, down, [slow, far, nowhere]) == ["slow"]
    assert inhibited(rules, down, [slow.model_copy(update={"behind": frozenset({"down"})})]) == []


def test_what_both_do_not_have_is_equal() -> None:
    rules = [rule(a("down"), a("slow"), "cluster")]
    down, slow = other("down", tags={"down": "yes"}), other("slow", tags={"slow": "yes", "cluster": ""})
    assert inhibitor(rules, slow, [down]) == "down"


def test_nobody_inhibits_himself_and_of_those_on_both_sides_the_older_pages() -> None:
    rules = [rule(a("down"), a("down"))]
    older, younger = other("older", tags={"down": "yes"}), other("younger", 1, tags={"down": "yes"})
    assert inhibitor(rules, older, [older, younger]) is None
    assert inhibitor(rules, younger, [older, younger]) == "older"


def test_nobody_hides_behind_what_is_silenced_itself() -> None:
    rules = [rule(a("down"), a("slow"))]
    down, slow = other("down", tags={"down": "yes"}, silenced=True), other("slow", tags={"slow": "yes"})
    assert inhibitor(rules, slow, [down]) is None
    assert inhibited(rules, down, [slow]) == []


TAGS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2"]))
SIDES = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2"]), max_size=2).map(
    lambda tags: [a(name, value) for name, value in tags.items()]
)
RULES = st.lists(
    st.tuples(SIDES, SIDES, st.sets(st.sampled_from("abc"), max_size=1)).map(lambda r: rule(r[0], r[1], *r[2])),
    max_size=4,
)


@settings(max_examples=500)
@given(RULES, st.lists(st.tuples(TAGS, st.integers(0, 2), st.booleans()), min_size=1, max_size=6))
def test_behind_whatever_hides_there_is_somebody_who_pages(
    rules: list[InhibitionRule], drawn: list[tuple[dict[str, str], int, bool]]
) -> None:
    them = [
        other(f"{n}", opened, tags=tags, silenced=silenced) for n, (tags, opened, silenced) in enumerate(drawn)
    ]  # fmt: skip
    hides = {one.id: inhibitor(rules, one, them) for one in them}
    known = {one.id: one for one in them}
    for one in them:
        seen, at = [one.id], one.id
        while (next_ := hides[at]) is not None:
            assert next_ not in seen
            assert not known[next_].silenced
            seen.append(at := next_)
    if any(not one.silenced for one in them):
        assert any(not one.silenced and hides[one.id] is None for one in them)


@settings(max_examples=200)
@given(RULES, st.lists(st.tuples(TAGS, st.integers(0, 2)), min_size=2, max_size=5))
def test_a_source_tells_exactly_those_that_hide_behind_somebody_once_they_look(
    rules: list[InhibitionRule], drawn: list[tuple[dict[str, str], int]]
) -> None:
    them = [other(f"{n}", opened, tags=tags) for n, (tags, opened) in enumerate(drawn)]
    told = {id_ for one in them for id_ in inhibited(rules, one, them)}
    assert told == {one.id for one in them if inhibitor(rules, one, them) is not None}

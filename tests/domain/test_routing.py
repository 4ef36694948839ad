"""What rules decide, in which order, who is assigned, and what other rules would have changed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.assignment import Assignment, assigned
from app.domain.decode import decode
from app.domain.errors import Invalid
from app.domain.escalation import Policy
from app.domain.incident import HoldReason
from app.domain.matching import Subject
from app.domain.oncall import Schedule
from app.domain.people import Team, User
from app.domain.reach import People
from app.domain.rehearsal import Rehearsal, Totals, Went, added, changed, summary
from app.domain.routing import Decision, decide, policy_of
from app.domain.rules import Assign, Rule
from app.domain.vocabulary import ChannelName, Severity

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SLOW = Subject.model_validate({
    "severity": "P2", "at": NOON, "source": "litellm", "title": "slow", "affected_services": ["chat"],
    "tags": {"team": "ml"},
})  # fmt: skip
P1 = {"type": "SetSeverity", "severity": "P1"}
P3 = {"type": "SetSeverity", "severity": "P3"}


def rule(id_: str, *actions: dict[str, Any], **more: object) -> Rule:
    return decode(Rule, {"id": id_, "name": id_.title(), "actions": list(actions)} | more)


def if_(field: str, value: object, operator: str = "equals") -> dict[str, object]:
    return {"field": field, "operator": operator, "value": value}


def said(decision: Decision) -> list[tuple[str, bool, list[str]]]:
    return [(v.rule, v.matched, [e.says for e in v.effects]) for v in decision.verdicts]


def test_rules_are_asked_by_priority_and_ties_by_id() -> None:
    rules = [rule("b", P1), rule("a", P1), rule("last", P1, priority=-1), rule("first", P1, priority=9)]
    assert decide(rules, SLOW).rules == ("first", "a", "b", "last")


def test_the_first_word_counts_and_the_others_say_why_they_did_not() -> None:
    decision = decide([rule("high", P1, priority=9), rule("low", P3)], SLOW)
    assert decision.subject.severity is Severity.P1
    assert said(decision) == [
        ("high", True, ["severity is P1"]),
        ("low", True, ["severity was already set by high"]),
    ]


def test_later_rules_see_what_earlier_ones_have_set() -> None:
    rules = [
        rule("label", {"type": "AddLabels", "labels": {"owner": "llm"}}, P1, priority=9),
        rule("owned", {"type": "SetPolicy", "policy_id": "llm"}, conditions=if_("tags.owner", "llm")),
        rule("urgent", {"type": "ApplyPlaybook", "playbook_id": "restart"}, conditions=if_("severity", "P1")),
    ]
    decision = decide(rules, SLOW)
    assert (decision.policy_id, decision.playbooks) == ("llm", ("restart",))
    assert decision.subject.tags == {"team": "ml", "owner": "llm"}
    assert not decide([r.model_copy(update={"priority": -r.priority}) for r in rules], SLOW).policy_id


def test_a_rule_that_stops_keeps_later_ones_from_being_asked() -> None:
    rules = [rule("a", P1, stop=True), rule("b", P3)]
    assert decide(rules, SLOW).rules == ("a",)
    assert len(decide(rules, SLOW).verdicts) == 1
    other = [rule("a", P1, then="stop", conditions=if_("source", "other")), rule("b", P3)]
    assert decide(other, SLOW).rules == ("b",)


def test_a_disabled_rule_is_not_asked() -> None:
    assert decide([rule("a", P1, enabled=False)], SLOW).verdicts == ()


def test_a_label_is_the_first_rules_and_what_it_replaced_is_remembered() -> None:
    decision = decide(
        [
            rule("a", {"type": "AddLabels", "labels": {"team": "core", "x": "1"}}, priority=1),
            rule("b", {"type": "AddLabels", "labels": {"team": "other"}}),
        ],
        SLOW,
    )
    assert decision.labels == {"team": "core", "x": "1"}
    assert decision.replaced == {"team": "ml"}
    assert said(decision)[1] == ("b", True, ["its labels were already set by a"])


def test_suppression_ends_by_the_age_of_the_incident() -> None:
    decision = decide([rule("hush", {"type": "Suppress", "duration_minutes": 30})], SLOW)
    [hold] = decision.holds(NOON, NOON + timedelta(minutes=29))
    assert (hold.reason, hold.by, hold.until) == (HoldReason.RULE, "hush", NOON + timedelta(minutes=30))
    assert decision.holds(NOON, NOON + timedelta(minutes=30)) == ()


def test_everybody_who_is_notified_is_so_once_and_through_all_channels_unless_every_rule_names_some() -> None:
    def notify(*ids: str, **more: object) -> dict[str, Any]:
        return {"type": "Notify", "targets": [{"type": "user", "id": id_} for id_ in ids], **more}

    named = decide([rule("a", notify("x", "y", channels=["slack"])), rule("b", notify("y", channels=["email"]))], SLOW)
    assert [target.label for target in named.targets] == ["user:x", "user:y"]
    assert named.channels == (ChannelName.SLACK, ChannelName.EMAIL)
    assert decide([rule("a", notify("x", channels=["slack"])), rule("b", notify("y"))], SLOW).channels == ()


def test_the_explanation_says_what_each_rule_was_asked_and_what_was_there() -> None:
    [verdict] = decide([rule("a", P1, conditions=if_("source", "other"))], SLOW).explanation()
    assert (verdict["rule"], verdict["matched"], verdict["effects"]) == ("a", False, [])
    assert verdict["tests"] == [
        {"field": "source", "operator": "equals", "value": "other", "actual": ["litellm"], "held": False}
    ]


def test_an_explanation_is_bounded_and_leaves_out_no_match() -> None:
    rules = [rule(f"r{n:03}", P1, conditions=if_("source", "other")) for n in range(200)] + [rule("z", P1)]
    explanation = decide(rules, SLOW).explanation()
    assert len(explanation) == 30
    assert explanation[-1]["rule"] == "z"


def test_a_policy_that_is_named_goes_before_what_fits() -> None:
    fits, named, off = (policy(id_, priority=p, enabled=e) for id_, p, e in (("fits", 9, True), ("named", 0, True),
                                                                             ("off", 0, False)))  # fmt: skip
    policies = (fits, named, off)

    def chosen(id_: str) -> str | None:
        found = policy_of(decide([rule("a", {"type": "SetPolicy", "policy_id": id_})], SLOW), policies, "default")
        return found.id if found else None

    assert [chosen("named"), chosen("gone"), chosen("off")] == ["named", "fits", "fits"]


@pytest.mark.parametrize(
    ("action", "field"),
    [
        ({"type": "Explode"}, "actions[0].type"),
        ({}, "actions[0].type"),
        (3, "actions[0]"),
        ({"type": "SetSeverity", "severity": "urgent"}, "actions[0].severity"),
        ({"type": "Suppress"}, "actions[0].duration_minutes"),
        ({"type": "Suppress", "duration_minutes": 0}, "actions[0].duration_minutes"),
        ({"type": "Suppress", "duration_minutes": 5, "until": 1}, "actions[0].until"),
        ({"type": "Notify", "targets": []}, "actions[0].targets"),
        ({"type": "Notify", "targets": [{"type": "external", "id": "x"}]}, "actions[0].targets[0]"),
        ({"type": "Assign", "targets": [{"type": "external", "id": "x"}]}, "actions[0].targets[0].type"),
        ({"type": "Assign", "targets": ["a"], "strategy": "geo_based"}, "actions[0].strategy"),
        ({"type": "AddLabels", "labels": {}}, "actions[0].labels"),
        ({"type": "AddLabels", "labels": {"a": 1}}, "actions[0].labels.a"),
    ],
)
def test_an_action_that_is_none_is_refused_by_its_field(action: object, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        decode(Rule, {"id": "x", "name": "x", "actions": [action]})
    assert refused.value.details[0]["field"] == field  # type: ignore[index]


def test_the_seeds_own_words_are_taken() -> None:
    written = decode(Rule, {
        "id": "x", "name": "x", "conditions": {"severity": ["critical"]}, "strategy": "load_balanced",
        "targets": [{"type": "team", "id": "ml", "weight": 2}],
        "actions": [{"set_severity": {"severity": "high"}}, {"type": "apply_playbook", "playbook_id": "p"}],
    })  # fmt: skip
    assert [action.type for action in written.actions] == ["SetSeverity", "ApplyPlaybook", "Assign"]
    assert decode(Rule, written.model_dump(mode="json")) == written
    with pytest.raises(Invalid, match="must have at least 1 item"):
        decode(Rule, {"id": "x", "name": "x", "actions": []})


ACTIONS = st.sampled_from([
    P1, P3, {"type": "Suppress", "duration_minutes": 5}, {"type": "AddLabels", "labels": {"team": "x", "a": "b"}},
    {"type": "SetPolicy", "policy_id": "p"}, {"type": "ApplyPlaybook", "playbook_id": "q"},
])  # fmt: skip
RULES = st.lists(
    st.builds(
        lambda actions, priority, stop, when: (actions, {"priority": priority, "stop": stop, "conditions": when}),
        st.lists(ACTIONS, min_size=1, max_size=3), st.integers(-2, 2), st.booleans(),
        st.sampled_from([{}, if_("severity", "P1"), if_("tags.team", "x"), if_("tags.a", "b", "not_equals")]),
    ),
    max_size=6,
)  # fmt: skip


@given(RULES, st.randoms())
def test_the_order_in_which_rules_are_stored_means_nothing(made: list[Any], random: Any) -> None:
    rules = [rule(f"r{n}", *actions, **more) for n, (actions, more) in enumerate(made)]
    mixed = list(rules)
    random.shuffle(mixed)
    decision = decide(mixed, SLOW)
    assert decision == decide(rules, SLOW)
    assert set(decision.rules) <= {r.id for r in rules}
    if stopped := [v.stopped for v in decision.verdicts]:
        assert not any(stopped[:-1])


PEOPLE = People(
    users={
        id_: decode(User, {"id": id_, "name": id_, "email": f"{id_}@example.com", "skills": skills, "active": active})
        for id_, skills, active in (
            ("alice", ["CUDA", "chat"], True), ("bob", ["cuda"], True), ("carol", [], True), ("gone", ["cuda"], False),
        )
    },
    teams={
        "ml": Team(id="ml", name="ml", members=("bob", "alice", "gone", "carol"), on_call_schedule_id="rota"),
        "empty": Team(id="empty", name="empty"),
    },
    schedules={"rota": Schedule.model_validate({
        "id": "rota", "name": "rota",
        "layers": [{"name": "l", "users": ["carol"], "rotation": "weekly", "start_date": "2026-01-05"}],
    })},
)  # fmt: skip
TEAM = {"type": "team", "id": "ml"}


def given_to(*targets: object, loads: dict[str, int] | None = None, **more: object) -> Assignment:
    action = decode(Assign, {"type": "Assign", "targets": list(targets)} | more)
    return assigned("r", action, PEOPLE, loads or {}, SLOW, NOON)


@pytest.mark.parametrize(
    ("targets", "more", "loads", "user", "team"),
    [
        (["alice"], {}, {}, "alice", None),
        (["gone", "bob"], {}, {}, "bob", None),
        ([TEAM], {}, {}, None, "ml"),
        ([{"type": "on_call", "id": "rota"}], {}, {}, "carol", None),
        ([TEAM], {"strategy": "on_call"}, {}, "carol", "ml"),
        ([{"type": "team", "id": "empty"}, "bob"], {"strategy": "on_call"}, {}, "bob", None),
        ([TEAM], {"strategy": "load_balanced"}, {"alice": 2, "bob": 1, "carol": 3}, "bob", "ml"),
        ([TEAM], {"strategy": "load_balanced"}, {}, "alice", "ml"),
        (["alice", {"type": "user", "id": "bob", "weight": 4}], {"strategy": "load_balanced"}, {"alice": 1, "bob": 3},
         "bob", None),
        ([TEAM], {"strategy": "skill_based", "skills": ["cuda"]}, {"alice": 5, "bob": 4}, "bob", "ml"),
        ([TEAM], {"strategy": "skill_based", "skills": ["cuda", "chat"]}, {"alice": 5}, "alice", "ml"),
        ([TEAM], {"strategy": "skill_based"}, {"alice": 5}, "alice", "ml"),
    ],
)  # fmt: skip
def test_who_gets_it(
    targets: list[object], more: dict[str, Any], loads: dict[str, int], user: str | None, team: str | None
) -> None:
    given = given_to(*targets, loads=loads, **more)
    assert (given.user, given.team) == (user, team)


@pytest.mark.parametrize(
    ("targets", "more", "why"),
    [
        (["gone"], {}, "nobody active is behind the rule's targets"),
        ([{"type": "team", "id": "nope"}], {}, "there is no such team"),
        ([{"type": "on_call", "id": "nope"}], {"strategy": "on_call"}, "nobody active is on duty"),
        ([{"type": "team", "id": "empty"}], {"strategy": "load_balanced"}, "nobody active"),
        ([TEAM], {"strategy": "skill_based", "skills": ["cobol"]}, "nobody has a skill of cobol"),
    ],
)
def test_nobody_gets_it_and_that_is_said(targets: list[object], more: dict[str, Any], why: str) -> None:
    given = given_to(*targets, **more)
    assert (given.user, given.team) == (None, None)
    assert given.why.startswith(why)


def policy(id_: str, *levels: str, **more: object) -> Policy:
    return Policy.model_validate(
        {"id": id_, "name": id_, "levels": [{"targets": [TEAM | {"id": t}]} for t in levels or ("ml",)]} | more
    )


POLICIES = (policy("default"), policy("big", "ml", "ml", conditions={"source": ["nobody"]}))


def went(**more: Any) -> Went:
    """An incident of the policy `default` that paged two people and was over after an hour."""
    return Went.model_validate({
        "id": "i", "subject": SLOW, "ended_at": NOON + timedelta(hours=1), "severity": "P2", "policy_id": "default",
        "level": 1, "rules": (), "notify": (), "suppressed": False, "paged": ("user:alice", "user:bob"),
    } | more)  # fmt: skip


def totals(was: Went, *rules: Rule) -> Totals:
    rehearsal = Rehearsal(POLICIES, "default", PEOPLE, frozenset(ChannelName), NOON + timedelta(days=1))
    return added(Totals(), rehearsal.compare(was, decide(rules, was.subject)))


HUSH = rule("hush", {"type": "Suppress", "duration_minutes": 60})
BIG = rule("big", {"type": "SetPolicy", "policy_id": "big"})
TELL = rule("tell", {"type": "Notify", "targets": [{"type": "user", "id": "carol"}]})


@pytest.mark.parametrize(
    ("was", "rules", "sentence"),
    [
        (went(), [], "nothing would change"),
        (went(), [HUSH], "2 fewer pages, 1 suppressed, 1 newly routed"),
        (went(ended_at=NOON + timedelta(hours=2)), [HUSH], "1 suppressed, 1 newly routed"),
        (went(ended_at=None), [HUSH], "1 suppressed, 1 newly routed"),
        (went(), [rule("up", P1)], "1 incident raised to P1, 1 newly routed"),
        (went(), [rule("down", P3)], "1 incident lowered to P3, 1 newly routed"),
        (went(), [BIG], "1 more page, 1 with another policy, 1 newly routed"),  # all three of the team
        (went(level=2), [BIG], "4 more pages, 1 with another policy, 1 newly routed"),
        (went(), [TELL], "1 more page, 1 newly routed"),
        (went(rules=("old",)), [], "1 unrouted"),
        (went(rules=("old",), notify=("user:bob",)), [], "1 fewer page, 1 unrouted"),
        (went(rules=("old",), suppressed=True, paged=()), [], "3 more pages, 1 no longer suppressed, 1 unrouted"),
        (went(paged=()), [rule("up", P1)], "1 incident raised to P1, 1 newly routed"),
    ],
)
def test_what_other_rules_would_have_changed(was: Went, rules: list[Rule], sentence: str) -> None:
    assert summary(totals(was, *rules)) == sentence


def test_the_same_outcome_by_another_rule_is_no_change() -> None:
    rehearsal = Rehearsal(POLICIES, "default", PEOPLE, frozenset(ChannelName), NOON)
    was = went(rules=("old",), severity="P1")
    assert not changed(rehearsal.compare(was, decide([rule("new", P1)], SLOW)))


def test_without_a_policy_nobody_is_paged_and_that_is_said() -> None:
    rehearsal = Rehearsal((), "default", PEOPLE, frozenset(ChannelName), NOON)
    told = added(Totals(), rehearsal.compare(went(), decide([], SLOW)))
    assert summary(told) == "2 fewer pages, 1 with another policy, 1 without any policy"

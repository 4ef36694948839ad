"""What makes incidents belong together, what doesn't, and which group they go to."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.correlation import Rules, Score, Strategy, Symptom, neighbours, score
from app.domain.grouping import STABLE_AFTER, GroupStatus, Joining, Place, joining, standing

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
RULES = Rules()
SHOP = neighbours([("web", "checkout"), ("checkout", "payments"), ("payments", "ledger"), ("ledger", "disks")])
STRONG, GOOD, WEAK = Score(value=0.9), Score(value=0.5), Score(value=0.3)


def symptom(title: str = "", *services: str, after: float = 0, **more: object) -> Symptom:
    at = NOON + timedelta(seconds=after)
    row = {
        "id": f"{title} {services} {after} {more}", "at": at, "title": title, "description": "", "source": "grafana",
        "type": "Unknown", "environment": None, "services": services, "tags": {},
    }  # fmt: skip
    return Symptom.of(row | more)


def together(one: Symptom, other: Symptom, rules: Rules = RULES) -> set[Strategy]:
    """Why two incidents belong together; empty when they don't."""
    found = score(one, other, SHOP, rules)
    assert found.value == score(other, one, SHOP, rules).value
    return {reason.strategy for reason in found.reasons} if found.value >= rules.threshold else set()


def test_two_incidents_of_one_service_belong_together() -> None:
    slow, failing = symptom("latency above target", "checkout"), symptom("5xx ratio 12%", "checkout", after=20)
    assert together(slow, failing) == {Strategy.SERVICE, Strategy.SOURCE}


def test_what_depends_on_what_fails_belongs_to_it() -> None:
    assert Strategy.TOPOLOGY in together(symptom("slow", "checkout"), symptom("timeouts", "payments", after=20))
    [reason] = [r for r in score(symptom("a", "web"), symptom("b", "payments"), SHOP, RULES).reasons if "web" in r.said]
    assert reason.said == "depend on each other: web – checkout – payments"


def test_nearly_the_same_words_of_different_sources_belong_together() -> None:
    one = symptom("Completions of model large-2 time out in eu-central-1", source="a")
    other = symptom("Completions of model large-2 time out in eu-central-1 again", source="b", after=10)
    assert together(one, other) == {Strategy.SIMILARITY}


def test_a_provider_that_is_down_is_one_problem() -> None:
    one = symptom("requests fail", "summaries", tags={"provider": "openai", "model_group": "gpt-x"}, source="a")
    other = symptom(
        "budget of retries used up", "search", tags={"api_provider": "OpenAI", "model": "gpt-x"}, source="b"
    )
    assert together(one, other) == {Strategy.PROVIDER}


def test_a_busy_source_groups_nothing_by_itself() -> None:
    common = {"cluster": "a7", "region": "eu", "team": "llm", "severity": "warning", "prometheus": "main"}
    disk = symptom("Disk of db-7 is full", "db", type="Infrastructure", tags=common | {"instance": "db-7"})
    login = symptom("Logins fail for tenant 12", "auth", type="Infrastructure", tags=common | {"instance": "auth-1"})
    assert score(disk, login, SHOP, RULES).value > 0
    assert together(disk, login) == set()


def test_one_rule_that_fires_for_unrelated_services_is_not_one_problem() -> None:
    assert together(symptom("KubePodCrashLooping", "ads"), symptom("KubePodCrashLooping", "mail", after=1)) == set()


def test_staging_has_nothing_to_do_with_production() -> None:
    one, other = (symptom("checkout is down", "checkout", environment=name) for name in ("staging", "production"))
    assert together(one, other) == set()


def test_time_is_a_factor_of_every_score_and_evidence_of_nothing() -> None:
    def after(seconds: float) -> float:
        return score(symptom("slow", "checkout"), symptom("slow", "checkout", after=seconds), SHOP, RULES).value

    assert after(0) > after(30) > after(75) == pytest.approx(after(0) / 2, abs=0.001)
    assert after(75) > after(300) >= 0
    assert after(301) == 0
    assert together(symptom("one", source="a"), symptom("other", source="b")) == set()


def test_a_group_that_is_still_joined_is_near_in_time() -> None:
    first = symptom("slow", "checkout", until=NOON + timedelta(minutes=20))
    assert together(first, symptom("slow", "checkout", after=21 * 60 - 10))
    assert not together(symptom("slow", "checkout"), symptom("slow", "checkout", after=21 * 60 - 10))


@pytest.mark.parametrize("strategy", [s for s in Strategy if s is not Strategy.MANUAL])
def test_a_strategy_that_is_switched_off_says_nothing(strategy: Strategy) -> None:
    tags = {"instance": "db-7", "provider": "openai"}
    one = symptom("latency of completions above target", "web", type="Performance", tags=tags)
    service = "checkout" if strategy is Strategy.TOPOLOGY else "web"
    other = symptom("latency of completions above target", service, type="Performance", tags=tags, after=1)
    without = Rules(strategies=frozenset(Strategy) - {strategy})
    assert strategy in {reason.strategy for reason in score(one, other, SHOP, RULES).reasons}
    assert strategy not in {reason.strategy for reason in score(one, other, SHOP, without).reasons}


def alone(*ids: str) -> list[Place]:
    return [Place(incident_id=id_) for id_ in ids]


def crowd(group: str, *ids: str, overflow: bool = False) -> list[Place]:
    return [Place(incident_id=id_, group_id=group, overflow=overflow) for id_ in ids]


def test_two_make_a_group_and_one_alone_makes_none() -> None:
    assert joining("new", {"a": GOOD}, alone("new", "a"), (), RULES) == Joining(group_id=None, joins=("new", "a"))
    assert joining("new", {"a": WEAK}, alone("new", "a"), (), RULES) is None
    assert joining("new", {"a": GOOD}, alone("new", "a"), (), Rules(min_size=3)) is None


def test_an_incident_joins_the_group_it_belongs_to_most() -> None:
    places = alone("new") + crowd("g1", "a", "b") + crowd("g2", "c", "d")
    asked = joining("new", {"a": GOOD, "c": STRONG}, places, (), RULES)
    assert asked == Joining(group_id="g2", joins=("new",))


def test_who_belongs_to_two_groups_beyond_doubt_makes_one_of_them_and_the_older_stays() -> None:
    places = alone("new") + crowd("g1", "a", "b") + crowd("g2", "c", "d")
    asked = joining("new", {"a": STRONG, "c": STRONG}, places, (), RULES)
    assert asked == Joining(group_id="g1", joins=("new",), absorbs=("g2",))


def test_who_comes_to_a_full_group_comes_along_and_nobody_joins_by_it() -> None:
    rules = Rules(max_size=2)
    full = crowd("g1", "a", "b")
    assert joining("new", {"a": GOOD}, alone("new") + full, (), rules) == Joining(group_id="g1", overflow=("new",))
    assert joining("x", {"new": GOOD}, alone("x") + full + crowd("g1", "new", overflow=True), (), rules) is None
    asked = joining(
        "new", {"a": STRONG, "c": STRONG}, alone("new") + crowd("g1", "a") + crowd("g2", "c", "d"), (), rules
    )
    assert asked is not None
    assert asked.absorbs == ()


def test_being_asked_again_changes_nothing() -> None:
    asked = joining("new", {"a": GOOD}, crowd("g1", "new", "a"), (), RULES)
    assert asked is not None
    assert not asked.changes


def test_who_was_taken_apart_stays_apart() -> None:
    apart = [frozenset(("a", "new"))]
    assert joining("new", {"a": STRONG}, alone("new") + crowd("g1", "a", "b"), apart, RULES) is None
    assert joining("new", {"a": STRONG}, alone("new", "a"), apart, RULES) is None
    places = alone("bridge") + crowd("g1", "a", "b") + crowd("g2", "new", "d")
    asked = joining("bridge", {"a": STRONG, "new": STRONG}, places, apart, RULES)
    assert asked == Joining(group_id="g1", joins=("bridge",))


IDS = st.integers(0, 11).map(str)


@given(
    st.dictionaries(IDS, st.tuples(st.sampled_from([None, "g1", "g2", "g3"]), st.booleans())),
    st.dictionaries(IDS, st.floats(0, 1)), st.sets(st.frozensets(IDS, min_size=2, max_size=2)), st.integers(2, 6),
)  # fmt: skip
def test_nobody_is_ever_in_two_groups_or_beyond_a_full_one(
    where: dict[str, tuple[str | None, bool]], scores: dict[str, float], parted: set[frozenset[str]], most: int
) -> None:
    places = {id_: Place(incident_id=id_, group_id=g, overflow=bool(g) and o) for id_, (g, o) in where.items()}
    places.setdefault("0", Place(incident_id="0"))
    rules = Rules(max_size=most)
    others = {id_: Score(value=value) for id_, value in scores.items() if id_ in places and id_ != "0"}
    asked = joining("0", others, places.values(), parted, rules)
    if asked is None or not asked.changes:
        return
    coming = (*asked.joins, *asked.overflow)
    assert len(set(coming)) == len(coming)
    assert all(places[id_].group_id is None for id_ in coming)
    groups = {asked.group_id, *asked.absorbs} - {None}
    before = {id_ for id_, place in places.items() if place.group_id in groups and not place.overflow}
    if asked.joins or asked.absorbs:
        fullest = max((sum(p.group_id == g and not p.overflow for p in places.values()) for g in groups), default=0)
        assert len(before) + len(asked.joins) <= max(most, fullest)


def test_a_group_is_stable_after_an_hour_and_over_with_its_members() -> None:
    def now(minutes: float, *, members: int = 1, said: GroupStatus = GroupStatus.ACTIVE) -> GroupStatus:
        return standing(said, members, NOON, NOON + timedelta(minutes=minutes))

    assert timedelta(hours=1) == STABLE_AFTER
    assert now(59) is GroupStatus.ACTIVE
    assert now(60) is GroupStatus.STABLE
    assert now(0, members=0) is GroupStatus.RESOLVED
    assert now(0, said=GroupStatus.RESOLVED) is GroupStatus.RESOLVED


def test_words_are_what_says_something_and_numbers() -> None:
    assert Symptom.of({
        "id": str(UUID(int=1)), "at": NOON, "title": "The shard 17 is DOWN", "description": "", "source": "a",
        "type": "Unknown", "environment": None, "services": (), "tags": {},
    }).words == {"shard", "17", "down"}  # fmt: skip

"""The service catalogue as a graph, and changes by how near they are."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.domain.catalogue import Catalogue, Service
from app.domain.change import Change, nearest

NOW = datetime(2026, 11, 23, tzinfo=UTC)
IDS = ("a", "b", "c", "d", "e")


def catalogue(**needs: str) -> Catalogue:
    return Catalogue({id_: Service(id=id_, name=id_.upper(), dependencies=tuple(deps)) for id_, deps in needs.items()})


def change(summary: str, minutes: float, *services: str) -> Change:
    return Change(
        id=summary, source="ci", summary=summary, at=NOW - timedelta(minutes=minutes), services=services,
        environment=None, author=None, details={}, links=(),
    )  # fmt: skip


def test_an_id_goes_before_a_name_and_a_name_before_an_alias() -> None:
    services = [
        Service(id="x", name="Search", aliases=("pay", "y")), Service(id="y", name="Pay", aliases=("Search",)),
    ]  # fmt: skip
    known = Catalogue({service.id: service for service in services})
    assert [[one.id for one in known.find([name])] for name in ("Y", "search", "PAY", "nobody")] == [
        ["y"],
        ["x"],
        ["y"],
        [],
    ]
    assert [one.id for one in known.find(["pay", "y", "x"])] == ["y", "x"]


def test_a_reach_ends_after_its_hops_and_does_not_run_in_circles() -> None:
    known = catalogue(a="b", b="c", c="a", d="a")
    assert known.reach(["a"], 0) == {"a": 0}
    assert known.reach(["a"], 1) == {"a": 0, "b": 1}
    assert known.reach(["a", "d"], 9) == {"a": 0, "d": 0, "b": 1, "c": 2}
    assert known.edges() == {("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")}
    assert catalogue(a="z").reach(["a"], 2) == {"a": 0, "z": 1}


@given(st.dictionaries(st.sampled_from(IDS), st.sets(st.sampled_from(IDS), max_size=4)), st.integers(0, 6))
def test_what_is_one_further_is_needed_by_something_before_it(needs: dict[str, set[str]], hops: int) -> None:
    known = catalogue(**{id_: "".join(sorted(deps - {id_})) for id_, deps in needs.items()})
    far = known.reach(["a"], hops)
    assert far["a"] == 0
    for id_, distance in far.items():
        assert distance <= hops
        before = [far[one] for one, other in known.edges() if other == id_ and one in far]
        assert distance == 0 or min(before) == distance - 1


def test_a_near_change_goes_before_a_far_one_and_a_fresh_one_before_an_old_one() -> None:
    far = {"checkout": 0, "gateway": 1, "model": 2}
    changes = [
        change("old here", 55, "checkout"), change("now two away", 0, "model"), change("now next door", 1, "Gateway"),
        change("both", 30, "model", "checkout"), change("fresh here", 5, "checkout"),
    ]  # fmt: skip
    found = nearest(changes, far, NOW, timedelta(hours=1))
    assert [one.summary for one in found] == ["fresh here", "both", "old here", "now next door", "now two away"]

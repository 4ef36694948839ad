"""Groups of incidents: which one an incident joins, when two become one, and where a group stands."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from pydantic import Field

from app.domain.correlation import Reason, Rules, Score, Strategy
from app.domain.record import Record
from app.domain.vocabulary import Severity, Status

STABLE_AFTER = timedelta(hours=1)
Parted = Collection[frozenset[str]]
"""Pairs of incidents that somebody has taken apart."""


class GroupStatus(StrEnum):
    """Active, an hour without a new member, or over: all of its members are, or somebody said so."""

    ACTIVE = "active"
    STABLE = "stable"
    RESOLVED = "resolved"


class Grouped(Record):
    """The group an incident is in. `joined` says that it came to one that was there, `founded` that it made one."""

    group_id: str
    lead_id: str
    joined: bool = False
    founded: bool = False
    size: int = 2


class Place(Record):
    """Where an incident stands. `overflow`: it came when its group was full, and nothing joins by it."""

    incident_id: str
    group_id: str | None = None
    overflow: bool = False


class Joining(Record):
    """What becomes of an incident: the group (None = a new one) that others go up in, and who comes to it."""

    group_id: str | None
    joins: tuple[str, ...] = ()
    overflow: tuple[str, ...] = ()
    absorbs: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        return bool(self.joins or self.overflow or self.absorbs)


@dataclass(frozen=True)
class Party:
    """A group, or an incident without one, and how strongly the incident that came belongs to it."""

    value: float
    group_id: str | None
    members: frozenset[str]


def standing(status: GroupStatus, open_members: int, updated_at: datetime, now: datetime) -> GroupStatus:
    """Where a group stands `now`. `updated_at` is when somebody last came to it; what was resolved stays so."""
    if status is GroupStatus.RESOLVED or not open_members:
        return GroupStatus.RESOLVED
    return GroupStatus.STABLE if now - updated_at >= STABLE_AFTER else GroupStatus.ACTIVE


def joining(
    incident_id: str, scores: Mapping[str, Score], places: Iterable[Place], parted: Parted, rules: Rules
) -> Joining | None:
    """Where an incident goes, None when nowhere. `scores` are its own with the others.

    `places` are where it and those others stand, with every full member of their groups. Groups are older the
    smaller their ids are; the oldest is the one that stays.
    """
    where = {place.incident_id: place for place in places}
    here = where[incident_id]
    if here.overflow:
        return Joining(group_id=here.group_id)
    parties = _parties(scores, where, rules)
    groups = (
        party.group_id for party in parties if party.group_id and not _apart(party.members, {incident_id}, parted)
    )
    home = here.group_id or next(groups, None)
    crowd = {place.incident_id for place in where.values() if home and place.group_id == home and not place.overflow}
    joins, overflow, absorbs = list[str](), list[str](), list[str]()
    if here.group_id is None:
        if len(crowd) >= rules.max_size:
            return Joining(group_id=home, overflow=(incident_id,))
        joins.append(incident_id)
        crowd.add(incident_id)
    for party in parties:
        if party.members <= crowd or _apart(party.members, crowd, parted):
            continue
        room = len(crowd) + len(party.members) <= rules.max_size
        if party.group_id is None:
            (joins if room else overflow).extend(party.members)
        elif room and party.value >= rules.merge_threshold:
            absorbs.append(party.group_id)
        else:
            continue
        crowd |= party.members if room else frozenset()
    if home is None:
        lonely = len(joins) + len(overflow) < rules.min_size
        return None if lonely else Joining(group_id=None, joins=tuple(joins), overflow=tuple(overflow))
    oldest, *others = sorted([home, *absorbs])
    return Joining(group_id=oldest, joins=tuple(joins), overflow=tuple(overflow), absorbs=tuple(others))


def coming_along(incident_id: str, outages: Iterable[str], places: Iterable[Place], parted: Parted) -> Joining | None:
    """Where an incident goes that open outages explain, the oldest of them first; None when nowhere.

    It comes along, however full the group: nothing joins by it, as what is like a symptom need not be one.
    """
    where = {place.incident_id: place for place in places}
    if where[incident_id].group_id is not None:
        return None
    for id_ in outages:
        place = where.get(id_)
        if place is None:
            continue
        group = place.group_id
        crowd = {other.incident_id for other in where.values() if group and other.group_id == group} | {id_}
        if not _apart({incident_id}, crowd, parted):
            return Joining(group_id=group, joins=() if group else (id_,), overflow=(incident_id,))
    return None


def _parties(scores: Mapping[str, Score], where: Mapping[str, Place], rules: Rules) -> list[Party]:
    """Those that the incident belongs to, the strongest first. What came to a full group speaks for nobody."""
    strongest: dict[str, float] = {}
    for id_, score in scores.items():
        place = where.get(id_)
        if place is not None and not place.overflow and score.value >= rules.threshold:
            party = place.group_id or id_
            strongest[party] = max(score.value, strongest.get(party, 0.0))
    crowds: dict[str, set[str]] = {}
    for place in where.values():
        if place.group_id and not place.overflow:
            crowds.setdefault(place.group_id, set()).add(place.incident_id)
    found = [
        Party(value, party if party in crowds else None, frozenset(crowds.get(party, {party})))
        for party, value in strongest.items()
    ]
    return sorted(found, key=lambda party: (-party.value, party.group_id or min(party.members)))


def _apart(some: Collection[str], others: Collection[str], parted: Parted) -> bool:
    """Somebody has taken one of the ones apart from one of the others."""
    return any((a in some and b in others) or (b in some and a in others) for a, b in (sorted(pair) for pair in parted))


class GroupView(Record):
    """A group from outside. `title` and `lead_id` are its lead's, `severity` that of its most severe member.

    `updated_at`: when somebody last came to it. `correlation_score`: how strongly its members belong, on average.
    """

    id: str
    status: GroupStatus
    lead_id: str
    title: str | None
    severity: Severity | None
    size: int
    open_members: int
    manual: bool
    reason: str | None
    correlation_score: float | None
    correlation_types: list[Strategy]
    created_at: datetime
    created_by: str | None
    updated_at: datetime
    resolved_at: datetime | None


class MemberView(Record):
    """A member of a group and why it is one. `overflow`: the group was full when it came, and nothing joins by it."""

    incident_id: str
    title: str
    severity: Severity
    status: Status
    source: str
    affected_resources: list[str]
    created_at: datetime
    joined_at: datetime
    lead: bool
    overflow: bool
    score: float
    reasons: list[Reason]


class EdgeView(Record):
    """Two incidents that were found to belong together, how strongly and why; 0 where somebody took them apart."""

    source: str
    target: str
    score: float
    reasons: list[Reason]
    at: datetime


class GroupQuery(Record):
    """A page of groups, the newest first. `cursor` is the last one's id on the page before."""

    status: GroupStatus | None = None
    limit: int = Field(default=50, ge=1, le=100)
    cursor: UUID | None = None


class GroupPage(Record):
    groups: list[GroupView]
    next_cursor: str | None


class CorrelationStats(Record):
    """Groups by where they stand, and how many incidents are in them."""

    groups: int
    active: int
    stable: int
    resolved: int
    manual: int
    incidents: int
    largest: int
    average_size: float

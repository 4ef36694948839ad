"""Groups of incidents: why some belong together, and what people make of it."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from app.domain.access import Principal, Scope
from app.domain.errors import Invalid, InvalidTransition, Refused
from app.domain.grouping import CorrelationStats, EdgeView, GroupPage, GroupQuery, GroupView, MemberView
from app.domain.incident import CommandKind
from app.domain.record import Record
from app.domain.requests import Ask
from app.domain.vocabulary import Severity, Status
from app.service.incidents import Incidents
from app.store.correlations import CorrelationStore
from app.store.database import answering
from app.store.regrouping import RegroupStore

AT_ONCE = 10
"""Incidents that are resolved together with their group at the same time."""
RESOLVED_MAX = 500
Reason = Annotated[str, StringConstraints(max_length=1000)]
Several = Annotated[tuple[UUID, ...], Field(max_length=100, json_schema_extra={"uniqueItems": True})]


class Gather(Record):
    """Incidents that somebody says belong together."""

    incident_ids: Several = Field(min_length=2)
    reason: Reason = ""


class Merge(Record):
    """The groups that go up in another."""

    group_ids: Several = Field(min_length=1)


class Split(Record):
    """Members that don't belong; `new_group` when they belong together nevertheless."""

    incident_ids: Several = Field(min_length=1)
    new_group: bool = False
    reason: Reason = ""


class Resolve(Record):
    """`resolve_incidents`: its open members are resolved as well."""

    resolve_incidents: bool = False
    reason: Reason = ""


class Lead(Record):
    incident_id: UUID


class Node(Record):
    """An incident in the graph."""

    id: str
    title: str
    severity: Severity
    status: Status
    lead: bool


class Graph(Record):
    nodes: list[Node]
    edges: list[EdgeView]


class GroupDetail(GroupView):
    """A group with its members (the lead first; of very large ones the first 500), and who belongs with whom."""

    members: list[MemberView]
    graph: Graph


class Correlation(Record):
    """The group an incident is in, if any, and whom it was found to belong with. Scores from `threshold` on count."""

    incident_id: str
    group: GroupView | None
    threshold: float
    edges: list[EdgeView]


class Divided(Record):
    """What is left of a group (None: too little), and the group that came of those who left it."""

    group: GroupView | None
    new_group: GroupView | None


class Over(Record):
    """A resolved group. `resolved` are the incidents that were resolved with it, `refused` says why others were not."""

    group: GroupView
    resolved: list[str]
    refused: dict[str, str]


@dataclass(frozen=True)
class Correlations:
    store: CorrelationStore
    groups: RegroupStore
    incidents: Incidents
    threshold: float

    async def of(self, who: Principal, incident_id: str) -> Correlation:
        """Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            group = await self.store.group_of(incident_id, _now())
            edges = await self.store.at(incident_id)
        return Correlation(incident_id=incident_id, group=group, threshold=self.threshold, edges=edges)

    async def list(self, who: Principal, query: GroupQuery) -> GroupPage:
        """Raises: Forbidden, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            return await self.store.page(query, _now())

    async def stats(self, who: Principal) -> CorrelationStats:
        """Raises: Forbidden, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            return await self.store.stats(_now())

    async def get(self, who: Principal, group_id: str) -> GroupDetail:
        """Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.READ)
        async with answering():
            group = await self.store.group(group_id, _now())
            members = await self.store.members(group.id)
            edges = await self.store.within([member.incident_id for member in members])
        nodes = [
            Node(id=m.incident_id, title=m.title, severity=m.severity, status=m.status, lead=m.lead) for m in members
        ]
        return GroupDetail(**group.model_dump(), members=members, graph=Graph(nodes=nodes, edges=edges))

    async def gather(self, who: Principal, ask: Gather) -> GroupDetail:
        """Groups incidents by hand. Raises: Forbidden, Invalid, NotFound, Conflict, Unavailable."""
        who.may(Scope.RESPOND)
        ids = _once("incident_ids", ask.incident_ids)
        async with answering():
            group_id = await self.groups.gather(ids, who.name, ask.reason, _now())
        return await self.get(who, group_id)

    async def merge(self, who: Principal, group_id: str, ask: Merge) -> GroupDetail:
        """Makes one group of several. Raises: Forbidden, Invalid, NotFound, Conflict, Unavailable."""
        who.may(Scope.RESPOND)
        others = _once("group_ids", ask.group_ids)
        if group_id in others:
            raise Invalid.field(
                f"group_ids[{others.index(group_id)}]", "must be another group than the one in the address"
            )
        async with answering():
            await self.groups.merge(group_id, others, _now())
        return await self.get(who, group_id)

    async def split(self, who: Principal, group_id: str, ask: Split) -> Divided:
        """Takes members out; they don't come back by themselves. Raises: as merge."""
        who.may(Scope.RESPOND)
        ids, now = _once("incident_ids", ask.incident_ids), _now()
        if ask.new_group and len(ids) < 2:
            raise Invalid.field("incident_ids", "must be at least 2 to be a new group")
        async with answering():
            new = await self.groups.split(group_id, ids, together=ask.new_group, by=who.name, reason=ask.reason, at=now)
            left = await self.store.found(group_id, now)
            return Divided(group=left, new_group=await self.store.group(new, now) if new else None)

    async def resolve(self, who: Principal, group_id: str, ask: Resolve) -> Over:
        """The group is over; its incidents are only when asked for. Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.RESPOND)
        async with answering():
            members = await self.groups.resolve(group_id, _now())
            group = await self.store.group(group_id, _now())
        if not ask.resolve_incidents:
            return Over(group=group, resolved=[], refused={})
        slots = asyncio.Semaphore(AT_ONCE)

        async def end(incident_id: str) -> Refused | None:
            async with slots:
                try:
                    reason = ask.reason or f"its group {group_id} was resolved"
                    await self.incidents.ask(who, incident_id, Ask(kind=CommandKind.RESOLVE, reason=reason))
                except InvalidTransition:
                    return None
                except Refused as refused:
                    return refused
            return None

        answers = await asyncio.gather(*(end(member) for member in members[:RESOLVED_MAX]))
        refused = {id_: said.message for id_, said in zip(members, answers, strict=False) if said is not None}
        refused |= dict.fromkeys(members[RESOLVED_MAX:], f"only {RESOLVED_MAX} are resolved at once: ask again")
        async with answering():
            group = await self.store.group(group_id, _now())
        return Over(group=group, resolved=[id_ for id_ in members if id_ not in refused], refused=refused)

    async def delete(self, who: Principal, group_id: str) -> None:
        """The group is gone; its incidents stay. Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.RESPOND)
        async with answering():
            await self.groups.dissolve(group_id, who.name, _now())

    async def lead(self, who: Principal, group_id: str, ask: Lead) -> GroupDetail:
        """Has another member lead. Raises: Forbidden, Invalid, NotFound, Conflict, Unavailable."""
        who.may(Scope.RESPOND)
        async with answering():
            await self.groups.follow(group_id, str(ask.incident_id), _now())
        return await self.get(who, group_id)


def _now() -> datetime:
    return datetime.now(UTC)


def _once(field: str, ids: tuple[UUID, ...]) -> "list[str]":
    """Raises: Invalid when one is there twice."""
    if len(set(ids)) < len(ids):
        raise Invalid.field(field, "must not name the same one twice")
    return [str(id_) for id_ in ids]

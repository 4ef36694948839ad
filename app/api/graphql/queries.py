"""What may be asked."""

from datetime import UTC, datetime
from typing import cast

import strawberry
from strawberry.scalars import JSON

from app.api.graphql import inputs
from app.api.graphql.context import Info
from app.api.graphql.event import Event
from app.api.graphql.incident import Comment, CorrelationGroup, Incident, TimelineEvent
from app.api.graphql.pages import Connection, Edge, IncidentConnection, PageInfo, Window, whole
from app.api.graphql.pages import page as listed
from app.api.graphql.people import EscalationPolicy, Kept, Team, User
from app.api.graphql.playbooks import Playbooks
from app.api.graphql.reports import Reports
from app.api.graphql.taxonomy import Taxonomy
from app.domain import people
from app.domain.decode import decode
from app.domain.errors import NotFound
from app.domain.grouping import GroupQuery, GroupStatus
from app.domain.requests import EventQuery
from app.domain.vocabulary import Role
from app.service.health import UP, VERSION


@strawberry.type
class Me:
    """Who asks."""

    name: str
    role: Role


@strawberry.type(name="HealthComponent")
class Component:
    name: str
    status: str
    message: str


@strawberry.type(name="Health")
class HealthStatus:
    """HEALTHY, DEGRADED (alerts are accepted) or UNHEALTHY (they are not)."""

    status: str
    version: str
    timestamp: datetime
    components: list[Component]


@strawberry.type
class Version:
    version: str


async def condition(info: Info) -> HealthStatus:
    """How the service is."""
    parts = await info.context.gateway.health.ready()
    components = [
        Component(name=name, status="UP" if said == UP else "DOWN", message=said) for name, said in parts.items()
    ]
    down = [component.name for component in components if component.status == "DOWN"]
    status = "UNHEALTHY" if "database" in down else "DEGRADED" if down else "HEALTHY"
    return HealthStatus(status=status, version=VERSION, timestamp=datetime.now(UTC), components=components)


@strawberry.type
class Incidents:
    """Of incidents."""

    @strawberry.field
    async def incident(self, info: Info, id: strawberry.ID) -> Incident | None:  # noqa: A002
        """None where there is no such incident."""
        return cast("Incident | None", await info.context.loaders.incidents.load(str(id)))

    @strawberry.field
    async def incidents(
        self,
        info: Info,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
        filter: inputs.Filter | None = None,  # noqa: A002
        order_by: list[inputs.OrderBy] | None = None,
        sort: inputs.Sort | None = None,
        pagination: inputs.Pagination | None = None,
        page: int | None = None,
        page_size: int | None = None,
    ) -> IncidentConnection:
        """Newest first unless said otherwise. Cursors are keys: pages neither overlap nor skip while incidents open."""
        said = inputs.given(pagination)
        window = Window(
            first, after if after is not None else said.get("cursor"), last, before,
            page if page is not None else said.get("page"),
            page_size if page_size is not None else said.get("page_size"),
        )  # fmt: skip
        conditions = inputs.narrowed(info.context.caller, filter) | inputs.order_of(order_by, sort)
        return await listed(info, conditions, window)

    @strawberry.field
    async def search_incidents(
        self,
        info: Info,
        query: str,
        first: int | None = None,
        after: str | None = None,
        filter: inputs.Filter | None = None,  # noqa: A002
    ) -> IncidentConnection:
        """Words in titles and descriptions, as web searches take them."""
        conditions = inputs.narrowed(info.context.caller, filter) | {"search": query}
        return await listed(info, conditions, Window(first, after))

    @strawberry.field
    async def active_incidents(self, info: Info, first: int | None = None) -> list[Incident]:
        """The newest that are open."""
        return (await listed(info, {"active_only": True}, Window(first))).nodes

    @strawberry.field
    async def critical_incidents(self, info: Info, first: int | None = None) -> list[Incident]:
        """The newest P0 and P1 that are open."""
        return (await listed(info, {"active_only": True, "severity": ["P0", "P1"]}, Window(first))).nodes

    @strawberry.field
    async def incident_timeline(self, info: Info, id: strawberry.ID) -> list[TimelineEvent]:  # noqa: A002
        """Every decision, in order."""
        found = await info.context.gateway.incidents.timeline(info.context.caller, str(id))
        return cast("list[TimelineEvent]", found)

    @strawberry.field
    async def incident_comments(self, info: Info, incident_id: strawberry.ID) -> list[Comment]:
        found = await info.context.gateway.incidents.comments(info.context.caller, str(incident_id))
        return cast("list[Comment]", found)

    @strawberry.field
    async def related_incidents(self, info: Info, id: strawberry.ID, limit: int = 10) -> list[Incident]:  # noqa: A002
        """The other members of its group."""
        whole = await info.context.gateway.incidents.get(info.context.caller, str(id))
        others = whole.related_incidents[: max(0, min(limit, inputs.MOST))]
        found = await info.context.loaders.incidents.load_many(others)
        return cast("list[Incident]", [incident for incident in found if incident is not None])

    @strawberry.field
    async def escalation(self, info: Info, incident_id: strawberry.ID) -> JSON:
        """Where the escalation stands and what comes next, as the incident's workflow says."""
        found = await info.context.gateway.incidents.escalation(info.context.caller, str(incident_id))
        return cast("JSON", found.model_dump(mode="json"))

    @strawberry.field
    async def correlation_groups(
        self,
        info: Info,
        first: int = 50,
        after: strawberry.ID | None = None,
        status: GroupStatus | None = None,
        min_incidents: int = 2,
    ) -> Connection[CorrelationGroup]:
        """Newest first. `minIncidents` narrows each page; `totalCount` is of the page."""
        asked = {"limit": first, "cursor": after, "status": status}
        query = decode(GroupQuery, {name: value for name, value in asked.items() if value is not None})
        found = await info.context.gateway.correlations.list(info.context.caller, query)
        nodes = cast("list[CorrelationGroup]", [group for group in found.groups if group.size >= min_incidents])
        ends = (found.groups[0].id, found.groups[-1].id) if found.groups else (None, None)
        return Connection(
            edges=[Edge(cursor=node.id, node=node) for node in nodes], nodes=nodes, total_count=len(nodes),
            page_info=PageInfo(
                has_next_page=found.next_cursor is not None, has_previous_page=after is not None,
                start_cursor=ends[0], end_cursor=ends[1],
            ),
        )  # fmt: skip

    @strawberry.field
    async def correlation_group(self, info: Info, id: strawberry.ID) -> CorrelationGroup | None:  # noqa: A002
        return cast("CorrelationGroup | None", await info.context.loaders.groups.load(str(id)))


@strawberry.type
class Events:
    """Of what sources said."""

    @strawberry.field
    async def event(self, info: Info, id: strawberry.ID) -> Event:  # noqa: A002
        """By our id or by its own."""
        return cast("Event", await info.context.gateway.events.get(info.context.caller, str(id)))

    @strawberry.field
    async def events(
        self,
        info: Info,
        first: int = 50,
        after: str | None = None,
        sources: list[str] | None = None,
        incident_id: strawberry.ID | None = None,
    ) -> Connection[Event]:
        """Newest first; `totalCount` is of the page."""
        asked = {"limit": first, "cursor": after, "source": sources, "incident_id": incident_id}
        query = decode(EventQuery, {name: value for name, value in asked.items() if value is not None})
        found = await info.context.gateway.events.list(info.context.caller, query)
        nodes = cast("list[Event]", found.events)
        page_info = PageInfo(
            has_next_page=found.next_cursor is not None, has_previous_page=after is not None,
            start_cursor=nodes[0].id if nodes else None, end_cursor=nodes[-1].id if nodes else None,
        )  # fmt: skip
        edges = [Edge(cursor=str(node.id), node=node) for node in nodes]
        return Connection(edges=edges, nodes=nodes, total_count=len(nodes), page_info=page_info)

    @strawberry.field
    async def events_cursor(self, info: Info) -> str:
        """Where the subscription `incidentEvents` is now: with `after` it goes on from here."""
        return await info.context.gateway.live.cursor(info.context.caller)


@strawberry.type
class Directory:
    """Of people, and of what is configured."""

    @strawberry.field
    async def user(self, info: Info, id: strawberry.ID) -> User | None:  # noqa: A002
        return cast("User | None", await info.context.user(str(id)))

    @strawberry.field
    async def users(self, info: Info, first: int | None = None, after: str | None = None) -> Connection[User]:
        found = await info.context.gateway.documents.list(info.context.caller, "users")
        nodes = [(one.id, cast("User", people.User.model_validate(one.body))) for one in found]
        return whole(nodes, first, after)

    @strawberry.field
    async def team(self, info: Info, id: strawberry.ID) -> Team | None:  # noqa: A002
        return cast("Team | None", await info.context.team(str(id)))

    @strawberry.field
    async def teams(self, info: Info, first: int | None = None, after: str | None = None) -> Connection[Team]:
        found = await info.context.gateway.documents.list(info.context.caller, "teams")
        nodes = [(one.id, cast("Team", people.Team.model_validate(one.body))) for one in found]
        return whole(nodes, first, after)

    @strawberry.field
    async def escalation_policy(self, info: Info, id: strawberry.ID) -> EscalationPolicy | None:  # noqa: A002
        found = await info.context.loaders.documents.load(("escalation-policies", str(id)))
        return cast("EscalationPolicy | None", found)

    @strawberry.field
    async def escalation_policies(
        self, info: Info, first: int | None = None, after: str | None = None, enabled: bool | None = None
    ) -> Connection[EscalationPolicy]:
        found = await info.context.gateway.documents.list(info.context.caller, "escalation-policies")
        kept = [one for one in found if enabled is None or bool(one.body.get("enabled", True)) is enabled]
        return whole([(one.id, cast("EscalationPolicy", one)) for one in kept], first, after)

    @strawberry.field
    async def documents(self, info: Info, kind: str) -> list[Kept]:
        """Configuration of a kind, like routing-rules, silences, notification-templates."""
        if kind not in info.context.gateway.documents.KINDS:
            raise NotFound("kind of document", kind)
        return cast("list[Kept]", await info.context.gateway.documents.list(info.context.caller, kind))

    @strawberry.field
    def me(self, info: Info) -> Me:
        return Me(name=info.context.caller.name, role=info.context.caller.role)

    @strawberry.field
    async def health(self, info: Info) -> HealthStatus:
        return await condition(info)

    @strawberry.field
    def version(self) -> Version:
        return Version(version=VERSION)


@strawberry.type
class Query(Incidents, Events, Directory, Playbooks, Reports, Taxonomy):
    pass

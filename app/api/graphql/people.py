"""People, teams and what is configured, as GraphQL shows them."""

from datetime import datetime
from typing import Annotated, cast

import strawberry
from strawberry.scalars import JSON

from app.api.graphql.context import Info
from app.domain import people, timeline
from app.domain.requests import Document
from app.domain.vocabulary import ActorType

Tm = Annotated["Team", strawberry.lazy("app.api.graphql.people")]


@strawberry.type
class User:
    """Somebody who can be paged."""

    id: strawberry.ID
    name: str
    email: str | None
    phone: str | None
    timezone: str
    slack_id: str | None
    active: bool
    skills: list[str]

    @strawberry.field
    def status(self, root: strawberry.Parent[people.User]) -> str:
        return "active" if root.active else "inactive"


@strawberry.type
class Team:
    """Everybody who is paged when the team is."""

    id: strawberry.ID
    name: str
    description: str
    on_call_schedule_id: str | None
    escalation_policy_id: str | None

    @strawberry.field
    async def members(self, root: strawberry.Parent[people.Team], info: Info) -> list[User]:
        found = await info.context.loaders.documents.load_many([("users", member) for member in root.members])
        return cast("list[User]", [people.User.model_validate(one.body) for one in found if one is not None])


@strawberry.type
class Actor:
    """Who did it."""

    name: str
    type: ActorType

    @strawberry.field
    def id(self, root: strawberry.Parent[timeline.Actor]) -> strawberry.ID:
        return strawberry.ID(root.name)


@strawberry.type
class EscalationPolicy:
    """Who is paged next, and when. `levels`, `conditions` and `repeat` are as REST shows them."""

    @strawberry.field
    def id(self, root: strawberry.Parent[Document]) -> strawberry.ID:
        return strawberry.ID(root.id)

    @strawberry.field
    def name(self, root: strawberry.Parent[Document]) -> str:
        return str(root.body.get("name") or root.id)

    @strawberry.field
    def description(self, root: strawberry.Parent[Document]) -> str | None:
        return cast("str | None", root.body.get("description"))

    @strawberry.field
    def enabled(self, root: strawberry.Parent[Document]) -> bool:
        return bool(root.body.get("enabled", True))

    @strawberry.field
    def priority(self, root: strawberry.Parent[Document]) -> int | None:
        return cast("int | None", root.body.get("priority"))

    @strawberry.field
    def conditions(self, root: strawberry.Parent[Document]) -> JSON | None:
        return cast("JSON | None", root.body.get("conditions"))

    @strawberry.field
    def levels(self, root: strawberry.Parent[Document]) -> JSON | None:
        return cast("JSON | None", root.body.get("levels"))

    @strawberry.field
    def repeat(self, root: strawberry.Parent[Document]) -> JSON | None:
        return cast("JSON | None", root.body.get("repeat"))

    version: int
    updated_at: datetime
    updated_by: str


@strawberry.type(name="Document")
class Kept:
    """A piece of configuration: `body` is as REST shows it."""

    kind: str
    id: strawberry.ID
    version: int
    updated_at: datetime
    updated_by: str

    @strawberry.field
    def body(self, root: strawberry.Parent[Document]) -> JSON:
        return cast("JSON", root.body)

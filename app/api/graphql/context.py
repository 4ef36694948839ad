"""Who asks, what is served, and look-ups that are made together."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import strawberry
from strawberry.dataloader import DataLoader

from app.domain.access import Principal
from app.domain.errors import Unauthenticated
from app.domain.grouping import GroupView
from app.domain.people import Team, User
from app.domain.playing import RunView
from app.domain.representation import AlertView, IncidentView, NotificationView, TimelineEvent
from app.domain.requests import Document
from app.runtime import Gateway


@dataclass
class Loaders:
    """One query for everything of a kind that a request, or one event of a subscription, asks for."""

    incidents: DataLoader[str, IncidentView | None]
    alerts: DataLoader[str, list[AlertView]]
    timelines: DataLoader[str, list[TimelineEvent]]
    notifications: DataLoader[str, list[NotificationView]]
    groups: DataLoader[str, GroupView | None]
    runs: DataLoader[str, list[RunView]]
    documents: DataLoader[tuple[str, str], Document | None]

    @classmethod
    def of(cls, gateway: Gateway, who: Principal) -> Self:
        """Nothing is remembered: what a subscription shows is of now."""

        async def incidents(ids: list[str]) -> Sequence[IncidentView | None]:
            found = await gateway.together.incidents(who, ids)
            return [found.get(id_) for id_ in ids]

        async def alerts(ids: list[str]) -> Sequence[list[AlertView]]:
            found = await gateway.together.alerts(who, ids)
            return [found.get(id_, []) for id_ in ids]

        async def timelines(ids: list[str]) -> Sequence[list[TimelineEvent]]:
            found = await gateway.together.timelines(who, ids)
            return [found.get(id_, []) for id_ in ids]

        async def notifications(ids: list[str]) -> Sequence[list[NotificationView]]:
            found = await gateway.together.notifications(who, ids)
            return [found.get(id_, []) for id_ in ids]

        async def groups(ids: list[str]) -> Sequence[GroupView | None]:
            found = await gateway.together.groups(who, ids)
            return [found.get(id_) for id_ in ids]

        async def runs(ids: list[str]) -> Sequence[list[RunView]]:
            found = await gateway.together.runs(who, ids)
            return [found.get(id_, []) for id_ in ids]

        async def documents(wanted: list[tuple[str, str]]) -> Sequence[Document | None]:
            found = await gateway.together.documents(who, wanted)
            return [found.get(key) for key in wanted]

        return cls(
            DataLoader(incidents, cache=False), DataLoader(alerts, cache=False), DataLoader(timelines, cache=False),
            DataLoader(notifications, cache=False), DataLoader(groups, cache=False),
            DataLoader(runs, cache=False), DataLoader(documents, cache=False),
        )  # fmt: skip


def _not_connected() -> None:
    """Over HTTP there is nobody to drop."""


@dataclass
class Context:
    """`key` is the request's Idempotency-Key. Over a WebSocket `admit` finds out who asks, by what the client says

    first, and `drop` ends the connection of a listener that doesn't keep up.
    """

    gateway: Gateway
    who: Principal | None = None
    key: str | None = None
    connection_params: dict[str, object] | None = None
    admit: Callable[[Mapping[str, object]], Awaitable[None]] | None = None
    drop: Callable[[], None] = _not_connected
    _loaders: Loaders | None = field(default=None, init=False)

    @property
    def caller(self) -> Principal:
        """Raises: Unauthenticated, where nobody has said who it is."""
        if self.who is None:
            raise Unauthenticated("Nobody has said who asks.")
        return self.who

    @property
    def loaders(self) -> Loaders:
        if self._loaders is None:
            self._loaders = Loaders.of(self.gateway, self.caller)
        return self._loaders

    async def user(self, id_: str | None) -> User | None:
        found = await self.loaders.documents.load(("users", id_)) if id_ else None
        return User.model_validate(found.body) if found else None

    async def team(self, id_: str | None) -> Team | None:
        found = await self.loaders.documents.load(("teams", id_)) if id_ else None
        return Team.model_validate(found.body) if found else None


Info = strawberry.Info[Context, None]

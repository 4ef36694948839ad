"""What belongs to many incidents, asked for together: a page of a hundred costs as many queries as one."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from app.domain.access import Principal, Scope
from app.domain.grouping import GroupView
from app.domain.playing import RunView
from app.domain.representation import AlertView, IncidentView, NotificationView, TimelineEvent
from app.domain.requests import Document
from app.store.database import answering
from app.store.documents import DocumentStore
from app.store.together import TogetherStore

ALERTS_SHOWN = 100
ENTRIES_SHOWN = 500
RUNS_SHOWN = 20


@dataclass(frozen=True)
class Together:
    """By id; what is not there is left out. Everything raises Forbidden and Unavailable."""

    store: TogetherStore
    kept: DocumentStore

    async def incidents(self, who: Principal, ids: Collection[str]) -> dict[str, IncidentView]:
        who.may(Scope.READ)
        async with answering():
            return await self.store.incidents(ids)

    async def alerts(self, who: Principal, ids: Collection[str]) -> dict[str, list[AlertView]]:
        """Each incident's alerts, the newest 100, newest first."""
        who.may(Scope.READ)
        async with answering():
            return await self.store.alerts(ids, ALERTS_SHOWN)

    async def timelines(self, who: Principal, ids: Collection[str]) -> dict[str, list[TimelineEvent]]:
        """Each incident's decisions in order, the newest 500."""
        who.may(Scope.READ)
        async with answering():
            return await self.store.timelines(ids, ENTRIES_SHOWN)

    async def notifications(self, who: Principal, ids: Collection[str]) -> dict[str, list[NotificationView]]:
        who.may(Scope.READ)
        async with answering():
            return await self.store.notifications(ids)

    async def groups(self, who: Principal, ids: Collection[str]) -> dict[str, GroupView]:
        who.may(Scope.READ)
        async with answering():
            return await self.store.groups(ids, datetime.now(UTC))

    async def runs(self, who: Principal, ids: Collection[str]) -> dict[str, list[RunView]]:
        """Each incident's runs of playbooks, the newest 20, newest first, without what their steps gave."""
        who.may(Scope.READ)
        async with answering():
            return await self.store.runs(ids, RUNS_SHOWN)

    async def documents(self, who: Principal, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], Document]:
        """By kind and id."""
        who.may(Scope.READ)
        by_kind: dict[str, set[str]] = defaultdict(set)
        for kind, id_ in wanted:
            by_kind[kind].add(id_)
        async with answering():
            found = await self.kept.some(by_kind)
        return {(document.kind, document.id): document for document in found}

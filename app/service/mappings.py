"""Saved mappings: the doors that they open, and what a body would become."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.domain.access import Principal, Scope
from app.domain.alert import Alert, ChangeEvent
from app.domain.errors import Invalid, NotFound
from app.domain.mapping import Mapping as Saved
from app.domain.record import Record
from app.service.intake import Door
from app.sources.base import Post, Source
from app.sources.mapped import applied, checked, source
from app.sources.unreadable import unreadable
from app.store.database import answering
from app.store.documents import DocumentStore

KIND = "mappings"
SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Posted(Record):
    """A body as the tool would post it."""

    body: Any


class Mapped(Record):
    """What the body would become; nothing of it is kept.

    `dropped` items fit the rule `drop`; `faults` are, by their paths, expressions that could not be evaluated, and why.
    """

    alerts: list[Alert]
    changes: list[ChangeEvent]
    dropped: int
    faults: dict[str, str]


@dataclass(frozen=True)
class Mappings:
    """`doors` are those that the settings say something of (intake.tools), by the id of the mapping."""

    documents: DocumentStore
    doors: Mapping[str, Callable[[Source], Door]]

    async def door(self, name: str) -> Door:
        """The door of a mapping as it is saved now. Raises: NotFound, Unavailable."""
        mapping = await self._saved(name, "source")
        if not mapping.enabled:
            raise NotFound("source", name)
        made = self.doors.get(name)
        return made(source(mapping)) if made is not None else Door(name, source(mapping))

    async def test_saved(self, who: Principal, name: str, ask: Posted) -> Mapped:
        """Raises: Forbidden, NotFound, Unavailable."""
        who.may(Scope.ADMINISTER)
        return self.test(who, await self._saved(name, KIND), ask)

    def test(self, who: Principal, mapping: Saved, ask: Posted) -> Mapped:
        """Raises: Forbidden, Invalid for an expression that is none."""
        who.may(Scope.ADMINISTER)
        checked(mapping)
        post = Post(json.dumps(ask.body).encode(), datetime.now(UTC))
        try:
            inbound, dropped, faults = applied(mapping, post)
        except Invalid as why:
            return Mapped(alerts=[unreadable(mapping.id, post, why)], changes=[], dropped=0, faults={})
        return Mapped(alerts=list(inbound.alerts), changes=list(inbound.changes), dropped=dropped, faults=dict(faults))

    async def _saved(self, name: str, called: str) -> Saved:
        found = None
        if SLUG.fullmatch(name):
            async with answering():
                found = await self.documents.get(KIND, name)
        if found is None:
            raise NotFound(called, name)
        return Saved.model_validate(found.body)

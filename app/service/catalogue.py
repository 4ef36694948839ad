"""The service catalogue, as other catalogues have it."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from app.domain.access import Principal, Scope
from app.domain.decode import printable
from app.domain.errors import Conflict, Invalid
from app.domain.record import Record
from app.domain.requests import Document
from app.service.documents import Documents
from app.sources import backstage
from app.store.database import answering

KIND = "services"


class Outcome(StrEnum):
    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    IGNORED = "ignored"


class Done(Record):
    """What became of one entity of a file; `reason` says why it was refused or ignored."""

    entity: str
    id: str | None
    outcome: Outcome
    reason: str | None = None


class Imported(Record):
    """`counts` by outcome; `entities` in the file's order."""

    counts: dict[Outcome, int]
    entities: list[Done]


@dataclass(frozen=True)
class Catalogues:
    documents: Documents

    async def read(self, who: Principal, text: str) -> Imported:
        """Takes a Backstage catalog-info.yaml over: each entity as a whole, or not at all. Again changes nothing.

        What a file doesn't state stays as it was. Raises: Forbidden, Invalid for a file that can't be read, Unavailable
        with some entities taken over: the same file again does the rest.
        """
        who.may(Scope.ADMINISTER)
        found = await asyncio.to_thread(backstage.entities, text)
        async with answering():
            known = {document.id: document for document in await self.documents.store.all(KIND)}
        done: list[Done] = []
        taken: dict[str, str] = {}
        for entity in found:
            ref = printable(entity.ref)
            if entity.ignored or entity.refused:
                outcome = Outcome.IGNORED if entity.ignored else Outcome.REFUSED
                done.append(Done(entity=ref, id=None, outcome=outcome, reason=entity.ignored or entity.refused))
            elif entity.id in taken:
                why = f"{taken[entity.id]} has the same id, {entity.id}"
                done.append(Done(entity=ref, id=entity.id, outcome=Outcome.REFUSED, reason=why))
            else:
                taken[entity.id] = ref
                done.append(await self._take(who, entity, known.get(entity.id)))
        return Imported(counts=dict(Counter(one.outcome for one in done)), entities=done)

    async def _take(self, who: Principal, entity: backstage.Entity, known: Document | None) -> Done:
        before, version = (known.body, known.version) if known else ({}, 0)
        ref, after = printable(entity.ref), before | entity.stated
        if after == before:
            return Done(entity=ref, id=entity.id, outcome=Outcome.UNCHANGED)
        try:
            put = await self.documents.put(who, KIND, entity.id, after, expected_version=version)
        except (Invalid, Conflict) as no:
            return Done(entity=ref, id=printable(entity.id), outcome=Outcome.REFUSED, reason=no.message)
        if put.body == before:
            return Done(entity=ref, id=entity.id, outcome=Outcome.UNCHANGED)
        return Done(entity=ref, id=entity.id, outcome=Outcome.UPDATED if version else Outcome.CREATED)

"""The service catalogue as a whole, read again only when it has changed."""

from dataclasses import dataclass, field
from datetime import datetime

from pydantic import ValidationError

from app.domain.catalogue import Catalogue, Service
from app.store.database import Pool
from app.store.documents import DocumentStore

KIND = "services"
MARK = "SELECT count(*), max(updated_at) FROM documents WHERE kind = $1"

Mark = tuple[int, datetime | None]


@dataclass
class CatalogueStore:
    pool: Pool
    seen: tuple[Mark, Catalogue] = field(default=((0, None), Catalogue({})))

    async def catalogue(self) -> Catalogue:
        """Every service as it stands. One that an older or newer version wrote and that can't be read is left out."""
        row = await self.pool.fetchrow(MARK, KIND)
        mark: Mark = (row["count"], row["max"]) if row is not None else (0, None)
        if mark != self.seen[0]:
            services = {}
            for document in await DocumentStore(self.pool).all(KIND):
                try:
                    services[document.id] = Service.model_validate(document.body)
                except ValidationError:
                    continue
            self.seen = (mark, Catalogue(services))
        return self.seen[1]
